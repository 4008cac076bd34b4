//! The capability to sign, wherever the private key is.

use std::fmt;
use std::sync::Arc;

use crate::key_id::KeyId;
use crate::key_type::Method;
use crate::public_key::PublicKey;

/// Says why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignError {
    /// The cryptographic library or the machine failed.
    #[error("signing with key {key} failed")]
    Failed {
        /// Canonical ID of the key.
        key: KeyId,
    },
    /// The device or service that holds the key failed or refused.
    #[error("the holder of key {key} did not sign: {source}")]
    Holder {
        /// Canonical ID of the key.
        key: KeyId,
        /// What it said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The key does not sign certificates.
    #[error("the key {key} cannot sign a certificate")]
    NoCertificate {
        /// Canonical ID of the key.
        key: KeyId,
    },
}

/// Signs messages with one private key.
pub trait Signer: Send + Sync {
    /// Returns the public key the signatures belong to, as it is listed in metadata.
    fn public_key(&self) -> &PublicKey;

    /// Returns the method to write beside the signatures.
    fn method(&self) -> Method;

    /// Signs a message: the message itself, not its digest.
    ///
    /// # Errors
    /// When the key cannot be used now.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;

    /// Signs the `TBSCertificate` of a certificate, with the hash that the key's size asks for: a signature as X.509 writes
    /// it, ECDSA in DER and RSA with PKCS#1 v1.5 padding.
    ///
    /// # Errors
    /// When the key is of no kind that certifies, or cannot be used now.
    fn sign_certificate(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let _ = tbs;
        Err(SignError::NoCertificate { key: self.public_key().canonical_id() })
    }
}

impl<T: Signer + ?Sized> Signer for Arc<T> {
    fn public_key(&self) -> &PublicKey {
        (**self).public_key()
    }

    fn method(&self) -> Method {
        (**self).method()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        (**self).sign(message)
    }

    fn sign_certificate(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        (**self).sign_certificate(tbs)
    }
}

/// Says that a public key belongs to another private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the certificate or public key is for key {expected}, not for key {actual}")]
pub struct KeyMismatch {
    /// Canonical ID of the public key that was given.
    pub expected: KeyId,
    /// Canonical ID of the private key that was given.
    pub actual: KeyId,
}

/// Signs under a certificate: the same private key, listed under the certificate's TUF ID.
pub struct CertifiedSigner {
    signer: Arc<dyn Signer>,
    public_key: PublicKey,
}

impl CertifiedSigner {
    /// Joins a signer with the public key, usually a certificate, that its signatures are to appear under.
    ///
    /// # Errors
    /// When the two are not the same key.
    pub fn new(signer: Arc<dyn Signer>, public_key: PublicKey) -> Result<Self, KeyMismatch> {
        let (expected, actual) = (public_key.canonical_id(), signer.public_key().canonical_id());
        if expected == actual { Ok(Self { signer, public_key }) } else { Err(KeyMismatch { expected, actual }) }
    }
}

impl Signer for CertifiedSigner {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn method(&self) -> Method {
        self.signer.method()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        self.signer.sign(message)
    }
}

impl fmt::Debug for CertifiedSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertifiedSigner").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}
