//! The data folder: held by one process, closed to others, with the secret that protects the keys at rest.

use std::fs::TryLockError;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use countersign_crypto::{Random, SystemRandom};
use zeroize::Zeroizing;

/// Permissions of the folder when it is made here.
const FOLDER_MODE: u32 = 0o700;
/// Permissions of files that nobody else may read.
const SECRET_MODE: u32 = 0o600;
/// The secret's file.
const SECRET: &str = "secret";
/// Random bytes of the secret; written as hexadecimal digits.
const SECRET_BYTES: usize = 32;
/// Bytes that are read of a secret file.
const MAX_SECRET: usize = 64 * 1024;

/// Says why the data folder cannot be used (environment).
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The folder cannot be made.
    #[error("{path} cannot be used as the data folder")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file in the folder cannot be made, read or written; the source names it.
    #[error("the data folder cannot be used")]
    Io(#[from] io::Error),
    /// Another process uses the folder.
    #[error("another process is using the data folder {0}")]
    InUse(PathBuf),
    /// The secret is not what this service wrote.
    #[error("the file {0} is damaged: restore it from a backup, the keys in the database cannot be read without it")]
    DamagedSecret(PathBuf),
    /// No random numbers are to be had.
    #[error(transparent)]
    Random(#[from] countersign_crypto::RandomError),
}

/// The data folder, held until dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: fs_err::File,
}

/// The passphrase under which keys are encrypted at rest.
pub(crate) type Secret = Zeroizing<String>;

/// What became of the secret.
pub(crate) enum SecretFile {
    /// It was there.
    Found(Secret),
    /// There was none, and there is one now.
    Made(Secret),
}

impl DataDir {
    /// Makes the folder if need be and takes hold of it.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        if !path.is_dir() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path);
            made.map_err(|source| DataDirError::Folder { path: path.to_owned(), source })?;
        }
        let lock = open_lock(&path.join("lock"))?;
        match lock.file().try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(DataDirError::Folder { path: path.to_owned(), source }),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Reads the secret, or makes one.
    pub(crate) fn secret(&self) -> Result<SecretFile, DataDirError> {
        let path = self.file(SECRET);
        match secret_in(&self.path) {
            Ok(Some(secret)) => Ok(SecretFile::Found(secret)),
            Ok(None) => {
                let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
                SystemRandom.fill(bytes.as_mut())?;
                let secret = Zeroizing::new(hex::encode(bytes.as_slice()));
                write_secret(&path, format!("{}\n", *secret).as_bytes())?;
                Ok(SecretFile::Made(secret))
            }
            // A secret that is there and cannot be read is never replaced.
            Err(error) => Err(error),
        }
    }
}

/// Reads the secret of a data folder that a service may be using; none when there is none.
pub(crate) fn secret_in(folder: &Path) -> Result<Option<Secret>, DataDirError> {
    let path = folder.join(SECRET);
    match read_secret(&path) {
        Ok(text) => whole(text.trim_end()).map(Some).ok_or(DataDirError::DamagedSecret(path)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Takes a secret that is as long as those that are made here.
fn whole(secret: &str) -> Option<Secret> {
    let whole = secret.len() == 2 * SECRET_BYTES && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| Zeroizing::new(secret.to_owned()))
}

/// Opens the lock file. Whoever may write to it could hold the lock and so keep the service from starting.
fn open_lock(path: &Path) -> io::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    options.create(true).append(true);
    options.options_mut().mode(SECRET_MODE);
    let file = options.open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o777 != SECRET_MODE {
        permissions.set_mode(SECRET_MODE);
        file.set_permissions(permissions)?;
    }
    Ok(file)
}

/// Reads a file that is for the owner only; one that was open to others is closed to them.
pub(crate) fn read_secret(path: &Path) -> io::Result<Zeroizing<String>> {
    let mut file = fs_err::File::open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), mode = permissions.mode() & 0o777, "a secret file was open to others");
        permissions.set_mode(SECRET_MODE);
        file.set_permissions(permissions)?;
    }
    let mut text = Zeroizing::new(String::with_capacity(MAX_SECRET));
    Read::by_ref(&mut file).take(MAX_SECRET as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a new file whole, durable and for the owner only.
pub(crate) fn write_secret(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, SECRET_MODE)
}

/// Writes a new file whole, durable and readable for everybody.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> io::Result<()> {
    write(path, bytes, 0o644)
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let staged = path.with_added_extension("new");
    match fs_err::remove_file(&staged) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs_err::OpenOptions::new();
    options.write(true).create_new(true);
    options.options_mut().mode(mode);
    let mut file = options.open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs_err::rename(&staged, path)?;
    match path.parent() {
        Some(folder) => fs_err::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(secret: SecretFile) -> (bool, String) {
        match secret {
            SecretFile::Found(secret) => (false, secret.to_string()),
            SecretFile::Made(secret) => (true, secret.to_string()),
        }
    }

    #[test]
    fn the_secret_is_made_once_and_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(&folder.path().join("a/b")).unwrap();
        let (made, first) = text(data.secret().unwrap());
        assert_eq!((made, first.len()), (true, 64));
        assert_eq!(text(data.secret().unwrap()), (false, first));
        assert_eq!(fs_err::metadata(data.file("secret")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs_err::metadata(folder.path().join("a/b")).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_secret_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        for damage in ["", "abc", &"z".repeat(64)] {
            fs_err::write(data.file("secret"), damage).unwrap();
            assert!(matches!(data.secret(), Err(DataDirError::DamagedSecret(_))), "{damage:?}");
        }
        fs_err::remove_file(data.file("secret")).unwrap();
        fs_err::create_dir(data.file("secret")).unwrap();
        assert!(matches!(data.secret(), Err(DataDirError::Io(_))));
    }

    #[test]
    fn a_secret_that_is_open_to_others_is_closed_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let (_, secret) = text(data.secret().unwrap());
        fs_err::set_permissions(data.file("secret"), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(text(data.secret().unwrap()), (false, secret));
        assert_eq!(fs_err::metadata(data.file("secret")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_lock_is_for_the_owner_only_also_one_that_was_open_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |file: &Path| fs_err::metadata(file).unwrap().permissions().mode() & 0o777;
        let lock = folder.path().join("lock");
        drop(DataDir::open(folder.path()).unwrap());
        assert_eq!(mode(&lock), 0o600);
        fs_err::set_permissions(&lock, std::fs::Permissions::from_mode(0o666)).unwrap();
        drop(DataDir::open(folder.path()).unwrap());
        assert_eq!(mode(&lock), 0o600);
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a-file");
        fs_err::write(&file, "").unwrap();
        for path in [file.clone(), file.join("below"), PathBuf::from("/proc/x")] {
            let refused = DataDir::open(&path).unwrap_err();
            assert!(refused.to_string().contains(&path.display().to_string()), "{refused}");
        }
        fs_err::create_dir(folder.path().join("lock")).unwrap();
        let refused = DataDir::open(folder.path()).unwrap_err();
        let cause = std::error::Error::source(&refused).unwrap().to_string();
        assert!(cause.contains(&folder.path().join("lock").display().to_string()), "{cause}");
    }

    #[test]
    fn two_services_on_one_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path()).unwrap();
        assert!(matches!(DataDir::open(folder.path()), Err(DataDirError::InUse(_))));
        drop(first);
        assert!(DataDir::open(folder.path()).is_ok());
    }
}
