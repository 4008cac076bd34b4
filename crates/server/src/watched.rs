//! Values read from files, and read again when the files change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

/// Largest file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// When files are read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Only those that look different.
    Changed,
    /// All of them.
    Always,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    inode: u64,
    length: u64,
    modified: (i64, i64),
}

type Read<T, E> = Box<dyn Fn() -> Result<T, E> + Send + Sync>;

/// A value made of files.
pub(crate) struct Watched<T, E> {
    files: Vec<PathBuf>,
    read: Read<T, E>,
    current: ArcSwap<T>,
    seen: Mutex<Vec<Option<Look>>>,
}

impl<T, E> Watched<T, E> {
    /// Reads the value for the first time.
    pub(crate) fn new(files: Vec<PathBuf>, read: Read<T, E>) -> Result<Self, E> {
        // Looked at before they are read: a change in between is found the next time.
        let seen = looks(&files);
        let current = ArcSwap::from_pointee(read()?);
        Ok(Self { files, read, current, seen: Mutex::new(seen) })
    }

    /// Returns the value.
    pub(crate) fn get(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Reads again; tells whether it did. What cannot be read leaves the old value in use, and is tried anew the next time:
    /// what failed may be the machine, or the time, and not the files.
    pub(crate) fn refresh(&self, when: When) -> Result<bool, E> {
        let looks = looks(&self.files);
        let seen = || self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if when == When::Changed && *seen() == looks {
            return Ok(false);
        }
        self.current.store(Arc::new((self.read)()?));
        *seen() = looks;
        Ok(true)
    }
}

impl<T, E> std::fmt::Debug for Watched<T, E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").field("files", &self.files).finish_non_exhaustive()
    }
}

fn looks(files: &[PathBuf]) -> Vec<Option<Look>> {
    let look = |path: &PathBuf| {
        let found = fs_err::metadata(path).ok()?;
        let modified = (found.mtime(), found.mtime_nsec());
        Some(Look { inode: found.ino(), length: found.len(), modified })
    };
    files.iter().map(look).collect()
}

/// Reads a whole file that is not unreasonably large.
pub(crate) fn read_file(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(std::io::Error::other(format!("{} is larger than {MAX_FILE} bytes", path.display())));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_leaves_the_old_value() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs_err::write(&path, "1").unwrap();
        let file = path.clone();
        let read = move || String::from_utf8(read_file(&file).unwrap()).unwrap().parse::<u32>();
        let watched = Watched::new(vec![path.clone()], Box::new(read)).unwrap();
        assert_eq!((watched.refresh(When::Changed), *watched.get()), (Ok(false), 1));
        fs_err::write(&path, "22").unwrap();
        assert_eq!((watched.refresh(When::Changed), *watched.get()), (Ok(true), 22));
        fs_err::write(&path, "x").unwrap();
        assert!(watched.refresh(When::Changed).is_err());
        assert!(watched.refresh(When::Changed).is_err() && *watched.get() == 22, "it is tried anew");
        assert!(watched.refresh(When::Always).is_err());
    }

    #[test]
    fn what_could_not_be_read_once_is_read_the_next_time_although_the_file_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number");
        fs_err::write(&path, "1").unwrap();
        let failing = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let fails = Arc::clone(&failing);
        let read =
            move || if fails.load(std::sync::atomic::Ordering::SeqCst) { Err("too many open files") } else { Ok(()) };
        let watched = Watched::new(vec![path.clone()], Box::new(read)).unwrap();
        fs_err::write(&path, "22").unwrap();
        failing.store(true, std::sync::atomic::Ordering::SeqCst);
        assert!(watched.refresh(When::Changed).is_err());
        failing.store(false, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(watched.refresh(When::Changed), Ok(true));
        assert_eq!(watched.refresh(When::Changed), Ok(false));
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        assert!(read_file(Path::new("/dev/zero")).is_err());
    }
}
