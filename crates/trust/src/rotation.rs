//! Rotating the keys of the base roles (Notary protocol, key rotation).

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::publish::{Changes, Published, Publishing};
use crate::request_error::RequestError;
use countersign_crypto::certificate::{Certificate, CertificateBundle};
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Change, Collection, Pin, RoleName, SigningError};
use countersign_vault::Removal;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Who holds the private key of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// This machine.
    Client,
    /// The trust service.
    Service,
}

/// The keys that a role gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NewKeys {
    /// A new key of this machine.
    Generate,
    /// Keys of the store, by id.
    Stored(Vec<KeyId>),
    /// Of a root, the keys that it has, each with a new certificate.
    Recertified,
    /// Of a root, keys of the store with these certificates.
    Certified(Vec<PublicKey>),
    /// A new key of the trust service.
    OfService,
}

/// Which earlier roots' keys sign a new root as well, for clients that know no newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum LegacyRoots {
    /// Only the present one's, whose keys always sign.
    #[default]
    None,
    /// Those of this many versions before the present one.
    Last(u32),
    /// All there have been.
    All,
}

/// A rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// The base role.
    pub role: RoleName,
    /// The keys that it gets.
    pub keys: NewKeys,
    /// The earlier roots whose keys sign as well.
    pub legacy: LegacyRoots,
}

/// A base role and the keys that it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Former {
    /// The role.
    pub role: RoleName,
    /// The keys (canonical ids) that it has no more.
    pub keys: Vec<KeyId>,
}

/// What a rotation came to.
#[derive(Debug)]
pub struct Rotated {
    /// The collection as it is now.
    pub collection: Collection,
    /// The verified view on top of which it was published; none if the collection was new.
    pub base: Option<Box<Collection>>,
    /// The roles' new keys as root lists them: of a root, what others have to pin.
    pub keys: Vec<PublicKey>,
    /// What the roles had before.
    pub former: Vec<Former>,
    /// Private keys of the roles that were removed from the store, by id.
    pub removed: Vec<KeyId>,
    /// Whether this machine's pins still fit.
    pub pins: PinsAfter,
}

/// Whether pins allow a root that this machine has just made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinsAfter {
    /// There are none, or they allow it.
    Fit,
    /// They do not name its keys: until they do, this machine refuses the collection.
    MustChange,
}

impl Rotation {
    /// Checks that the role's key may be rotated to that holder, before anybody is asked anything.
    ///
    /// # Errors
    /// Root and targets belong to the client, the timestamp to the service, and delegations have no rotation.
    pub fn check(role: &RoleName, holder: Holder) -> Result<(), RequestError> {
        match (role, holder) {
            (RoleName::Delegation(_), _) => Err(RequestError::NotRotated(role.clone())),
            (RoleName::Root | RoleName::Targets, Holder::Service) => Err(RequestError::NotByService(role.clone())),
            (RoleName::Timestamp, Holder::Client) => Err(RequestError::NotByClient(role.clone())),
            _ => Ok(()),
        }
    }

    fn holder(&self) -> Holder {
        if self.keys == NewKeys::OfService { Holder::Service } else { Holder::Client }
    }
}

impl CollectionClient<'_> {
    /// Replaces the keys of a role and publishes that at once; staged changes stay staged.
    ///
    /// A new root is signed with the old keys and the new. Replaced private keys are removed from the store once the
    /// service has accepted, root keys excepted. A rotation that was interrupted can be made again.
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was.
    pub async fn rotate(&self, rotation: &Rotation) -> Result<Rotated, TrustError> {
        self.rotate_all(std::slice::from_ref(rotation)).await
    }

    /// Makes sure, as far as that can be known, that a role's key can be rotated here: before keys are taken in for it.
    ///
    /// # Errors
    /// There is no such collection, it cannot be verified, or its root key is not here.
    pub async fn check_rotation(&self, role: &RoleName) -> Result<(), TrustError> {
        let rotation = Rotation { role: role.clone(), keys: NewKeys::Generate, legacy: LegacyRoots::None };
        self.check_root_keys(self.check_there(&[rotation]).await?.0.as_ref())
    }

    /// Rotates several roles in one publication: a lost key among them need not sign any more.
    ///
    /// # Errors
    /// As [`Self::rotate`].
    pub async fn rotate_all(&self, rotations: &[Rotation]) -> Result<Rotated, TrustError> {
        Ok(self.rotate_with(rotations, &|_| Ok(Vec::new())).await?.0)
    }

    /// Rotates, and makes other changes in the same publication. Returns the roles that still list keys to be purged, too.
    pub(crate) async fn rotate_with(
        &self,
        rotations: &[Rotation],
        more: &Changes<'_>,
    ) -> Result<(Rotated, BTreeSet<RoleName>), TrustError> {
        for rotation in rotations {
            Rotation::check(&rotation.role, rotation.holder())?;
        }
        let (there, purpose) = self.check_there(rotations).await?;
        if !rotations.is_empty() {
            self.check_root_keys(there.as_ref())?;
        }
        let mut prepared = Vec::new();
        for rotation in rotations {
            prepared.push((rotation, self.keys_for(rotation, there.as_ref()).await?));
        }
        let replaced: RefCell<BTreeMap<RoleName, BTreeSet<KeyId>>> = RefCell::default();
        let changes = |base: Option<&Collection>| {
            let mut changes = Vec::new();
            for (rotation, keys) in &prepared {
                let role = &rotation.role;
                let present = base.map(|base| canonical_ids(base, role)).unwrap_or_default();
                let of_service = rotation.keys == NewKeys::OfService;
                if of_service && keys.iter().any(|key| present.contains(&key.canonical_id())) {
                    return Err(TrustError::SameKey { gun: self.gun().clone(), role: role.clone() });
                }
                replaced.borrow_mut().entry(role.clone()).or_default().extend(present);
                changes.push(Change::ReplaceKeys { role: role.clone(), keys: keys.clone() });
            }
            changes.extend(more(base)?);
            changes.extend(base.and_then(|base| self.expired_targets(base)));
            Ok(changes)
        };
        let legacy = rotations.iter().map(|rotation| rotation.legacy).max().unwrap_or_default();
        let how = Publishing { legacy, purpose, ..Publishing::of(&changes) };
        let (collection, base, unpurged) = match self.publish_as(&how).await?.0 {
            Published::Stored { collection, base, unpurged, .. } => (*collection, base, unpurged),
            Published::Unchanged(collection) => (*collection, None, BTreeSet::new()),
        };
        let (mut former, mut removed, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (rotation, keys) in prepared {
            let role = &rotation.role;
            let mut present = canonical_ids(&collection, role);
            present.extend(keys.iter().map(PublicKey::canonical_id));
            let gone = replaced.borrow_mut().remove(role).unwrap_or_default();
            let gone: Vec<KeyId> = gone.difference(&present).copied().collect();
            removed.extend(self.remove_replaced(role, &gone));
            former.push(Former { role: role.clone(), keys: gone });
            all.extend(keys);
        }
        let pins = self.pins_after(&collection);
        Ok((Rotated { collection, base, keys: all, former, removed, pins }, unpurged))
    }

    /// Makes sure that there is a collection, published or waiting here: none is made by a slip in its name, nor keys for
    /// one, nor where the service is away. What has expired is in the way unless it is what is made anew.
    async fn check_there(&self, rotations: &[Rotation]) -> Result<(Option<Collection>, Purpose), TrustError> {
        let rotates = |role: &RoleName| rotations.iter().any(|rotation| rotation.role == *role);
        let there = match self.update(Purpose::Publish).await {
            Err(TrustError::Update(error)) if error.expired().is_some_and(|role| rotates(&role)) => {
                return Ok((Some(self.update(Purpose::Renew).await?), Purpose::Renew));
            }
            Err(TrustError::Update(UpdateError::NoTrustData(_))) if self.local.read(&RoleName::Root)?.is_some() => None,
            there => Some(there?),
        };
        Ok((there, Purpose::Publish))
    }

    /// Has targets that have expired signed anew: with a new root alone nobody could verify.
    pub(crate) fn expired_targets(&self, base: &Collection) -> Option<Change> {
        let expired = base.targets(&RoleName::Targets)?.expires.is_before(self.now);
        expired.then_some(Change::Witness { role: RoleName::Targets })
    }

    /// Makes sure that the new root can be signed, before any key is made for it.
    pub(crate) fn check_root_keys(&self, there: Option<&Collection>) -> Result<(), TrustError> {
        let Some(there) = there else { return Ok(()) };
        let needed = there.root().trusted(&RoleName::Root).map_or(1, |keys| keys.threshold.max(1));
        let (mut found, mut wanted) = (0, Vec::new());
        for id in canonical_ids(there, &RoleName::Root) {
            if self.keys.find(&id)?.is_some() { found += 1 } else { wanted.push(id) }
        }
        if found < needed {
            return Err(SigningError::MissingKeys { role: RoleName::Root, needed, found, wanted }.into());
        }
        Ok(())
    }

    async fn keys_for(&self, rotation: &Rotation, there: Option<&Collection>) -> Result<Vec<PublicKey>, TrustError> {
        let role = &rotation.role;
        match &rotation.keys {
            NewKeys::Recertified | NewKeys::Certified(_) if *role != RoleName::Root => {
                Err(RequestError::NotCertified(role.clone()).into())
            }
            NewKeys::OfService => Ok(vec![self.service.rotate_key(role).await?]),
            NewKeys::Generate => {
                let key = self.make_key(&self.label(role)?)?;
                Ok(vec![if *role == RoleName::Root { self.certified(&*key)? } else { key.public_key().clone() }])
            }
            NewKeys::Stored(ids) => ids.iter().map(|id| self.stored_key(role, id)).collect(),
            NewKeys::Recertified => {
                let there = there.ok_or_else(|| UpdateError::NoTrustData(self.gun().clone()))?;
                self.recertified(there)
            }
            NewKeys::Certified(keys) => {
                for key in keys {
                    self.stored_key(role, &key.canonical_id())?;
                }
                Ok(keys.clone())
            }
        }
    }

    /// Gives the present root keys new certificates. Those whose private half is elsewhere keep theirs, and count as long
    /// as it does.
    pub(crate) fn recertified(&self, there: &Collection) -> Result<Vec<PublicKey>, TrustError> {
        let root = there.root();
        let ids = root.trusted(&RoleName::Root).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
        let (mut keys, mut here) = (Vec::new(), false);
        for listed in ids.iter().filter_map(|id| root.keys.get(id)) {
            let id = listed.canonical_id();
            if self.keys.find(&id)?.is_some() {
                keys.push(self.stored_key(&RoleName::Root, &id)?);
                here = true;
            } else {
                keys.push(listed.clone());
            }
        }
        match ids.first().and_then(|id| root.keys.get(id)) {
            Some(first) if !here => Err(RequestError::NoRootKey(first.canonical_id()).into()),
            _ => Ok(keys),
        }
    }

    /// Finds a key of the store for a role; for root it gets a certificate.
    fn stored_key(&self, role: &RoleName, id: &KeyId) -> Result<PublicKey, TrustError> {
        let entry = self.keys.find(id)?.ok_or(RequestError::NoKey(*id))?;
        if *role == RoleName::Root && entry.role != role.as_str() {
            return Err(RequestError::NoRootKey(*id).into());
        }
        let key = self.keys.signer(id, self.passphrases)?;
        if *role == RoleName::Root { self.certified(&*key) } else { Ok(key.public_key().clone()) }
    }

    /// Removes private keys that the role had, unless they are kept for something else. The service has accepted: that one
    /// cannot be removed is no failure of the rotation.
    fn remove_replaced(&self, role: &RoleName, replaced: &[KeyId]) -> Vec<KeyId> {
        let mut removed = Vec::new();
        for id in replaced.iter().filter(|_| *role != RoleName::Root) {
            match self.remove_own(role, id) {
                Ok(true) => removed.push(*id),
                Ok(false) => {}
                Err(error) => tracing::warn!("the replaced private key {id} could not be removed: {error}"),
            }
        }
        removed
    }

    fn remove_own(&self, role: &RoleName, id: &KeyId) -> Result<bool, TrustError> {
        let ours = self.keys.find(id)?;
        let ours = ours.is_some_and(|key| key.role == role.as_str() && key.gun.as_ref() == Some(self.gun()));
        // A key on a token stays there.
        Ok(ours && self.keys.remove(id)? == Removal::Removed)
    }

    fn pins_after(&self, collection: &Collection) -> PinsAfter {
        let ids = collection.root().trusted(&RoleName::Root).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
        match self.pinning.pin(self.gun()) {
            Pin::FirstUse | Pin::Denied => PinsAfter::Fit,
            Pin::Certificates(pinned) if ids.iter().any(|id| pinned.contains(id)) => PinsAfter::Fit,
            Pin::Authorities(authorities) if self.descends(collection, authorities) => PinsAfter::Fit,
            Pin::Certificates(_) | Pin::Authorities(_) => PinsAfter::MustChange,
        }
    }

    fn descends(&self, collection: &Collection, authorities: &[Certificate]) -> bool {
        let root = collection.root();
        let ids = root.trusted(&RoleName::Root).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
        ids.iter().filter_map(|id| root.keys.get(id)).any(|key| {
            let bundle = CertificateBundle::parse(key.bytes());
            bundle.is_ok_and(|bundle| bundle.verify_chain_to(authorities, self.now).is_ok())
        })
    }
}

/// Returns the canonical ids of a base role's keys.
pub(crate) fn canonical_ids(collection: &Collection, role: &RoleName) -> BTreeSet<KeyId> {
    let root = collection.root();
    let ids = root.trusted(role).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
    ids.iter().filter_map(|id| root.keys.get(id)).map(PublicKey::canonical_id).collect()
}
