//! Advisory locks between processes; the system releases them when a process ends, however it ends.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{FileError, LockError};
use crate::folder::Folder;

const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A lock that is held for as long as the value lives.
///
/// The file stays when the lock is released: removing it would let two processes hold "the" lock.
#[derive(Debug)]
pub(crate) struct FileLock {
    _fd: OwnedFd,
    path: PathBuf,
}

impl FileLock {
    /// Takes the lock that a file in the directory stands for, waiting at most `wait`.
    pub(crate) fn acquire(folder: &Folder, name: &str, wait: Duration) -> Result<Self, LockError> {
        let fd = folder.lock_file(name)?;
        let path = folder.path_of(name);
        let start = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { _fd: fd, path }),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(FileError::io("lock", &path, error).into()),
            }
            let left = wait.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(LockError::Busy { path, waited: wait });
            }
            sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.path
    }
}
