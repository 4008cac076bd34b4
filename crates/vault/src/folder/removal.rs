//! Taking names away.

use std::ffi::OsStr;

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::{EntryKind, Folder, plain};
use crate::error::FileError;
use crate::failpoint;
use crate::limits::MAX_DEPTH;

/// Whether something was there to remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It was there and is gone.
    Removed,
    /// It was not there.
    Absent,
}

impl Folder {
    /// Removes a name that is not a directory; tells whether it was there. Not durable until [`Folder::sync`].
    pub(crate) fn remove_file(&self, name: impl AsRef<OsStr>) -> Result<Removal, FileError> {
        let name = plain(name.as_ref())?;
        match fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Ok(()) => {
                failpoint::step("file removed");
                Ok(Removal::Removed)
            }
            Err(Errno::NOENT) => Ok(Removal::Absent),
            Err(error) => Err(self.explain_file("remove", name, error)),
        }
    }

    /// Removes an empty sub-directory; one that is not empty or not there stays as it is.
    pub(crate) fn remove_empty(&self, name: impl AsRef<OsStr>) -> Result<Removal, FileError> {
        let name = plain(name.as_ref())?;
        match fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(Removal::Removed),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(Removal::Absent),
            Err(error) => Err(FileError::io("remove", &self.path_of(name), error)),
        }
    }

    /// Removes all directories below this one that hold nothing but directories.
    pub(crate) fn remove_empty_below(&self) -> Result<(), FileError> {
        self.remove_empty_levels(MAX_DEPTH)
    }

    fn remove_empty_levels(&self, levels: usize) -> Result<(), FileError> {
        if levels == 0 {
            return Err(FileError::TooMany { path: self.path().to_owned(), limit: MAX_DEPTH });
        }
        for entry in self.entries()?.iter().filter(|entry| entry.kind == EntryKind::Folder) {
            if let Some(child) = self.child(&entry.name)? {
                child.remove_empty_levels(levels - 1)?;
            }
            self.remove_empty(&entry.name)?;
        }
        Ok(())
    }
}
