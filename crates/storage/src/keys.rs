//! The keys that the service holds for collections.

use std::fmt;

use async_trait::async_trait;
use countersign_crypto::{KeyId, KeyType};
use countersign_tuf::Gun;
use jiff::{SignedDuration, Timestamp};

use crate::{PageSize, PendingKeyError, Resealed, StoreError};

/// A role whose key the service may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceRole {
    /// The snapshot role, when the publisher gave it to the service.
    Snapshot,
    /// The timestamp role.
    Timestamp,
}

impl ServiceRole {
    /// Returns the role's name in metadata.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

impl fmt::Display for ServiceRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An encrypted private key (a compact JWE); the store cannot read it and never prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptedKey(Box<str>);

impl EncryptedKey {
    /// Takes the text of a compact JWE.
    pub fn new(jwe: impl Into<Box<str>>) -> Self {
        Self(jwe.into())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for EncryptedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptedKey(…)")
    }
}

/// A key to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewServiceKey {
    /// The key's id (that of the bare public key).
    pub id: KeyId,
    /// The collection it signs for.
    pub gun: Gun,
    /// The role it signs for.
    pub role: ServiceRole,
    /// Its algorithm.
    pub algorithm: KeyType,
    /// The public bytes as in metadata, not base64.
    pub public: Vec<u8>,
    /// The private key, encrypted.
    pub private: EncryptedKey,
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceKey {
    /// What was stored.
    pub key: NewServiceKey,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When it last signed; none: never, the key is pending.
    pub last_used: Option<Timestamp>,
}

/// Bounds on keys that wait for their first use.
#[derive(Debug, Clone, Copy)]
pub struct PendingLimits {
    /// So many pending keys at most, over all collections; one with metadata gets its key also above that.
    pub count: u64,
    /// At the limit, a pending key of a collection without metadata that is older than this gives way to a new one.
    pub keep: SignedDuration,
}

/// Stores the service's keys.
///
/// What every implementation promises (Notary protocol, signer database):
/// - There is at most one pending key per collection, role and algorithm, however many ask at once.
/// - A key is found only under the collection it was made for.
/// - A key that has signed is never removed and never handed out anew. The deletion of its collection retires it: it is
///   found no more, so that nobody can have the service vouch for the deleted files again.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Returns a key of this collection.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn service_key(&self, gun: &Gun, id: &KeyId) -> Result<Option<ServiceKey>, StoreError>;

    /// Returns the pending key of a collection, role and algorithm.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn pending_key(
        &self,
        gun: &Gun,
        role: ServiceRole,
        algorithm: &KeyType,
    ) -> Result<Option<ServiceKey>, StoreError>;

    /// Stores a pending key, or returns the one that is already there for the same collection, role and algorithm.
    ///
    /// # Errors
    /// Refuses when the limit is reached and no pending key may give way, or when the database fails.
    async fn insert_pending(
        &self,
        new: NewServiceKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<ServiceKey, PendingKeyError>;

    /// Returns any key, none when there are no keys: enough to check that the secret they are encrypted under is the right one.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn any_key(&self) -> Result<Option<ServiceKey>, StoreError>;

    /// Records that a key has signed: it is no longer pending. An unknown key changes nothing.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn mark_used(&self, gun: &Gun, id: &KeyId, now: Timestamp) -> Result<(), StoreError>;

    /// Takes a key that a deletion retired into use again, for whoever knows that its collection has it still: its deletion was
    /// heard of late. Anything else changes nothing.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn bring_back(&self, gun: &Gun, id: &KeyId) -> Result<(), StoreError>;

    /// Returns keys, retired ones too, in the order of their ids.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn keys(&self, after: Option<&KeyId>, size: PageSize) -> Result<Vec<ServiceKey>, StoreError>;

    /// Replaces the private part of a key, if it still is the one that was read.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn replace_private(&self, id: &KeyId, from: &EncryptedKey, to: &EncryptedKey)
    -> Result<Resealed, StoreError>;
}
