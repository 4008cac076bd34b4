//! Reading `SubjectPublicKeyInfo` strictly: one key, one encoding.

use std::ops::RangeInclusive;

use der::asn1::{BitStringRef, ObjectIdentifier, UintRef};
use der::{AnyRef, Decode as _, Encode as _, Sequence};
use pkcs1::RsaPublicKeyRef;

use crate::curve::Curve;
use crate::key_type::KeyType;
use crate::public_key::KeyError;

/// Lengths of RSA moduli that are accepted, in bits: shorter is unsafe, longer takes too long to check.
pub(crate) const RSA_BITS: RangeInclusive<usize> = 2048..=8192;
/// The longest DER that can hold an acceptable key.
const MAX_DER: usize = 2048;
/// The longest RSA exponent accepted, in bits; the cryptographic library has the same limit.
const MAX_EXPONENT_BITS: usize = 33;

pub(crate) const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
pub(crate) const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

#[derive(Sequence)]
struct Algorithm<'a> {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<AnyRef<'a>>,
}

#[derive(Sequence)]
struct Info<'a> {
    algorithm: Algorithm<'a>,
    key: BitStringRef<'a>,
}

/// A key that passed every rule about its form.
pub(crate) enum SubjectPublicKey<'a> {
    /// An uncompressed point; whether it is on the curve is for the library.
    Ec { curve: Curve, point: &'a [u8] },
    /// A PKCS#1 `RSAPublicKey` of acceptable size.
    Rsa { pkcs1: &'a [u8] },
}

impl<'a> SubjectPublicKey<'a> {
    /// Reads a key that claims to be of a type; the type only serves the error messages.
    pub(crate) fn parse(key_type: &KeyType, der: &'a [u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_DER {
            return Err(KeyError::malformed(key_type, format_args!("{} bytes are too many", der.len())));
        }
        let info = Info::from_der(der).map_err(|error| KeyError::malformed(key_type, error))?;
        let key = info
            .key
            .as_bytes()
            .ok_or_else(|| KeyError::malformed(key_type, "the key's bits do not fill whole bytes"))?;
        match info.algorithm.oid {
            EC_PUBLIC_KEY => parse_ec(key_type, info.algorithm.parameters, key),
            RSA_ENCRYPTION => parse_rsa(key_type, info.algorithm.parameters, key),
            other => Err(KeyError::WrongKind { labelled: key_type.clone(), found: format!("algorithm {other}") }),
        }
    }

    pub(crate) const fn key_type(&self) -> KeyType {
        match self {
            Self::Ec { .. } => KeyType::Ecdsa,
            Self::Rsa { .. } => KeyType::Rsa,
        }
    }
}

fn parse_ec<'a>(
    key_type: &KeyType,
    parameters: Option<AnyRef<'a>>,
    point: &'a [u8],
) -> Result<SubjectPublicKey<'a>, KeyError> {
    let oid = parameters
        .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
        .ok_or_else(|| KeyError::UnsupportedCurve("without a name".to_owned()))?;
    let curve = Curve::from_oid(oid).ok_or_else(|| KeyError::UnsupportedCurve(oid.to_string()))?;
    if point.len() != curve.point_length() || point.first() != Some(&4) {
        return Err(KeyError::malformed(key_type, "the point is not written uncompressed"));
    }
    Ok(SubjectPublicKey::Ec { curve, point })
}

fn parse_rsa<'a>(
    key_type: &KeyType,
    parameters: Option<AnyRef<'a>>,
    pkcs1: &'a [u8],
) -> Result<SubjectPublicKey<'a>, KeyError> {
    if !parameters.is_some_and(AnyRef::is_null) {
        return Err(KeyError::malformed(key_type, "the algorithm's parameters are not NULL"));
    }
    check_rsa(key_type, pkcs1)?;
    Ok(SubjectPublicKey::Rsa { pkcs1 })
}

/// Applies the rules about RSA keys to a PKCS#1 `RSAPublicKey`.
pub(crate) fn check_rsa(key_type: &KeyType, pkcs1: &[u8]) -> Result<(), KeyError> {
    let key = RsaPublicKeyRef::from_der(pkcs1).map_err(|error| KeyError::malformed(key_type, error))?;
    let size = bits(&key.modulus);
    if !RSA_BITS.contains(&size) {
        return Err(KeyError::RsaSize { bits: size });
    }
    if !is_odd(&key.modulus) {
        return Err(KeyError::UnsafeRsa("the modulus is even"));
    }
    if !is_odd(&key.public_exponent) || bits(&key.public_exponent) < 2 {
        return Err(KeyError::UnsafeRsa("the exponent is even or below 3"));
    }
    if bits(&key.public_exponent) > MAX_EXPONENT_BITS {
        return Err(KeyError::UnsafeRsa("the exponent is too large"));
    }
    Ok(())
}

pub(crate) fn bits(number: &UintRef<'_>) -> usize {
    let bytes = number.as_bytes();
    let leading = bytes.first().map_or(0, |first| first.leading_zeros() as usize);
    (8 * bytes.len()).saturating_sub(leading)
}

fn is_odd(number: &UintRef<'_>) -> bool {
    number.as_bytes().last().is_some_and(|last| last & 1 == 1)
}

/// Writes the `SubjectPublicKeyInfo` of an elliptic curve point.
pub(crate) fn ec_der(curve: Curve, point: &[u8]) -> der::Result<Vec<u8>> {
    let oid = curve.oid();
    Info {
        algorithm: Algorithm { oid: EC_PUBLIC_KEY, parameters: Some(AnyRef::from(&oid)) },
        key: BitStringRef::from_bytes(point)?,
    }
    .to_der()
}

/// Writes the `SubjectPublicKeyInfo` of a PKCS#1 `RSAPublicKey`.
pub(crate) fn rsa_der(pkcs1: &[u8]) -> der::Result<Vec<u8>> {
    Info {
        algorithm: Algorithm { oid: RSA_ENCRYPTION, parameters: Some(AnyRef::NULL) },
        key: BitStringRef::from_bytes(pkcs1)?,
    }
    .to_der()
}
