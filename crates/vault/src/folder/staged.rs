//! A file that is complete on disk but does not have its name yet.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::io::Write;

use jiff::Timestamp;
use rustix::fs::{self, AtFlags, OFlags, RenameFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::{Entry, EntryKind, FILE_MODE, Folder, plain};
use crate::error::FileError;
use crate::failpoint;

const PREFIX: &str = ".countersign-";
const SUFFIX: &str = ".tmp";

/// A file written and flushed under a temporary name; dropped without being published it disappears again.
#[derive(Debug)]
pub(crate) struct Staged {
    folder: Folder,
    name: String,
    published: Published,
}

#[derive(Debug, PartialEq, Eq)]
enum Published {
    No,
    Yes,
}

impl Folder {
    /// Writes a file under a temporary name in this directory, mode 0600 whatever the umask, and flushes it to the disk.
    pub(crate) fn stage(&self, bytes: &[u8]) -> Result<Staged, FileError> {
        let name = format!("{PREFIX}{}{SUFFIX}", uuid::Uuid::new_v4());
        let path = self.path_of(&name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd =
            fs::openat(&self.fd, &name, flags, FILE_MODE).map_err(|error| FileError::io("create", &path, error))?;
        let staged = Staged { folder: self.clone(), name, published: Published::No };
        failpoint::step("file made");
        fs::fchmod(&fd, FILE_MODE).map_err(|error| FileError::io("set the mode of", &path, error))?;
        let mut file = File::from(fd);
        file.write_all(bytes).map_err(|error| FileError::io("write", &path, error))?;
        failpoint::step("file written");
        file.sync_all().map_err(|error| FileError::io("flush", &path, error))?;
        failpoint::step("file synced");
        Ok(staged)
    }

    /// Gives a temporary file of this directory its name. One that is not there any more, or whose name something else has
    /// got meanwhile, is left to [`Folder::sweep`].
    pub(crate) fn adopt(&self, temporary: &str, name: &str) -> Result<(), FileError> {
        match self.rename_new(temporary, self, OsStr::new(name)) {
            Err(FileError::Io { source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists) =>
            {
                Ok(())
            }
            other => other,
        }
    }

    fn rename_new(&self, from: &str, target: &Self, name: &OsStr) -> Result<(), FileError> {
        let name = plain(name)?;
        let failed = |error| FileError::io("write", &target.path_of(name), error);
        match fs::renameat_with(&self.fd, from, &target.fd, name, RenameFlags::NOREPLACE) {
            // Some file systems cannot; whoever holds the lock may look first instead.
            Err(Errno::INVAL | Errno::NOSYS) => match target.stat(name)? {
                Some(_) => Err(failed(Errno::EXIST)),
                None => fs::renameat(&self.fd, from, &target.fd, name).map_err(failed),
            },
            other => other.map_err(failed),
        }
    }

    /// Removes temporary files that a crash left behind. Only for whoever holds the lock under which they are made.
    pub(crate) fn sweep(&self) -> Result<(), FileError> {
        for entry in self.entries()?.iter().filter(|entry| is_leftover(entry)) {
            self.remove_file(&entry.name)?;
        }
        Ok(())
    }
}

impl Staged {
    /// Gives the file its name in a directory on the same file system, replacing what had it, and makes that durable.
    /// A symbolic link or pipe of that name is replaced, not followed.
    pub(crate) fn publish(mut self, target: &Folder, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        let name = plain(name.as_ref())?;
        fs::renameat(&self.folder.fd, &self.name, &target.fd, name)
            .map_err(|error| target.explain_file("write", name, error))?;
        self.published = Published::Yes;
        failpoint::step("file renamed");
        target.sync()
    }

    /// Says when the content was first written, which is what the file's date is about.
    pub(crate) fn date(&self, modified: Timestamp) -> Result<(), FileError> {
        let unchanged = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT };
        let written = Timespec { tv_sec: modified.as_second(), tv_nsec: 0 };
        let times = Timestamps { last_access: unchanged, last_modification: written };
        fs::utimensat(&self.folder.fd, &self.name, &times, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| FileError::io("set the date of", &self.folder.path_of(&self.name), error))
    }

    /// Returns the temporary name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Gives the file its name unless something has it already. Not durable until [`Folder::sync`].
    pub(crate) fn publish_new(mut self, target: &Folder, name: impl AsRef<OsStr>) -> Result<(), FileError> {
        self.folder.rename_new(&self.name, target, name.as_ref())?;
        self.published = Published::Yes;
        failpoint::step("file renamed");
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.published == Published::No {
            // Best effort: a file that stays is swept by the next writer.
            let _ = fs::unlinkat(&self.folder.fd, &self.name, AtFlags::empty());
        }
    }
}

/// Tells whether an entry is a temporary file of this module.
fn is_leftover(entry: &Entry) -> bool {
    entry.kind == EntryKind::File && entry.text().is_some_and(is_temporary_name)
}

/// Tells whether a name is one that this module gives to temporary files.
pub(crate) fn is_temporary_name(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(SUFFIX)
}
