//! What an archive holds, judged as a whole before anything is written.

use countersign_crypto::KeyId;
use countersign_vault::{CarriedKey, KeyStoreError, NoPassphrases, SkippedKeyReason};

use crate::archive::{self, ArchiveError, File, Files, LeftOut};
use crate::manifest::Manifest;

/// The keys of an archive and what else is in it.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The keys, in the order of their ids, each once.
    pub keys: Vec<CarriedKey>,
    /// The manifest, which archives made by hand do not have. It describes and decides nothing.
    pub manifest: Option<Manifest>,
    /// What is no key.
    pub left_out: Vec<LeftOut>,
    /// Files that are named like keys and hold none that can be used.
    pub broken: Vec<BrokenKey>,
}

/// A file that is named like a key and is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenKey {
    /// Its path in the archive; not safe to print as it is.
    pub path: String,
    /// What is wrong with it.
    pub reason: SkippedKeyReason,
}

impl Contents {
    /// Reads a decrypted archive: tar, compressed with gzip or not, with any prefix before the directory of keys.
    ///
    /// # Errors
    /// [`ArchiveError`] refuses the archive as a whole; what may be in it without harm is in the result.
    pub fn read(archive: &[u8]) -> Result<Self, ArchiveError> {
        let Files { keys: files, manifest, left_out } = archive::read(archive)?;
        let manifest = manifest.map(|file| Manifest::read(&file.bytes)).transpose()?;
        let mut contents = Self { keys: Vec::new(), manifest, left_out, broken: Vec::new() };
        for file in files {
            contents.add(&file)?;
        }
        if contents.keys.is_empty() && contents.broken.is_empty() {
            return Err(ArchiveError::NoKeys);
        }
        contents.keys.sort_by_key(CarriedKey::id);
        Ok(contents)
    }

    fn add(&mut self, File { path, bytes, modified }: &File) -> Result<(), ArchiveError> {
        let key = match CarriedKey::read(&path.below_private(), bytes) {
            Ok(key) => key.written(*modified),
            Err(reason @ SkippedKeyReason::Name) => {
                self.left_out.push(LeftOut { path: path.text(), reason: reason.to_string() });
                return Ok(());
            }
            Err(reason) => {
                self.broken.push(BrokenKey { path: path.text(), reason });
                return Ok(());
            }
        };
        if !key.is_encrypted() {
            match key.open(&NoPassphrases) {
                Ok(_) => {}
                Err(KeyStoreError::OtherKey { actual, .. }) => {
                    return Err(ArchiveError::OtherKey { path: path.text(), actual });
                }
                Err(error) => {
                    let reason = SkippedKeyReason::Malformed(error.to_string());
                    self.broken.push(BrokenKey { path: path.text(), reason });
                    return Ok(());
                }
            }
        }
        match self.key(key.id()) {
            None => self.keys.push(key),
            Some(known) if known.is_same(&key) => {}
            Some(_) => return Err(ArchiveError::TwoForms { id: key.id() }),
        }
        Ok(())
    }

    /// Returns a key by its id.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&CarriedKey> {
        self.keys.iter().find(|key| key.id() == id)
    }
}
