//! Taking over a collection that lived at another service, with its chain of roots.
//!
//! The ordinary upload cannot: it begins with root version 1 or 2, and signs a timestamp with a key that the former service
//! holds. Here the whole chain comes at once, ends in a root that names this service's keys, and everything else goes on
//! where the former service stopped.

use super::listing::Pace;
use super::{Files, MAX_VERSION_STEP, NewMetadata, Refusal, Submission, accept_at, to_store};
use crate::metadata::{MetadataError, Payload, Root, Snapshot, Targets, Timestamp};
use crate::name::{Gun, RoleName, Version};
use crate::pinning::Pin;
use crate::root_trust::{self, Age};
use crate::sign::SignerSet;
use crate::verify::{Unverified, Verified};
use bytes::Bytes;
use jiff::Timestamp as Instant;
use std::collections::BTreeMap;

/// By how many versions the first snapshot and timestamp are ahead of the former service's last known ones: it may have
/// signed more of them since, and clients may have seen those.
pub const MOVE_AHEAD: u64 = 1000;

/// Files by role and version.
pub type Former = BTreeMap<(RoleName, Version), Bytes>;

/// A collection that is to go on at another service.
#[derive(Debug)]
pub struct Move<'a> {
    /// The collection; this service has nothing of it.
    pub gun: &'a Gun,
    /// The present time.
    pub now: Instant,
    /// What the former service had: consecutive roots, one snapshot and one timestamp, one file of each targets role.
    pub former: Former,
    /// What was signed for this service: a root above all.
    pub parts: Files,
}

/// Validates a move and completes it; the result, in order, is to be stored in one transaction as the beginning of the
/// collection, or not at all.
///
/// # Errors
/// The move is refused; nothing may be stored.
pub fn accept_move(moved: Move<'_>, signers: &dyn SignerSet) -> Result<Vec<NewMetadata>, Refusal> {
    let Move { gun, now, mut former, parts } = moved;
    if !parts.contains_key(&RoleName::Root) {
        return Err(Refusal::Validation("a moved collection needs a root that names this service's keys".into()));
    }
    let roots = chain(gun, take(&mut former, &RoleName::Root))?;
    let mut files: Vec<NewMetadata> = roots.iter().map(to_store).collect();
    let Some(root) = roots.last() else {
        return Err(Refusal::BadRoot("none of the former roots is there".into()));
    };
    let timestamp: Verified<Timestamp> = only(take(&mut former, &RoleName::Timestamp), &RoleName::Timestamp, root)?;
    let snapshot: Verified<Snapshot> = only(take(&mut former, &RoleName::Snapshot), &RoleName::Snapshot, root)?;
    let listed = timestamp.snapshot.check(snapshot.file());
    listed.map_err(|mismatch| Refusal::BadSnapshot(format!("the former timestamp: {mismatch}")))?;
    let mut stored = Files::from([
        (RoleName::Root, root.file().clone()),
        (RoleName::Snapshot, snapshot.file().clone()),
        (RoleName::Timestamp, timestamp.file().clone()),
    ]);
    for ((role, version), file) in former {
        let carried = carried(&role, version, file, &snapshot)?;
        if stored.insert(role.clone(), carried.bytes.clone()).is_some() {
            return Err(Refusal::of(&role, &"two former files of this role"));
        }
        files.push(carried);
    }
    let has = |role: &RoleName| stored.contains_key(role) || parts.contains_key(role);
    let described = |role: &RoleName| {
        role.parent().is_none_or(|parent| {
            let file = parts.get(&parent).or_else(|| stored.get(&parent)).cloned();
            let parent = file.and_then(|file| Unverified::<Targets>::read(&parent, file).ok());
            parent.is_some_and(|parent| parent.untrusted().delegations.get(role).is_some())
        })
    };
    if let Some(role) = snapshot.meta.keys().find(|role| !has(role) && described(role)) {
        return Err(Refusal::of(role, &format!("the former snapshot lists {role}, and it is missing")));
    }
    let new = accept_at(Submission { gun, now, stored: &stored, parts }, signers, Pace::Ahead)?;
    // Former files may have any version; what is new begins as everywhere.
    if let Some(file) =
        new.iter().find(|file| !stored.contains_key(&file.role) && file.version.get() > MAX_VERSION_STEP)
    {
        let message = format!("version {} is more than {MAX_VERSION_STEP} ahead of none", file.version);
        return Err(Refusal::of(&file.role, &message));
    }
    files.extend(new);
    Ok(files)
}

fn take(former: &mut Former, role: &RoleName) -> Former {
    let (taken, left) = std::mem::take(former).into_iter().partition(|((of, _), _)| of == role);
    *former = left;
    taken
}

/// Follows the roots from the earliest one, which vouches for itself, as it does for whoever first uses a collection.
fn chain(gun: &Gun, roots: Former) -> Result<Vec<Verified<Root>>, Refusal> {
    let mut chain: Vec<Verified<Root>> = Vec::new();
    for ((role, version), file) in roots {
        let candidate: Unverified<Root> = read(&role, version, file)?;
        if candidate.untrusted().keys.carries_private() {
            return Err(Refusal::BadRoot(format!("root {version} contains a private key")));
        }
        let age = Age::Past(Instant::UNIX_EPOCH);
        let verified = match chain.last() {
            Some(previous) => root_trust::verify_successor(previous, candidate, gun, Pin::FirstUse, age),
            None => root_trust::verify_root(candidate, gun, Pin::FirstUse, age),
        };
        chain.push(verified.map_err(|error| Refusal::BadRoot(format!("root {version}: {error}")))?);
    }
    Ok(chain)
}

/// Verifies the one former file of a role under the last former root; its age does not count.
fn only<T: Payload>(files: Former, role: &RoleName, root: &Root) -> Result<Verified<T>, Refusal> {
    let mut files = files.into_iter();
    let (Some(((_, version), file)), None) = (files.next(), files.next()) else {
        return Err(Refusal::of(role, &format!("exactly one former {role} is needed")));
    };
    let keys = root.keys_of(role).ok_or_else(|| Refusal::BadRoot(format!("the former root has no {role} keys")))?;
    read::<T>(role, version, file)?.verify(&keys).map_err(|(error, _)| Refusal::of(role, &error))
}

/// Holds a targets role's file against the snapshot that lists it. Who signed it is for its readers to verify: a
/// delegation whose keys were changed since stays what it was.
fn carried(role: &RoleName, version: Version, file: Bytes, snapshot: &Snapshot) -> Result<NewMetadata, Refusal> {
    let listed = snapshot.meta.get(role).ok_or_else(|| Refusal::of(role, &"the former snapshot does not list it"))?;
    listed.check(&file).map_err(|mismatch| Refusal::of(role, &format!("the former snapshot: {mismatch}")))?;
    let read = read::<Targets>(role, version, file)?;
    if read.untrusted().delegations.keys.carries_private() {
        return Err(Refusal::BadTargets(format!("{role} contains a private key")));
    }
    Ok(NewMetadata::new(role.clone(), version, read.file().clone()))
}

fn read<T: Payload>(role: &RoleName, version: Version, file: Bytes) -> Result<Unverified<T>, Refusal> {
    let read = Unverified::<T>::read(role, file).map_err(|error| match error {
        MetadataError::Json(_) | MetadataError::Shape(_) => Refusal::Malformed(format!("{version}.{role}: {error}")),
        MetadataError::Structure { .. } => Refusal::of(role, &error),
    })?;
    let found = read.untrusted().version();
    if found == version { Ok(read) } else { Err(Refusal::of(role, &format!("{version}.{role} is version {found}"))) }
}
