//! Directories held open: everything below is reached one plain name at a time and never through a symbolic link.

mod removal;
mod staged;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{FileError, FileKind};
use crate::failpoint;
use crate::limits::MAX_DIRECTORY_ENTRIES;

pub use removal::Removal;
pub(crate) use staged::{Staged, is_temporary_name};

const DIRECTORY_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// An open directory; its path serves messages only.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    fd: Arc<OwnedFd>,
    path: Arc<Path>,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Entry {
    pub(crate) name: OsString,
    pub(crate) kind: EntryKind,
}

/// The kinds of entries that are told apart when listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum EntryKind {
    File,
    Folder,
    Other,
}

impl Entry {
    /// Returns the name when it is UTF-8.
    pub(crate) fn text(&self) -> Option<&str> {
        self.name.to_str()
    }
}

impl Folder {
    /// Opens a directory by path; the path itself may lead through symbolic links.
    pub(crate) fn open_top(path: &Path) -> Result<Self, FileError> {
        match fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(fd) => Ok(Self { fd: Arc::new(fd), path: path.into() }),
            Err(Errno::NOENT) => Err(FileError::Missing { path: path.to_owned() }),
            Err(Errno::NOTDIR) => match fs::statat(CWD, path, AtFlags::empty()) {
                Ok(stat) => Err(FileError::NotDirectory { path: path.to_owned(), kind: kind(&stat) }),
                Err(_) => Err(FileError::io("open", path, Errno::NOTDIR)),
            },
            Err(error) => Err(FileError::io("open", path, error)),
        }
    }

    /// Opens a directory by path and creates it, and its parents, for the owner alone if it is missing.
    pub(crate) fn create_top(path: &Path) -> Result<Self, FileError> {
        match Self::open_top(path) {
            Err(FileError::Missing { .. }) => {}
            other => return other,
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(FileError::Missing { path: path.to_owned() });
        };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let created = Self::create_top(parent)?.make(name)?;
        Ok(Self { fd: created.fd, path: path.into() })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn path_of(&self, name: impl AsRef<OsStr>) -> PathBuf {
        self.path.join(name.as_ref())
    }

    /// Opens a sub-directory, `None` if there is none of that name.
    pub(crate) fn child(&self, name: impl AsRef<OsStr>) -> Result<Option<Self>, FileError> {
        let name = plain(name.as_ref())?;
        match fs::openat(&self.fd, name, READ | OFlags::DIRECTORY, Mode::empty()) {
            Ok(fd) => {
                self.check_spelling(name)?;
                Ok(Some(Self { fd: Arc::new(fd), path: self.path_of(name).into() }))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.explain_directory(name, error)),
        }
    }

    /// Opens a sub-directory and creates it, for the owner alone whatever the umask, if it is missing.
    pub(crate) fn make(&self, name: impl AsRef<OsStr>) -> Result<Self, FileError> {
        let name = plain(name.as_ref())?;
        if let Some(child) = self.child(name)? {
            return Ok(child);
        }
        let made = match fs::mkdirat(&self.fd, name, DIRECTORY_MODE) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(FileError::io("create", &self.path_of(name), error)),
        };
        if made {
            // A umask that takes bits from the owner would make the directory useless. The name was just made by this
            // process; should it have become a link meanwhile, opening it below refuses.
            fs::chmodat(&self.fd, name, DIRECTORY_MODE, AtFlags::empty())
                .map_err(|error| FileError::io("set the mode of", &self.path_of(name), error))?;
            failpoint::step("directory made");
            self.sync()?;
        }
        let missing = || FileError::io("open", &self.path_of(name), Errno::NOENT);
        self.child(name)?.ok_or_else(missing)
    }

    /// Reads a regular file of at most `limit` bytes, `None` if there is none of that name.
    pub(crate) fn read(&self, name: impl AsRef<OsStr>, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        let name = plain(name.as_ref())?;
        let fd = match fs::openat(&self.fd, name, READ, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(self.explain_file("open", name, error)),
        };
        let path = self.path_of(name);
        let stat = fs::fstat(&fd).map_err(|error| FileError::io("inspect", &path, error))?;
        require_regular(&path, &stat)?;
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        if size > limit {
            return Err(FileError::TooLarge { path, limit });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
        let mut file = File::from(fd).take(limit.saturating_add(1));
        file.read_to_end(&mut bytes).map_err(|error| FileError::io("read", &path, error))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
            return Err(FileError::TooLarge { path, limit });
        }
        Ok(Some(bytes))
    }

    /// Writes a whole file durably: a crash at any moment leaves the old content or the new one.
    pub(crate) fn replace(&self, name: impl AsRef<OsStr>, bytes: &[u8]) -> Result<(), FileError> {
        self.stage(bytes)?.publish(self, name)
    }

    /// Opens, and creates if missing, a file that only serves as a lock.
    pub(crate) fn lock_file(&self, name: impl AsRef<OsStr>) -> Result<OwnedFd, FileError> {
        let name = plain(name.as_ref())?;
        let flags = READ | OFlags::RDWR | OFlags::CREATE;
        let fd =
            fs::openat(&self.fd, name, flags, FILE_MODE).map_err(|error| self.explain_file("open", name, error))?;
        let path = self.path_of(name);
        let stat = fs::fstat(&fd).map_err(|error| FileError::io("inspect", &path, error))?;
        require_regular(&path, &stat)?;
        if Mode::from_raw_mode(stat.st_mode) != FILE_MODE {
            // The umask took bits; with none left, the next process could not open it.
            fs::fchmod(&fd, FILE_MODE).map_err(|error| FileError::io("set the mode of", &path, error))?;
        }
        Ok(fd)
    }

    /// Lists the directory in the order of the names' bytes.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, FileError> {
        let mut entries = Vec::new();
        self.visit(|name, kind| {
            if entries.len() >= MAX_DIRECTORY_ENTRIES {
                return Err(FileError::TooMany { path: self.path.to_path_buf(), limit: MAX_DIRECTORY_ENTRIES });
            }
            let kind = match kind {
                FileType::Unknown => self.stat(name)?.map_or(FileType::Unknown, |stat| file_type(&stat)),
                known => known,
            };
            let kind = match kind {
                FileType::RegularFile => EntryKind::File,
                FileType::Directory => EntryKind::Folder,
                _ => EntryKind::Other,
            };
            entries.push(Entry { name: name.to_owned(), kind });
            Ok(true)
        })?;
        entries.sort_unstable();
        Ok(entries)
    }

    /// Returns what a name stands for without following it, `None` if it is not there.
    pub(crate) fn stat(&self, name: impl AsRef<OsStr>) -> Result<Option<Stat>, FileError> {
        let name = plain(name.as_ref())?;
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(FileError::io("inspect", &self.path_of(name), error)),
        }
    }

    /// Returns what this directory's own entry says.
    pub(crate) fn own_stat(&self) -> Result<Stat, FileError> {
        fs::fstat(&self.fd).map_err(|error| FileError::io("inspect", &self.path, error))
    }

    /// Makes all changes to the names in this directory durable. A failure is final and is not retried: the system may
    /// have dropped the data that it could not write.
    pub(crate) fn sync(&self) -> Result<(), FileError> {
        match fs::fsync(&self.fd) {
            // Some file systems have no such operation for directories.
            Ok(()) | Err(Errno::INVAL) => {
                failpoint::step("directory synced");
                Ok(())
            }
            Err(error) => Err(FileError::io("flush", &self.path, error)),
        }
    }

    fn visit(&self, mut each: impl FnMut(&OsStr, FileType) -> Result<bool, FileError>) -> Result<(), FileError> {
        let failed = |error: Errno| FileError::io("list", &self.path, error);
        for entry in Dir::read_from(self.fd.as_fd()).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name != "." && name != ".." && !each(name, entry.file_type())? {
                break;
            }
        }
        Ok(())
    }

    /// Refuses a sub-directory that was found although its name is spelt differently (`A` for `a`).
    fn check_spelling(&self, name: &OsStr) -> Result<(), FileError> {
        let (mut exact, mut other) = (false, None);
        self.visit(|found, _| {
            exact = found == name;
            if found.eq_ignore_ascii_case(name) {
                other = Some(found.to_string_lossy().into_owned());
            }
            Ok(!exact)
        })?;
        match other {
            Some(found) if !exact => Err(FileError::OtherSpelling { path: self.path_of(name), found }),
            // Removed meanwhile: the handle is still good, the next step will notice.
            _ => Ok(()),
        }
    }

    fn explain_file(&self, operation: &'static str, name: &OsStr, error: Errno) -> FileError {
        match self.stat(name) {
            Ok(Some(stat)) if kind(&stat) != FileKind::Regular => {
                FileError::NotRegular { path: self.path_of(name), kind: kind(&stat) }
            }
            _ => FileError::io(operation, &self.path_of(name), error),
        }
    }

    fn explain_directory(&self, name: &OsStr, error: Errno) -> FileError {
        match self.stat(name) {
            Ok(Some(stat)) if kind(&stat) != FileKind::Directory => {
                FileError::NotDirectory { path: self.path_of(name), kind: kind(&stat) }
            }
            _ => FileError::io("open", &self.path_of(name), error),
        }
    }
}

/// Accepts a name that is exactly one path component.
fn plain(name: &OsStr) -> Result<&OsStr, FileError> {
    let bytes = name.as_bytes();
    if matches!(bytes, b"" | b"." | b"..") || bytes.iter().any(|b| matches!(b, b'/' | 0)) {
        return Err(FileError::UnsafeName { name: name.to_string_lossy().into_owned() });
    }
    Ok(name)
}

fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Translates the system's word for what a name stands for.
pub(crate) fn kind(stat: &Stat) -> FileKind {
    match file_type(stat) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::SymbolicLink,
        FileType::Fifo => FileKind::NamedPipe,
        FileType::Socket => FileKind::Socket,
        _ => FileKind::Device,
    }
}

fn require_regular(path: &Path, stat: &Stat) -> Result<(), FileError> {
    match kind(stat) {
        FileKind::Regular => Ok(()),
        kind => Err(FileError::NotRegular { path: path.to_owned(), kind }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> (tempfile::TempDir, Folder) {
        let directory = tempfile::tempdir().unwrap();
        let folder = Folder::open_top(directory.path()).unwrap();
        (directory, folder)
    }

    #[test]
    fn a_name_that_is_no_plain_component_is_refused() {
        let (_directory, folder) = scratch();
        for name in ["", ".", "..", "a/b", "/a", "../a", "a\0"] {
            assert!(matches!(folder.child(name), Err(FileError::UnsafeName { .. })), "{name:?}");
            assert!(matches!(folder.make(name), Err(FileError::UnsafeName { .. })), "{name:?}");
            assert!(matches!(folder.read(name, 1), Err(FileError::UnsafeName { .. })), "{name:?}");
            assert!(matches!(folder.replace(name, b""), Err(FileError::UnsafeName { .. })), "{name:?}");
            assert!(matches!(folder.remove_file(name), Err(FileError::UnsafeName { .. })), "{name:?}");
        }
        assert_eq!(folder.entries().unwrap(), []);
    }

    #[test]
    fn another_spelling_of_the_name_is_refused_where_capitals_do_not_count() {
        let (_directory, folder) = scratch();
        folder.make("Library").unwrap();
        // What a file system that folds case would let pass: the name opens although it is not listed.
        let error = folder.check_spelling(OsStr::new("library")).unwrap_err();
        assert!(matches!(&error, FileError::OtherSpelling { found, .. } if found == "Library"), "{error}");
        folder.make("library").unwrap();
        folder.check_spelling(OsStr::new("library")).unwrap();
        folder.check_spelling(OsStr::new("Library")).unwrap();
    }

    #[test]
    fn reading_stops_at_the_limit() {
        let (_directory, folder) = scratch();
        folder.replace("x", b"12345").unwrap();
        assert_eq!(folder.read("x", 5).unwrap().unwrap(), b"12345");
        assert!(matches!(folder.read("x", 4), Err(FileError::TooLarge { limit: 4, .. })));
    }

    #[test]
    fn a_staged_file_that_is_not_published_disappears() {
        let (_directory, folder) = scratch();
        let staged = folder.stage(b"x").unwrap();
        assert_eq!(folder.entries().unwrap().len(), 1);
        drop(staged);
        assert_eq!(folder.entries().unwrap(), []);
    }
}
