//! Rotating the keys of the base roles (Notary protocol, key rotation).

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::publish::{Published, Publishing};
use crate::request_error::RequestError;
use countersign_crypto::certificate::{Certificate, CertificateBundle};
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Change, Collection, Pin, RoleName};
use std::cell::RefCell;
use std::collections::BTreeSet;

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
    /// A new key of the trust service.
    OfService,
}

/// Which earlier roots' keys sign a new root as well, for clients that know no newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
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

/// What a rotation came to.
#[derive(Debug)]
pub struct Rotated {
    /// The collection as it is now.
    pub collection: Collection,
    /// The verified view on top of which it was published; none if the collection was new.
    pub base: Option<Box<Collection>>,
    /// The role's new keys as root lists them: of a root, what others have to pin.
    pub keys: Vec<PublicKey>,
    /// Private keys of the role that were removed from the store, by id.
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
        let role = &rotation.role;
        Rotation::check(role, rotation.holder())?;
        self.check_there().await?;
        let keys = self.keys_for(rotation).await?;
        let replaced = RefCell::new(BTreeSet::new());
        let changes = |base: Option<&Collection>| {
            let present = base.map(|base| canonical_ids(base, role)).unwrap_or_default();
            if rotation.keys == NewKeys::OfService && keys.iter().any(|key| present.contains(&key.canonical_id())) {
                return Err(TrustError::SameKey { gun: self.gun().clone(), role: role.clone() });
            }
            replaced.borrow_mut().extend(present);
            Ok(vec![Change::ReplaceKeys { role: role.clone(), keys: keys.clone() }])
        };
        let how = Publishing { legacy: rotation.legacy, ..Publishing::of(&changes) };
        let (collection, base) = match self.publish_as(&how).await?.0 {
            Published::Stored { collection, base, .. } => (*collection, base),
            Published::Unchanged(collection) => (*collection, None),
        };
        let mut present = canonical_ids(&collection, role);
        present.extend(keys.iter().map(PublicKey::canonical_id));
        let removed = self.remove_replaced(role, replaced.into_inner().difference(&present));
        let pins = self.pins_after(&collection);
        Ok(Rotated { collection, base, keys, removed, pins })
    }

    /// Makes sure that there is a collection, published or waiting here: none is made by a slip in its name, nor keys for
    /// one, nor where the service is away.
    async fn check_there(&self) -> Result<(), TrustError> {
        match self.update(Purpose::Publish).await {
            Err(TrustError::Update(UpdateError::NoTrustData(_))) if self.local.read(&RoleName::Root)?.is_some() => {
                Ok(())
            }
            there => there.map(drop),
        }
    }

    async fn keys_for(&self, rotation: &Rotation) -> Result<Vec<PublicKey>, TrustError> {
        let role = &rotation.role;
        match &rotation.keys {
            NewKeys::OfService => Ok(vec![self.service.rotate_key(role).await?]),
            NewKeys::Generate => {
                let key = self.make_key(&self.label(role)?)?;
                Ok(vec![if *role == RoleName::Root { self.certified(&*key)? } else { key.public_key().clone() }])
            }
            NewKeys::Stored(ids) => ids.iter().map(|id| self.stored_key(role, id)).collect(),
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
    fn remove_replaced<'a>(&self, role: &RoleName, replaced: impl Iterator<Item = &'a KeyId>) -> Vec<KeyId> {
        let mut removed = Vec::new();
        for id in replaced.filter(|_| *role != RoleName::Root) {
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
        if ours {
            self.keys.remove(id)?;
        }
        Ok(ours)
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
fn canonical_ids(collection: &Collection, role: &RoleName) -> BTreeSet<KeyId> {
    let root = collection.root();
    let ids = root.trusted(role).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
    ids.iter().filter_map(|id| root.keys.get(id)).map(PublicKey::canonical_id).collect()
}
