//! Beginning a collection anew, with another root that the old one has not signed: the last resort.

use crate::assessment::instant;
use crate::client::CollectionClient;
use crate::compromise::Confirmed;
use crate::delegations::delegations;
use crate::error::TrustError;
use crate::initial::Beginning;
use crate::publish::{Published, Publishing};
use crate::readers::released_names;
use crate::rotation::canonical_ids;
use countersign_crypto::{KeyId, Signer};
use countersign_tuf::metadata::{FileMeta, Timestamp};
use countersign_tuf::update::{Answer, Fetch, LostRoot, Purpose, Request, Step, Update, UpdateError};
use countersign_tuf::{Change, Collection, DelegationEdit, RoleName, Seen, Unverified, Version};
use countersign_vault::KeyLabel;
use std::collections::BTreeSet;

/// How far beginning anew has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The service has the old collection.
    Old,
    /// It has none.
    Between,
    /// It has the new one.
    New,
}

/// Makes the changes that a new collection begins with: the names and signers that were confirmed, as they were in the
/// last verified view. The owner signs the names; the signers add theirs when they sign again.
#[must_use]
pub fn carried_over(view: &Collection, confirmed: &Confirmed) -> Vec<Change> {
    let mut changes = Vec::new();
    let described = delegations(view);
    let kept = described.iter().filter(|role| confirmed.described.get(&role.role) == Some(&role.keys));
    for role in kept {
        let Some(parent) = role.role.parent().and_then(|parent| view.targets(&parent)) else { continue };
        let Some(listed) = parent.delegations.get(&role.role) else { continue };
        let add_keys = listed.keys.key_ids.iter().filter_map(|id| parent.delegations.keys.get(id)).cloned().collect();
        let (threshold, add_paths) = (Some(role.threshold), listed.paths.clone());
        let edit = DelegationEdit { threshold, add_keys, add_paths, ..DelegationEdit::default() };
        changes.push(Change::CreateDelegation { role: role.role.clone(), edit });
    }
    for (name, (sha256, length)) in released_names(view) {
        if confirmed.names.get(&name) == Some(&sha256) {
            let meta = FileMeta::of_manifest(sha256, length);
            changes.push(Change::AddTarget { role: RoleName::Targets, name, meta });
        }
    }
    changes
}

impl CollectionClient<'_> {
    /// Finds out how far beginning anew has come; `old` are the root keys (TUF ids) that are to be replaced, `new` those
    /// (canonical ids) that replace them.
    ///
    /// # Errors
    /// What the service has is neither the old collection nor one of this machine's making, or it is away.
    pub async fn stage_of_new_chain(&self, old: &[KeyId], new: &[KeyId]) -> Result<Stage, TrustError> {
        match self.update(Purpose::Renew).await {
            Ok(collection) => {
                let root = collection.root().trusted(&RoleName::Root);
                if root.is_some_and(|keys| keys.key_ids == old) {
                    return Ok(Stage::Old);
                }
                self.check_new_chain(&collection, new)?;
                Ok(Stage::New)
            }
            Err(TrustError::Update(UpdateError::NoTrustData(_))) => Ok(Stage::Between),
            Err(error) => Err(error),
        }
    }

    /// Verifies what is cached, as of the time when it could be verified last: for a collection that the service has no more.
    ///
    /// # Errors
    /// Something is not cached, or does not verify.
    pub fn last_view(&self) -> Result<Collection, TrustError> {
        let gone = || UpdateError::NoTrustData(self.gun().clone());
        let cached = self.local.read(&RoleName::Timestamp)?.ok_or_else(gone)?;
        let timestamp = Unverified::<Timestamp>::read(&RoleName::Timestamp, cached.into())
            .map_err(|error| UpdateError::Metadata { role: RoleName::Timestamp, error })?;
        let end = instant(&timestamp.untrusted().expires);
        let (gun, pinning, seen) = (self.gun().clone(), self.pinning, Seen::default());
        let (now, purpose, lost_root) = (end.min(self.now), Purpose::Renew, LostRoot::Refuse);
        let mut update = Update::begin(Request { gun, now, pinning, seen, purpose, lost_root });
        loop {
            let role = match update.next() {
                Step::Read(role) | Step::Fetch(Fetch { role, .. }) => role.clone(),
                Step::Done => return Ok(update.finish()?),
            };
            let file = self.local.read(&role)?;
            update.feed(file.map_or(Answer::Missing, |file| Answer::File(file.into())))?;
        }
    }

    /// Makes a new root key.
    ///
    /// # Errors
    /// It cannot be made or kept.
    pub fn make_root_key(&self) -> Result<KeyId, TrustError> {
        Ok(self.make_key(&KeyLabel::root())?.public_key().canonical_id())
    }

    /// Makes sure that a root key is here and can be opened.
    ///
    /// # Errors
    /// It is not, or is a key for something else.
    pub fn check_root_key(&self, id: &KeyId) -> Result<(), TrustError> {
        self.root_key(id).map(drop)
    }

    /// Takes the old collection away, at the service first, and begins it anew with these changes. Done again after an
    /// interruption, it goes on where it was.
    ///
    /// # Errors
    /// It is not finished; what was done stays done.
    pub async fn begin_anew(
        &self,
        old: &[KeyId],
        beginning: &Beginning,
        changes: &[Change],
    ) -> Result<Collection, TrustError> {
        let mut stage = self.stage_of_new_chain(old, &beginning.root_keys).await?;
        if stage == Stage::Old {
            self.delete_remote().await?;
            stage = Stage::Between;
        }
        if stage == Stage::Between {
            // What is cached is either the old collection or a new one that was not published yet: neither is needed.
            self.delete_local()?;
            self.init(beginning).await?;
        }
        let changes = |_: Option<&Collection>| Ok(changes.to_vec());
        let collection = match self.publish_as(&Publishing::of(&changes)).await?.0 {
            Published::Stored { collection, .. } | Published::Unchanged(collection) => *collection,
        };
        self.check_new_chain(&collection, &beginning.root_keys)?;
        Ok(collection)
    }

    /// A collection that somebody else has begun meanwhile, or the old one under a renewed root, is not the new one.
    fn check_new_chain(&self, collection: &Collection, new: &[KeyId]) -> Result<(), TrustError> {
        let new: BTreeSet<KeyId> = new.iter().copied().collect();
        let ours = canonical_ids(collection, &RoleName::Root) == new && collection.root().version == Version::FIRST;
        if ours { Ok(()) } else { Err(TrustError::TakenOver(self.gun().clone())) }
    }
}
