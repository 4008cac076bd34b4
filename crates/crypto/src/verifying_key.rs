//! Keys that may verify, and the verification of signatures.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::signature::{
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, VerificationAlgorithm,
};

use crate::certificate::Certificate;
use crate::curve::Curve;
use crate::digest::{Sha256Digest, sha256};
use crate::key_id::KeyId;
use crate::key_type::{KeyType, Method};
use crate::public_key::{KeyError, PublicKey};
use crate::spki::{SubjectPublicKey, rsa_der};

mod ed25519;

/// Bytes to verify signatures over; hashed at most once, however many signatures there are.
pub struct Message<'a> {
    bytes: &'a [u8],
    sha256: OnceLock<Sha256Digest>,
}

impl<'a> Message<'a> {
    /// Wraps the signed bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, sha256: OnceLock::new() }
    }

    /// Returns the signed bytes.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Returns their SHA-256.
    #[must_use]
    pub fn sha256(&self) -> &Sha256Digest {
        self.sha256.get_or_init(|| sha256(self.bytes))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("length", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// Says why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The method is not one this key can have signed with.
    #[error("method {method:?} does not fit a key of type {key_type}")]
    MethodMismatch {
        /// The type of the key.
        key_type: KeyType,
        /// The method the signature names.
        method: Box<str>,
    },
    /// The signature has not the one length this key's signatures have.
    #[error("the signature has {found} bytes instead of {expected}")]
    Length {
        /// Length of every signature by this key.
        expected: usize,
        /// Length of this one.
        found: usize,
    },
    /// The signature is not by this key over this message.
    #[error("the signature is not by this key over this content")]
    Invalid,
}

/// A public key that passed every check and may verify.
#[derive(Debug, Clone)]
pub struct VerifyingKey {
    key_type: KeyType,
    identity: KeyId,
    scheme: Scheme,
}

/// The algorithm that the key, and only the key, decides on.
#[derive(Debug, Clone)]
enum Scheme {
    Ecdsa {
        curve: Curve,
        key: ParsedPublicKey,
    },
    Rsa {
        pss: ParsedPublicKey,
        pkcs1: ParsedPublicKey,
        modulus_length: usize,
    },
    /// An RSA key given as PEM text, as python-tuf once wrote them with `PyCrypto`.
    PycryptoRsa {
        pss: ParsedPublicKey,
        modulus_length: usize,
    },
    Ed25519(ParsedPublicKey),
}

impl VerifyingKey {
    pub(crate) fn new(key: &PublicKey) -> Result<Self, KeyError> {
        let key_type = key.key_type();
        let (identity, scheme) = match key_type {
            KeyType::Ed25519 => (key.id(), Scheme::Ed25519(ed25519::parse(key.bytes())?)),
            KeyType::Rsa if key.bytes().starts_with(b"-----BEGIN ") => pycrypto(key.bytes())?,
            KeyType::Ecdsa | KeyType::Rsa => (key.id(), Scheme::from_spki(key_type, key.bytes())?),
            KeyType::EcdsaX509 | KeyType::RsaX509 => {
                let certificate = Certificate::first_of_pem(key.bytes()).map_err(Box::new)?;
                certificate.check_form().map_err(Box::new)?;
                (key.canonical_id(), Scheme::from_spki(key_type, certificate.spki_der())?)
            }
            KeyType::Other(_) => return Err(KeyError::UnsupportedType(key_type.clone())),
        };
        Ok(Self { key_type: key_type.clone(), identity, scheme })
    }

    /// Verifies a signature over a message.
    ///
    /// # Errors
    /// When the method does not fit the key, or the signature is not by this key over this message.
    pub fn verify(&self, method: &Method, message: &Message<'_>, signature: &[u8]) -> Result<(), SignatureError> {
        match (&self.scheme, method) {
            (Scheme::Ecdsa { curve, key }, Method::Ecdsa) => {
                expect_length(2 * curve.field_length(), signature)?;
                let digest = curve.digest(message.sha256()).map_err(|_| SignatureError::Invalid)?;
                key.verify_digest_sig(&digest, signature).map_err(|_| SignatureError::Invalid)
            }
            (Scheme::Rsa { pss: key, modulus_length, .. }, Method::RsaPss)
            | (Scheme::Rsa { pkcs1: key, modulus_length, .. }, Method::RsaPkcs1v15)
            | (Scheme::PycryptoRsa { pss: key, modulus_length }, Method::PycryptoPss) => {
                expect_length(*modulus_length, signature)?;
                let digest = Curve::P256.digest(message.sha256()).map_err(|_| SignatureError::Invalid)?;
                key.verify_digest_sig(&digest, signature).map_err(|_| SignatureError::Invalid)
            }
            (Scheme::Ed25519(key), Method::Eddsa) => {
                expect_length(64, signature)?;
                key.verify_sig(message.bytes(), signature).map_err(|_| SignatureError::Invalid)
            }
            _ => Err(SignatureError::MethodMismatch {
                key_type: self.key_type.clone(),
                method: method.as_str().chars().take(32).collect::<String>().into(),
            }),
        }
    }

    /// Returns the ID of the bare public key: what thresholds count.
    ///
    /// Two certificates over one key, or a certificate and its bare key, have the same identity.
    #[must_use]
    pub const fn identity(&self) -> KeyId {
        self.identity
    }

    /// Returns the type the key is listed under.
    #[must_use]
    pub const fn key_type(&self) -> &KeyType {
        &self.key_type
    }
}

impl Scheme {
    fn from_spki(key_type: &KeyType, der: &[u8]) -> Result<Self, KeyError> {
        match (SubjectPublicKey::parse(key_type, der)?, key_type.bare()) {
            (SubjectPublicKey::Ec { curve, point }, KeyType::Ecdsa) => Ok(Self::Ecdsa {
                curve,
                key: ParsedPublicKey::new(curve.verification(), point)
                    .map_err(|_| KeyError::BadPoint(key_type.clone()))?,
            }),
            (SubjectPublicKey::Rsa { pkcs1 }, KeyType::Rsa) => {
                let (pss, modulus_length) = rsa(&RSA_PSS_2048_8192_SHA256, key_type, pkcs1)?;
                let (pkcs1, _) = rsa(&RSA_PKCS1_2048_8192_SHA256, key_type, pkcs1)?;
                Ok(Self::Rsa { pss, pkcs1, modulus_length })
            }
            (found, _) => {
                Err(KeyError::WrongKind { labelled: key_type.clone(), found: format!("an {} key", found.key_type()) })
            }
        }
    }
}

fn rsa(
    algorithm: &'static dyn VerificationAlgorithm,
    key_type: &KeyType,
    pkcs1: &[u8],
) -> Result<(ParsedPublicKey, usize), KeyError> {
    let parsed = ParsedPublicKey::new(algorithm, pkcs1).map_err(|error| KeyError::malformed(key_type, error))?;
    let key = pkcs1::RsaPublicKeyRef::try_from(pkcs1).map_err(|error| KeyError::malformed(key_type, error))?;
    Ok((parsed, key.modulus.as_bytes().len()))
}

/// Reads an RSA key whose bytes are PEM text, and the identity of the same key as DER.
fn pycrypto(text: &[u8]) -> Result<(KeyId, Scheme), KeyError> {
    let block = pem::parse(text).map_err(|error| KeyError::malformed(&KeyType::Rsa, error))?;
    if block.tag() != "PUBLIC KEY" {
        return Err(KeyError::malformed(&KeyType::Rsa, "the PEM block is not a PUBLIC KEY"));
    }
    let SubjectPublicKey::Rsa { pkcs1 } = SubjectPublicKey::parse(&KeyType::Rsa, block.contents())? else {
        return Err(KeyError::WrongKind { labelled: KeyType::Rsa, found: "an ecdsa key".to_owned() });
    };
    let (pss, modulus_length) = rsa(&RSA_PSS_2048_8192_SHA256, &KeyType::Rsa, pkcs1)?;
    let bare = rsa_der(pkcs1).map_err(|error| KeyError::malformed(&KeyType::Rsa, error))?;
    Ok((PublicKey::new(KeyType::Rsa, bare).id(), Scheme::PycryptoRsa { pss, modulus_length }))
}

const fn expect_length(expected: usize, signature: &[u8]) -> Result<(), SignatureError> {
    if signature.len() == expected { Ok(()) } else { Err(SignatureError::Length { expected, found: signature.len() }) }
}
