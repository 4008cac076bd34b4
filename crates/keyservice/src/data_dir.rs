//! The data folder: held by one process, closed to others.

use std::fs::TryLockError;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use countersign_crypto::{Random, SystemRandom};

/// Held by the service that uses the folder.
const LOCK: &str = "lock";
/// Permissions of folders that are made here.
const FOLDER_MODE: u32 = 0o700;
/// Permissions of files that are made here.
pub(crate) const FILE_MODE: u32 = 0o600;

/// Says why the data folder cannot be used (environment).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// The folder cannot be made or used.
    #[error("{path} cannot be used as the data folder")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another process uses the folder.
    #[error("another process is using the data folder {0}")]
    InUse(PathBuf),
}

/// The data folder, held until dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: fs_err::File,
}

impl DataDir {
    /// Makes the folder if need be, takes hold of it, and leaves word for which alias new keys are made.
    pub(crate) fn open(path: &Path, alias: &str) -> Result<Self, DataDirError> {
        let unusable = |source| DataDirError::Folder { path: path.to_owned(), source };
        make_folder(path).map_err(unusable)?;
        let mut options = fs_err::OpenOptions::new();
        options.create(true).append(true);
        options.options_mut().mode(FILE_MODE);
        let mut lock = options.open(path.join(LOCK)).map_err(unusable)?;
        match lock.file().try_lock() {
            Ok(()) => {
                lock.set_len(0).and_then(|()| lock.write_all(alias.as_bytes())).map_err(unusable)?;
                Ok(Self { path: path.to_owned(), _lock: lock })
            }
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// Tells for which alias a service that holds the folder makes new keys; none when no service does.
pub(crate) fn held_for(path: &Path) -> io::Result<Option<String>> {
    let mut lock = match fs_err::OpenOptions::new().read(true).append(true).open(path.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if lock.file().try_lock().is_ok() {
        return Ok(None);
    }
    let mut alias = String::new();
    lock.read_to_string(&mut alias)?;
    Ok(Some(alias))
}

/// Makes a folder for the owner only, if it is not there.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Gives what was made, if it is there, to whom the data folder belongs: root may have done it for the service, which is to use it.
pub(crate) fn give(data_dir: &Path, made: &[&Path]) -> io::Result<()> {
    let owner = fs_err::metadata(data_dir)?;
    for made in made.iter().filter(|made| made.exists()) {
        if fs_err::metadata(made)?.uid() != owner.uid() {
            chown(made, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

/// Writes a new file whole, durable and for the owner only; one that is there is an error.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    // A name that nothing else has, and no alias can have: what is there is never removed.
    let mut number = [0; 8];
    SystemRandom.fill(&mut number).map_err(io::Error::other)?;
    let staged = folder.join(format!(".staged-{}", hex::encode(number)));
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    options.options_mut().mode(FILE_MODE);
    let mut file = options.open(&staged)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs_err::hard_link(&staged, path));
    fs_err::remove_file(&staged)?;
    written?;
    fs_err::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time_and_a_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("data");
        let held = DataDir::open(&place, "one").unwrap();
        assert!(matches!(DataDir::open(&place, "two"), Err(DataDirError::InUse(_))));
        assert_eq!(held_for(&place).unwrap().as_deref(), Some("one"));
        write_new(&held.file("x"), b"1").unwrap();
        assert!(write_new(&held.file("x"), b"2").is_err());
        assert_eq!(fs_err::read(held.file("x")).unwrap(), b"1");
        // Names that are much alike are different files.
        write_new(&held.file("x.new"), b"3").unwrap();
        write_new(&held.file("x.new.new"), b"4").unwrap();
        fs_err::remove_file(held.file("x")).unwrap();
        write_new(&held.file("x"), b"5").unwrap();
        assert_eq!(fs_err::read(held.file("x.new")).unwrap(), b"3");
        let mut names: Vec<_> =
            fs_err::read_dir(folder.path().join("data")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["lock", "x", "x.new", "x.new.new"]);
        drop(held);
        assert_eq!(held_for(&place).unwrap(), None);
        DataDir::open(&place, "two").unwrap();
    }
}
