//! The trust directory as a whole: opening, locking, and what is worth a warning.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use countersign_tuf::Gun;
use rustix::process::geteuid;

use crate::collection::{self, CollectionError, LocalCollection};
use crate::error::{FileError, LockError};
use crate::folder::{self, EntryKind, Folder};
use crate::keys::{KeyProtection, KeyStore};
use crate::limits::DEFAULT_LOCK_WAIT;
use crate::lock::FileLock;
use crate::token::{NewKeyPlace, Tokens};

/// The directory of private keys below the trust directory.
pub(crate) const PRIVATE: &str = "private";
/// The directory of collections below the trust directory.
pub(crate) const COLLECTIONS: &str = "tuf";
/// What only Countersign uses; docker and notary look at no other name than the two above.
pub(crate) const OWN: &str = ".countersign";
const LOCKS: &str = "locks";

const ANYONE_ELSE: u32 = 0o077;
const ANYONE_ELSE_WRITES: u32 = 0o022;

/// A trust directory: `~/.docker/trust` or `~/.notary`, shared in turns with docker and notary.
///
/// The directory's own path may be or contain a symbolic link; inside it none is followed. Directories are made with mode
/// 0700 and files with 0600 whatever the umask. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TrustDirectory {
    path: Arc<Path>,
    /// The directory once it is there.
    top: Arc<OnceLock<Folder>>,
    lock_wait: Duration,
    protection: KeyProtection,
    new_keys: NewKeyPlace,
    tokens: Tokens,
}

/// Something about the trust directory that its owner should hear about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// Others than the owner can read or change it.
    OpenToOthers {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to another user, who can change it at will.
    OwnedByAnother {
        /// The file or directory.
        path: PathBuf,
        /// The owner's numeric user id.
        owner: u32,
    },
    /// It is not a regular file or directory and is left out, as docker and notary do.
    LeftOut {
        /// The name met.
        path: PathBuf,
        /// What it is.
        kind: crate::FileKind,
    },
}

impl fmt::Display for Warning {
    /// Says what is wrong and what mends it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenToOthers { path, mode } => {
                let wanted = mode & !ANYONE_ELSE;
                write!(f, "{0} is open to others (mode {mode:o}): chmod {wanted:o} {0}", path.display())
            }
            Self::OwnedByAnother { path, owner } => {
                write!(f, "{} belongs to the user with the id {owner}, who can change it at will", path.display())
            }
            Self::LeftOut { path, kind } => write!(f, "{} is left out: it is {kind}", path.display()),
        }
    }
}

impl TrustDirectory {
    /// Opens an existing trust directory.
    ///
    /// # Errors
    /// [`FileError::Missing`] if it does not exist, otherwise what the system says.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FileError> {
        Ok(Self::of(Folder::open_top(path.as_ref())?))
    }

    /// Opens a trust directory that need not be there yet: reading finds nothing, and the first thing written creates it and
    /// its parents.
    ///
    /// # Errors
    /// What the system says when a directory is there and cannot be opened.
    pub fn at(path: impl AsRef<Path>) -> Result<Self, FileError> {
        match Self::open(&path) {
            Err(FileError::Missing { .. }) => {
                let (path, top) = (path.as_ref().into(), Arc::new(OnceLock::new()));
                Ok(Self::with(path, top))
            }
            other => other,
        }
    }

    /// Opens a trust directory and creates it, and its parents, if it is missing.
    ///
    /// # Errors
    /// What the system says when a directory can be neither opened nor made.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, FileError> {
        Ok(Self::of(Folder::create_top(path.as_ref())?))
    }

    fn of(top: Folder) -> Self {
        Self::with(top.path().into(), Arc::new(OnceLock::from(top)))
    }

    fn with(path: Arc<Path>, top: Arc<OnceLock<Folder>>) -> Self {
        Self {
            path,
            top,
            lock_wait: DEFAULT_LOCK_WAIT,
            protection: KeyProtection::default(),
            new_keys: NewKeyPlace::default(),
            tokens: Tokens::default(),
        }
    }

    /// Returns the directory if it is there, also if another process has made it meanwhile.
    fn existing(&self) -> Result<Option<Folder>, FileError> {
        if let Some(top) = self.top.get() {
            return Ok(Some(top.clone()));
        }
        match Folder::open_top(&self.path) {
            Ok(top) => Ok(Some(self.top.get_or_init(|| top).clone())),
            Err(FileError::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn created(&self) -> Result<Folder, FileError> {
        if let Some(top) = self.top.get() {
            return Ok(top.clone());
        }
        let top = Folder::create_top(&self.path)?;
        Ok(self.top.get_or_init(|| top).clone())
    }

    /// Chooses how keys are protected that are written from now on.
    #[must_use]
    pub fn protecting(mut self, protection: KeyProtection) -> Self {
        self.protection = protection;
        self
    }

    /// Names the tokens that keys can be on, and where keys are made from now on.
    #[must_use]
    pub fn with_tokens(mut self, tokens: Tokens, new_keys: NewKeyPlace) -> Self {
        (self.tokens, self.new_keys) = (tokens, new_keys);
        self
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    pub(crate) fn new_key_place(&self) -> &NewKeyPlace {
        &self.new_keys
    }

    pub(crate) fn protection(&self) -> KeyProtection {
        self.protection
    }

    /// Sets how long to wait for a lock that another process holds.
    #[must_use]
    pub fn with_lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// Returns the path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the place of one collection; nothing is read or made yet.
    ///
    /// # Errors
    /// [`CollectionError::ReservedSegment`] for a name whose files could be another collection's files.
    pub fn collection(&self, gun: &Gun) -> Result<LocalCollection, CollectionError> {
        LocalCollection::new(self.clone(), gun)
    }

    /// Returns the store of private keys; nothing is read or made yet.
    #[must_use]
    pub fn keys(&self) -> KeyStore {
        KeyStore::new(self.clone())
    }

    /// Lists the collections of which metadata is cached, in the order of their names.
    ///
    /// # Errors
    /// When a directory cannot be read or there is no end to them.
    pub fn collections(&self) -> Result<Vec<Gun>, FileError> {
        collection::list(self)
    }

    /// Looks at permissions, owners and kinds: of the directory, the key directories and every key file.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn warnings(&self) -> Result<Vec<Warning>, FileError> {
        let mut warnings = Vec::new();
        let Some(top) = self.existing()? else { return Ok(warnings) };
        note(&mut warnings, self.path(), &top.own_stat()?, ANYONE_ELSE);
        match top.stat(COLLECTIONS)? {
            Some(stat) if folder::kind(&stat) == crate::FileKind::Directory => {
                note(&mut warnings, &top.path_of(COLLECTIONS), &stat, ANYONE_ELSE_WRITES);
            }
            Some(stat) => {
                warnings.push(Warning::LeftOut { path: top.path_of(COLLECTIONS), kind: folder::kind(&stat) });
            }
            None => {}
        }
        if let Some(private) = top.child(PRIVATE)? {
            note(&mut warnings, private.path(), &private.own_stat()?, ANYONE_ELSE);
            note_keys(&mut warnings, &private, crate::limits::MAX_DEPTH)?;
        }
        Ok(warnings)
    }

    /// Lists files that are written under a temporary name: by a process that is at it, or that died. The next writer sweeps
    /// what nobody needs.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn temporary_files(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut found = Vec::new();
        if let Some(top) = self.existing()? {
            temporary_files(&top, crate::limits::MAX_DEPTH, &mut found)?;
        }
        Ok(found)
    }

    pub(crate) fn folder(&self, name: &str) -> Result<Option<Folder>, FileError> {
        self.existing()?.map_or(Ok(None), |top| top.child(name))
    }

    pub(crate) fn make_folder(&self, name: &str) -> Result<Folder, FileError> {
        self.created()?.make(name)
    }

    pub(crate) fn lock(&self, name: &str) -> Result<FileLock, LockError> {
        let locks = self.created()?.make(OWN)?.make(LOCKS)?;
        FileLock::acquire(&locks, name, self.lock_wait)
    }
}

fn note(warnings: &mut Vec<Warning>, path: &Path, stat: &rustix::fs::Stat, unwanted: u32) {
    let mode = wide(stat.st_mode) & 0o7777;
    if mode & unwanted != 0 {
        warnings.push(Warning::OpenToOthers { path: path.to_owned(), mode });
    }
    if stat.st_uid != geteuid().as_raw() {
        warnings.push(Warning::OwnedByAnother { path: path.to_owned(), owner: stat.st_uid });
    }
}

/// The width of mode bits differs between systems.
fn wide(mode: impl Into<u32>) -> u32 {
    mode.into()
}

fn temporary_files(folder: &Folder, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), FileError> {
    if depth == 0 {
        return Err(FileError::TooMany { path: folder.path().to_owned(), limit: crate::limits::MAX_DEPTH });
    }
    for entry in folder.entries()? {
        match entry.kind {
            EntryKind::Folder => {
                if let Some(child) = folder.child(&entry.name)? {
                    temporary_files(&child, depth - 1, found)?;
                }
            }
            EntryKind::File if entry.text().is_some_and(folder::is_temporary_name) => {
                found.push(folder.path_of(&entry.name));
            }
            EntryKind::File | EntryKind::Other => {}
        }
    }
    Ok(())
}

fn note_keys(warnings: &mut Vec<Warning>, folder: &Folder, depth: usize) -> Result<(), FileError> {
    if depth == 0 {
        return Err(FileError::TooMany { path: folder.path().to_owned(), limit: crate::limits::MAX_DEPTH });
    }
    for entry in folder.entries()? {
        let path = folder.path_of(&entry.name);
        let Some(stat) = folder.stat(&entry.name)? else { continue };
        match entry.kind {
            EntryKind::Folder => {
                note(warnings, &path, &stat, ANYONE_ELSE);
                if let Some(child) = folder.child(&entry.name)? {
                    note_keys(warnings, &child, depth - 1)?;
                }
            }
            EntryKind::File => note(warnings, &path, &stat, ANYONE_ELSE),
            EntryKind::Other => warnings.push(Warning::LeftOut { path, kind: folder::kind(&stat) }),
        }
    }
    Ok(())
}
