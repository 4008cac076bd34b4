//! Private keys in memory.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::Ed25519KeyPair;
use zeroize::Zeroizing;

use crate::curve::Curve;
use crate::key_type::{KeyType, Method};
use crate::public_key::{KeyError, PublicKey};
use crate::signer::{CertifiedSigner, KeyMismatch, SignError, Signer};

mod ecdsa;
mod ed25519;
mod rsa;

use ecdsa::EcdsaKey;
use rsa::RsaKey;

/// Chooses the kind of a new key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256: what every client makes.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519; cannot be used for root keys.
    Ed25519,
    /// RSA.
    Rsa {
        /// Length of the modulus: 2048, 3072, 4096 or 8192.
        bits: u16,
    },
}

/// Says why bytes are not a usable private key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrivateKeyError {
    /// The bytes do not have the form they should have.
    #[error("the {0} private key is malformed")]
    Malformed(KeyType),
    /// The public half stored beside the private half is another key's.
    #[error("the {0} private key does not belong to the public key beside it")]
    Inconsistent(KeyType),
    /// The key is of a kind or size that its own signatures would be refused for.
    #[error(transparent)]
    Refused(#[from] KeyError),
    /// No key of this kind can be made.
    #[error("{0:?} keys cannot be generated")]
    UnsupportedAlgorithm(Algorithm),
    /// Private keys of this type are not known.
    #[error("private keys of type {:?} are not known", .0.as_str())]
    UnsupportedType(KeyType),
    /// The cryptographic library or the machine failed.
    #[error("the cryptographic library failed to handle the private key")]
    Library,
}

/// Holds a private key; its memory is wiped when it is dropped, and it is never printed.
pub struct PrivateKey {
    secret: Secret,
    public_key: PublicKey,
}

/// The key pairs of the library wipe themselves.
enum Secret {
    Ecdsa(EcdsaKey),
    Rsa(RsaKey),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKey {
    /// Makes a new key with the library's own randomness.
    ///
    /// # Errors
    /// When the RSA length is not offered or the library fails.
    pub fn generate(algorithm: Algorithm) -> Result<Self, PrivateKeyError> {
        let secret = match algorithm {
            Algorithm::EcdsaP256 => Secret::Ecdsa(EcdsaKey::generate(Curve::P256)?),
            Algorithm::EcdsaP384 => Secret::Ecdsa(EcdsaKey::generate(Curve::P384)?),
            Algorithm::EcdsaP521 => Secret::Ecdsa(EcdsaKey::generate(Curve::P521)?),
            Algorithm::Ed25519 => Secret::Ed25519(Ed25519KeyPair::generate().map_err(|_| PrivateKeyError::Library)?),
            Algorithm::Rsa { bits } => Secret::Rsa(RsaKey::generate(bits)?),
        };
        Self::from_secret(secret)
    }

    /// Reads a SEC1 `ECPrivateKey` that names its curve.
    ///
    /// # Errors
    /// When it is malformed, on a curve that is not accepted, or its public half is another key's.
    pub fn from_sec1_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        Self::from_secret(Secret::Ecdsa(EcdsaKey::from_sec1(der, None)?))
    }

    /// Reads a SEC1 `ECPrivateKey` whose curve is known from elsewhere; if it names one, it has to be the same.
    ///
    /// # Errors
    /// As [`PrivateKey::from_sec1_der`].
    pub fn from_sec1_der_on(curve: Curve, der: &[u8]) -> Result<Self, PrivateKeyError> {
        Self::from_secret(Secret::Ecdsa(EcdsaKey::from_sec1(der, Some(curve))?))
    }

    /// Reads a PKCS#1 `RSAPrivateKey`.
    ///
    /// # Errors
    /// When it is malformed or of a size that verifiers refuse.
    pub fn from_pkcs1_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        Self::from_secret(Secret::Rsa(RsaKey::from_pkcs1(der)?))
    }

    /// Reads Notary's form of an Ed25519 key: public key, seed and public key again, 32 bytes each.
    ///
    /// # Errors
    /// When the length is wrong or the public key is not the seed's.
    pub fn from_ed25519_notary(bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        Self::from_secret(Secret::Ed25519(ed25519::from_notary(bytes)?))
    }

    /// Reads the 32-byte seed of an Ed25519 key (RFC 8032).
    ///
    /// # Errors
    /// When the length is wrong.
    pub fn from_ed25519_seed(seed: &[u8]) -> Result<Self, PrivateKeyError> {
        Self::from_secret(Secret::Ed25519(ed25519::from_seed(seed)?))
    }

    /// Reads the private bytes of a key type: SEC1, PKCS#1 or Notary's 96 bytes (Notary protocol, keys and key IDs).
    ///
    /// A certificate's type stands for the bare key's.
    ///
    /// # Errors
    /// As the reader for that form, and when the type has no private form.
    pub fn from_private_bytes(key_type: &KeyType, bytes: &[u8]) -> Result<Self, PrivateKeyError> {
        match key_type.bare() {
            KeyType::Ecdsa => Self::from_sec1_der(bytes),
            KeyType::Rsa => Self::from_pkcs1_der(bytes),
            KeyType::Ed25519 => Self::from_ed25519_notary(bytes),
            other => Err(PrivateKeyError::UnsupportedType(other)),
        }
    }

    /// Writes the private bytes of the key's type: SEC1 with curve and public key, PKCS#1, or Notary's 96 bytes.
    ///
    /// # Errors
    /// When the library fails to hand the key out.
    pub fn to_private_bytes(&self) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
        match &self.secret {
            Secret::Ecdsa(key) => key.to_sec1(),
            Secret::Rsa(key) => Ok(Zeroizing::new(key.pkcs1().to_vec())),
            Secret::Ed25519(pair) => ed25519::to_notary(pair),
        }
    }

    /// Returns the curve of an ECDSA key.
    #[must_use]
    pub const fn curve(&self) -> Option<Curve> {
        match &self.secret {
            Secret::Ecdsa(key) => Some(key.curve()),
            Secret::Rsa(_) | Secret::Ed25519(_) => None,
        }
    }

    /// Returns the bare public key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Makes a signer whose signatures appear under another form of the same public key, usually a certificate.
    ///
    /// # Errors
    /// When the public key belongs to another private key.
    pub fn with_public_key(self: Arc<Self>, public_key: PublicKey) -> Result<CertifiedSigner, KeyMismatch> {
        CertifiedSigner::new(self, public_key)
    }

    fn from_secret(secret: Secret) -> Result<Self, PrivateKeyError> {
        let public_key = match &secret {
            Secret::Ecdsa(key) => PublicKey::new(KeyType::Ecdsa, key.public_der()?),
            Secret::Rsa(key) => PublicKey::new(KeyType::Rsa, key.public_der()?),
            Secret::Ed25519(pair) => PublicKey::new(KeyType::Ed25519, ed25519::public_bytes(pair)),
        };
        public_key.verifying_key()?;
        Ok(Self { secret, public_key })
    }

    fn sign_error(&self) -> SignError {
        SignError::Failed { key: self.public_key.id() }
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    fn method(&self) -> Method {
        match &self.secret {
            Secret::Ecdsa(_) => Method::Ecdsa,
            Secret::Rsa(_) => Method::RsaPss,
            Secret::Ed25519(_) => Method::Eddsa,
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = match &self.secret {
            Secret::Ecdsa(key) => key.sign(message),
            Secret::Rsa(key) => key.sign(message),
            Secret::Ed25519(pair) => pair.try_sign(message).ok().map(|signature| signature.as_ref().to_vec()),
        };
        signature.ok_or_else(|| self.sign_error())
    }

    fn sign_certificate(&self, tbs: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = match &self.secret {
            Secret::Ecdsa(key) => key.sign_certificate(tbs),
            Secret::Rsa(key) => key.sign_certificate(tbs),
            Secret::Ed25519(_) => return Err(SignError::NoCertificate { key: self.public_key.id() }),
        };
        signature.ok_or_else(|| self.sign_error())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey").field("public_key", &self.public_key).finish_non_exhaustive()
    }
}
