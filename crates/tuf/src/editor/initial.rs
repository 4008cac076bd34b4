//! A new collection: its first root and targets, before anything is published.

use super::{
    EditError, Edited, Editor, check_base_keys, publication::ROOT_DAYS, publication::SNAPSHOT_DAYS,
    publication::TARGETS_DAYS, publication::expiry,
};
use crate::metadata::{FileMeta, KeyMap, Payload, RoleKeys, Root, Snapshot, Targets};
use crate::name::{Gun, RoleName, Version};
use crate::pinning::Pin;
use crate::root_trust::{self, Age};
use crate::sign::{SignerSet, SigningError, sign};
use crate::update::UpdateError;
use crate::verify::Unverified;
use bytes::Bytes;
use countersign_crypto::PublicKey;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// The keys of a new collection.
#[derive(Debug, Clone)]
pub struct BaseKeys {
    /// Root keys as certificates for the collection.
    pub root: Vec<PublicKey>,
    /// The targets key.
    pub targets: PublicKey,
    /// The snapshot key, the service's or one's own.
    pub snapshot: PublicKey,
    /// The service's timestamp key.
    pub timestamp: PublicKey,
}

/// The first files of a collection, to be kept in the cache until they are published.
#[derive(Debug, Clone)]
pub struct Initial {
    /// Root, version 1.
    pub root: Bytes,
    /// Targets, version 1, empty; publication makes version 2 of it.
    pub targets: Bytes,
    /// Snapshot, version 1, if its private key is here; publication makes version 2 of it.
    pub snapshot: Option<Bytes>,
}

/// Makes root and targets of a new collection, and the snapshot if its private key is here.
///
/// # Errors
/// A key is missing or cannot be used.
pub fn initialise(keys: BaseKeys, now: Timestamp, signers: &dyn SignerSet) -> Result<Initial, SigningError> {
    let mut map = KeyMap::default();
    let mut roles = BTreeMap::new();
    let [targets, snapshot, timestamp] = [keys.targets, keys.snapshot, keys.timestamp].map(|key| vec![key]);
    for (role, keys) in RoleName::BASE.into_iter().zip([keys.root, targets, snapshot, timestamp]) {
        roles.insert(role.as_str().into(), RoleKeys::any_of(keys.iter().map(PublicKey::id).collect()));
        for key in keys {
            map.insert(key);
        }
    }
    let expires = expiry(now, ROOT_DAYS);
    let root = Root { version: Version::FIRST, expires, consistent_snapshot: false, keys: map, roles };
    check_keys(&root)?;
    let trusted = |role: RoleName| {
        let unnamed = || SigningError::unacceptable(&RoleName::Root, &format!("{role} has no key"));
        root.keys_of(&role).ok_or_else(unnamed)
    };
    let targets = Targets::empty(expiry(now, TARGETS_DAYS));
    let signed_targets = sign(targets.write(), &trusted(RoleName::Targets)?, signers)?;
    let signed_root = sign(root.write(), &trusted(RoleName::Root)?, signers)?;
    let files = [(RoleName::Root, signed_root.file()), (RoleName::Targets, signed_targets.file())];
    let meta = files.into_iter().map(|(role, file)| (role, FileMeta::of(file))).collect();
    let snapshot = Snapshot { version: Version::FIRST, expires: expiry(now, SNAPSHOT_DAYS), meta };
    let snapshot = match sign(snapshot.write(), &trusted(RoleName::Snapshot)?, signers) {
        Ok(signed) => Some(signed.file().clone()),
        Err(SigningError::MissingKeys { .. }) => None,
        Err(error) => return Err(error),
    };
    Ok(Initial { root: signed_root.file().clone(), targets: signed_targets.file().clone(), snapshot })
}

/// Refuses keys that must not get into a root, whoever named them.
fn check_keys(root: &Root) -> Result<(), SigningError> {
    for role in RoleName::BASE {
        let ids = root.trusted(&role).map(|keys| keys.key_ids.clone()).unwrap_or_default();
        let keys: Vec<PublicKey> = ids.iter().filter_map(|id| root.keys.get(id)).cloned().collect();
        if keys.is_empty() {
            return Err(SigningError::unacceptable(&RoleName::Root, &format!("{role} has no key")));
        }
        check_base_keys(root, &role, &keys).map_err(|error| SigningError::unacceptable(&RoleName::Root, &error))?;
    }
    Ok(())
}

impl Editor {
    /// Begins to edit a collection that has not been published, from the files that [`initialise`] or a client of the
    /// reference left in the cache.
    ///
    /// # Errors
    /// The root does not verify by itself or another file by the root, or a file is malformed.
    pub fn unpublished(
        gun: &Gun,
        now: Timestamp,
        root: Bytes,
        targets: Option<Bytes>,
        snapshot: Option<Bytes>,
    ) -> Result<Self, UpdateError> {
        let malformed = |role: RoleName| move |error| UpdateError::Metadata { role, error };
        let root = Unverified::<Root>::read(&RoleName::Root, root).map_err(malformed(RoleName::Root))?;
        let root = root_trust::verify_root(root, gun, Pin::FirstUse, Age::Past(now))?;
        let mut all = BTreeMap::new();
        if let Some(file) = targets {
            let keys = root.keys_of(&RoleName::Targets).ok_or(UpdateError::Incomplete)?;
            let read = Unverified::<Targets>::read(&RoleName::Targets, file).map_err(malformed(RoleName::Targets))?;
            let verified = read.verify(&keys).map_err(|(error, _)| error)?;
            let (payload, file) = ((*verified).clone(), verified.file().clone());
            all.insert(
                RoleName::Targets,
                Edited { published: Some(payload.version), payload, file: Some(file), dirty: true, purged: false },
            );
        }
        let snapshot = match snapshot {
            Some(file) => {
                let keys = root.keys_of(&RoleName::Snapshot).ok_or(UpdateError::Incomplete)?;
                let read = Unverified::<Snapshot>::read(&RoleName::Snapshot, file);
                let verified =
                    read.map_err(malformed(RoleName::Snapshot))?.verify(&keys).map_err(|(error, _)| error)?;
                Some((*verified).clone())
            }
            None => None,
        };
        let payload: Root = (*root).clone();
        Ok(Self {
            gun: gun.clone(),
            now,
            root_role: payload.trusted(&RoleName::Root).cloned().unwrap_or_default(),
            root_file: root.file().clone(),
            root: payload,
            root_dirty: false,
            initial: true,
            targets: all,
            broken: BTreeMap::new(),
            former: BTreeMap::new(),
            skipped: BTreeSet::new(),
            snapshot,
        })
    }

    /// Returns the version that follows a published one.
    pub(super) fn following(role: &RoleName, published: Option<Version>) -> Result<Version, EditError> {
        match published {
            None => Ok(Version::FIRST),
            Some(version) => version.next().ok_or_else(|| EditError::LastVersion(role.clone())),
        }
    }
}
