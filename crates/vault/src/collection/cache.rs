//! The cached metadata of a collection.

use std::collections::{BTreeMap, BTreeSet};

use countersign_tuf::RoleName;

use super::{CollectionError, LocalCollection, LockedCollection, METADATA, SEEN, UPLOAD};
use crate::error::FileError;
use crate::folder::{EntryKind, Folder, Staged};
use crate::limits::{MAX_DEPTH, MAX_METADATA_BYTES, MAX_SEEN_BYTES};

const SUFFIX: &str = ".json";
const DELEGATIONS: &str = "targets";

/// What a verified update changes in the cache; see [`LockedCollection::commit`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CacheUpdate {
    files: BTreeMap<RoleName, Vec<u8>>,
    forgotten: BTreeSet<RoleName>,
    delegations: Option<BTreeSet<RoleName>>,
    seen: Option<Vec<u8>>,
}

impl CacheUpdate {
    /// Starts an update that changes nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores a role's metadata, exactly the bytes that were downloaded.
    #[must_use]
    pub fn store(mut self, role: RoleName, bytes: Vec<u8>) -> Self {
        self.forgotten.remove(&role);
        self.files.insert(role, bytes);
        self
    }

    /// Removes a role's cached metadata. The root is never removed this way: it is what trust rests on.
    #[must_use]
    pub fn forget(mut self, role: RoleName) -> Self {
        if role != RoleName::Root {
            self.files.remove(&role);
            self.forgotten.insert(role);
        }
        self
    }

    /// Removes the cached files of all delegations but these and the ones stored by this update.
    #[must_use]
    pub fn keep_delegations(mut self, delegations: impl IntoIterator<Item = RoleName>) -> Self {
        self.delegations = Some(delegations.into_iter().collect());
        self
    }

    /// Stores the caller's record of the highest versions seen. Docker and notary do not look at it.
    #[must_use]
    pub fn seen(mut self, record: Vec<u8>) -> Self {
        self.seen = Some(record);
        self
    }
}

impl LocalCollection {
    /// Reads a role's cached metadata, `None` if there is none.
    ///
    /// # Errors
    /// When something is there that cannot be read: a caller must not take an unreadable root for a first visit.
    pub fn read(&self, role: &RoleName) -> Result<Option<Vec<u8>>, FileError> {
        let Some(folder) = self.role_folder(role)? else { return Ok(None) };
        folder.read(file_name(last_segment(role)), MAX_METADATA_BYTES)
    }

    /// Reads the record of the highest versions seen, as [`CacheUpdate::seen`] stored it.
    ///
    /// # Errors
    /// When something is there that cannot be read.
    pub fn read_seen(&self) -> Result<Option<Vec<u8>>, FileError> {
        self.sub_folder(METADATA)?.map_or(Ok(None), |folder| folder.read(SEEN, MAX_SEEN_BYTES))
    }

    /// Tells whether the collection was used before: any metadata or record of it is there, readable or not.
    ///
    /// True while `read(Root)` answers `None` means that the trust anchor was lost.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn has_any(&self) -> Result<bool, FileError> {
        let Some(folder) = self.sub_folder(METADATA)? else { return Ok(false) };
        let base = RoleName::BASE.iter().map(|role| file_name(role.as_str()));
        for name in base.chain([SEEN.to_owned()]) {
            if folder.stat(name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(!self.cached_delegations()?.is_empty())
    }

    /// Lists the delegations of which a file is cached.
    ///
    /// # Errors
    /// When a directory cannot be read.
    pub fn cached_delegations(&self) -> Result<BTreeSet<RoleName>, FileError> {
        let mut roles = BTreeSet::new();
        if let Some(folder) = self.sub_folder(METADATA)?.map_or(Ok(None), |metadata| metadata.child(DELEGATIONS))? {
            collect(&folder, DELEGATIONS, 1, &mut roles)?;
        }
        Ok(roles)
    }

    /// Opens the directory that a role's file lies in.
    fn role_folder(&self, role: &RoleName) -> Result<Option<Folder>, FileError> {
        let mut folder = self.sub_folder(METADATA)?;
        for segment in parent_segments(role) {
            let Some(open) = folder else { return Ok(None) };
            folder = open.child(segment)?;
        }
        Ok(folder)
    }
}

impl LockedCollection {
    /// Writes the result of a verified update.
    ///
    /// All files are first written and flushed under temporary names, so that a full disk leaves the old cache whole. Then
    /// they get their names one by one, each flushed before the next: root, delegations, targets, snapshot, timestamp,
    /// record of versions; last, what is not needed any more goes. From whatever a crash leaves the next run succeeds: each
    /// file is wholly old or wholly new, a new root is in force before anything that needs it, and the rest is verified
    /// again when it is read. A record of versions may then be older than the files beside it, never newer.
    ///
    /// # Errors
    /// When a file cannot be written; [`CollectionError::is_unwritable`] tells a full or read-only disk from the rest.
    pub fn commit(&self, update: CacheUpdate) -> Result<(), CollectionError> {
        let metadata = self.make_folder()?.make(METADATA)?;
        metadata.sweep()?;
        let CacheUpdate { files, forgotten, delegations, seen } = update;
        let kept = delegations.map(|kept| kept.into_iter().chain(files.keys().cloned()).collect::<BTreeSet<_>>());
        let mut staged = files.into_iter().map(|file| stage_role(&metadata, file)).collect::<Result<Vec<_>, _>>()?;
        staged.sort_by_key(|file| commit_rank(&file.role));
        let seen = seen.map(|bytes| stage(&metadata, SEEN, &bytes, MAX_SEEN_BYTES)).transpose()?;
        for StagedRole { role, folder, file } in staged {
            file.publish(&folder, file_name(last_segment(&role)))?;
        }
        if let Some(file) = seen {
            file.publish(&metadata, SEEN)?;
        }
        for role in &forgotten {
            self.remove_role(role)?;
        }
        if let Some(kept) = kept {
            for role in self.cached_delegations()?.difference(&kept) {
                self.remove_role(role)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_metadata(&self) -> Result<(), FileError> {
        for role in [RoleName::Timestamp, RoleName::Snapshot, RoleName::Targets] {
            self.remove_role(&role)?;
        }
        for role in self.cached_delegations()? {
            self.remove_role(&role)?;
        }
        let Some(folder) = self.sub_folder(METADATA)? else { return Ok(()) };
        folder.sweep()?;
        folder.remove_file(SEEN)?;
        folder.remove_file(UPLOAD)?;
        if let Some(delegations) = folder.child(DELEGATIONS)? {
            delegations.remove_empty_below()?;
            folder.remove_empty(DELEGATIONS)?;
        }
        folder.sync()?;
        self.remove_role(&RoleName::Root)
    }

    /// Removes a role's file and the directories that are empty without it.
    fn remove_role(&self, role: &RoleName) -> Result<(), FileError> {
        let mut chain = Vec::new();
        let Some(mut folder) = self.sub_folder(METADATA)? else { return Ok(()) };
        for segment in parent_segments(role) {
            let Some(child) = folder.child(segment)? else { return Ok(()) };
            chain.push((folder, segment));
            folder = child;
        }
        folder.remove_file(file_name(last_segment(role)))?;
        folder.sync()?;
        for (parent, segment) in chain.into_iter().rev() {
            parent.remove_empty(segment)?;
        }
        Ok(())
    }
}

struct StagedRole {
    role: RoleName,
    folder: Folder,
    file: Staged,
}

fn stage_role(metadata: &Folder, (role, bytes): (RoleName, Vec<u8>)) -> Result<StagedRole, FileError> {
    let folder = parent_segments(&role).try_fold(metadata.clone(), |folder, segment| folder.make(segment))?;
    let file = stage(metadata, &file_name(last_segment(&role)), &bytes, MAX_METADATA_BYTES)?;
    Ok(StagedRole { role, folder, file })
}

fn stage(folder: &Folder, name: &str, bytes: &[u8], limit: u64) -> Result<Staged, FileError> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(FileError::TooLarge { path: folder.path_of(name), limit });
    }
    folder.stage(bytes)
}

fn commit_rank(role: &RoleName) -> u8 {
    match role {
        RoleName::Root => 0,
        RoleName::Delegation(_) => 1,
        RoleName::Targets => 2,
        RoleName::Snapshot => 3,
        RoleName::Timestamp => 4,
    }
}

pub(super) fn file_name(segment: &str) -> String {
    format!("{segment}{SUFFIX}")
}

fn last_segment(role: &RoleName) -> &str {
    let name = role.as_str();
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}

fn parent_segments(role: &RoleName) -> impl Iterator<Item = &str> {
    let parent = role.as_str().rsplit_once('/').map(|(parent, _)| parent);
    parent.into_iter().flat_map(|parent| parent.split('/'))
}

fn collect(folder: &Folder, prefix: &str, depth: usize, roles: &mut BTreeSet<RoleName>) -> Result<(), FileError> {
    if depth > MAX_DEPTH {
        return Err(FileError::TooMany { path: folder.path().to_owned(), limit: MAX_DEPTH });
    }
    for entry in folder.entries()? {
        let Some(name) = entry.text() else { continue };
        if entry.kind == EntryKind::Folder {
            if let Some(child) = folder.child(name)? {
                collect(&child, &format!("{prefix}/{name}"), depth + 1, roles)?;
            }
        } else if let Some(stem) = name.strip_suffix(SUFFIX)
            && let Ok(role) = RoleName::parse(&format!("{prefix}/{stem}"))
        {
            roles.insert(role);
        }
    }
    Ok(())
}
