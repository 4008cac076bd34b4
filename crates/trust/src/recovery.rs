//! Going on where a removed signer has left a file that nobody can verify any more.
//!
//! After the removal of whoever signed `targets/releases` last, the file has no valid signature. Docker begins a new one at
//! version 1, which the service refuses for ever. Here the next signer goes on from the present version, and of the names
//! in the file those stay that a signer who is still trusted has signed too.
//!
//! That is done only if the file was valid once: an earlier version of `targets`, signed by the present targets key, names
//! the keys that signed it. What anybody else put there is left alone, and signing on top of it is refused.

use crate::client::CollectionClient;
use countersign_crypto::digest::sha256;
use countersign_tuf::editor::{Editor, Publication};
use countersign_tuf::metadata::Targets;
use countersign_tuf::update::{Answer, Fetch, MAX_FILE, Which};
use countersign_tuf::{
    BrokenDelegation, BrokenReason, Change, Collection, RoleName, ThresholdError, Unverified, Version,
};
use std::collections::{BTreeMap, BTreeSet};

/// How many earlier versions of `targets` are asked who was trusted then.
const LOOK_BACK: u64 = 32;

/// What becomes of files that cannot be verified and are to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing is built on them.
    Refuse,
    /// Those whose signers were removed are made anew.
    FormerSigners,
}

/// A name that a role signs no more, because none of its present signers had signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    /// The role.
    pub role: RoleName,
    /// The name.
    pub name: String,
}

impl CollectionClient<'_> {
    /// Makes the files anew that changes are to be made in and whose signers were removed.
    pub(crate) async fn recover(&self, editor: &mut Editor, base: &Collection, changes: &[Change]) -> Vec<GivenUp> {
        let added = changes.iter().filter_map(|change| match change {
            Change::AddTarget { role, .. } => Some(role),
            _ => None,
        });
        let mut given_up = Vec::new();
        for role in added.collect::<BTreeSet<_>>() {
            let Some(broken) = base.broken().get(role) else { continue };
            if !matches!(broken.reason, BrokenReason::Threshold(ThresholdError::NotMet { .. })) {
                continue;
            }
            if !self.was_valid(base, role, broken).await {
                continue;
            }
            let dropped = editor.begin_anew(role, |name, meta| {
                base.all_targets().any(|(other, file)| {
                    let may = other != role && base.effective_paths(other).is_some_and(|paths| paths.allow(name));
                    may && file.entries.get(name).as_ref() == Some(meta)
                })
            });
            given_up.extend(dropped.into_iter().map(|name| GivenUp { role: role.clone(), name }));
        }
        given_up
    }

    /// Tells whether a file was valid before its signers were removed.
    async fn was_valid(&self, base: &Collection, role: &RoleName, broken: &BrokenDelegation) -> bool {
        if base.seen().sha256(role) == Some(sha256(broken.content().file())) {
            return true;
        }
        // An older file may hold what was revoked since.
        if base.seen().version(role).is_some_and(|seen| broken.content().untrusted().version < seen) {
            return false;
        }
        let (Some(targets), Some(keys)) = (base.targets(&RoleName::Targets), base.keys_of(&RoleName::Targets)) else {
            return false;
        };
        if role.parent() != Some(RoleName::Targets) {
            return false;
        }
        let newest = targets.version.get();
        for version in (newest.saturating_sub(LOOK_BACK).max(1)..newest).rev().filter_map(Version::new) {
            let Some(file) = self.earlier(&RoleName::Targets, version).await else { return false };
            let earlier = Unverified::<Targets>::read(&RoleName::Targets, file).ok();
            let earlier = earlier.and_then(|file| file.verify(&keys).ok()).filter(|file| file.version == version);
            let Some(earlier) = earlier else { return false };
            let former = earlier.delegations.keys_of(role);
            if former.is_some_and(|former| broken.content().clone().verify(&former).is_ok()) {
                return true;
            }
        }
        false
    }

    async fn earlier(&self, role: &RoleName, version: Version) -> Option<bytes::Bytes> {
        match self.service.fetch(Fetch { role, which: Which::Version(version), limit: MAX_FILE }).await {
            Answer::File(file) => Some(file),
            Answer::Missing | Answer::Remnants | Answer::Away(_) => None,
        }
    }

    /// Finds out where the first files of delegations have to begin that the service has refused: it may have had
    /// delegations of those names before. Nothing that it answers is believed but how many versions there were.
    pub(crate) async fn floors(&self, publication: &Publication) -> BTreeMap<RoleName, Version> {
        let mut floors = BTreeMap::new();
        let first = publication.versions.iter().filter(|(_, version)| **version == Version::FIRST);
        for (role, _) in first.filter(|(role, _)| matches!(role, RoleName::Delegation(_))) {
            if let Some(version) = self.newest_version(role).await {
                floors.insert(role.clone(), version);
            }
        }
        floors
    }

    /// Finds the highest version that the service has of a role, by doubling and halving: versions have no gaps.
    async fn newest_version(&self, role: &RoleName) -> Option<Version> {
        let (mut there, mut missing) = (0, 1);
        while missing < MOST_VERSIONS && self.earlier(role, Version::new(missing)?).await.is_some() {
            (there, missing) = (missing, missing * 2);
        }
        while missing - there > 1 {
            let middle = there.midpoint(missing);
            if self.earlier(role, Version::new(middle)?).await.is_some() {
                there = middle;
            } else {
                missing = middle;
            }
        }
        Version::new(there)
    }
}

/// No delegation that was made again goes on after a version beyond this one.
const MOST_VERSIONS: u64 = 1 << 20;
