//! The keys that the service signs with: made on demand, encrypted at rest, bound to one collection and role.

mod calls;
mod remote;
mod rows;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_crypto::{
    KeyId, KeyType, Method, PrivateKey, PrivateKeyError, PublicKey, SignError, Signer, SystemRandom,
};
use countersign_keyfile::{KeyFileError, jwe};
use countersign_signer_rpc::CallError;
use countersign_storage::{
    EncryptedKey, NewServiceKey, PendingKeyError, PendingLimits, ServiceKey, ServiceRole, StoreError,
};
use countersign_tuf::{Gun, SignerSet, SignerUnavailable};
use jiff::{SignedDuration, Timestamp};
use moka::sync::Cache;
use tokio::runtime::Handle;

use crate::config::{Clock, Config, KeyAlgorithm};
use crate::data_dir::Secret;

pub(crate) use remote::Remote;
pub(crate) use rows::Rows;

/// Decrypted keys kept in memory.
const KEYS_IN_MEMORY: u64 = 10_000;
/// How exactly the time of last use is recorded; the first use is recorded at once.
const USE_PRECISION: SignedDuration = SignedDuration::from_hours(24);

/// Says why a key could not be had (the service's own trouble).
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyTrouble {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Pending(#[from] PendingKeyError),
    #[error("the private key {id} cannot be decrypted: was the secret replaced?")]
    Sealed {
        id: KeyId,
        #[source]
        source: KeyFileError,
    },
    #[error("the private key {id} belongs to another public key")]
    Mismatch { id: KeyId },
    #[error("a key could not be made")]
    NotMade(#[from] PrivateKeyError),
    #[error("a key could not be encrypted")]
    NotSealed(#[source] KeyFileError),
    #[error(transparent)]
    Keyserver(#[from] CallError),
    #[error("the key {id} is at the signer, and not this collection's: get the collection's own from the service")]
    AnotherCollections { id: KeyId },
    #[error("the private key {id} is at a keyserver, and none is named")]
    Elsewhere { id: KeyId },
    #[error("the private key {id} is encrypted under the file secret in the data folder, which is missing")]
    NoSecret { id: KeyId },
}

/// The keys of all collections.
pub(crate) struct ServerKeys {
    rows: Rows,
    /// What opens the keys that are held here; none where all keys are at a keyserver.
    secret: Option<Secret>,
    /// The keyserver, which makes all new keys; keys that were made here before go on signing here.
    remote: Option<Remote>,
    algorithm: KeyAlgorithm,
    limits: PendingLimits,
    clock: Clock,
    /// With how often their collections had been deleted when they were found: a deletion retires keys.
    opened: Cache<(Gun, KeyId), (u64, Arc<OpenedKey>)>,
}

/// Stands in place of the private key of a row whose key is at the keyserver. The row says which collection and role the key
/// is for: the reference's signer does not say.
pub(crate) const AT_KEYSERVER: &str = "at the keyserver";

/// Where the private key is.
enum Holder {
    /// Here, decrypted.
    Here(PrivateKey),
    /// At the keyserver.
    Keyserver(PublicKey),
}

/// A key that can be signed with.
struct OpenedKey {
    holder: Holder,
    role: ServiceRole,
    last_used: Mutex<Option<Timestamp>>,
}

impl ServerKeys {
    pub(crate) fn new(rows: Rows, secret: Option<Secret>, remote: Option<Remote>, config: &Config) -> Self {
        let limits = PendingLimits { count: config.limits.pending_keys, keep: config.limits.pending_key_age };
        let opened = Cache::new(KEYS_IN_MEMORY);
        Self { rows, secret, remote, algorithm: config.key_algorithm, limits, clock: config.clock.clone(), opened }
    }

    /// Checks that the keys in the store can be read with the secret at hand.
    pub(crate) async fn check_secret(&self) -> Result<(), KeyTrouble> {
        match self.rows.any_key().await? {
            Some(stored) => self.open(&stored).map(drop),
            None => Ok(()),
        }
    }

    /// Returns the public key with this id, if it is one of the collection's in this role.
    pub(crate) async fn held(&self, gun: &Gun, role: ServiceRole, id: &KeyId) -> Result<Option<PublicKey>, KeyTrouble> {
        let stored = self.rows.service_key(self.remote.as_ref(), gun, id).await?;
        Ok(stored.filter(|stored| stored.key.role == role).map(|stored| public_key(&stored)))
    }

    /// Returns the key of this collection and role that waits for its first use; none when the keyserver says that it does not
    /// have it: restored from a backup, or for want of room.
    pub(crate) async fn pending(&self, gun: &Gun, role: ServiceRole) -> Result<Option<PublicKey>, KeyTrouble> {
        let Some(stored) = self.rows.pending_key(gun, role, &self.key_type()).await? else { return Ok(None) };
        if let Some(remote) = self.remote.as_ref().filter(|_| stored.key.private.as_str() == AT_KEYSERVER)
            && let Err(CallError::NoKey(_)) = remote.key_of(&stored.key.id, gun).await
        {
            return Ok(None);
        }
        Ok(Some(public_key(&stored)))
    }

    /// Has a key made at the keyserver, which hands out one at a time: if another waits here, it is not there any more, and is
    /// handed out no more.
    pub(crate) async fn made_at(
        &self,
        remote: &Remote,
        gun: &Gun,
        role: ServiceRole,
    ) -> Result<NewServiceKey, KeyTrouble> {
        let public = remote.create(&self.key_type(), gun, role).await?;
        let waiting = self.rows.pending_key(gun, role, &self.key_type()).await?;
        if let Some(ServiceKey { key: lost, .. }) = waiting
            && lost.id != public.canonical_id()
            && lost.private.as_str() == AT_KEYSERVER
        {
            tracing::warn!(key = %lost.id, %gun, "the keyserver does not have this key any more: another takes its place");
            self.rows.mark_used(gun, &lost.id, self.clock.now()).await?;
        }
        Ok(NewServiceKey {
            id: public.canonical_id(),
            gun: gun.clone(),
            role,
            algorithm: public.key_type().clone(),
            public: public.bytes().to_vec(),
            private: EncryptedKey::new(AT_KEYSERVER),
        })
    }

    /// Returns the keyserver, if there is one.
    pub(crate) fn remote(&self) -> Option<&Remote> {
        self.remote.as_ref()
    }

    fn key_type(&self) -> KeyType {
        match self.algorithm {
            KeyAlgorithm::EcdsaP256 => KeyType::Ecdsa,
            KeyAlgorithm::Ed25519 => KeyType::Ed25519,
        }
    }

    /// Makes a key and encrypts it; takes a while.
    pub(crate) fn make(&self, gun: Gun, role: ServiceRole) -> Result<NewServiceKey, KeyTrouble> {
        let key = PrivateKey::generate(self.algorithm.algorithm())?;
        let secret =
            self.secret.as_ref().ok_or_else(|| KeyTrouble::NoSecret { id: key.public_key().canonical_id() })?;
        let private = jwe::seal_key(&key, secret.as_bytes(), &mut SystemRandom).map_err(KeyTrouble::NotSealed)?;
        let public = key.public_key();
        Ok(NewServiceKey {
            id: public.canonical_id(),
            gun,
            role,
            algorithm: public.key_type().clone(),
            public: public.bytes().to_vec(),
            private: EncryptedKey::new(private),
        })
    }

    /// Stores a key that was made, or returns the one that somebody else stored meanwhile.
    pub(crate) async fn keep(&self, made: NewServiceKey) -> Result<PublicKey, KeyTrouble> {
        let stored = self.rows.insert_pending(made, self.limits, self.clock.now()).await?;
        Ok(public_key(&stored))
    }

    /// Returns the signers of one collection, for use on a thread that may block.
    pub(crate) fn signers(self: &Arc<Self>, gun: &Gun, remembered: Remembered) -> CollectionSigners {
        CollectionSigners {
            remembered,
            keys: Arc::clone(self),
            gun: gun.clone(),
            runtime: Handle::current(),
            used: Arc::default(),
            trouble: Arc::default(),
        }
    }

    /// Records that keys have signed, so that none of them counts as pending any more.
    pub(crate) async fn mark_used(&self, gun: &Gun, used: BTreeSet<KeyId>) -> Result<(), KeyTrouble> {
        let now = self.clock.now();
        for id in used {
            let opened = self.opened.get(&(gun.clone(), id)).map(|(_, opened)| opened);
            let recently = |last: &Timestamp| now.duration_since(*last) < USE_PRECISION;
            if opened.as_ref().is_some_and(|key| lock(&key.last_used).as_ref().is_some_and(recently)) {
                continue;
            }
            self.rows.mark_used(gun, &id, now).await?;
            if let Some(opened) = opened {
                *lock(&opened.last_used) = Some(now);
            }
        }
        Ok(())
    }

    fn open(&self, stored: &ServiceKey) -> Result<OpenedKey, KeyTrouble> {
        let id = stored.key.id;
        let holder = if stored.key.private.as_str() == AT_KEYSERVER {
            if self.remote.is_none() {
                return Err(KeyTrouble::Elsewhere { id });
            }
            Holder::Keyserver(public_key(stored))
        } else {
            let secret = self.secret.as_ref().ok_or(KeyTrouble::NoSecret { id })?;
            let key = jwe::open_key(stored.key.private.as_str(), &stored.key.algorithm, secret.as_bytes())
                .map_err(|source| KeyTrouble::Sealed { id, source })?;
            Holder::Here(key)
        };
        let opened = OpenedKey { holder, role: stored.key.role, last_used: Mutex::new(stored.last_used) };
        // Whoever can write to the database must not be able to give a key another's name.
        if opened.public_key().canonical_id() != id {
            return Err(KeyTrouble::Mismatch { id });
        }
        Ok(opened)
    }
}

impl OpenedKey {
    fn public_key(&self) -> &PublicKey {
        match &self.holder {
            Holder::Here(key) => key.public_key(),
            Holder::Keyserver(public) => public,
        }
    }
}

fn public_key(stored: &ServiceKey) -> PublicKey {
    PublicKey::new(stored.key.algorithm.clone(), stored.key.public.clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is remembered of a collection during one piece of work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Remembered {
    /// How often it was deleted, as far as was known when the work began.
    pub(crate) deletions: u64,
    /// Whether the work is built upon a state that was in memory: then no key that was found in use since the last deletion
    /// has been retired, or else the work comes to nothing when it is stored.
    pub(crate) holds: bool,
}

/// The signers of one collection during one piece of work.
pub(crate) struct CollectionSigners {
    remembered: Remembered,
    keys: Arc<ServerKeys>,
    gun: Gun,
    runtime: Handle,
    used: Arc<Mutex<BTreeSet<KeyId>>>,
    trouble: Arc<Mutex<Option<KeyTrouble>>>,
}

impl CollectionSigners {
    /// Returns the keys that have signed, or why a key could not be had.
    pub(crate) fn finish(self) -> Result<BTreeSet<KeyId>, KeyTrouble> {
        match lock(&self.trouble).take() {
            Some(trouble) => Err(trouble),
            None => Ok(std::mem::take(&mut *lock(&self.used))),
        }
    }

    fn find(&self, id: &KeyId) -> Result<Option<Arc<OpenedKey>>, KeyTrouble> {
        let place = (self.gun.clone(), *id);
        let known = self.keys.opened.get(&place);
        if let Some((deletions, opened)) = &known
            && self.remembered.holds
            && *deletions == self.remembered.deletions
        {
            return Ok(Some(Arc::clone(opened)));
        }
        // A key that was opened before may have been retired since, also by another process.
        let asking = self.keys.rows.service_key(self.keys.remote.as_ref(), &self.gun, id);
        let Some(stored) = self.runtime.block_on(asking)? else { return Ok(None) };
        let opened = match known {
            Some((_, opened)) => opened,
            None => Arc::new(self.keys.open(&stored)?),
        };
        self.keys.opened.insert(place, (self.remembered.deletions, Arc::clone(&opened)));
        Ok(Some(opened))
    }
}

impl SignerSet for CollectionSigners {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        match self.find(id) {
            Ok(None) => Ok(None),
            Ok(Some(opened)) => Ok(Some(Arc::new(RoleSigner {
                id: *id,
                opened,
                used: Arc::clone(&self.used),
                elsewhere: self.keys.remote.is_some().then(|| Elsewhere {
                    keys: Arc::clone(&self.keys),
                    gun: self.gun.clone(),
                    runtime: self.runtime.clone(),
                    trouble: Arc::clone(&self.trouble),
                }),
            }))),
            Err(trouble) => {
                let source = trouble.to_string().into();
                *lock(&self.trouble) = Some(trouble);
                Err(SignerUnavailable { id: *id, source })
            }
        }
    }
}

/// Signs nothing but files of the key's own role.
struct RoleSigner {
    id: KeyId,
    opened: Arc<OpenedKey>,
    used: Arc<Mutex<BTreeSet<KeyId>>>,
    elsewhere: Option<Elsewhere>,
}

/// What it takes to have the keyserver sign, from a thread that may block.
struct Elsewhere {
    keys: Arc<ServerKeys>,
    gun: Gun,
    runtime: Handle,
    trouble: Arc<Mutex<Option<KeyTrouble>>>,
}

impl Elsewhere {
    fn sign(&self, id: KeyId, key: &PublicKey, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let trouble = match &self.keys.remote {
            Some(remote) => match self.runtime.block_on(remote.sign(key, &self.gun, message)) {
                Ok(signature) => return Ok(signature),
                Err(error) => KeyTrouble::Keyserver(error),
            },
            None => KeyTrouble::Elsewhere { id },
        };
        let source = trouble.to_string().into();
        *lock(&self.trouble) = Some(trouble);
        Err(SignError::Holder { key: id, source })
    }
}

/// Says that a key was asked to sign for a role that is not its own.
#[derive(Debug, thiserror::Error)]
#[error("the key is for {0} files only")]
struct WrongRole(ServiceRole);

impl Signer for RoleSigner {
    fn public_key(&self) -> &PublicKey {
        self.opened.public_key()
    }

    fn method(&self) -> Method {
        match &self.opened.holder {
            Holder::Here(key) => key.method(),
            Holder::Keyserver(public) if *public.key_type() == KeyType::Ed25519 => Method::Eddsa,
            Holder::Keyserver(_) => Method::Ecdsa,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        // Canonical JSON sorts members by their bytes, and `_type` comes first.
        let beginning: &[u8] = match self.opened.role {
            ServiceRole::Snapshot => br#"{"_type":"Snapshot","#,
            ServiceRole::Timestamp => br#"{"_type":"Timestamp","#,
        };
        if !message.starts_with(beginning) {
            return Err(SignError::Holder { key: self.id, source: Box::new(WrongRole(self.opened.role)) });
        }
        let signature = match (&self.opened.holder, &self.elsewhere) {
            (Holder::Here(key), _) => key.sign(message)?,
            (Holder::Keyserver(public), Some(elsewhere)) => elsewhere.sign(self.id, public, message)?,
            (Holder::Keyserver(_), None) => {
                let source = Box::new(KeyTrouble::Elsewhere { id: self.id });
                return Err(SignError::Holder { key: self.id, source });
            }
        };
        lock(&self.used).insert(self.id);
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use countersign_crypto::Algorithm;

    use super::*;

    #[test]
    fn a_key_signs_nothing_but_files_of_its_role() {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let id = key.public_key().canonical_id();
        let opened = Arc::new(OpenedKey {
            holder: Holder::Here(key),
            role: ServiceRole::Timestamp,
            last_used: Mutex::default(),
        });
        let signer = RoleSigner { id, opened, used: Arc::default(), elsewhere: None };
        for foreign in
            [r#"{"_type":"Snapshot","expires""#, r#"{"_type":"Root","#, r#"{"_type":"Timestamps","#, "", "Timestamp"]
        {
            assert!(signer.sign(foreign.as_bytes()).is_err(), "{foreign}");
        }
        assert!(lock(&signer.used).is_empty());
        signer.sign(br#"{"_type":"Timestamp","expires":"2026-12-06T12:00:00Z"}"#).unwrap();
        assert_eq!(lock(&signer.used).len(), 1);
    }
}
