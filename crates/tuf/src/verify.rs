//! The one place where signatures are counted.

use crate::expires::Expires;
use crate::metadata::{Delegations, Envelope, KeyMap, MetadataError, Payload, RoleKeys, Root};
use crate::name::{RoleName, Version};
use bytes::Bytes;
use countersign_crypto::{KeyId, Message, PublicKey};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::ops::Deref;

/// Says why a file's signatures do not make it trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// The file has no signatures at all.
    #[error("tuf: data has no signatures")]
    NoSignatures,
    /// Too few of the role's keys have signed.
    #[error("valid signatures did not meet threshold for {role}: {found} of {needed} needed keys have signed")]
    NotMet {
        /// The role.
        role: RoleName,
        /// Distinct keys with a valid signature.
        found: u64,
        /// Distinct keys that are needed.
        needed: u64,
    },
    /// A key is filed under an id that is not its own.
    #[error("key ID {id} is not valid for key content in the keys of {role}")]
    KeyId {
        /// The role.
        role: RoleName,
        /// The id under which the key is filed.
        id: KeyId,
    },
}

/// The keys that may sign for a role, resolved, and how many distinct ones must.
#[derive(Debug, Clone)]
pub struct TrustedKeys {
    role: RoleName,
    keys: Vec<(KeyId, PublicKey)>,
    threshold: u64,
}

impl TrustedKeys {
    /// Resolves a role's key ids among a file's keys.
    #[must_use]
    pub fn resolve(role: &RoleName, trusted: &RoleKeys, keys: &KeyMap) -> Self {
        let found = trusted.key_ids.iter().filter_map(|id| keys.get(id).map(|key| (*id, key.clone())));
        Self { role: role.clone(), keys: found.collect(), threshold: trusted.threshold }
    }

    /// Takes keys under their own ids.
    #[must_use]
    pub fn of(role: &RoleName, keys: impl IntoIterator<Item = PublicKey>, threshold: u64) -> Self {
        Self { role: role.clone(), keys: keys.into_iter().map(|key| (key.id(), key)).collect(), threshold }
    }

    /// Returns the role.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// Returns how many distinct keys must sign.
    #[must_use]
    pub fn threshold(&self) -> u64 {
        self.threshold
    }

    /// Iterates over TUF key ids and keys.
    pub fn iter(&self) -> impl Iterator<Item = (KeyId, &PublicKey)> {
        self.keys.iter().map(|(id, key)| (*id, key))
    }

    /// Tells whether keys that signed earlier are still trusted in sufficient number.
    pub(crate) fn still_vouched(&self, signers: &[KeyId]) -> bool {
        let known = signers.iter().filter_map(|signer| self.keys.iter().find(|(id, _)| id == signer));
        let identities: BTreeSet<KeyId> = known.map(|(_, key)| key.canonical_id()).collect();
        self.threshold >= 1 && identities.len() as u64 >= self.threshold
    }

    /// Checks a file that has just been signed, as its readers will.
    pub(crate) fn confirm(&self, envelope: &Envelope) -> Result<(), ThresholdError> {
        self.met_by(envelope).map(drop)
    }

    /// Counts the keys' signatures over an envelope.
    ///
    /// Counted are distinct *public keys*: a key and its certificate, or two certificates of one key, are one. Signatures
    /// by unknown keys, of the wrong algorithm, or that do not verify are passed over (Notary protocol, signature
    /// verification for a role); keys that policy does not allow cannot verify.
    ///
    /// # Errors
    /// There are no signatures, a key's id is false, or fewer keys than the threshold have signed.
    fn met_by(&self, envelope: &Envelope) -> Result<ThresholdMet, ThresholdError> {
        if envelope.signatures().is_empty() {
            return Err(ThresholdError::NoSignatures);
        }
        let message = Message::new(envelope.signed().as_bytes());
        let (mut signers, mut identities) = (BTreeSet::new(), BTreeSet::new());
        for signature in envelope.signatures() {
            let Some((id, key)) = self.keys.iter().find(|(id, _)| *id == signature.key_id) else { continue };
            if key.id() != *id {
                return Err(ThresholdError::KeyId { role: self.role.clone(), id: *id });
            }
            if signers.contains(id) {
                continue;
            }
            let Ok(verifier) = key.verifying_key() else { continue };
            if verifier.verify(&signature.method, &message, &signature.bytes).is_ok() {
                signers.insert(*id);
                identities.insert(verifier.identity());
            }
        }
        let found = identities.len() as u64;
        if self.threshold < 1 || found < self.threshold {
            return Err(ThresholdError::NotMet { role: self.role.clone(), found, needed: self.threshold.max(1) });
        }
        Ok(ThresholdMet { signers })
    }
}

impl Root {
    /// Resolves the keys that may sign for a base role; none for a role that the root does not name.
    #[must_use]
    pub fn keys_of(&self, role: &RoleName) -> Option<TrustedKeys> {
        Some(TrustedKeys::resolve(role, self.trusted(role)?, &self.keys))
    }
}

impl Delegations {
    /// Resolves the keys that may sign for a delegated role; none for a role that is not described here.
    #[must_use]
    pub fn keys_of(&self, role: &RoleName) -> Option<TrustedKeys> {
        Some(TrustedKeys::resolve(role, &self.get(role)?.keys, &self.keys))
    }
}

/// Evidence that enough trusted keys have signed; made by counting and in no other way.
#[derive(Debug, Clone)]
struct ThresholdMet {
    signers: BTreeSet<KeyId>,
}

/// A file that has been read but not verified.
#[derive(Debug, Clone)]
pub struct Unverified<T> {
    envelope: Envelope,
    payload: T,
}

impl<T: Payload> Unverified<T> {
    /// Reads a file of a role.
    ///
    /// # Errors
    /// The bytes are not a metadata file of that role.
    pub fn read(role: &RoleName, file: Bytes) -> Result<Self, MetadataError> {
        let envelope = Envelope::read(file)?;
        let payload = T::read(role, &envelope)?;
        Ok(Self { envelope, payload })
    }

    /// Returns the bytes as received.
    #[must_use]
    pub fn file(&self) -> &Bytes {
        self.envelope.file()
    }

    /// Returns the content, of which nothing is proven.
    #[must_use]
    pub fn untrusted(&self) -> &T {
        &self.payload
    }

    /// Checks that additional keys have signed as well, for a root by its predecessor's keys.
    ///
    /// # Errors
    /// They have not.
    pub fn also_signed_by(&self, keys: &TrustedKeys) -> Result<(), ThresholdError> {
        keys.met_by(&self.envelope).map(drop)
    }

    /// Verifies the signatures.
    ///
    /// # Errors
    /// The threshold is not met; the file comes back with the error.
    pub fn verify(self, keys: &TrustedKeys) -> Result<Verified<T>, (ThresholdError, Box<Self>)> {
        match keys.met_by(&self.envelope) {
            Ok(evidence) => Ok(Verified { role: keys.role.clone(), content: self, evidence }),
            Err(error) => Err((error, Box::new(self))),
        }
    }

    /// Gives up verification and returns the content alone.
    #[must_use]
    pub fn into_untrusted(self) -> T {
        self.payload
    }
}

/// A file whose signatures meet the threshold of its role.
///
/// Says nothing about age: expiry and version are checked by whoever knows the time and the past.
#[derive(Debug, Clone)]
pub struct Verified<T> {
    role: RoleName,
    content: Unverified<T>,
    evidence: ThresholdMet,
}

impl<T: Payload> Verified<T> {
    /// Returns the role.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// Returns the bytes as received.
    #[must_use]
    pub fn file(&self) -> &Bytes {
        self.content.envelope.file()
    }

    /// Forgets that the file was verified.
    #[must_use]
    pub fn into_unverified(self) -> Unverified<T> {
        self.content
    }

    /// Returns the envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.content.envelope
    }

    /// Returns the TUF key ids of the valid signatures that counted.
    pub fn signers(&self) -> impl Iterator<Item = KeyId> {
        self.evidence.signers.iter().copied()
    }

    /// Checks that the file has not expired.
    ///
    /// # Errors
    /// It has.
    pub fn unexpired(&self, now: Timestamp) -> Result<(), Expired> {
        let expires = self.content.payload.expires();
        if expires.is_before(now) { Err(Expired { role: self.role.clone(), at: expires.clone() }) } else { Ok(()) }
    }

    /// Checks that the version is not below a floor.
    ///
    /// # Errors
    /// It is.
    pub fn at_least(&self, floor: Version) -> Result<(), Rollback> {
        let version = self.content.payload.version();
        if version < floor { Err(Rollback { role: self.role.clone(), version, floor }) } else { Ok(()) }
    }
}

impl<T> Deref for Verified<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.content.payload
    }
}

/// Says that a file has expired.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{role} expired at {at}")]
pub struct Expired {
    /// The role.
    pub role: RoleName,
    /// When.
    pub at: Expires,
}

/// Says that a file is older than one already seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("version {version} of {role} is lower than current version {floor}")]
pub struct Rollback {
    /// The role.
    pub role: RoleName,
    /// The version offered.
    pub version: Version,
    /// The lowest acceptable version.
    pub floor: Version,
}
