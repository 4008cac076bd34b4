//! One collection, seen from this machine.

use crate::error::TrustError;
use crate::rotation::Holder;
use bytes::Bytes;
use countersign_crypto::KeyId;
use countersign_notary::TrustService;
use countersign_tuf::update::{Absence, Answer, LostRoot, Purpose, Request, Step, Update, UpdateError};
use countersign_tuf::{Collection, FirstUse, Gun, Note, Pin, Pinning, RoleName, RootError, Seen};
use countersign_vault::{CacheUpdate, KeyStore, LocalCollection, NewKeyPlace, PassphraseSource, TrustDirectory};
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How often a read is repeated because another process changed the cache meanwhile.
const READ_ATTEMPTS: usize = 8;
/// How often a cache that contradicts the service, or has no root, is looked at again before that is believed.
const DOUBTS: u32 = 2;
/// How long another client may take to replace a cached file.
const REPLACEMENT: Duration = Duration::from_millis(100);

/// One collection: its cache and keys in the trust directory, its metadata at the trust service.
pub struct CollectionClient<'a> {
    pub(crate) local: LocalCollection,
    pub(crate) keys: KeyStore,
    pub(crate) service: TrustService,
    pub(crate) pinning: &'a Pinning,
    pub(crate) passphrases: &'a dyn PassphraseSource,
    pub(crate) now: Timestamp,
    pub(crate) lost_root: LostRoot,
    consent: Option<&'a dyn FirstUseConsent>,
    /// The root keys that were asked about, and the answer.
    consented: Mutex<Option<(Vec<KeyId>, bool)>>,
    /// Who gets the snapshot key of a collection that is made by publishing.
    pub(crate) new_snapshot: Holder,
    /// Whether signing makes a collection that does not exist.
    pub(crate) absent: Absent,
}

/// What signing does about a collection that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    Made,
    Refused,
}

/// Decides whether the root of a collection that nothing is known about is taken.
pub trait FirstUseConsent: Send + Sync {
    /// Tells whether these root keys are the owner's. May block while a person compares them.
    fn consents(&self, gun: &Gun, root_keys: &[KeyId]) -> bool;
}

impl<'a> CollectionClient<'a> {
    /// Opens a collection.
    ///
    /// # Errors
    /// The name cannot be kept in a trust directory.
    pub fn new(
        directory: &TrustDirectory,
        service: TrustService,
        pinning: &'a Pinning,
        passphrases: &'a dyn PassphraseSource,
        now: Timestamp,
    ) -> Result<Self, TrustError> {
        let local = directory.collection(service.gun())?;
        let lost_root = LostRoot::Refuse;
        let (keys, consented) = (directory.keys(), Mutex::default());
        let (consent, new_snapshot, absent) = (None, Holder::Service, Absent::Made);
        Ok(Self {
            local,
            keys,
            service,
            pinning,
            passphrases,
            now,
            lost_root,
            consent,
            consented,
            new_snapshot,
            absent,
        })
    }

    /// Chooses what happens when the cached root is gone although the collection was known before, or has not the root key
    /// that is pinned.
    #[must_use]
    pub fn lost_root(mut self, choice: LostRoot) -> Self {
        self.lost_root = choice;
        self
    }

    /// Has somebody decide where the pins deny a first use; nothing is kept before they consent.
    #[must_use]
    pub fn asking(mut self, consent: &'a dyn FirstUseConsent) -> Self {
        self.consent = Some(consent);
        self
    }

    /// Chooses who holds the snapshot key of a collection that publishing makes: with docker the service, with notary the
    /// client.
    #[must_use]
    pub fn new_snapshot_key(mut self, holder: Holder) -> Self {
        self.new_snapshot = holder;
        self
    }

    /// Chooses where keys are made: in files of the trust directory, or on a token that the directory knows.
    #[must_use]
    pub fn making_keys(mut self, place: NewKeyPlace) -> Self {
        self.keys = self.keys.making_keys(place);
        self
    }

    /// Signs only in a collection that exists: where keys do not last, the keys of a new one would be lost.
    #[must_use]
    pub fn existing_only(mut self) -> Self {
        self.absent = Absent::Refused;
        self
    }

    /// Returns the collection's name.
    #[must_use]
    pub fn gun(&self) -> &Gun {
        self.local.gun()
    }

    /// Returns the trust service.
    #[must_use]
    pub fn service(&self) -> &TrustService {
        &self.service
    }

    /// Returns the key store.
    #[must_use]
    pub fn keys(&self) -> &KeyStore {
        &self.keys
    }

    /// Brings the view of the collection up to date and keeps what was verified.
    ///
    /// A trust directory that cannot be written to does not prevent verification.
    ///
    /// # Errors
    /// The collection cannot be verified; nothing of the attempt is kept.
    pub async fn update(&self, purpose: Purpose) -> Result<Collection, TrustError> {
        self.update_pinned(purpose, self.pinning).await
    }

    /// Verifies as [`Self::update`] does for reading, and keeps nothing: neither what was downloaded nor that it was seen.
    ///
    /// # Errors
    /// The collection cannot be verified.
    pub async fn observe(&self) -> Result<Collection, TrustError> {
        let seen = self.local.read_seen()?;
        Box::pin(self.run(Purpose::Read, self.pinning, seen.as_deref(), Cache::Used)).await
    }

    /// As [`Self::observe`], with what is here alone: the service is not asked.
    ///
    /// # Errors
    /// What is here does not verify, or is not enough; then the service is said to be away.
    pub fn observe_here(&self) -> Result<Collection, TrustError> {
        let seen = self.local.read_seen()?;
        let mut update = self.begin(Purpose::Read, self.pinning, seen.as_deref())?;
        loop {
            let answer = match update.next() {
                Step::Read(role) => self.cached(role)?,
                Step::Fetch(_) => Answer::Away(Absence::Unreachable("it was not asked".to_owned())),
                Step::Done => return Ok(update.finish()?),
            };
            update.feed(answer)?;
        }
    }

    /// Returns the collection's files in the trust directory.
    #[must_use]
    pub fn local(&self) -> &LocalCollection {
        &self.local
    }

    /// As [`Self::update`], under other pins.
    pub(crate) async fn update_pinned(&self, purpose: Purpose, pinning: &Pinning) -> Result<Collection, TrustError> {
        let (mut attempts, mut doubts) = (READ_ATTEMPTS, DOUBTS);
        loop {
            let seen = self.local.read_seen()?;
            attempts = attempts.saturating_sub(1);
            // In a box: every use case holds this future, and it is large.
            match Box::pin(self.run_or_ask(purpose, pinning, seen.as_deref())).await {
                // What may have expired is for making what takes its place, and for nobody to rely on.
                Ok(collection) if purpose == Purpose::Renew => return Ok(collection),
                Ok(collection) if attempts == 0 || self.keep(&collection, seen.as_deref())? == Kept::Yes => {
                    return Ok(collection);
                }
                Ok(_) => {}
                Err(error) if attempts == 0 => return Err(error),
                // Another process has verified something newer while this one was waiting for the service.
                Err(_) if self.local.read_seen()? != seen => {}
                Err(error) if doubts > 0 && may_be_a_race(&error) => {
                    doubts -= 1;
                    tokio::time::sleep(REPLACEMENT).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs an update. Where the pins deny a first use and somebody is there to ask, they see which root keys would be
    /// trusted.
    async fn run_or_ask(
        &self,
        purpose: Purpose,
        pinning: &Pinning,
        seen: Option<&[u8]>,
    ) -> Result<Collection, TrustError> {
        let denied = match (self.run_or_replace(purpose, pinning, seen).await, self.consent) {
            (Err(error @ TrustError::Update(UpdateError::Root(RootError::FirstUse(_)))), Some(consent)) => {
                (error, consent)
            }
            (result, _) => return result,
        };
        let (error, consent) = denied;
        let allowed = Pinning::clone(pinning).with_first_use(FirstUse::Allow);
        let collection = self.run_or_replace(purpose, &allowed, seen).await?;
        let keys = collection.notes().iter().find_map(|note| match note {
            Note::FirstUse(keys) => Some(keys.as_slice()),
            _ => None,
        });
        let agreed = keys.is_some_and(|keys| self.agrees(consent, keys));
        if agreed { Ok(collection) } else { Err(error) }
    }

    /// Asks once about each set of root keys: a yes to one is none to another.
    fn agrees(&self, consent: &dyn FirstUseConsent, keys: &[KeyId]) -> bool {
        let mut consented = self.consented.lock().unwrap_or_else(PoisonError::into_inner);
        match consented.as_ref() {
            Some((asked, answer)) if asked == keys => *answer,
            _ => {
                let answer = consent.consents(self.gun(), keys);
                *consented = Some((keys.to_vec(), answer));
                answer
            }
        }
    }

    /// Runs an update. If the person has agreed that trust is established anew and names the new root key, a cached root
    /// without that key gives way to one with it, unless the chain from the cached root leads there.
    ///
    /// Nothing else can stand in for the cached root: not consent alone, not a pin alone, and no authority.
    async fn run_or_replace(
        &self,
        purpose: Purpose,
        pinning: &Pinning,
        seen: Option<&[u8]>,
    ) -> Result<Collection, TrustError> {
        let (ids, error) = match (pinning.pin(self.gun()), self.run(purpose, pinning, seen, Cache::Used).await) {
            (Pin::Certificates(ids), Err(error @ TrustError::Update(UpdateError::Root(RootError::Pin(_)))))
                if self.lost_root == LostRoot::Reestablish =>
            {
                (ids, error)
            }
            (_, result) => return result,
        };
        if self.local.read(&RoleName::Root)?.is_none() {
            return Err(error);
        }
        if let Ok(continued) = self.run(purpose, &Pinning::default(), seen, Cache::Used).await {
            let root = continued.root().trusted(&RoleName::Root);
            if root.is_some_and(|keys| keys.key_ids.iter().any(|id| ids.contains(id))) {
                return Ok(continued);
            }
        }
        let replaced = self.run(purpose, pinning, None, Cache::Ignored).await?;
        tracing::warn!("the root of {} that this machine knew is replaced by the pinned one", self.gun());
        Ok(replaced)
    }

    pub(crate) async fn run(
        &self,
        purpose: Purpose,
        pinning: &Pinning,
        seen: Option<&[u8]>,
        cache: Cache<'_>,
    ) -> Result<Collection, TrustError> {
        let mut update = self.begin(purpose, pinning, seen)?;
        loop {
            let answer = match update.next() {
                Step::Read(role) => match cache {
                    Cache::Used => self.cached(role)?,
                    Cache::Ignored => Answer::Missing,
                    Cache::Held(files) => files.get(role).cloned().map_or(Answer::Missing, Answer::File),
                },
                Step::Fetch(wanted) => self.service.fetch(wanted).await,
                Step::Done => return Ok(update.finish()?),
            };
            update.feed(answer)?;
        }
    }

    fn begin<'p>(&self, purpose: Purpose, pinning: &'p Pinning, seen: Option<&[u8]>) -> Result<Update<'p>, TrustError> {
        let seen = seen.map(|bytes| self.seen_of(bytes)).transpose()?.unwrap_or_default();
        let (gun, now, lost_root) = (self.gun().clone(), self.now, self.lost_root);
        Ok(Update::begin(Request { gun, now, pinning, seen, purpose, lost_root }))
    }

    /// Reads what this machine has seen of the collection.
    pub(crate) fn seen(&self) -> Result<Option<Seen>, TrustError> {
        self.local.read_seen()?.map(|record| self.seen_of(&record)).transpose()
    }

    fn seen_of(&self, record: &[u8]) -> Result<Seen, TrustError> {
        Seen::read(&Bytes::copy_from_slice(record)).map_err(|error| TrustError::Seen {
            gun: self.gun().clone(),
            error,
            path: self.local.path().join("metadata/seen.json").display().to_string(),
        })
    }

    /// Reads the cache. Only the root's faults matter: everything else can be fetched again.
    fn cached(&self, role: &RoleName) -> Result<Answer, TrustError> {
        match self.local.read(role) {
            Ok(Some(bytes)) => Ok(Answer::File(bytes.into())),
            Ok(None) if *role == RoleName::Root && self.local.has_any()? => Ok(Answer::Remnants),
            Err(error) if *role == RoleName::Root => Err(error.into()),
            Ok(None) | Err(_) => Ok(Answer::Missing),
        }
    }

    /// Keeps what a whole update has verified, unless another process has been here since it began.
    fn keep(&self, collection: &Collection, seen_before: Option<&[u8]>) -> Result<Kept, TrustError> {
        let record = collection.seen().write();
        if collection.downloaded().is_empty() && seen_before == Some(record.as_slice()) {
            return Ok(Kept::Yes);
        }
        let locked = match self.local.lock() {
            Ok(locked) => locked,
            Err(error) if error.is_unwritable() => return Ok(self.unwritable(&error)),
            Err(error) => return Err(error.into()),
        };
        if self.local.read_seen()?.as_deref() != seen_before {
            return Ok(Kept::Overtaken);
        }
        let present: BTreeSet<RoleName> = collection.all_targets().map(|(role, _)| role.clone()).collect();
        let mut update = CacheUpdate::new().seen(record).keep_delegations(present);
        for (role, file) in collection.downloaded() {
            update = update.store(role.clone(), file.to_vec());
        }
        match locked.commit(update) {
            Ok(()) => Ok(Kept::Yes),
            Err(error) if error.is_unwritable() => Ok(self.unwritable(&error)),
            Err(error) => Err(error.into()),
        }
    }

    /// Goes on without having kept anything: what was verified stays verified.
    fn unwritable(&self, error: &dyn std::fmt::Display) -> Kept {
        tracing::warn!(
            "what was verified of {} cannot be kept, so older data could pass next time: {error}",
            self.gun()
        );
        Kept::Yes
    }
}

/// Tells whether docker or notary may just be writing to the cache: they take no lock, and remove a file before they
/// replace it.
fn may_be_a_race(error: &TrustError) -> bool {
    let TrustError::Update(error) = error else { return false };
    matches!(
        error,
        UpdateError::LostRoot(_) | UpdateError::CachedRoot(_) | UpdateError::Rollback(_) | UpdateError::Regression(_)
    )
}

/// What an update begins with.
#[derive(Clone, Copy)]
pub(crate) enum Cache<'a> {
    /// What the trust directory has.
    Used,
    /// Nothing.
    Ignored,
    /// What somebody else's trust directory has.
    Held(&'a BTreeMap<RoleName, Bytes>),
}

#[derive(PartialEq, Eq)]
enum Kept {
    Yes,
    Overtaken,
}
