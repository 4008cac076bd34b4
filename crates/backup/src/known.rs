//! The record of known backups: which key is in which archive.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use countersign_crypto::KeyId;
use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::backup::Written;
use crate::limits::{MAX_RECORD_BYTES, MAX_RECORDED};

const FILE: &str = "backups.json";
const LOCK: &str = "backups.lock";
const VERSION: u64 = 1;

/// The backups that were made here, kept in a folder of this machine's state.
#[derive(Debug, Clone)]
pub struct KnownBackups {
    folder: PathBuf,
}

/// One archive that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownBackup {
    /// Where it was written; it may have been carried elsewhere since.
    pub file: PathBuf,
    /// When it was made.
    pub date: Timestamp,
    /// The archive's SHA-256 as hexadecimal digits.
    pub sha256: String,
    /// The ids of the keys in it.
    pub keys: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u64,
    backups: Vec<KnownBackup>,
}

/// Says why the record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused.
    #[error("the record of backups {} could not be used: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It is not what this program writes.
    #[error("the record of backups {} cannot be read: {reason}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl KnownBackups {
    /// Names the folder; nothing is read or made yet.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Returns the file that the record is kept in.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILE)
    }

    /// Reads the record, the oldest backup first; where there is none nothing is known.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn list(&self) -> Result<Vec<KnownBackup>, RecordError> {
        let path = self.path();
        match fs_err::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(RecordError::Io { path, source }),
            Ok(found) if found.len() > MAX_RECORD_BYTES || !found.is_file() => {
                return Err(RecordError::Malformed { path, reason: "it is too large or no file".to_owned() });
            }
            Ok(_) => {}
        }
        let bytes = fs_err::read(&path).map_err(|source| RecordError::Io { path: path.clone(), source })?;
        let malformed = |reason: String| RecordError::Malformed { path: path.clone(), reason };
        let record: Record = serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))?;
        if record.version == VERSION {
            Ok(record.backups)
        } else {
            Err(malformed(format!("it has the version {}", record.version)))
        }
    }

    /// Returns the latest backup that holds a key.
    ///
    /// # Errors
    /// [`RecordError`].
    pub fn latest_with(&self, id: &KeyId) -> Result<Option<KnownBackup>, RecordError> {
        let id = id.to_string();
        Ok(self.list()?.into_iter().filter(|backup| backup.keys.contains(&id)).max_by_key(|backup| backup.date))
    }

    /// Adds an archive that was just written; one that had the same file name before is gone.
    ///
    /// # Errors
    /// [`RecordError`]; the record is then as it was.
    pub fn add(&self, file: &Path, written: &Written) -> Result<(), RecordError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| RecordError::Io { path, source }
        };
        fs_err::create_dir_all(&self.folder).map_err(failed(&self.folder))?;
        let lock_path = self.folder.join(LOCK);
        let lock = fs_err::File::create(&lock_path).map_err(failed(&lock_path))?;
        flock(lock.file(), FlockOperation::LockExclusive).map_err(|error| failed(&lock_path)(error.into()))?;

        let file = std::path::absolute(file).map_err(failed(file))?;
        let mut backups = self.list()?;
        backups.retain(|known| known.file != file);
        let keys = written.manifest.keys.iter().map(|key| key.id.clone()).collect();
        let (date, sha256) = (written.manifest.created, written.sha256.hex());
        backups.push(KnownBackup { file, date, sha256, keys });
        let surplus = backups.len().saturating_sub(MAX_RECORDED);
        backups.drain(..surplus);
        self.write(&Record { version: VERSION, backups })
    }

    fn write(&self, record: &Record) -> Result<(), RecordError> {
        let path = self.path();
        let failed = |source| RecordError::Io { path: path.clone(), source };
        let mut bytes = serde_json::to_vec_pretty(record).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        let mut temporary = tempfile::Builder::new().prefix(".backups-").tempfile_in(&self.folder).map_err(failed)?;
        temporary.write_all(&bytes).and_then(|()| temporary.as_file().sync_all()).map_err(failed)?;
        temporary.persist(&path).map_err(|error| failed(error.error))?;
        fs_err::File::open(&self.folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}
