//! A folder that nobody else can open, in memory where the machine has such a place, gone when it is dropped.
//!
//! Whoever has a folder holds a lock on it, which the kernel releases however the process ends. So the next run finds what a
//! killed one left: a folder that carries our name, is ours, and that nobody holds. The name says as well which process made
//! it (boot, process id, start), so that one that lives is left alone even where locks do not work.

mod maker;

use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use maker::Maker;
use rustix::fs::{FileType, FlockOperation, Mode, OFlags};
use std::fs::Permissions;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// How the names of all such folders begin.
const PREFIX: &str = "countersign-ci-";
/// The kernel's numbers of file systems in memory (`linux/magic.h`).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];
/// Times that another folder is made because somebody swept the first one away before it was locked.
const ATTEMPTS: u32 = 5;
/// Files deeper than this are not overwritten, only removed: nothing of ours is.
const MAX_DEPTH: u32 = 16;
/// The most that is overwritten of one file, in bytes: keys and configurations are small.
const MAX_OVERWRITTEN: u64 = 16 << 20;

/// Where a folder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    /// In memory.
    Memory,
    /// On a disk: files are overwritten before they are removed.
    Disk,
}

/// A folder that is there for as long as this value.
#[derive(Debug)]
pub(super) struct PrivateFolder {
    path: PathBuf,
    medium: Medium,
    _held: OwnedFd,
}

impl PrivateFolder {
    /// Makes one in the best place: the person's own folder in memory, the machine's, a temporary one.
    pub(super) fn make() -> Result<Self, CliError> {
        let mut failure = None;
        for (place, medium) in places() {
            match Self::make_in(&place, medium) {
                Ok(folder) => {
                    if medium == Medium::Disk {
                        message(
                            "WARNING: there is no file system in memory here: the keys are on disk until they are overwritten and removed",
                        );
                    }
                    return Ok(folder);
                }
                Err(error) => failure = Some(error),
            }
        }
        let reason = failure.map_or_else(|| "there is no temporary folder".to_owned(), |error| error.to_string());
        Err(CliError::new(Kind::Local, format!("no private folder can be made for the keys: {reason}")))
    }

    fn make_in(place: &Path, medium: Medium) -> std::io::Result<Self> {
        for _ in 0..ATTEMPTS {
            let prefix = format!("{PREFIX}{}-", Maker::this());
            let made = tempfile::Builder::new()
                .prefix(&prefix)
                .rand_bytes(8)
                .permissions(Permissions::from_mode(0o700))
                .tempdir_in(place)?;
            let held = open(made.path())?;
            // Where locks do not work, the name speaks for this process.
            let _ = rustix::fs::flock(&held, FlockOperation::LockExclusive);
            if rustix::fs::fstat(&held)?.st_nlink > 0 && made.path().is_dir() {
                return Ok(Self { path: made.keep(), medium, _held: held });
            }
        }
        Err(std::io::Error::other("other processes remove it again and again"))
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder and says whether it is gone.
    pub(super) fn close(self) -> Result<(), CliError> {
        let (path, medium) = (self.path.clone(), self.medium);
        remove(&path, medium).map_err(|error| CliError::new(Kind::Local, not_removed(&path, &error)))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.path, self.medium) {
            message(not_removed(&self.path, &error));
        }
    }
}

fn not_removed(path: &Path, error: &std::io::Error) -> String {
    let path = harmless(&path.display().to_string());
    format!("the private keys in {path} could not be removed, remove them by hand: {error}")
}

/// Removes what killed runs left, and returns how many folders that were.
pub(super) fn sweep() -> usize {
    places().iter().map(|(place, medium)| sweep_place(place, *medium)).sum()
}

fn sweep_place(place: &Path, medium: Medium) -> usize {
    let Ok(entries) = std::fs::read_dir(place) else { return 0 };
    let mut swept = 0;
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let Some(maker) = name.strip_prefix(PREFIX) else { continue };
        let path = entry.path();
        // Somebody else's, or a link with our name: not ours to touch.
        let Ok(held) = open(&path) else { continue };
        let ours = rustix::fs::fstat(&held).is_ok_and(|stat| stat.st_uid == rustix::process::geteuid().as_raw());
        let free = || rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !ours || Maker::lives(maker) || !free() {
            continue;
        }
        match remove(&path, medium) {
            Ok(()) => swept += 1,
            Err(error) => message(not_removed(&path, &error)),
        }
    }
    swept
}

fn open(path: &Path) -> std::io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// The places for private folders, the best first.
fn places() -> Vec<(PathBuf, Medium)> {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && is_own(path));
    let candidates = own.into_iter().chain([PathBuf::from("/dev/shm")]);
    let mut places: Vec<_> = candidates.filter(|path| in_memory(path)).map(|path| (path, Medium::Memory)).collect();
    let temporary = std::env::temp_dir();
    let medium = if in_memory(&temporary) { Medium::Memory } else { Medium::Disk };
    places.push((temporary, medium));
    places
}

fn is_own(path: &Path) -> bool {
    let uid = rustix::process::geteuid().as_raw();
    path.metadata().is_ok_and(|found| found.is_dir() && found.uid() == uid && found.mode().trailing_zeros() >= 6)
}

fn in_memory(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| IN_MEMORY.contains(&kind)))
}

fn remove(path: &Path, medium: Medium) -> std::io::Result<()> {
    if medium == Medium::Disk {
        overwrite(path, 0);
    }
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Overwrites the files below a folder, as far as that goes: they are removed in any case.
fn overwrite(folder: &Path, depth: u32) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() && depth < MAX_DEPTH {
            overwrite(&entry.path(), depth + 1);
        } else if kind.is_file() {
            let _ = overwrite_file(&entry.path());
        }
    }
}

fn overwrite_file(path: &Path) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let opened = rustix::fs::open(path, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&opened)?;
    // A file with another name elsewhere is not the folder's own.
    if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile || found.st_nlink != 1 {
        return Ok(());
    }
    let mut file = std::fs::File::from(opened);
    let length = u64::try_from(found.st_size).unwrap_or(0).min(MAX_OVERWRITTEN);
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), length), &mut file)?;
    file.flush()?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(place: &Path) -> PrivateFolder {
        PrivateFolder::make_in(place, Medium::Disk).unwrap()
    }

    #[test]
    fn a_folder_is_private_and_goes_with_its_value_also_in_a_panic() {
        let place = tempfile::tempdir().unwrap();
        let path = folder(place.path()).path().to_owned();
        assert!(!path.exists());
        let made = folder(place.path());
        assert_eq!(made.path().metadata().unwrap().mode() & 0o777, 0o700);
        std::fs::write(made.path().join("key"), "secret").unwrap();
        made.close().unwrap();
        let path = std::sync::Mutex::new(PathBuf::new());
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let made = folder(place.path());
            made.path().clone_into(&mut path.lock().unwrap());
            panic!("in the middle");
        }));
        assert!(panicked.is_err());
        assert!(!path.into_inner().unwrap().exists());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_on_a_disk_is_overwritten_before_it_is_removed() {
        let place = tempfile::tempdir().unwrap();
        let made = folder(place.path());
        std::fs::create_dir(made.path().join("private")).unwrap();
        let file = made.path().join("private/key");
        std::fs::write(&file, "secret").unwrap();
        let still_open = std::fs::File::open(&file).unwrap();
        // Another name of somebody's file is not overwritten.
        let precious = place.path().join("precious");
        std::fs::write(&precious, "precious").unwrap();
        std::fs::hard_link(&precious, made.path().join("private/linked")).unwrap();
        std::os::unix::fs::symlink(&precious, made.path().join("link")).unwrap();
        drop(made);
        assert_eq!(std::io::read_to_string(still_open).unwrap(), "\0\0\0\0\0\0");
        assert_eq!(std::fs::read_to_string(precious).unwrap(), "precious");
    }

    #[test]
    fn folders_of_those_who_live_stay_and_those_of_the_dead_go() {
        let place = tempfile::tempdir().unwrap();
        let living = folder(place.path());
        // Of a process that there is not: its number is taken by nobody, or by one that started at another time.
        let dead = place.path().join(format!("{PREFIX}00000000-1-1-abcdefgh"));
        std::fs::create_dir_all(dead.join("trust")).unwrap();
        std::fs::write(dead.join("trust/key"), "secret").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), place.path().join(format!("{PREFIX}link"))).unwrap();
        std::fs::create_dir(place.path().join("other")).unwrap();
        // Dead by its name, as one of another process namespace is, but held.
        let held = place.path().join(format!("{PREFIX}00000000-1-1-heldheld"));
        std::fs::create_dir(&held).unwrap();
        let lock = open(&held).unwrap();
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).unwrap();
        assert_eq!(sweep_place(place.path(), Medium::Disk), 1);
        assert!(!dead.exists() && living.path().is_dir() && held.is_dir() && elsewhere.path().is_dir());
        assert!(place.path().join("other").is_dir());
        drop(lock);
        assert_eq!(sweep_place(place.path(), Medium::Disk), 1);
        assert!(!held.exists() && living.path().is_dir());
    }

    #[test]
    fn memory_is_told_from_disk() {
        assert!(!in_memory(Path::new("/proc")) && !in_memory(Path::new("/nowhere")));
        if Path::new("/dev/shm").is_dir() {
            assert!(in_memory(Path::new("/dev/shm")));
        }
    }
}
