//! One collection's files: the cached metadata and the staged changes.
//!
//! # From name to path
//!
//! The files of a collection lie where docker and notary look for them: `tuf/<GUN>/metadata/<role>.json` and
//! `tuf/<GUN>/changelist/…`, with the name's slashes as directories (Notary protocol, trust directory layout). Each segment
//! is opened by itself, relative to the one before and without following links, so that no name leads out.
//!
//! Two collections never share a file. The role `targets/metadata/root` of the collection `a` and the root of a collection
//! `a/metadata/targets` would be one file, and whoever may publish in the first could plant the trust anchor of the second.
//! So a name with a segment `metadata` or `changelist` (in any capitals) is refused, unless that segment is
//! - the last: the files are then in `…/metadata/metadata` or `…/changelist/metadata`, where the outer collection has none,
//!   for role names begin with `targets/` and staged changes are files, or
//! - the first: there is no collection with an empty name.
//!
//! Images may thus be called `metadata`, which some are. On file systems that do not tell capitals apart, a directory that is
//! there in another spelling is refused. Names are ASCII, so that there is no Unicode form to confuse.

mod cache;
mod changelist;
mod upload_note;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_crypto::digest::sha256;
use countersign_tuf::{Gun, RoleName};

use crate::directory::{COLLECTIONS, TrustDirectory};
use crate::error::{FileError, LockError};
use crate::folder::{EntryKind, Folder};
use crate::limits::MAX_DEPTH;
use crate::lock::FileLock;

pub use cache::CacheUpdate;
pub use changelist::{ChangeId, Changes, SkippedChange, StagedChange};

const METADATA: &str = "metadata";
const CHANGELIST: &str = "changelist";
/// The record of rollback floors. It lies in the `metadata` directory, where the other clients open files by role name only;
/// beside that directory it could be taken for a staged change of another collection (`…/changelist`).
const SEEN: &str = "seen.json";
/// The note of an upload on its way, beside the record and for the same reason; its name is no role's file.
const UPLOAD: &str = "upload.note";

/// Says why a collection's files could not be used.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// The name is legal, but its files could be those of another collection.
    #[error(
        "the collection {gun} cannot be kept: the path segment {segment:?} may only come first or last, because its files could be those of another collection"
    )]
    ReservedSegment {
        /// The collection.
        gun: Gun,
        /// The segment that is in the way.
        segment: String,
    },
    /// A staged change, or all of them together, is larger than allowed.
    #[error("the staged changes of {gun} are too many or too large: at most {limit} {unit}")]
    TooManyChanges {
        /// The collection.
        gun: Gun,
        /// The limit passed.
        limit: u64,
        /// What the limit counts.
        unit: &'static str,
    },
    /// There is no later name for a staged change: the last one there claims the end of time.
    #[error("no change can be staged for {gun} after {last}: remove that file")]
    NoLaterChange {
        /// The collection.
        gun: Gun,
        /// The file in the way.
        last: ChangeId,
    },
    /// The collection's lock was not obtained.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file or directory could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}

impl CollectionError {
    /// Tells whether the cause is a full or read-only file system, or missing permission: what was verified stays verified,
    /// it only could not be kept.
    #[must_use]
    pub fn is_unwritable(&self) -> bool {
        match self {
            Self::Lock(error) => error.is_unwritable(),
            Self::File(error) => error.is_unwritable(),
            _ => false,
        }
    }
}

/// The files of one collection in a trust directory, for reading.
///
/// Writing takes the collection's lock: see [`LocalCollection::lock`].
#[derive(Debug, Clone)]
pub struct LocalCollection {
    directory: TrustDirectory,
    gun: Gun,
    path: Arc<Path>,
}

/// A collection that no other process of ours writes to as long as this value lives. Docker and notary take no lock.
#[derive(Debug)]
pub struct LockedCollection {
    collection: LocalCollection,
    lock: FileLock,
}

impl LocalCollection {
    pub(crate) fn new(directory: TrustDirectory, gun: &Gun) -> Result<Self, CollectionError> {
        if let Some(segment) = reserved_segment(gun) {
            return Err(CollectionError::ReservedSegment { gun: gun.clone(), segment: segment.to_owned() });
        }
        let mut path = directory.path().join(COLLECTIONS);
        path.extend(gun.segments());
        Ok(Self { directory, gun: gun.clone(), path: path.into() })
    }

    /// Returns the collection's name.
    #[must_use]
    pub fn gun(&self) -> &Gun {
        &self.gun
    }

    /// Returns the collection's directory, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the collection's lock and takes it.
    ///
    /// Whoever updates holds it from reading the cache to committing, so that two processes cannot lower each other's
    /// rollback floor.
    ///
    /// # Errors
    /// [`LockError::Busy`] after the directory's waiting time, otherwise what the system says.
    pub fn lock(&self) -> Result<LockedCollection, LockError> {
        let name = format!("collection-{}.lock", sha256(self.gun.as_str().as_bytes()).hex());
        let lock = self.directory.lock(&name)?;
        Ok(LockedCollection { collection: self.clone(), lock })
    }

    /// Opens the collection's directory.
    fn folder(&self) -> Result<Option<Folder>, FileError> {
        let mut folder = self.directory.folder(COLLECTIONS)?;
        for segment in self.gun.segments() {
            let Some(open) = folder else { return Ok(None) };
            folder = open.child(segment)?;
        }
        Ok(folder)
    }

    fn sub_folder(&self, name: &str) -> Result<Option<Folder>, FileError> {
        self.folder()?.map_or(Ok(None), |folder| folder.child(name))
    }
}

impl std::ops::Deref for LockedCollection {
    type Target = LocalCollection;

    fn deref(&self) -> &LocalCollection {
        &self.collection
    }
}

impl LockedCollection {
    /// Returns the lock's file, for messages.
    #[must_use]
    pub fn lock_path(&self) -> &Path {
        self.lock.path()
    }

    /// Removes the collection's metadata and staged changes, not its private keys and not the collections whose names
    /// continue this one's (`a/b` survives the removal of `a`; the reference removes both).
    ///
    /// The root goes last: a crash in between leaves a collection that is merely out of date.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> Result<(), CollectionError> {
        self.clear_changes()?;
        self.remove_metadata()?;
        self.remove_empty_folders()?;
        Ok(())
    }

    fn make_folder(&self) -> Result<Folder, FileError> {
        self.gun.segments().try_fold(self.directory.make_folder(COLLECTIONS)?, |folder, segment| folder.make(segment))
    }

    fn remove_empty_folders(&self) -> Result<(), FileError> {
        let mut chain: Vec<(Folder, &str)> = Vec::new();
        let mut next = self.directory.folder(COLLECTIONS)?;
        for segment in self.gun.segments() {
            let Some(folder) = next else { break };
            next = folder.child(segment)?;
            chain.push((folder, segment));
        }
        if let Some(folder) = next {
            folder.remove_empty(METADATA)?;
            folder.remove_empty(CHANGELIST)?;
        }
        for (folder, segment) in chain.into_iter().rev() {
            if folder.remove_empty(segment)? == crate::Removal::Absent {
                break;
            }
            folder.sync()?;
        }
        Ok(())
    }
}

/// Returns the segment that makes a name's files ambiguous.
fn reserved_segment(gun: &Gun) -> Option<&str> {
    let mut segments: Vec<&str> = gun.segments().skip(1).collect();
    segments.pop();
    segments.into_iter().find(|segment| is_reserved(segment))
}

fn is_reserved(segment: &str) -> bool {
    segment.eq_ignore_ascii_case(METADATA) || segment.eq_ignore_ascii_case(CHANGELIST)
}

/// Lists the collections below `tuf` that have any metadata.
pub(crate) fn list(directory: &TrustDirectory) -> Result<Vec<Gun>, FileError> {
    let mut found = Vec::new();
    if let Some(top) = directory.folder(COLLECTIONS)? {
        collect(&top, &mut PathBuf::new(), &mut found)?;
    }
    found.sort_unstable();
    Ok(found)
}

fn collect(folder: &Folder, name: &mut PathBuf, found: &mut Vec<Gun>) -> Result<(), FileError> {
    if name.components().count() > MAX_DEPTH {
        return Err(FileError::TooMany { path: folder.path().to_owned(), limit: MAX_DEPTH });
    }
    for entry in folder.entries()?.iter().filter(|entry| entry.kind == EntryKind::Folder) {
        let Some(child) = folder.child(&entry.name)? else { continue };
        name.push(&entry.name);
        if let Some(gun) = name.to_str().and_then(|text| Gun::parse(text).ok())
            && reserved_segment(&gun).is_none()
        {
            if has_base_role(&child)? {
                found.push(gun);
            }
            collect(&child, name, found)?;
        }
        name.pop();
    }
    Ok(())
}

fn has_base_role(folder: &Folder) -> Result<bool, FileError> {
    let Some(metadata) = folder.child(METADATA)? else { return Ok(false) };
    for role in RoleName::BASE {
        if metadata.stat(cache::file_name(role.as_str()))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}
