//! Changes to delegations.

use super::{EditError, Editor, Effect};
use crate::change::DelegationEdit;
use crate::metadata::{DelegatedRole, Delegations, RoleKeys};
use crate::name::RoleName;
use countersign_crypto::{KeyId, PublicKey};
use std::collections::BTreeSet;

impl Editor {
    pub(super) fn create_delegation(&mut self, role: &RoleName, edit: &DelegationEdit) -> Result<Effect, EditError> {
        let parent = parent_of(role)?;
        if parent != RoleName::Targets && self.effective_paths(&parent).is_none() {
            return Err(EditError::UnknownRole(parent));
        }
        let exists = self.targets.get(&parent).is_some_and(|file| file.payload.delegations.get(role).is_some());
        if exists {
            return self.change_delegation(role, edit);
        }
        let threshold = edit.threshold.unwrap_or(0);
        if threshold < 1 {
            return Err(EditError::InvalidRole { role: role.clone(), reason: "insufficient threshold" });
        }
        let new =
            DelegatedRole { name: role.clone(), keys: RoleKeys { key_ids: Vec::new(), threshold }, paths: Vec::new() };
        let file = self.entry(&parent)?;
        file.payload.delegations.roles.get_or_insert_with(Vec::new).push(new);
        file.dirty = true;
        self.change_delegation(role, edit).map(|_| Effect::Changed)
    }

    pub(super) fn update_delegation(&mut self, role: &RoleName, edit: &DelegationEdit) -> Result<Effect, EditError> {
        let parent = parent_of(role)?;
        let exists = self.targets.get(&parent).is_some_and(|file| file.payload.delegations.get(role).is_some());
        if exists { self.change_delegation(role, edit) } else { Err(EditError::UnknownRole(role.clone())) }
    }

    fn change_delegation(&mut self, role: &RoleName, edit: &DelegationEdit) -> Result<Effect, EditError> {
        check_keys(role, &edit.add_keys)?;
        let parent = parent_of(role)?;
        let allowed = self.effective_paths(&parent).ok_or_else(|| EditError::UnknownRole(parent.clone()))?;
        if !edit.add_paths.iter().all(|path| allowed.allow(path)) {
            return Err(EditError::InvalidRole { role: role.clone(), reason: "invalid paths to add to role" });
        }
        let file = self.entry(&parent)?;
        let delegations = &mut file.payload.delegations;
        let before = delegations.clone();
        let remove = translate(&before, &edit.remove_keys);
        edit.add_keys.iter().for_each(|key| delegations.keys.insert(key.clone()));
        for described in delegations.roles.iter_mut().flatten().filter(|described| described.name == *role) {
            let ids = &mut described.keys.key_ids;
            ids.retain(|id| !remove.contains(id));
            for id in edit.add_keys.iter().map(PublicKey::id) {
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
            if edit.clear_paths {
                described.paths.clear();
            }
            described.paths.retain(|path| !edit.remove_paths.contains(path));
            for path in &edit.add_paths {
                if !described.paths.contains(path) {
                    described.paths.push(path.clone());
                }
            }
        }
        drop_unused_keys(delegations);
        let changed = *delegations != before;
        file.dirty |= changed;
        Ok(Effect::of(changed))
    }

    /// Removes keys from all delegations below a role. Files that nobody here can sign stay as they are.
    pub(super) fn purge_keys(&mut self, below: &RoleName, keys: &[KeyId]) -> Effect {
        let prefix = format!("{below}/");
        let mut any = Effect::Nothing;
        for file in self.targets.values_mut() {
            if purge(&mut file.payload.delegations, &prefix, keys) {
                file.purged = true;
                any = Effect::Changed;
            }
        }
        for (role, broken) in &self.broken {
            if purge(&mut broken.content.delegations.clone(), &prefix, keys) {
                self.skipped.insert(role.clone());
            }
        }
        any
    }

    /// Removes a delegation with its file and its listing, not those of its children.
    pub(super) fn delete_delegation(&mut self, role: &RoleName) -> Result<Effect, EditError> {
        let parent = parent_of(role)?;
        let file = self.targets.get_mut(&parent).ok_or(EditError::UnknownRole(parent))?;
        let delegations = &mut file.payload.delegations;
        if delegations.get(role).is_none() {
            return Err(EditError::UnknownRole(role.clone()));
        }
        delegations.roles.iter_mut().for_each(|roles| roles.retain(|described| described.name != *role));
        delegations.roles = delegations.roles.take().filter(|roles| !roles.is_empty());
        drop_unused_keys(delegations);
        file.dirty = true;
        let edited = self.targets.remove(role).and_then(|edited| edited.published);
        let broken = self.broken.remove(role).map(|broken| broken.content.version);
        self.former.extend(edited.or(broken).map(|version| (role.clone(), version)));
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.meta.remove(role);
        }
        Ok(Effect::Changed)
    }
}

fn parent_of(role: &RoleName) -> Result<RoleName, EditError> {
    role.parent().ok_or_else(|| EditError::InvalidRole { role: role.clone(), reason: "invalid delegation role name" })
}

/// Refuses keys that could never verify a signature: the mistake is found before it is published.
pub(super) fn check_keys(role: &RoleName, keys: &[PublicKey]) -> Result<(), EditError> {
    for key in keys {
        if let Err(error) = key.verifying_key() {
            let (role, id) = (role.clone(), key.canonical_id());
            return Err(EditError::UnusableKey { role, id, reason: error.to_string() });
        }
    }
    Ok(())
}

/// Removes keys from the delegations whose names begin so; tells whether there were any.
fn purge(delegations: &mut Delegations, prefix: &str, keys: &[KeyId]) -> bool {
    let remove = translate(delegations, keys);
    let mut any = false;
    for described in delegations.roles.iter_mut().flatten() {
        if described.name.as_str().starts_with(prefix) {
            let before = described.keys.key_ids.len();
            described.keys.key_ids.retain(|id| !remove.contains(id));
            any |= described.keys.key_ids.len() < before;
        }
    }
    if any {
        drop_unused_keys(delegations);
    }
    any
}

/// Translates canonical key ids to the ids under which the delegations list the keys.
fn translate(delegations: &Delegations, canonical: &[KeyId]) -> Vec<KeyId> {
    let listed = delegations.keys.iter();
    listed.filter(|(_, key)| canonical.contains(&key.canonical_id())).map(|(id, _)| *id).collect()
}

fn drop_unused_keys(delegations: &mut Delegations) {
    let used: BTreeSet<KeyId> = delegations.iter().flat_map(|described| described.keys.key_ids.clone()).collect();
    delegations.keys.retain(|id| used.contains(id));
}
