//! Witnessing: signing a role's file anew as it is, also one that cannot be verified any more.
//!
//! The reference signs whatever an invalid file holds. Here the caller gets to see it first, and what is different in it
//! from what was last verified.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::request_error::RequestError;
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_tuf::metadata::{FileMeta, Targets};
use countersign_tuf::update::{Answer, Fetch, MAX_FILE, Purpose, Which};
use countersign_tuf::{BrokenReason, Change, Collection, RoleName, Seen, Unverified, Version};
use std::collections::BTreeSet;

/// A file that would be signed anew as it is.
#[derive(Debug, Clone)]
pub struct WitnessSubject {
    /// The role.
    pub role: RoleName,
    /// The version of the present file; signed it gets the next one.
    pub version: Version,
    /// Why the file cannot be verified; none if it can.
    pub reason: Option<BrokenReason>,
    /// What the file holds. Nothing of it is proven if there is a reason above.
    pub content: Targets,
    /// What was last verified of this role on this machine, if anything was and can still be had.
    pub last_verified: Option<Targets>,
}

/// How one name differs between what was last verified and what would be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name.
    pub name: String,
    /// What it stood for; none if it is new.
    pub before: Option<FileMeta>,
    /// What it would stand for; none if it is gone.
    pub after: Option<FileMeta>,
}

/// The caller's answer to what would be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Sign it.
    Sign,
    /// Publish nothing.
    Refuse,
}

/// Decides whether unverified content is signed. It may ask a person.
pub type Review<'a> = dyn Fn(&[WitnessSubject]) -> Decision + 'a;

impl WitnessSubject {
    /// Returns how the names differ from those last verified, or from none at all where nothing was verified.
    #[must_use]
    pub fn differences(&self) -> Vec<Difference> {
        let names = |targets: &Targets| -> BTreeSet<String> {
            targets.entries.iter().map(|(name, _)| name.into_owned()).collect()
        };
        let mut all = names(&self.content);
        all.extend(self.last_verified.iter().flat_map(names));
        let difference = |name: String| {
            let before = self.last_verified.as_ref().and_then(|targets| targets.entries.get(&name));
            let after = self.content.entries.get(&name);
            (before != after).then_some(Difference { name, before, after })
        };
        all.into_iter().filter_map(difference).collect()
    }

    /// Tells whether who else may sign below this role differs from what was last verified.
    #[must_use]
    pub fn delegations_differ(&self) -> bool {
        let before = self.last_verified.as_ref().map(|targets| targets.delegations.clone()).unwrap_or_default();
        before.keys != self.content.delegations.keys || !before.iter().eq(self.content.delegations.iter())
    }
}

impl CollectionClient<'_> {
    /// Stages that roles are signed anew as they are. Nothing is asked of the service.
    ///
    /// # Errors
    /// A role is neither `targets` nor a delegation; the list cannot be written.
    pub fn stage_witness(&self, roles: &[RoleName]) -> Result<(), TrustError> {
        if let Some(role) = roles.iter().find(|role| !role.lists_targets()) {
            return Err(RequestError::NotWitnessed(role.clone()).into());
        }
        self.stage(&roles.iter().map(|role| Change::Witness { role: role.clone() }).collect::<Vec<_>>())
    }

    /// Shows what witnessing these roles would sign. Roles that have published nothing are left out.
    ///
    /// # Errors
    /// The collection cannot be verified.
    pub async fn witness_subjects(&self, roles: &[RoleName]) -> Result<Vec<WitnessSubject>, TrustError> {
        let collection = self.update(Purpose::Publish).await?;
        self.subjects(&collection, roles).await
    }

    /// As [`Self::witness_subjects`], of a view that is there.
    pub(crate) async fn subjects(
        &self,
        collection: &Collection,
        roles: &[RoleName],
    ) -> Result<Vec<WitnessSubject>, TrustError> {
        let mut subjects = Vec::new();
        for role in roles {
            let (content, reason) = match (collection.targets(role), collection.broken().get(role)) {
                (Some(file), _) => ((**file).clone(), None),
                (None, Some(broken)) => (broken.content().untrusted().clone(), Some(broken.reason.clone())),
                (None, None) => continue,
            };
            let last_verified = match reason {
                None => Some(content.clone()),
                Some(_) => self.last_verified(collection.seen(), role).await?,
            };
            subjects.push(WitnessSubject {
                role: role.clone(),
                version: content.version,
                reason,
                content,
                last_verified,
            });
        }
        Ok(subjects)
    }

    /// Finds the file that this machine last verified for a role, by the hash that it noted then: in the cache, or at the
    /// service, which keeps former files.
    async fn last_verified(&self, seen: &Seen, role: &RoleName) -> Result<Option<Targets>, TrustError> {
        let Some(hash) = seen.sha256(role) else { return Ok(None) };
        let cached = self.local.read(role)?.map(Bytes::from).filter(|file| sha256(file) == hash);
        let file = match cached {
            Some(file) => Some(file),
            None => match self.service.fetch(Fetch { role, which: Which::Checksum(hash), limit: MAX_FILE }).await {
                Answer::File(file) if sha256(&file) == hash => Some(file),
                _ => None,
            },
        };
        Ok(file.and_then(|file| Unverified::<Targets>::read(role, file).ok()).map(Unverified::into_untrusted))
    }
}
