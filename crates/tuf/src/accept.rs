//! What a trust service does with an upload: it validates the whole of it with the code that clients use, and adds the
//! snapshot and timestamp that it signs itself (Notary protocol, validation of an upload).
//!
//! Without I/O: [`needed`] says which stored files are wanted, [`accept`] returns the files to store, all or none.

mod listing;
mod moved;

pub use listing::{RenewBefore, Renewal, renew};
pub use moved::{Former, MOVE_AHEAD, Move, accept_move};

use crate::metadata::{MetadataError, Payload, Root, Snapshot, Targets};
use crate::name::{Gun, RoleName, Version};
use crate::pinning::Pin;
use crate::root_trust::{self, Age};
use crate::sign::SignerSet;
use crate::verify::{TrustedKeys, Unverified, Verified};
use bytes::Bytes;
use countersign_crypto::digest::{Sha256Digest, sha256};
use jiff::Timestamp;
use listing::Pace;
use std::collections::{BTreeMap, BTreeSet};

/// Most versions by which an upload may be ahead of what is stored: whoever stole a key cannot use up all numbers at once,
/// which would end the collection.
pub const MAX_VERSION_STEP: u64 = 1 << 20;

/// Files by role.
pub type Files = BTreeMap<RoleName, Bytes>;

/// An upload, with what is stored of the collection.
#[derive(Debug)]
pub struct Submission<'a> {
    /// The collection.
    pub gun: &'a Gun,
    /// The present time.
    pub now: Timestamp,
    /// The current stored files of the roles that [`needed`] names.
    pub stored: &'a Files,
    /// The uploaded files.
    pub parts: Files,
}

/// A file to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMetadata {
    /// The role.
    pub role: RoleName,
    /// The version.
    pub version: Version,
    /// The exact bytes.
    pub bytes: Bytes,
    /// Their SHA-256.
    pub sha256: Sha256Digest,
}

impl NewMetadata {
    pub(crate) fn new(role: RoleName, version: Version, bytes: Bytes) -> Self {
        let sha256 = sha256(&bytes);
        Self { role, version, bytes, sha256 }
    }
}

/// Why an upload is refused; the texts are for the uploader.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A part is not acceptable JSON or not shaped as metadata.
    #[error("{0}")]
    Malformed(String),
    /// The upload as a whole lacks something.
    #[error("{0}")]
    Validation(String),
    /// The root is not acceptable, or the service lacks the timestamp key that it names.
    #[error("{0}")]
    BadRoot(String),
    /// A targets file is not acceptable.
    #[error("{0}")]
    BadTargets(String),
    /// The snapshot is not acceptable.
    #[error("{0}")]
    BadSnapshot(String),
    /// A role is missing from the upload that the service cannot sign.
    #[error("{message}")]
    BadHierarchy {
        /// The role.
        missing: RoleName,
        /// The explanation.
        message: String,
    },
    /// The root's version is stored already.
    #[error("a newer version of metadata is already available")]
    Stale,
    /// What is stored cannot be used: the service's own trouble, not the uploader's.
    #[error("stored metadata cannot be used: {0}")]
    Stored(String),
}

impl Refusal {
    /// Sorts a fault of a role's file under the kind that the protocol has for the role.
    #[must_use]
    pub fn of(role: &RoleName, error: &impl ToString) -> Self {
        let text = error.to_string();
        match role {
            RoleName::Root | RoleName::Timestamp => Self::BadRoot(text),
            RoleName::Snapshot => Self::BadSnapshot(text),
            RoleName::Targets | RoleName::Delegation(_) => Self::BadTargets(text),
        }
    }
}

/// Names the roles whose current stored files [`accept`] needs for an upload of the given roles.
///
/// An uploaded targets file replaces the stored one, which then is not wanted: it may be large.
#[must_use]
pub fn needed<'a>(uploaded: impl IntoIterator<Item = &'a RoleName>) -> BTreeSet<RoleName> {
    let uploaded: BTreeSet<&RoleName> = uploaded.into_iter().collect();
    let ancestors = uploaded.iter().flat_map(|role| role.ancestors());
    let wanted = RoleName::BASE.into_iter().chain(ancestors);
    wanted.filter(|role| !role.lists_targets() || !uploaded.contains(role)).collect()
}

/// Validates an upload and completes it; the result is to be stored in one transaction, or not at all.
///
/// That every version is higher than all stored ones is for the store to check, where it is safe against races.
///
/// # Errors
/// The upload is refused; nothing may be stored.
pub fn accept(submission: Submission<'_>, signers: &dyn SignerSet) -> Result<Vec<NewMetadata>, Refusal> {
    accept_at(submission, signers, Pace::Next)
}

fn accept_at(submission: Submission<'_>, signers: &dyn SignerSet, pace: Pace) -> Result<Vec<NewMetadata>, Refusal> {
    let Submission { gun, now, stored, mut parts } = submission;
    parts.remove(&RoleName::Timestamp);
    let root = accept_root(gun, now, stored.get(&RoleName::Root), parts.remove(&RoleName::Root))?;
    let mut accepted = Accepted { now, stored, pace, root: &root.trusted, targets: BTreeMap::new(), files: Vec::new() };
    accepted.files.extend(root.new.then(|| to_store(&root.trusted)));
    if root.new {
        accepted.check_signers(signers)?;
    }
    let snapshot = parts.remove(&RoleName::Snapshot);
    for (role, file) in parts {
        accepted.take_targets(&role, file)?;
    }
    if root.new {
        accepted.check_stored_targets()?;
    }
    let snapshot = match snapshot {
        Some(file) => accepted.take_snapshot(file)?,
        None => accepted.make_snapshot(signers)?,
    };
    let before = (stored.get(&RoleName::Timestamp), pace);
    let timestamp = listing::make_timestamp(now, before, &snapshot.bytes, &root.trusted, signers)?;
    let mut files = accepted.files;
    files.extend([snapshot, timestamp]);
    Ok(files)
}

/// Most keys that a new root may give each role that the service signs: it looks for each of them whenever it signs.
const MAX_SERVICE_KEYS: usize = 64;

struct AcceptedRoot {
    trusted: Verified<Root>,
    new: bool,
}

/// Loads the stored root; its age does not count, it has been accepted before.
pub(crate) fn stored_root(gun: &Gun, file: &Bytes) -> Result<Verified<Root>, Refusal> {
    let read =
        Unverified::<Root>::read(&RoleName::Root, file.clone()).map_err(|error| Refusal::Stored(error.to_string()))?;
    root_trust::verify_root(read, gun, Pin::FirstUse, Age::Past(Timestamp::UNIX_EPOCH))
        .map_err(|error| Refusal::Stored(error.to_string()))
}

fn accept_root(
    gun: &Gun,
    now: Timestamp,
    stored: Option<&Bytes>,
    part: Option<Bytes>,
) -> Result<AcceptedRoot, Refusal> {
    let previous = stored.map(|file| stored_root(gun, file)).transpose()?;
    let Some(part) = part else {
        let missing = || Refusal::Validation("no pre-existing root and no root provided in update.".into());
        return Ok(AcceptedRoot { trusted: previous.ok_or_else(missing)?, new: false });
    };
    let candidate: Unverified<Root> = read_part(&RoleName::Root, part)?;
    if candidate.untrusted().keys.carries_private() {
        return Err(Refusal::BadRoot("root contains a private key".into()));
    }
    // A missing root counts as version 1: a client that rotates a key before its first publication uploads version 2.
    let current = previous.as_ref().map_or(Version::FIRST, |root| root.version);
    let new = candidate.untrusted().version;
    if new != current && Some(new) != current.next() {
        let message = format!("Root modifications must increment the version. Current {current}, new {new}");
        return Err(Refusal::BadRoot(message));
    }
    let verified = match &previous {
        Some(previous) if new == current => {
            root_trust::signed_by(previous, &candidate, gun)
                .and_then(|()| root_trust::verify_root(candidate, gun, Pin::FirstUse, Age::Current(now)))
                .map_err(|error| Refusal::BadRoot(error.to_string()))?;
            return Err(Refusal::Stale);
        }
        Some(previous) => root_trust::verify_successor(previous, candidate, gun, Pin::FirstUse, Age::Current(now)),
        None => root_trust::verify_root(candidate, gun, Pin::FirstUse, Age::Current(now)),
    };
    let trusted = verified.map_err(|error| Refusal::BadRoot(error.to_string()))?;
    for role in [RoleName::Timestamp, RoleName::Snapshot] {
        let keys = trusted.keys_of(&role).map_or(0, |keys| keys.iter().count());
        if keys > MAX_SERVICE_KEYS {
            let message = format!("{keys} keys may sign {role}, more than {MAX_SERVICE_KEYS}");
            return Err(Refusal::BadRoot(message));
        }
    }
    Ok(AcceptedRoot { trusted, new: true })
}

/// Reads a part; what is no metadata at all is told apart from metadata that breaks a rule.
fn read_part<T: Payload>(role: &RoleName, file: Bytes) -> Result<Unverified<T>, Refusal> {
    Unverified::read(role, file).map_err(|error| match error {
        MetadataError::Json(_) | MetadataError::Shape(_) => Refusal::Malformed(format!("{role}: {error}")),
        MetadataError::Structure { .. } => Refusal::of(role, &error),
    })
}

fn to_store<T: Payload>(file: &Verified<T>) -> NewMetadata {
    NewMetadata::new(file.role().clone(), file.version(), file.file().clone())
}

/// The state that an upload leads to, as far as it has been checked.
struct Accepted<'a> {
    now: Timestamp,
    stored: &'a Files,
    pace: Pace,
    root: &'a Verified<Root>,
    /// Targets roles loaded, uploaded or stored.
    targets: BTreeMap<RoleName, Verified<Targets>>,
    files: Vec<NewMetadata>,
}

impl Accepted<'_> {
    /// Takes an uploaded targets file; its ancestors come from the upload or the store.
    fn take_targets(&mut self, role: &RoleName, file: Bytes) -> Result<(), Refusal> {
        for ancestor in role.ancestors() {
            if let (false, Some(stored)) = (self.targets.contains_key(&ancestor), self.stored.get(&ancestor)) {
                let read = Unverified::<Targets>::read(&ancestor, stored.clone());
                let verified = self.verify(&ancestor, read.map_err(|error| Refusal::of(role, &error))?)?;
                self.targets.insert(ancestor, verified);
            }
        }
        let candidate: Unverified<Targets> = read_part(role, file)?;
        if candidate.untrusted().delegations.keys.carries_private() {
            return Err(Refusal::BadTargets(format!("{role} contains a private key")));
        }
        let verified = self.verify(role, candidate)?;
        self.check_step(&verified)?;
        self.files.push(to_store(&verified));
        self.targets.insert(role.clone(), verified);
        Ok(())
    }

    /// Checks the step to a version where the present one is known: the file is there, or the collection is new. For the
    /// other files the store has to keep to [`MAX_VERSION_STEP`].
    fn check_step<T: Payload>(&self, file: &Verified<T>) -> Result<(), Refusal> {
        let stored = match self.stored.get(file.role()) {
            Some(stored) => {
                Unverified::<T>::read(file.role(), stored.clone()).map_or(0, |f| f.untrusted().version().get())
            }
            None if self.stored.contains_key(&RoleName::Root) => return Ok(()),
            None => 0,
        };
        let new = file.version().get();
        if new.saturating_sub(stored) > MAX_VERSION_STEP {
            let message =
                format!("version {new} is more than {MAX_VERSION_STEP} ahead of the present version {stored}");
            return Err(Refusal::of(file.role(), &message));
        }
        Ok(())
    }

    fn verify(&self, role: &RoleName, file: Unverified<Targets>) -> Result<Verified<Targets>, Refusal> {
        let verified = file.verify(&self.targets_keys(role)?).map_err(|(error, _)| Refusal::of(role, &error))?;
        verified.unexpired(self.now).map_err(|error| Refusal::of(role, &error))?;
        Ok(verified)
    }

    fn targets_keys(&self, role: &RoleName) -> Result<TrustedKeys, Refusal> {
        let resolved = match role.parent() {
            None => self.root.keys_of(role),
            Some(parent) => self.targets.get(&parent).and_then(|parent| parent.delegations.keys_of(role)),
        };
        let unknown = || Refusal::of(role, &format!("tuf: invalid role {role}. delegation does not exist"));
        resolved.ok_or_else(unknown)
    }

    /// Asks for every key that a new root gives the roles which the service signs, also where it signs none of their files now:
    /// a key that must not sign for this collection is an error of whoever has it, and must not get into a stored root.
    fn check_signers(&self, signers: &dyn SignerSet) -> Result<(), Refusal> {
        for role in [RoleName::Timestamp, RoleName::Snapshot] {
            for (_, key) in self.root.keys_of(&role).iter().flat_map(TrustedKeys::iter) {
                signers.signer(&key.canonical_id()).map_err(|error| Refusal::of(&role, &error))?;
            }
        }
        Ok(())
    }

    /// After a change of root, targets that were not uploaded anew must verify under it: readers would be locked out.
    fn check_stored_targets(&mut self) -> Result<(), Refusal> {
        let role = RoleName::Targets;
        let Some(stored) = self.stored.get(&role).filter(|_| !self.targets.contains_key(&role)) else { return Ok(()) };
        let read = Unverified::<Targets>::read(&role, stored.clone()).map_err(|error| Refusal::of(&role, &error))?;
        let verified = read.verify(&self.targets_keys(&role)?).map_err(|(error, _)| Refusal::of(&role, &error))?;
        self.targets.insert(role, verified);
        Ok(())
    }

    /// Takes an uploaded snapshot: it must list exactly the files that will be current.
    fn take_snapshot(&mut self, file: Bytes) -> Result<NewMetadata, Refusal> {
        let role = RoleName::Snapshot;
        let keys = self.root.keys_of(&role).ok_or_else(|| Refusal::BadRoot("missing snapshot role".into()))?;
        let candidate: Unverified<Snapshot> = read_part(&role, file)?;
        let verified = candidate.verify(&keys).map_err(|(error, _)| Refusal::of(&role, &error))?;
        verified.unexpired(self.now).map_err(|error| Refusal::of(&role, &error))?;
        for (listed, file) in self.current_files() {
            let Some(entry) = verified.meta.get(&listed) else {
                return Err(Refusal::BadSnapshot(format!("no checksum for {listed}")));
            };
            entry.check(&file).map_err(|mismatch| Refusal::BadSnapshot(format!("{listed}: {mismatch}")))?;
        }
        self.check_step(&verified)?;
        self.check_untouched(&verified)?;
        Ok(to_store(&verified))
    }

    /// Checks that an uploaded snapshot says of every file that is not part of the upload what the stored one said, and
    /// leaves out none that is still delegated: otherwise readers would miss it.
    fn check_untouched(&self, snapshot: &Snapshot) -> Result<(), Refusal> {
        let role = RoleName::Snapshot;
        let stored = self.stored.get(&role).map(|file| Unverified::<Snapshot>::read(&role, file.clone()));
        let stored = stored.transpose().map_err(|error| Refusal::Stored(error.to_string()))?;
        let stored = stored.map(|stored| stored.into_untrusted().meta).unwrap_or_default();
        let current = self.current_files();
        for (listed, meta) in &snapshot.meta {
            if !current.contains_key(listed) && stored.get(listed) != Some(meta) {
                return Err(Refusal::BadSnapshot(format!("{listed} is listed with a file that is not stored")));
            }
        }
        let described = |role: &RoleName| {
            role.parent().is_some_and(|parent| match self.targets.get(&parent) {
                Some(parent) => parent.delegations.get(role).is_some(),
                None => self.stored.get(&parent).is_some_and(|file| {
                    let read = Unverified::<Targets>::read(&parent, file.clone());
                    read.is_ok_and(|parent| parent.untrusted().delegations.get(role).is_some())
                }),
            })
        };
        match stored.keys().find(|role| !snapshot.meta.contains_key(*role) && described(role)) {
            Some(role) => Err(Refusal::BadSnapshot(format!("{role} has a file and is not listed"))),
            None => Ok(()),
        }
    }

    fn make_snapshot(&self, signers: &dyn SignerSet) -> Result<NewMetadata, Refusal> {
        let files = self.current_files();
        if !files.contains_key(&RoleName::Targets) {
            return Err(Refusal::Validation("targets must be loaded first".into()));
        }
        let before = (self.stored.get(&RoleName::Snapshot), self.pace);
        listing::make_snapshot(self.now, before, &files, self.root, signers)
    }

    /// The files that this upload makes current or has loaded; always root, and targets if there are any.
    fn current_files(&self) -> Files {
        let mut files: Files = self.targets.iter().map(|(role, file)| (role.clone(), file.file().clone())).collect();
        files.insert(RoleName::Root, self.root.file().clone());
        if let Some(stored) = self.stored.get(&RoleName::Targets) {
            files.entry(RoleName::Targets).or_insert_with(|| stored.clone());
        }
        files
    }
}
