//! What can go wrong with a single file, directory or lock.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    SymbolicLink,
    /// A named pipe.
    NamedPipe,
    /// A socket.
    Socket,
    /// A device or something unknown.
    Device,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "a regular file",
            Self::Directory => "a directory",
            Self::SymbolicLink => "a symbolic link",
            Self::NamedPipe => "a named pipe",
            Self::Socket => "a socket",
            Self::Device => "a device",
        })
    }
}

/// Says why a file or directory in the trust directory could not be used.
///
/// A file that is simply not there is no error: functions that read answer `None`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The trust directory itself does not exist.
    #[error("{} does not exist", .path.display())]
    Missing {
        /// The directory looked for.
        path: PathBuf,
    },
    /// Something else stands where a regular file belongs; it is neither read nor written through.
    #[error("{} is {kind}, not a regular file: move it away and try again", .path.display())]
    NotRegular {
        /// The name met.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// Something else stands where a directory belongs. The trust directory itself may be a symbolic link, nothing in it.
    #[error("{} is {kind}, not a directory: move it away and try again", .path.display())]
    NotDirectory {
        /// The name met.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// The file is larger than its kind may be.
    #[error("{} is larger than {limit} bytes", .path.display())]
    TooLarge {
        /// The file met.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// The directory has more entries, or more levels below it, than are read.
    #[error("{} holds more than {limit} entries or levels", .path.display())]
    TooMany {
        /// The directory met.
        path: PathBuf,
        /// The limit.
        limit: usize,
    },
    /// The file system does not tell capitals apart, and the name is there in another spelling: two collections would
    /// share files.
    #[error("{} is there under the name {found:?}: this file system cannot keep the two apart", .path.display())]
    OtherSpelling {
        /// The name asked for.
        path: PathBuf,
        /// The name found.
        found: String,
    },
    /// The name is not one plain path component.
    #[error("{name:?} is not a plain file name")]
    UnsafeName {
        /// The name refused.
        name: String,
    },
    /// The operating system refused.
    #[error("could not {operation} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl FileError {
    pub(crate) fn io(operation: &'static str, path: &Path, source: impl Into<io::Error>) -> Self {
        Self::Io { operation, path: path.to_owned(), source: source.into() }
    }

    /// Tells whether the cause is a full or read-only file system, a quota or missing permission: a caller that only wanted
    /// to keep a copy may go on without it.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        let Self::Io { source, .. } = self else { return false };
        matches!(
            source.kind(),
            io::ErrorKind::StorageFull
                | io::ErrorKind::QuotaExceeded
                | io::ErrorKind::ReadOnlyFilesystem
                | io::ErrorKind::FileTooLarge
                | io::ErrorKind::PermissionDenied
        )
    }
}

/// Says why a lock was not obtained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process held the lock for the whole wait.
    #[error(
        "another process is using the trust data: {} was still locked after {} seconds; wait for it to finish, or end it",
        .path.display(), .waited.as_secs()
    )]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The lock file could not be opened or locked.
    #[error(transparent)]
    File(#[from] FileError),
}

impl LockError {
    /// Tells whether the cause is a full or read-only file system, or missing permission (see [`FileError::is_unwritable`]).
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        matches!(self, Self::File(error) if error.is_unwritable())
    }
}
