//! What a signing service can do, in types, and what it may answer instead.

use std::net::SocketAddr;

use async_trait::async_trait;
use countersign_crypto::{KeyId, KeyType, Method, PublicKey};
use countersign_tuf::{Gun, RoleName};

/// Who calls: a client whose certificate was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The first name in its certificate; empty when it has none.
    pub name: Box<str>,
    /// Where it calls from.
    pub address: SocketAddr,
}

/// A wish for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRequest {
    /// The algorithm, not yet judged.
    pub algorithm: KeyType,
    /// The collection.
    pub gun: Gun,
    /// The role.
    pub role: RoleName,
}

/// A wish for a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignRequest {
    /// The key.
    pub key: KeyId,
    /// The collection that the caller signs for; the reference does not say.
    pub gun: Option<Gun>,
    /// The message, at most [`MAX_CONTENT`](crate::MAX_CONTENT) bytes.
    pub content: Vec<u8>,
}

/// A key for a wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// The key's id.
    pub id: KeyId,
    /// Its public part.
    pub public: PublicKey,
}

/// What is known about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyDescription {
    /// Its public part.
    pub public: PublicKey,
    /// The role it signs for.
    pub role: RoleName,
    /// The collection it signs for.
    pub gun: Gun,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The algorithm of the key.
    pub algorithm: KeyType,
    /// The method, as metadata names it.
    pub method: Method,
    /// The signature's bytes.
    pub signature: Vec<u8>,
}

/// Says why a call is not answered as wished; the texts are the reference's where it has one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The algorithm is none that keys are made of (caller).
    #[error("algorithm {0} not supported for create key")]
    Algorithm(String),
    /// The role is none that keys are made for (caller).
    #[error("no keys are made for the role {0}")]
    Role(String),
    /// An argument is not what it should be (caller).
    #[error("{0}")]
    Malformed(String),
    /// There is no such key for this caller, or it cannot be opened.
    #[error("key {0} not found")]
    NoKey(String),
    /// There is no such key to sign with, or it cannot be opened.
    #[error("signing key not found: {0}")]
    NoSigningKey(String),
    /// The key does not sign this (caller).
    #[error("the key does not sign this: {0}")]
    NotForThis(&'static str),
    /// A limit was reached: later, the same may be done (environment).
    #[error("{0}")]
    Exhausted(&'static str),
    /// The service cannot work at the moment (environment).
    #[error("the signing service cannot do this at the moment")]
    Away,
    /// A key could not be made (environment).
    #[error("Key creation failed")]
    NotMade,
    /// A signature could not be made (environment).
    #[error("Internal server error")]
    NotSigned,
}

/// Makes, finds and deletes keys, and signs with them.
#[async_trait]
pub trait SigningService: Send + Sync + 'static {
    /// Returns the key of a collection, role and algorithm that waits for its first use, or a new one.
    ///
    /// # Errors
    /// The key cannot be made, or must not be.
    async fn create(&self, caller: &Caller, request: KeyRequest) -> Result<Made, Refusal>;

    /// Describes a key, for a collection if the caller names one.
    ///
    /// # Errors
    /// There is no such key, or it is another collection's, or it cannot be looked up.
    async fn describe(&self, caller: &Caller, key: &KeyId, gun: Option<&Gun>) -> Result<KeyDescription, Refusal>;

    /// Deletes a key; an unknown one is no error.
    ///
    /// # Errors
    /// It cannot be deleted at the moment.
    async fn delete(&self, caller: &Caller, key: &KeyId) -> Result<(), Refusal>;

    /// Signs; once this has returned a signature, the key counts as used for ever.
    ///
    /// # Errors
    /// There is no such key, it does not sign this, or it cannot at the moment.
    async fn sign(&self, caller: &Caller, request: SignRequest) -> Result<Signed, Refusal>;

    /// Tells whether calls can be answered now.
    async fn is_healthy(&self) -> bool;
}
