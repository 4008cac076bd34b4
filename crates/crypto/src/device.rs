//! Keys that a device holds: their public halves from its words, what it has to sign, and what its answers become.

use aws_lc_rs::digest::{SHA256, SHA384, SHA512, digest};
use der::asn1::UintRef;
use der::{Decode as _, Encode as _, Sequence};
use pkcs1::{RsaPrivateKeyRef, RsaPublicKey};
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

use crate::curve::Curve;
use crate::key_type::KeyType;
use crate::private_key::{PrivateKey, PrivateKeyError};
use crate::public_key::{KeyError, PublicKey};
use crate::spki::{self, SubjectPublicKey};

/// The kind of a key, as a device has to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKey {
    /// ECDSA on this curve.
    Ecdsa(Curve),
    /// RSA.
    Rsa,
    /// Ed25519.
    Ed25519,
}

impl DeviceKey {
    /// Tells the kind of a bare public key; none for certificates, unknown and malformed keys.
    #[must_use]
    pub fn of(key: &PublicKey) -> Option<Self> {
        match key.key_type() {
            KeyType::Ed25519 => Some(Self::Ed25519),
            KeyType::Ecdsa | KeyType::Rsa => match SubjectPublicKey::parse(key.key_type(), key.bytes()).ok()? {
                SubjectPublicKey::Ec { curve, .. } => Some(Self::Ecdsa(curve)),
                SubjectPublicKey::Rsa { .. } => Some(Self::Rsa),
            },
            _ => None,
        }
    }
}

/// Makes the public key of an uncompressed point.
///
/// # Errors
/// When it would never be accepted.
pub fn ecdsa_public_key(curve: Curve, point: &[u8]) -> Result<PublicKey, KeyError> {
    let der = spki::ec_der(curve, point).map_err(|error| KeyError::malformed(&KeyType::Ecdsa, error))?;
    checked(KeyType::Ecdsa, der)
}

/// Makes the public key of a modulus and an exponent, both in big-endian bytes.
///
/// # Errors
/// When it would never be accepted.
pub fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, KeyError> {
    let malformed = |error: der::Error| KeyError::malformed(&KeyType::Rsa, error);
    let modulus = UintRef::new(modulus).map_err(malformed)?;
    let public_exponent = UintRef::new(exponent).map_err(malformed)?;
    let pkcs1 = RsaPublicKey { modulus, public_exponent }.to_der().map_err(malformed)?;
    checked(KeyType::Rsa, spki::rsa_der(&pkcs1).map_err(malformed)?)
}

/// Makes the public key of the 32 bytes of an Ed25519 key.
///
/// # Errors
/// When it would never be accepted.
pub fn ed25519_public_key(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    checked(KeyType::Ed25519, bytes.to_vec())
}

fn checked(key_type: KeyType, bytes: Vec<u8>) -> Result<PublicKey, KeyError> {
    let key = PublicKey::new(key_type, bytes);
    key.verifying_key()?;
    Ok(key)
}

/// Hashes a `TBSCertificate` as certificates on this curve are signed.
#[must_use]
pub fn certificate_digest(curve: Curve, tbs: &[u8]) -> Vec<u8> {
    let algorithm = match curve {
        Curve::P256 => &SHA256,
        Curve::P384 => &SHA384,
        Curve::P521 => &SHA512,
    };
    digest(algorithm, tbs).as_ref().to_vec()
}

/// Writes r and s, one after the other in the curve's full width, as X.509 does; none if the length is wrong.
#[must_use]
pub fn ecdsa_signature_der(curve: Curve, raw: &[u8]) -> Option<Vec<u8>> {
    #[derive(Sequence)]
    struct Signature<'a> {
        r: UintRef<'a>,
        s: UintRef<'a>,
    }
    let (r, s) = raw.split_at_checked(curve.field_length())?;
    if s.len() != r.len() {
        return None;
    }
    Signature { r: UintRef::new(r).ok()?, s: UintRef::new(s).ok()? }.to_der().ok()
}

/// The parts of a private key, for a device that is to hold it; wiped when dropped, and never printed.
pub enum PrivateParts {
    /// An elliptic curve key.
    Ecdsa {
        /// The curve.
        curve: Curve,
        /// The private number in the curve's full width.
        scalar: Zeroizing<Vec<u8>>,
        /// The public point, uncompressed.
        point: Vec<u8>,
    },
    /// An RSA key, all numbers in big-endian bytes without leading zeros.
    Rsa(Box<RsaParts>),
    /// An Ed25519 key.
    Ed25519 {
        /// The seed.
        seed: Zeroizing<Vec<u8>>,
        /// The public key.
        public: Vec<u8>,
    },
}

/// The numbers of an RSA key (RFC 8017).
#[expect(missing_docs, reason = "they have no other names")]
pub struct RsaParts {
    pub modulus: Vec<u8>,
    pub public_exponent: Vec<u8>,
    pub private_exponent: Zeroizing<Vec<u8>>,
    pub prime_1: Zeroizing<Vec<u8>>,
    pub prime_2: Zeroizing<Vec<u8>>,
    pub exponent_1: Zeroizing<Vec<u8>>,
    pub exponent_2: Zeroizing<Vec<u8>>,
    pub coefficient: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for PrivateParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ecdsa { .. } => "Ecdsa(…)",
            Self::Rsa(_) => "Rsa(…)",
            Self::Ed25519 { .. } => "Ed25519(…)",
        })
    }
}

impl std::fmt::Debug for RsaParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RsaParts(…)")
    }
}

impl PrivateParts {
    /// Takes a private key apart.
    ///
    /// # Errors
    /// When the library fails to hand the key out.
    pub fn of(key: &PrivateKey) -> Result<Self, PrivateKeyError> {
        let bytes = key.to_private_bytes()?;
        let failed = |_: der::Error| PrivateKeyError::Library;
        match (DeviceKey::of(key.public_key()), key.curve()) {
            (Some(DeviceKey::Ecdsa(curve)), Some(_)) => {
                let parsed = EcPrivateKey::from_der(&bytes).map_err(failed)?;
                let point = parsed.public_key.ok_or(PrivateKeyError::Library)?.to_vec();
                Ok(Self::Ecdsa { curve, scalar: Zeroizing::new(parsed.private_key.to_vec()), point })
            }
            (Some(DeviceKey::Rsa), _) => {
                let parsed = RsaPrivateKeyRef::from_der(&bytes).map_err(failed)?;
                let secret = |number: &UintRef<'_>| Zeroizing::new(number.as_bytes().to_vec());
                Ok(Self::Rsa(Box::new(RsaParts {
                    modulus: parsed.modulus.as_bytes().to_vec(),
                    public_exponent: parsed.public_exponent.as_bytes().to_vec(),
                    private_exponent: secret(&parsed.private_exponent),
                    prime_1: secret(&parsed.prime1),
                    prime_2: secret(&parsed.prime2),
                    exponent_1: secret(&parsed.exponent1),
                    exponent_2: secret(&parsed.exponent2),
                    coefficient: secret(&parsed.coefficient),
                })))
            }
            (Some(DeviceKey::Ed25519), _) => {
                let (public, rest) = bytes.split_at_checked(32).ok_or(PrivateKeyError::Library)?;
                let seed = rest.get(..32).ok_or(PrivateKeyError::Library)?;
                Ok(Self::Ed25519 { seed: Zeroizing::new(seed.to_vec()), public: public.to_vec() })
            }
            _ => Err(PrivateKeyError::UnsupportedType(key.public_key().key_type().clone())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Algorithm;

    const ALL: [Algorithm; 5] = [
        Algorithm::EcdsaP256,
        Algorithm::EcdsaP384,
        Algorithm::EcdsaP521,
        Algorithm::Ed25519,
        Algorithm::Rsa { bits: 2048 },
    ];

    #[test]
    fn the_public_key_of_the_parts_is_the_keys_own() {
        for algorithm in ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let public = match PrivateParts::of(&key).unwrap() {
                PrivateParts::Ecdsa { curve, scalar, point } => {
                    assert_eq!(scalar.len(), curve.field_length());
                    ecdsa_public_key(curve, &point)
                }
                PrivateParts::Rsa(parts) => rsa_public_key(&parts.modulus, &parts.public_exponent),
                PrivateParts::Ed25519 { seed, public } => {
                    let again = PrivateKey::from_ed25519_seed(&seed).unwrap();
                    assert_eq!(again.public_key(), key.public_key());
                    ed25519_public_key(&public)
                }
            };
            assert_eq!(&public.unwrap(), key.public_key(), "{algorithm:?}");
        }
    }

    #[test]
    fn what_no_key_can_be_is_refused() {
        assert!(ecdsa_public_key(Curve::P256, &[4; 65]).is_err(), "off the curve");
        assert!(ecdsa_public_key(Curve::P384, &[4; 65]).is_err(), "another length");
        assert!(rsa_public_key(&[0xff; 128], &[1, 0, 1]).is_err(), "1024 bits");
        assert!(ed25519_public_key(&[0; 32]).is_err() && ed25519_public_key(&[1; 31]).is_err());
        assert_eq!(ecdsa_signature_der(Curve::P256, &[1; 63]), None);
        assert_eq!(ecdsa_signature_der(Curve::P256, &[1; 65]), None);
    }

    #[test]
    fn parts_are_not_printed() {
        for algorithm in ALL {
            let key = PrivateKey::generate(algorithm).unwrap();
            let shown = format!("{:?}", PrivateParts::of(&key).unwrap());
            assert!(shown.len() < 20 && shown.ends_with("(…)"), "{shown}");
        }
    }
}
