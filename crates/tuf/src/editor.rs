//! Making new metadata: staged changes applied to a verified view, and everything that changed signed anew.

mod delegations;
mod initial;
mod publication;

pub use initial::{BaseKeys, Initial, initialise};
pub use publication::{Publication, PublicationError};

use crate::change::Change;
use crate::collection::{BrokenReason, Collection};
use crate::expires::Expires;
use crate::json::{Canonical, MAX_INTEGER, write_wire};
use crate::metadata::{FileMeta, RoleKeys, Root, Snapshot, Targets};
use crate::name::{Gun, RoleName, Version};
use crate::paths::Paths;
use bytes::Bytes;
use countersign_crypto::PublicKey;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// Says why a change cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The role is not described by its parent.
    #[error("tuf: invalid role {0}. delegation does not exist")]
    UnknownRole(RoleName),
    /// The role cannot hold what is to be put there.
    #[error("tuf: invalid role {role}. {reason}")]
    InvalidRole {
        /// The role.
        role: RoleName,
        /// Why.
        reason: &'static str,
    },
    /// The role may not sign the name.
    #[error("could not add all targets: {role} may not sign {name}")]
    PathNotAllowed {
        /// The role.
        role: RoleName,
        /// The name.
        name: String,
    },
    /// The name cannot be published.
    #[error("a target name must not be empty or contain control characters: {0:?}")]
    Name(String),
    /// What the name is to stand for cannot be published.
    #[error("{name} cannot be published: {reason}")]
    Meta {
        /// The name.
        name: String,
        /// Why.
        reason: &'static str,
    },
    /// The role's present file cannot be verified: to build on it would be to vouch for it, to begin anew to lose it.
    #[error(
        "{role} cannot be changed, for what it holds now cannot be verified ({reason}): look at it, then witness it or remove it"
    )]
    Broken {
        /// The role.
        role: RoleName,
        /// Why it cannot be verified.
        reason: BrokenReason,
    },
    /// A key cannot be used for a role.
    #[error("key {id} cannot be used for {role}: {reason}")]
    UnusableKey {
        /// The role.
        role: RoleName,
        /// The canonical key id.
        id: countersign_crypto::KeyId,
        /// Why.
        reason: String,
    },
    /// The version of a file cannot be raised any more.
    #[error("{0} has reached the last possible version: rotate its key to start again")]
    LastVersion(RoleName),
}

/// A targets file being edited.
#[derive(Debug, Clone)]
struct Edited {
    payload: Targets,
    /// The version last published; none for a file that is new.
    published: Option<Version>,
    /// The bytes last published.
    file: Option<Bytes>,
    /// It has to be signed anew.
    dirty: bool,
    /// Keys were purged from it: it is signed anew where that is possible.
    purged: bool,
}

/// Metadata being edited.
#[derive(Debug)]
pub struct Editor {
    gun: Gun,
    now: Timestamp,
    root: Root,
    /// The root role as it was, whose keys must sign a new root as well.
    root_role: RoleKeys,
    root_file: Bytes,
    root_dirty: bool,
    /// Nothing of the collection is published yet.
    initial: bool,
    targets: BTreeMap<RoleName, Edited>,
    broken: BTreeMap<RoleName, Broken>,
    /// Versions of the files of delegations that were deleted, where a new one of the name has to go on.
    former: BTreeMap<RoleName, Version>,
    /// Roles that list purged keys and cannot be signed here.
    skipped: BTreeSet<RoleName>,
    snapshot: Option<Snapshot>,
}

/// A file that cannot be verified.
#[derive(Debug, Clone)]
struct Broken {
    content: Targets,
    reason: BrokenReason,
}

impl Editor {
    /// Begins to edit what is published.
    #[must_use]
    pub fn of(collection: &Collection, now: Timestamp) -> Self {
        let root: Root = (**collection.root()).clone();
        let edited = |file: &crate::verify::Verified<Targets>| Edited {
            payload: (**file).clone(),
            published: Some(file.version),
            file: Some(file.file().clone()),
            dirty: false,
            purged: false,
        };
        let broken = collection.broken().iter().map(|(role, broken)| {
            (role.clone(), Broken { content: broken.content.untrusted().clone(), reason: broken.reason.clone() })
        });
        Self {
            gun: collection.gun().clone(),
            now,
            root_role: root.trusted(&RoleName::Root).cloned().unwrap_or_default(),
            root_file: collection.root().file().clone(),
            root,
            root_dirty: false,
            initial: false,
            targets: collection.all_targets().map(|(role, file)| (role.clone(), edited(file))).collect(),
            broken: broken.collect(),
            former: BTreeMap::new(),
            skipped: BTreeSet::new(),
            snapshot: Some((**collection.snapshot()).clone()),
        }
    }

    /// Makes a file that cannot be verified anew, with the next version: of its names those stay that `keep` speaks for, and
    /// who may sign below is forgotten. Returns the names that did not stay; none if the role's file can be verified.
    pub fn begin_anew(&mut self, role: &RoleName, keep: impl Fn(&str, &FileMeta) -> bool) -> Vec<String> {
        let Some(broken) = self.broken.remove(role) else { return Vec::new() };
        let mut payload = Targets::empty(Expires::at(self.now));
        payload.version = broken.content.version;
        let mut dropped = Vec::new();
        for (name, meta) in broken.content.entries.iter() {
            if keep(&name, &meta) {
                payload.entries.insert(&name, meta);
            } else {
                dropped.push(name.into_owned());
            }
        }
        let published = Some(payload.version);
        self.targets.insert(role.clone(), Edited { payload, published, file: None, dirty: true, purged: false });
        dropped
    }

    /// Has the file of a role that is made for the first time go on after a version that the service had of that name.
    pub fn continue_after(&mut self, role: &RoleName, version: Version) {
        self.former.insert(role.clone(), version);
    }

    /// Makes one change; tells whether it changed anything.
    ///
    /// # Errors
    /// The change is not possible; the editor is of no use afterwards.
    pub fn apply(&mut self, change: &Change) -> Result<Effect, EditError> {
        match change {
            Change::AddTarget { role, name, meta } => self.add_target(role, name, meta.clone()),
            Change::RemoveTarget { role, name } => self.remove_target(role, name),
            Change::CreateDelegation { role, edit } => self.create_delegation(role, edit),
            Change::UpdateDelegation { role, edit } => self.update_delegation(role, edit),
            Change::PurgeKeys { below, keys } => Ok(self.purge_keys(below, keys)),
            Change::DeleteDelegation { role } => self.delete_delegation(role),
            Change::Witness { role } => self.witness(role),
            Change::ReplaceKeys { role, keys } => self.replace_keys(role, keys),
        }
    }

    fn add_target(&mut self, role: &RoleName, name: &str, meta: FileMeta) -> Result<Effect, EditError> {
        if !role.lists_targets() {
            return Err(EditError::InvalidRole { role: role.clone(), reason: "cannot add targets to this role" });
        }
        check_name(name)?;
        check_meta(name, &meta)?;
        let paths = self.effective_paths(role).ok_or_else(|| EditError::UnknownRole(role.clone()))?;
        if !paths.allow(name) {
            return Err(EditError::PathNotAllowed { role: role.clone(), name: name.to_owned() });
        }
        let edited = self.entry(role)?;
        let changed = edited.payload.entries.insert(name, meta);
        edited.dirty |= changed;
        Ok(Effect::of(changed))
    }

    fn remove_target(&mut self, role: &RoleName, name: &str) -> Result<Effect, EditError> {
        self.check_not_broken(role)?;
        let Some(edited) = self.targets.get_mut(role) else { return Ok(Effect::Nothing) };
        let changed = edited.payload.entries.remove(name);
        edited.dirty |= changed;
        Ok(Effect::of(changed))
    }

    /// Signs a role anew; a file rejected for its signatures or age is taken over as it is.
    fn witness(&mut self, role: &RoleName) -> Result<Effect, EditError> {
        if let (None, Some(broken)) = (self.targets.get(role), self.broken.remove(role)) {
            let (payload, published) = (broken.content, None);
            let mut edited = Edited { payload, published, file: None, dirty: true, purged: false };
            edited.published = Some(edited.payload.version);
            self.targets.insert(role.clone(), edited);
            return Ok(Effect::Changed);
        }
        let unknown = EditError::InvalidRole { role: role.clone(), reason: "this role is not known" };
        self.targets.get_mut(role).ok_or(unknown)?.dirty = true;
        Ok(Effect::Changed)
    }

    /// Replaces a base role's keys; former root certificates stay listed, so that old clients recognise former signers.
    fn replace_keys(&mut self, role: &RoleName, keys: &[PublicKey]) -> Result<Effect, EditError> {
        if !RoleName::BASE.contains(role) || keys.is_empty() {
            return Err(EditError::InvalidRole { role: role.clone(), reason: "only base roles have keys to replace" });
        }
        check_base_keys(&self.root, role, keys)?;
        let Some(trusted) = self.root.roles.get_mut(role.as_str()) else {
            return Err(EditError::UnknownRole(role.clone()));
        };
        let new = keys.iter().map(PublicKey::id).collect();
        let old = std::mem::replace(&mut trusted.key_ids, new);
        for key in keys {
            self.root.keys.insert(key.clone());
        }
        if *role != RoleName::Root {
            let used: BTreeSet<_> = self.root.roles.values().flat_map(|role| role.key_ids.clone()).collect();
            self.root.keys.retain(|id| used.contains(id) || !old.contains(id));
        }
        self.root_dirty = true;
        if *role == RoleName::Targets {
            self.entry(role)?.dirty = true;
        }
        Ok(Effect::Changed)
    }

    fn check_not_broken(&self, role: &RoleName) -> Result<(), EditError> {
        match self.broken.get(role) {
            Some(broken) => Err(EditError::Broken { role: role.clone(), reason: broken.reason.clone() }),
            None => Ok(()),
        }
    }

    /// Returns a role's file, a new and empty one if it has none.
    fn entry(&mut self, role: &RoleName) -> Result<&mut Edited, EditError> {
        self.check_not_broken(role)?;
        let (published, now) = (self.former.get(role).copied(), self.now);
        Ok(self.targets.entry(role.clone()).or_insert_with(|| Edited {
            payload: Targets::empty(Expires::at(now)),
            published,
            file: None,
            dirty: true,
            purged: false,
        }))
    }

    fn effective_paths(&self, role: &RoleName) -> Option<Paths> {
        let mut paths = Paths::everything();
        let mut chain = role.ancestors();
        chain.push(role.clone());
        for role in chain.iter().filter(|role| **role != RoleName::Targets) {
            let parent = self.targets.get(&role.parent()?)?;
            paths = paths.narrowed(&parent.payload.delegations.get(role)?.paths);
        }
        Some(paths)
    }
}

/// Refuses names that the reference cannot publish, or that would bend what a terminal shows.
fn check_name(name: &str) -> Result<(), EditError> {
    if name.is_empty() || name.chars().any(char::is_control) { Err(EditError::Name(name.to_owned())) } else { Ok(()) }
}

/// Refuses what no reader would accept.
fn check_meta(name: &str, meta: &FileMeta) -> Result<(), EditError> {
    let wrong = |reason| Err(EditError::Meta { name: name.to_owned(), reason });
    if meta.sha256.is_none() && meta.sha512.is_none() {
        return wrong("it has neither a sha256 nor a sha512 hash");
    }
    if meta.length > MAX_INTEGER {
        return wrong("its length is beyond 2^53");
    }
    let Some(custom) = &meta.custom else { return Ok(()) };
    let mut wire = Vec::with_capacity(custom.len());
    write_wire(&mut wire, custom);
    match Canonical::read(&wire.into()) {
        Ok(canonical) if canonical.as_bytes() == custom => Ok(()),
        _ => wrong("its custom data is not canonical JSON"),
    }
}

/// Refuses keys for a base role that can never sign, that are too few, or that another base role has: a service that names
/// somebody else's key as its own must not get it into a root.
fn check_base_keys(root: &Root, role: &RoleName, keys: &[PublicKey]) -> Result<(), EditError> {
    delegations::check_keys(role, keys)?;
    for key in keys {
        let id = key.canonical_id();
        let of_other = RoleName::BASE.iter().filter(|base| *base != role).find(|base| {
            let ids = root.trusted(base).map(|trusted| trusted.key_ids.as_slice()).unwrap_or_default();
            ids.iter().filter_map(|id| root.keys.get(id)).any(|other| other.canonical_id() == id)
        });
        if let Some(other) = of_other {
            let reason = format!("it is the key of {other}");
            return Err(EditError::UnusableKey { role: role.clone(), id, reason });
        }
        if *role == RoleName::Root && !key.key_type().is_certificate() {
            let reason = "a root key needs a certificate".to_owned();
            return Err(EditError::UnusableKey { role: role.clone(), id, reason });
        }
    }
    let distinct: BTreeSet<_> = keys.iter().map(PublicKey::canonical_id).collect();
    let threshold = root.trusted(role).map_or(1, |trusted| trusted.threshold);
    if (distinct.len() as u64) < threshold {
        return Err(EditError::InvalidRole { role: role.clone(), reason: "fewer keys than its threshold" });
    }
    Ok(())
}

/// Whether a change made a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Something has to be signed and published.
    Changed,
    /// All was as wanted already.
    Nothing,
}

impl Effect {
    fn of(changed: bool) -> Self {
        if changed { Self::Changed } else { Self::Nothing }
    }
}
