//! Writing an archive and proving it before it gets its name.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use countersign_crypto::digest::{self, Sha256Digest};
use countersign_crypto::{KeyId, Random};
use countersign_vault::{CarriedKey, KeyStoreError, Passphrase};
use jiff::Timestamp;
use tempfile::NamedTempFile;

use crate::archive::{self, ArchiveError, FOLDER, Member};
use crate::contents::Contents;
use crate::limits::{MAX_FILE_BYTES, MAX_KEYS};
use crate::manifest::{self, Manifest, ManifestError};
use crate::openpgp::{self, Container, OpenError, SealError};

/// A backup that is to be made.
pub struct Backup<'a> {
    /// Where the archive goes.
    pub file: &'a Path,
    /// What happens with a file that is there.
    pub existing: Existing,
    /// The keys.
    pub keys: &'a [CarriedKey],
    /// What the archive is encrypted with.
    pub passphrase: &'a Passphrase,
    /// The time to write into it.
    pub now: Timestamp,
}

/// What happens with a file that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and no backup is made.
    Refuse,
    /// It is replaced once the new archive is proven.
    Replace,
}

/// An archive that was written and proven and does not have its name yet; dropped, it disappears again.
#[derive(Debug)]
pub struct Proven {
    temporary: NamedTempFile,
    file: PathBuf,
    folder: PathBuf,
    existing: Existing,
    written: Written,
}

impl Proven {
    /// Returns what was written.
    #[must_use]
    pub fn written(&self) -> &Written {
        &self.written
    }

    /// Gives the archive its name, durably.
    ///
    /// # Errors
    /// [`BackupError::Exists`], [`BackupError::Io`]; what had the name before is then as it was.
    pub fn publish(self) -> Result<Written, BackupError> {
        let persisted = match self.existing {
            Existing::Refuse => self.temporary.persist_noclobber(&self.file),
            Existing::Replace => self.temporary.persist(&self.file),
        };
        let failed = |source| BackupError::Io { path: self.file.clone(), source };
        persisted.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => BackupError::Exists { path: self.file.clone() },
            _ => failed(error.error),
        })?;
        fs_err::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(self.written)
    }
}

/// What a proven archive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The archive's digest.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size: usize,
    /// Four bytes that tell it from others.
    pub fingerprint: [u8; 4],
    /// The manifest in it.
    pub manifest: Manifest,
}

/// Says why no backup was made; nothing is left of it.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no key to back up.
    #[error("there is no key to back up")]
    NoKeys,
    /// There are more keys than one archive holds.
    #[error("more than {MAX_KEYS} keys for one archive")]
    TooManyKeys,
    /// The file is there already.
    #[error("{} exists already", .path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be written or read.
    #[error("the archive {} could not be written: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It could not be encrypted.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The manifest could not be written.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// What was written does not open.
    #[error("the archive was written but does not open again, so it was thrown away: {0}")]
    Unreadable(#[from] OpenError),
    /// What was written does not unpack.
    #[error("the archive was written but does not unpack again, so it was thrown away: {0}")]
    NotUnpacked(#[from] ArchiveError),
    /// What was read back is not what was written.
    #[error("the archive was written but holds something else for the key {id}, so it was thrown away")]
    OtherContent {
        /// The key.
        id: KeyId,
    },
    /// A key in it could not be opened, or is not the one that it should be.
    #[error("the key {id} in the archive cannot be used, so no backup was made: {source}")]
    Key {
        /// The key.
        id: KeyId,
        /// What is wrong.
        source: Box<KeyStoreError>,
    },
}

impl Backup<'_> {
    /// Writes the archive under a temporary name, reads it back, decrypts it, compares every key and lets `check` look at
    /// each. It is readable by its owner alone, and on the disk.
    ///
    /// # Errors
    /// [`BackupError`]; no file is left behind.
    pub fn prove(
        &self,
        random: &mut dyn Random,
        check: &dyn Fn(&CarriedKey) -> Result<(), KeyStoreError>,
    ) -> Result<Proven, BackupError> {
        if self.keys.is_empty() {
            return Err(BackupError::NoKeys);
        }
        if self.keys.len() > MAX_KEYS {
            return Err(BackupError::TooManyKeys);
        }
        self.check_target()?;
        let manifest = Manifest::of(self.keys, self.now);
        let message = self.message(&manifest, random)?;
        let folder = match self.file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let failed = |source| BackupError::Io { path: self.file.to_owned(), source };
        // Made for its owner alone whatever the umask; only ciphertext is ever in it.
        let mut temporary =
            tempfile::Builder::new().prefix(".countersign-backup-").tempfile_in(folder).map_err(failed)?;
        temporary.write_all(&message).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
        let written = fs_err::read(temporary.path()).map_err(failed)?;
        let fingerprint = self.read_back(&written, &manifest, check)?;
        let (file, folder, existing) = (self.file.to_owned(), folder.to_owned(), self.existing);
        let written = Written { sha256: digest::sha256(&written), size: written.len(), fingerprint, manifest };
        Ok(Proven { temporary, file, folder, existing, written })
    }

    /// Refuses early what would be refused in the end.
    ///
    /// # Errors
    /// [`BackupError::Exists`].
    pub fn check_target(&self) -> Result<(), BackupError> {
        match (self.existing, fs_err::symlink_metadata(self.file)) {
            (Existing::Refuse, Ok(_)) => Err(BackupError::Exists { path: self.file.to_owned() }),
            (Existing::Replace, Ok(found)) if !found.is_file() => {
                let source = io::Error::other("something else than a file has that name");
                Err(BackupError::Io { path: self.file.to_owned(), source })
            }
            _ => Ok(()),
        }
    }

    fn message(&self, manifest: &Manifest, random: &mut dyn Random) -> Result<Vec<u8>, BackupError> {
        let described = manifest.write()?;
        let path = format!("trust/{}", manifest::FILE_NAME);
        let mut members = vec![Member { path, bytes: &described, modified: self.now }];
        members.extend(self.keys.iter().map(|key| Member {
            path: format!("{FOLDER}{}", key.file_name()),
            bytes: key.pem(),
            modified: key.modified().unwrap_or(self.now),
        }));
        let failed = |source| BackupError::Io { path: self.file.to_owned(), source };
        let archive = archive::write(&members, self.now).map_err(failed)?;
        let message = openpgp::seal(&archive, self.passphrase, random)?;
        if message.len() > MAX_FILE_BYTES {
            return Err(OpenError::TooLarge { limit: MAX_FILE_BYTES }.into());
        }
        Ok(message)
    }

    fn read_back(
        &self,
        written: &[u8],
        manifest: &Manifest,
        check: &dyn Fn(&CarriedKey) -> Result<(), KeyStoreError>,
    ) -> Result<[u8; 4], BackupError> {
        let Container::Locked(locked) = Container::read(written)? else {
            return Err(OpenError::NotAnArchive.into());
        };
        let contents = Contents::read(&locked.open(self.passphrase)?)?;
        if contents.manifest.as_ref() != Some(manifest) || contents.keys.len() != self.keys.len() {
            return Err(ArchiveError::Damaged("it does not hold what was written").into());
        }
        for key in self.keys {
            let id = key.id();
            let back = contents.key(id).filter(|back| back.pem() == key.pem() && back.role() == key.role());
            check(back.ok_or(BackupError::OtherContent { id })?)
                .map_err(|source| BackupError::Key { id, source: Box::new(source) })?;
        }
        Ok(locked.fingerprint())
    }
}
