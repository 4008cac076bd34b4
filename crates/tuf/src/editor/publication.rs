//! Signing everything that changed and putting the upload together.

use super::{EditError, Editor};
use crate::expires::Expires;
use crate::metadata::{Envelope, FileMeta, Payload, Root, Snapshot};
use crate::name::{Gun, RoleName, Version};
use crate::pinning::Pin;
use crate::root_trust::{self, Age};
use crate::sign::{SignerSet, SigningError, add_signatures, sign};
use crate::update::MAX_FILE;
use crate::verify::{TrustedKeys, Unverified};
use bytes::Bytes;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet};

/// How long a root is valid, in days.
pub(super) const ROOT_DAYS: i64 = 3650;
/// How long targets and delegations are valid, in days.
pub(super) const TARGETS_DAYS: i64 = 1095;
/// How long a snapshot is valid, in days.
pub(super) const SNAPSHOT_DAYS: i64 = 1095;

/// An upload for the trust service.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The collection.
    pub gun: Gun,
    /// The files by role; without a snapshot the service makes it.
    pub parts: BTreeMap<RoleName, Bytes>,
    /// The versions of root and the targets files among them.
    pub versions: BTreeMap<RoleName, Version>,
    /// Roles that still list keys that were to be purged: nobody here can sign them, or they cannot be verified.
    pub skipped: BTreeSet<RoleName>,
}

/// Says why an upload could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PublicationError {
    /// A change cannot be made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// A file could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
}

impl Editor {
    /// Signs what changed: root, targets roles, and the snapshot if its key is here.
    ///
    /// `legacy` are keys of earlier roots that sign a new root too where they are at hand.
    ///
    /// # Errors
    /// A private key that is needed is not here or cannot be used.
    pub fn publication(self, signers: &dyn SignerSet, legacy: &TrustedKeys) -> Result<Publication, PublicationError> {
        let (mut parts, mut versions) = (BTreeMap::new(), BTreeMap::new());
        let mut listed: BTreeMap<RoleName, Bytes> = BTreeMap::new();
        let mut skipped = self.skipped.clone();
        let root = self.root_part(signers, legacy)?;
        let changed_root = root.is_some();
        let root_file = root.unwrap_or_else(|| self.root_file.clone());
        if changed_root || self.initial {
            parts.insert(RoleName::Root, root_file.clone());
            let version = if changed_root {
                Self::following(&RoleName::Root, Some(self.root.version))?
            } else {
                self.root.version
            };
            versions.insert(RoleName::Root, version);
        }
        listed.insert(RoleName::Root, root_file);
        for (role, edited) in &self.targets {
            let signed = match (&edited.file, edited.dirty, edited.purged) {
                (Some(_), false, false) => None,
                (Some(_), false, true) => match self.sign_targets(role, edited, signers) {
                    Err(PublicationError::Signing(SigningError::MissingKeys { .. })) => {
                        skipped.insert(role.clone());
                        None
                    }
                    signed => Some(signed?),
                },
                _ => Some(self.sign_targets(role, edited, signers)?),
            };
            if let Some(file) = &signed {
                parts.insert(role.clone(), file.clone());
                versions.insert(role.clone(), Self::following(role, edited.published)?);
            }
            listed.extend(signed.or_else(|| edited.file.clone()).map(|file| (role.clone(), file)));
        }
        if let Some(snapshot) = self.snapshot_part(&listed, signers)? {
            parts.insert(RoleName::Snapshot, snapshot);
        }
        Ok(Publication { gun: self.gun, parts, versions, skipped })
    }

    fn sign_targets(
        &self,
        role: &RoleName,
        edited: &super::Edited,
        signers: &dyn SignerSet,
    ) -> Result<Bytes, PublicationError> {
        let mut payload = edited.payload.clone();
        payload.version = Self::following(role, edited.published)?;
        payload.expires = expiry(self.now, TARGETS_DAYS);
        let keys = self.keys_of(role).ok_or_else(|| EditError::UnknownRole(role.clone()))?;
        let file = sign(payload.write(), &keys, signers)?.file().clone();
        if file.len() as u64 > MAX_FILE {
            let reason = format!("its {} bytes are more than the {MAX_FILE} that clients accept", file.len());
            return Err(SigningError::unacceptable(role, &reason).into());
        }
        Ok(file)
    }

    /// Returns who may sign a targets role.
    #[must_use]
    pub fn keys_of(&self, role: &RoleName) -> Option<TrustedKeys> {
        match role.parent() {
            None => self.root.keys_of(role),
            Some(parent) => self.targets.get(&parent)?.payload.delegations.keys_of(role),
        }
    }

    /// Signs a new root if it changed, nears its expiry, or earlier keys are to sign too. One that merely nears its expiry
    /// stays as it is where its keys are not: signers need not be owners.
    fn root_part(&self, signers: &dyn SignerSet, legacy: &TrustedKeys) -> Result<Option<Bytes>, PublicationError> {
        let needed = self.root_dirty || legacy.iter().next().is_some();
        if !needed && !self.is_soon(&self.root.expires) {
            return Ok(None);
        }
        match self.new_root(signers, legacy) {
            Err(PublicationError::Signing(SigningError::MissingKeys { .. })) if !needed => Ok(None),
            root => root.map(Some),
        }
    }

    fn new_root(&self, signers: &dyn SignerSet, legacy: &TrustedKeys) -> Result<Bytes, PublicationError> {
        let role = RoleName::Root;
        let mut payload: Root = self.root.clone();
        payload.version = Self::following(&role, Some(payload.version))?;
        payload.expires = expiry(self.now, ROOT_DAYS);
        let canonical = payload.write();
        let mut signatures = Vec::new();
        let new = payload.trusted(&role).cloned().unwrap_or_default();
        add_signatures(&mut signatures, &canonical, &TrustedKeys::resolve(&role, &new, &payload.keys), signers)?;
        if new != self.root_role {
            let old = TrustedKeys::resolve(&role, &self.root_role, &self.root.keys);
            add_signatures(&mut signatures, &canonical, &old, signers)?;
        }
        for (_, key) in legacy.iter() {
            let one = TrustedKeys::of(&role, [key.clone()], 1);
            match add_signatures(&mut signatures, &canonical, &one, signers) {
                Ok(()) | Err(SigningError::MissingKeys { .. }) => {}
                Err(other) => return Err(other.into()),
            }
        }
        let file = Envelope::compose(canonical, signatures).file().clone();
        self.check_root(file.clone()).map_err(|reason| SigningError::unacceptable(&role, &reason))?;
        Ok(file)
    }

    /// Tells whether a time is within the next six months.
    fn is_soon(&self, expires: &Expires) -> bool {
        let soon = self.now.to_zoned(TimeZone::UTC).checked_add(6.months()).map_or(self.now, |later| later.timestamp());
        expires.is_before(soon)
    }

    /// Tells whether the root or the snapshot expires within six months: where their keys are, a publication without any
    /// change renews them.
    #[must_use]
    pub fn nears_expiry(&self) -> bool {
        self.is_soon(&self.root.expires)
            || self.snapshot.as_ref().is_some_and(|snapshot| self.is_soon(&snapshot.expires))
    }

    /// Checks a new root as those will who trust the present one.
    fn check_root(&self, file: Bytes) -> Result<(), String> {
        let read = |file| Unverified::<Root>::read(&RoleName::Root, file).map_err(|error| error.to_string());
        let present = read(self.root_file.clone())?.into_untrusted();
        let new = read(file)?;
        let checked = root_trust::verify_successor(&present, new, &self.gun, Pin::FirstUse, Age::Current(self.now));
        checked.map(drop).map_err(|error| error.to_string())
    }

    /// Signs a new snapshot if its key is here; none is made if no key of it is.
    fn snapshot_part(
        &self,
        listed: &BTreeMap<RoleName, Bytes>,
        signers: &dyn SignerSet,
    ) -> Result<Option<Bytes>, PublicationError> {
        let role = RoleName::Snapshot;
        let Some(keys) = self.root.keys_of(&role) else { return Ok(None) };
        let mut here = false;
        for (_, key) in keys.iter() {
            here |= signers.signer(&key.canonical_id()).map_err(SigningError::from)?.is_some();
        }
        if !here {
            return Ok(None);
        }
        let (version, mut meta) = match &self.snapshot {
            Some(snapshot) => (Self::following(&role, Some(snapshot.version))?, snapshot.meta.clone()),
            None if self.initial => (Version::FIRST.next().unwrap_or(Version::FIRST), BTreeMap::new()),
            None => (Version::FIRST, BTreeMap::new()),
        };
        meta.extend(listed.iter().map(|(role, file)| (role.clone(), FileMeta::of(file))));
        let snapshot = Snapshot { version, expires: expiry(self.now, SNAPSHOT_DAYS), meta };
        Ok(Some(sign(snapshot.write(), &keys, signers)?.file().clone()))
    }

    /// Tells whether publishing would say anything new.
    #[must_use]
    pub fn has_changes(&self) -> bool {
        self.initial || self.root_dirty || self.targets.values().any(|edited| edited.dirty || edited.purged)
    }
}

/// Adds days of 24 hours, as the reference reckons.
pub(super) fn expiry(now: Timestamp, days: i64) -> Expires {
    Expires::at(now.checked_add((days * 24).hours()).unwrap_or(Timestamp::MAX))
}
