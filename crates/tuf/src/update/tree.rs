//! Walking the tree of targets roles, parents before children, children in order of priority.

use super::{Purpose, Request, UpdateError, check_stale};
use crate::collection::{BrokenDelegation, BrokenReason};
use crate::metadata::{FileMeta, Snapshot, Targets};
use crate::name::RoleName;
use crate::verify::{TrustedKeys, Unverified, Verified};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Most delegations that one update loads.
const MAX_LOADED: usize = 4096;

/// The targets roles loaded so far, and those still to come.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pending: Vec<(RoleName, FileMeta)>,
    pub(crate) loaded: BTreeMap<RoleName, Verified<Targets>>,
    pub(crate) keys: BTreeMap<RoleName, TrustedKeys>,
    pub(crate) broken: BTreeMap<RoleName, BrokenDelegation>,
}

impl Tree {
    pub(super) fn begin(&mut self, targets: FileMeta) {
        *self = Self { pending: vec![(RoleName::Targets, targets)], ..Self::default() };
    }

    /// Returns the role whose file is wanted next.
    pub(super) fn current(&self) -> Option<(&RoleName, &FileMeta)> {
        self.pending.last().map(|(role, meta)| (role, meta))
    }

    /// Returns the keys that a delegation's parent names for it.
    pub(super) fn delegated_keys(&self, role: &RoleName) -> Result<TrustedKeys, UpdateError> {
        let parent = role.parent().and_then(|parent| self.loaded.get(&parent)).ok_or(UpdateError::Incomplete)?;
        parent.delegations.keys_of(role).ok_or(UpdateError::Incomplete)
    }

    /// Takes the file wanted next. A delegation that is badly signed or expired is kept apart, with its subtree; whoever
    /// asks for it gets the error. Every other fault ends the update.
    pub(super) fn take(
        &mut self,
        file: Unverified<Targets>,
        keys: &TrustedKeys,
        request: &Request<'_>,
        snapshot: &Snapshot,
        stale: Option<&Bytes>,
    ) -> Result<(), UpdateError> {
        let (role, _) = self.pending.last().cloned().ok_or(UpdateError::Incomplete)?;
        let base = role == RoleName::Targets;
        let verified = match file.verify(keys) {
            Ok(verified) => verified,
            Err((error, _)) if base => return Err(error.into()),
            Err((error, content)) => {
                self.set_aside(role, BrokenReason::Threshold(error), *content);
                return Ok(());
            }
        };
        request.seen.check(&verified, keys)?;
        check_stale(&verified, keys, stale, &request.seen)?;
        if let Err(expired) = verified.unexpired(request.now) {
            match (base, request.purpose) {
                (true, Purpose::Renew) => {}
                (true, Purpose::Read | Purpose::Publish) => return Err(expired.into()),
                (false, _) => {
                    self.set_aside(role, BrokenReason::Expired(expired), verified.into_unverified());
                    return Ok(());
                }
            }
        }
        self.pending.pop();
        self.push_children(&verified, request, snapshot)?;
        self.keys.insert(role.clone(), keys.clone());
        self.loaded.insert(role, verified);
        Ok(())
    }

    /// Tells whether a role may exist as far as is known: some file on the way to it, that could be loaded, not naming the
    /// next one is the only proof that it does not.
    pub(crate) fn may_exist(&self, role: &RoleName) -> bool {
        let mut steps = role.ancestors();
        steps.push(role.clone());
        steps.iter().all(|step| match step.parent().and_then(|parent| self.loaded.get(&parent)) {
            Some(parent) => parent.delegations.get(step).is_some(),
            None => true,
        })
    }

    fn set_aside(&mut self, role: RoleName, reason: BrokenReason, content: Unverified<Targets>) {
        self.pending.pop();
        self.broken.insert(role, BrokenDelegation { reason, content });
    }

    /// Queues the children that have published; one that had and is listed no more is an error.
    fn push_children(
        &mut self,
        parent: &Verified<Targets>,
        request: &Request<'_>,
        snapshot: &Snapshot,
    ) -> Result<(), UpdateError> {
        let mut children = Vec::new();
        for child in parent.delegations.iter() {
            if let Some(meta) = snapshot.meta.get(&child.name) {
                children.push((child.name.clone(), meta.clone()));
                continue;
            }
            let keys = TrustedKeys::resolve(&child.name, &child.keys, &parent.delegations.keys);
            if request.seen.vouched(&child.name, &keys) {
                return Err(UpdateError::DelegationDropped(child.name.clone()));
            }
        }
        self.pending.extend(children.into_iter().rev());
        if self.pending.len() + self.loaded.len() > MAX_LOADED {
            return Err(UpdateError::TooManyDelegations(MAX_LOADED));
        }
        Ok(())
    }
}
