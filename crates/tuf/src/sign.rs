//! Signing payloads with whatever of a role's private keys is at hand.

use crate::metadata::{Envelope, Signature};
use crate::name::RoleName;
use crate::verify::TrustedKeys;
use countersign_crypto::{KeyId, Signer};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Finds private keys by canonical key id.
pub trait SignerSet {
    /// Returns the signer for a key, none if the key is not here.
    ///
    /// # Errors
    /// The key is here but cannot be used: a wrong passphrase, an unreadable file, an absent device.
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable>;
}

/// Says that a key is at hand but cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("key {id} cannot be used: {source}")]
pub struct SignerUnavailable {
    /// The key.
    pub id: KeyId,
    /// Why.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Says why a file could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// None or too few of the role's private keys are here.
    #[error(
        "{role} needs {needed} signing keys, found {found}; at least one of these keys must be available: {}",
        wanted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    MissingKeys {
        /// The role.
        role: RoleName,
        /// How many distinct keys are needed.
        needed: u64,
        /// How many were found.
        found: u64,
        /// The canonical ids of the missing keys.
        wanted: Vec<KeyId>,
    },
    /// A key is here but cannot be used.
    #[error(transparent)]
    Unavailable(#[from] SignerUnavailable),
    /// What was made would be refused by those it is for; nothing of it may be published.
    #[error("the new {role} would be refused: {reason}")]
    Unacceptable {
        /// The role.
        role: RoleName,
        /// Why.
        reason: String,
    },
    /// Signing itself failed.
    #[error("signing {role} failed: {source}")]
    Failed {
        /// The role.
        role: RoleName,
        /// Why.
        source: countersign_crypto::SignError,
    },
}

impl SigningError {
    pub(crate) fn unacceptable(role: &RoleName, reason: &impl ToString) -> Self {
        Self::Unacceptable { role: role.clone(), reason: reason.to_string() }
    }
}

/// Signs a canonical payload for a role with every private key at hand.
///
/// Each signature stands under the TUF key id; the private key is found by the canonical id, so that one root key serves
/// all its certificates.
///
/// # Errors
/// Fewer distinct keys than the threshold are here, a key cannot be used, or the signatures that came back do not verify:
/// the keys may be on a device or in a service that is not ours.
pub(crate) fn sign(canonical: Vec<u8>, keys: &TrustedKeys, signers: &dyn SignerSet) -> Result<Envelope, SigningError> {
    let mut signatures = Vec::new();
    add_signatures(&mut signatures, &canonical, keys, signers)?;
    let envelope = Envelope::compose(canonical, signatures);
    keys.confirm(&envelope).map_err(|error| SigningError::unacceptable(keys.role(), &error))?;
    Ok(envelope)
}

/// Adds the signatures of one role's keys, for a root that two roots' keys have to sign.
pub(crate) fn add_signatures(
    signatures: &mut Vec<Signature>,
    canonical: &[u8],
    keys: &TrustedKeys,
    signers: &dyn SignerSet,
) -> Result<(), SigningError> {
    let (mut found, mut wanted) = (BTreeSet::new(), Vec::new());
    for (id, key) in keys.iter() {
        let canonical_id = key.canonical_id();
        let Some(signer) = signers.signer(&canonical_id)? else {
            wanted.push(canonical_id);
            continue;
        };
        found.insert(canonical_id);
        if signatures.iter().any(|signature| signature.key_id == id) {
            continue;
        }
        let failed = |source| SigningError::Failed { role: keys.role().clone(), source };
        let bytes = signer.sign(canonical).map_err(failed)?;
        signatures.push(Signature { key_id: id, method: signer.method(), bytes });
    }
    let found = found.len() as u64;
    if found < keys.threshold().max(1) {
        let (role, needed) = (keys.role().clone(), keys.threshold().max(1));
        return Err(SigningError::MissingKeys { role, needed, found, wanted });
    }
    Ok(())
}
