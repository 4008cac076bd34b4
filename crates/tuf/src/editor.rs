//! Making new metadata: staged changes applied to a verified view, and everything that changed signed anew.

mod delegations;
mod initial;
mod publication;

pub use initial::{BaseKeys, Initial, initialise};
pub use publication::{Publication, PublicationError};

use crate::change::Change;
use crate::collection::{Collection, Paths};
use crate::expires::Expires;
use crate::metadata::{FileMeta, Root, RoleKeys, Snapshot, Targets};
use crate::name::{Gun, RoleName, Version};
use bytes::Bytes;
use jiff::Timestamp;
use std::collections::BTreeMap;

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
    /// A key of a delegation can never sign.
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
    dirty: bool,
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
    broken: BTreeMap<RoleName, Targets>,
    snapshot: Option<Snapshot>,
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
        };
        let broken = collection.broken().iter().map(|(role, broken)| (role.clone(), broken.content.untrusted().clone()));
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
            snapshot: Some((**collection.snapshot()).clone()),
        }
    }

    /// Makes one change; tells whether it changed anything.
    ///
    /// # Errors
    /// The change is not possible; the editor is of no use afterwards.
    pub fn apply(&mut self, change: &Change) -> Result<Effect, EditError> {
        match change {
            Change::AddTarget { role, name, meta } => self.add_target(role, name, meta.clone()),
            Change::RemoveTarget { role, name } => Ok(self.remove_target(role, name)),
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
        if name.is_empty() || name.chars().any(|c| c < ' ') {
            return Err(EditError::Name(name.to_owned()));
        }
        let paths = self.effective_paths(role).ok_or_else(|| EditError::UnknownRole(role.clone()))?;
        if !paths.allow(name) {
            return Err(EditError::PathNotAllowed { role: role.clone(), name: name.to_owned() });
        }
        let edited = self.entry(role);
        let changed = edited.payload.entries.insert(name, meta);
        edited.dirty |= changed;
        Ok(Effect::of(changed))
    }

    fn remove_target(&mut self, role: &RoleName, name: &str) -> Effect {
        let Some(edited) = self.targets.get_mut(role) else { return Effect::Nothing };
        let changed = edited.payload.entries.remove(name);
        edited.dirty |= changed;
        Effect::of(changed)
    }

    /// Signs a role anew; a file rejected for its signatures or age is taken over as it is.
    fn witness(&mut self, role: &RoleName) -> Result<Effect, EditError> {
        if let (None, Some(broken)) = (self.targets.get(role), self.broken.remove(role)) {
            let published = Some(broken.version);
            self.targets.insert(role.clone(), Edited { payload: broken, published, file: None, dirty: true });
            return Ok(Effect::Changed);
        }
        let unknown = EditError::InvalidRole { role: role.clone(), reason: "this role is not known" };
        self.targets.get_mut(role).ok_or(unknown)?.dirty = true;
        Ok(Effect::Changed)
    }

    /// Replaces a base role's keys; former root certificates stay listed, so that old clients recognise former signers.
    fn replace_keys(&mut self, role: &RoleName, keys: &[countersign_crypto::PublicKey]) -> Result<Effect, EditError> {
        let base = RoleName::BASE.contains(role) && !keys.is_empty();
        let invalid = EditError::InvalidRole { role: role.clone(), reason: "only base roles have keys to replace" };
        let Some(trusted) = self.root.roles.get_mut(role.as_str()).filter(|_| base) else { return Err(invalid) };
        trusted.key_ids = keys.iter().map(countersign_crypto::PublicKey::id).collect();
        keys.iter().for_each(|key| self.root.keys.insert(key.clone()));
        let used: std::collections::BTreeSet<_> = self.root.roles.values().flat_map(|role| role.key_ids.clone()).collect();
        let certificates: Vec<_> =
            self.root.keys.iter().filter(|(_, key)| key.key_type().is_certificate()).map(|(id, _)| *id).collect();
        self.root.keys.retain(|id| used.contains(id) || certificates.contains(id));
        self.root_dirty = true;
        if *role == RoleName::Targets {
            self.entry(role).dirty = true;
        }
        Ok(Effect::Changed)
    }

    /// Returns a role's file, a new and empty one if it has none; a rejected one is continued in its version only.
    fn entry(&mut self, role: &RoleName) -> &mut Edited {
        let published = self.broken.get(role).map(|broken| broken.version);
        let now = self.now;
        self.targets.entry(role.clone()).or_insert_with(|| Edited {
            payload: Targets::empty(Expires::at(now)),
            published,
            file: None,
            dirty: true,
        })
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
