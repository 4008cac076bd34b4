//! Moving a collection to another trust service, with everything that clients know it by.
//!
//! What the former service had comes from an archive, so that it works when that service is gone. Roots are not made
//! anew: one more is signed, by the same root keys, which names the new service's keys; whoever knows any earlier root
//! follows the chain.

use crate::archive::Archive;
use crate::client::{Cache, CollectionClient};
use crate::error::TrustError;
use crate::publish::own_root;
use crate::readers::{Reader, certificates_end};
use crate::request_error::RequestError;
use crate::rotation::Holder;
use bytes::Bytes;
use countersign_crypto::PublicKey;
use countersign_notary::ServiceError;
use countersign_tuf::accept::MOVE_AHEAD;
use countersign_tuf::editor::{Editor, Publication};
use countersign_tuf::metadata::Root;
use countersign_tuf::update::{Answer, Fetch, MAX_ROOT, Purpose, UpdateError, Which};
use countersign_tuf::{Change, Collection, FirstUse, Pinning, RoleName, TrustedKeys, Unverified, Version};
use std::collections::BTreeMap;

/// Where a move stands.
#[derive(Debug)]
pub enum Standing {
    /// It can be made.
    Ready(Box<MovePlan>),
    /// The service has the collection already, as a continuation of what the archive holds.
    Moved(Box<Collection>),
}

/// What a move would do. Nothing is signed before [`CollectionClient::make_move`].
#[derive(Debug)]
pub struct MovePlan {
    /// The collection as it was archived.
    pub collection: Collection,
    /// The earliest root that goes along: who knows it or a later one follows.
    pub oldest_root: Version,
    /// Who holds the snapshot key afterwards.
    pub snapshot: Holder,
    /// The new service's keys by role.
    pub service_keys: BTreeMap<RoleName, PublicKey>,
    /// Roles of the owner that have expired and are signed anew.
    pub renewed: Vec<RoleName>,
    /// Roles that have expired and whose keys are not here: their holders have to sign again.
    pub expired: Vec<RoleName>,
    /// The root keys' certificates have ended; the same keys get new ones.
    pub recertified: bool,
    former: BTreeMap<(RoleName, Version), Bytes>,
    changes: Vec<Change>,
}

impl CollectionClient<'_> {
    /// Finds out whether and how an archived collection can move to this client's service. The service is asked for its
    /// keys; nothing else happens there.
    ///
    /// # Errors
    /// The archive does not verify or is older than what this machine knows; the root keys are not here; the service has
    /// another collection of this name, or is away.
    pub async fn plan_move(&self, archive: &Archive) -> Result<Standing, TrustError> {
        let pinning = self.pinning_by_cache(archive)?;
        let attested = archive.verify(archive.taken_at, &pinning)?;
        let collection = attested.collection;
        if let Some(theirs) = self.served_root().await? {
            return self.continued(&collection, &theirs).await;
        }
        let own_snapshot = self.has_key_of(&collection, &RoleName::Snapshot)?;
        let snapshot = if own_snapshot { Holder::Client } else { Holder::Service };
        self.check_not_behind(&collection, snapshot)?;
        self.check_root_keys(Some(&collection))?;
        let (mut service_keys, mut changes) = (BTreeMap::new(), Vec::new());
        for role in [RoleName::Timestamp, RoleName::Snapshot] {
            if role == RoleName::Timestamp || !own_snapshot {
                let key = self.service.key(&role).await?;
                changes.push(Change::ReplaceKeys { role: role.clone(), keys: vec![key.clone()] });
                service_keys.insert(role, key);
            }
        }
        let recertified = certificates_end(collection.root()).is_some_and(|end| end < self.now);
        if recertified {
            changes.push(Change::ReplaceKeys { role: RoleName::Root, keys: self.recertified(&collection)? });
        }
        let (mut renewed, mut expired) = (Vec::new(), Vec::new());
        for (role, file) in collection.all_targets().filter(|(_, file)| file.expires.is_before(self.now)) {
            if *role == RoleName::Targets || self.has_key_of(&collection, role)? {
                changes.push(Change::Witness { role: role.clone() });
                renewed.push(role.clone());
            } else {
                expired.push(file.role().clone());
            }
        }
        Ok(Standing::Ready(Box::new(MovePlan {
            former: former(archive, &collection, attested.oldest_root),
            oldest_root: attested.oldest_root,
            snapshot,
            collection,
            service_keys,
            renewed,
            expired,
            recertified,
            changes,
        })))
    }

    /// Signs and hands the collection over, in one upload; reads it back, as a client without any knowledge, as one that
    /// knows what was archived, and as one that knows the earliest root alone.
    ///
    /// # Errors
    /// Nothing was moved, or it is not certain that it was: planning again tells.
    pub async fn make_move(&self, plan: &MovePlan) -> Result<Collection, TrustError> {
        let mut editor = Editor::of(&plan.collection, self.now);
        for change in &plan.changes {
            editor.apply(change)?;
        }
        let publication = self.signed(editor, &TrustedKeys::of(&RoleName::Root, [], 0))?;
        let handed = self.service.hand_over(&plan.former, &publication.parts).await;
        if let Err(error) = handed {
            // A failure on the way leaves open whether the service has stored it; then its state decides.
            let unsettled = matches!(error, ServiceError::Conflict | ServiceError::Away(_) | ServiceError::Hostile(_));
            let stored = unsettled && self.served_root().await.is_ok_and(|root| root.as_ref() == root_of(&publication));
            if !stored {
                return Err(error.into());
            }
        }
        let unread = |error| TrustError::NotReadBack { gun: self.gun().clone(), error: Box::new(error) };
        let collection = self.moved(&publication).await.map_err(unread)?;
        self.as_read_by(Reader::Fresh).await.map_err(unread)?;
        self.as_read_by(Reader::Knowing(&plan.collection)).await.map_err(unread)?;
        self.as_read_by_root(plan).await.map_err(unread)?;
        Ok(collection)
    }

    /// What this machine has of the collection vouches for an archive that has the same root.
    fn pinning_by_cache(&self, archive: &Archive) -> Result<Pinning, TrustError> {
        let Some(cached) = self.local.read(&RoleName::Root)? else { return Ok(self.pinning.clone()) };
        let other = || TrustError::from(RequestError::OtherHistory(self.gun().clone()));
        let cached: Bytes = cached.into();
        let read = Unverified::<Root>::read(&RoleName::Root, cached.clone()).map_err(|_| other())?;
        match archive.files.get(&(RoleName::Root, read.untrusted().version)) {
            Some(archived) if *archived == cached => Ok(self.pinning.clone().with_first_use(FirstUse::Allow)),
            // A root that came after what was archived: this machine has followed the move already.
            None if archive.present.get(&RoleName::Root).is_some_and(|last| *last < read.untrusted().version) => {
                Ok(self.pinning.clone().with_first_use(FirstUse::Allow))
            }
            _ => Err(other()),
        }
    }

    /// Makes sure that nothing would fall behind what this machine has seen. What the service signs itself moves ahead.
    fn check_not_behind(&self, archived: &Collection, snapshot: Holder) -> Result<(), TrustError> {
        let Some(seen) = self.seen()? else { return Ok(()) };
        let ahead = |holder: Holder| if holder == Holder::Service { MOVE_AHEAD } else { 0 };
        let targets = archived.all_targets().map(|(role, file)| (role, file.version, 0));
        let others = [
            (&RoleName::Root, archived.root().version, 0),
            (&RoleName::Snapshot, archived.snapshot().version, ahead(snapshot)),
            (&RoleName::Timestamp, archived.timestamp().version, MOVE_AHEAD),
        ];
        for (role, archived, ahead) in targets.chain(others) {
            if let Some(seen) = seen.version(role).filter(|seen| seen.get() > archived.get().saturating_add(ahead)) {
                let (gun, role) = (self.gun().clone(), role.clone());
                return Err(RequestError::ArchiveBehind { gun, role, seen, archived }.into());
            }
        }
        Ok(())
    }

    async fn served_root(&self) -> Result<Option<Bytes>, TrustError> {
        let role = RoleName::Root;
        match self.service.fetch(Fetch { role: &role, which: Which::Current, limit: MAX_ROOT }).await {
            Answer::File(file) => Ok(Some(file)),
            Answer::Missing | Answer::Remnants => Ok(None),
            Answer::Away(absence) => Err(UpdateError::Away { role, absence }.into()),
        }
    }

    /// Tells whether what the service has goes on from what was archived, and verifies it.
    async fn continued(&self, archived: &Collection, theirs: &Bytes) -> Result<Standing, TrustError> {
        let other = || TrustError::from(RequestError::OtherThere(self.gun().clone()));
        let read = Unverified::<Root>::read(&RoleName::Root, theirs.clone()).map_err(|_| other())?;
        if read.untrusted().version <= archived.root().version {
            return Err(other());
        }
        match self.as_read_by(Reader::Knowing(archived)).await {
            Ok(_) => Ok(Standing::Moved(Box::new(self.update(Purpose::Publish).await?))),
            Err(TrustError::Update(UpdateError::Away { role, absence })) => {
                Err(UpdateError::Away { role, absence }.into())
            }
            Err(_) => Err(other()),
        }
    }

    /// Brings this machine's view up to date; the root that was just made here needs no pin.
    async fn moved(&self, publication: &Publication) -> Result<Collection, TrustError> {
        let own = own_root(publication).unwrap_or_default();
        let collection = self.update_pinned(Purpose::Publish, &own).await?;
        if Some(collection.root().file()) == root_of(publication) {
            Ok(collection)
        } else {
            Err(TrustError::NotStored(self.gun().clone()))
        }
    }

    /// Verifies as a client that knows the earliest root and nothing else.
    async fn as_read_by_root(&self, plan: &MovePlan) -> Result<(), TrustError> {
        let oldest = plan.former.get(&(RoleName::Root, plan.oldest_root));
        let files: BTreeMap<RoleName, Bytes> = oldest.map(|root| (RoleName::Root, root.clone())).into_iter().collect();
        let pinning = Pinning::new(FirstUse::Deny);
        Box::pin(self.run(Purpose::Publish, &pinning, None, Cache::Held(&files))).await.map(drop)
    }

    fn has_key_of(&self, collection: &Collection, role: &RoleName) -> Result<bool, TrustError> {
        let Some(keys) = collection.keys_of(role) else { return Ok(false) };
        for (_, key) in keys.iter() {
            if self.keys.find(&key.canonical_id())?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn root_of(publication: &Publication) -> Option<&Bytes> {
    publication.parts.get(&RoleName::Root)
}

/// Collects what goes along: the chain of roots, and the present file of every other role.
fn former(archive: &Archive, collection: &Collection, oldest: Version) -> BTreeMap<(RoleName, Version), Bytes> {
    let newest = collection.root().version;
    let listed = |role: &RoleName| match role {
        RoleName::Timestamp | RoleName::Snapshot => true,
        role => collection.snapshot().meta.contains_key(role),
    };
    let goes = |role: &RoleName, version: Version| match role {
        RoleName::Root => (oldest..=newest).contains(&version),
        role => archive.present.get(role) == Some(&version) && listed(role),
    };
    let files = archive.files.iter().filter(|((role, version), _)| goes(role, *version));
    files.map(|(name, file)| (name.clone(), file.clone())).collect()
}
