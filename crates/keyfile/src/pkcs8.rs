//! Plain PKCS#8, in the reference's dialect and in the standard's (RFC 5208, RFC 5958, RFC 8410).

use countersign_crypto::{Curve, KeyType, PrivateKey, PrivateKeyError};
use der::asn1::{ObjectIdentifier, OctetStringRef};
use der::{AnyRef, Decode as _, Encode as _, Reader as _, Sequence, SliceReader, Tag, TagNumber, Tagged as _};
use zeroize::Zeroizing;

use crate::error::KeyFileError;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// What the reference calls Ed25519; its bytes are public key, seed and public key again.
const NOTARY_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11591.15.1");
/// What RFC 8410 calls Ed25519; its bytes are the seed in an octet string of its own.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

#[derive(Sequence)]
struct Algorithm<'a> {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<AnyRef<'a>>,
}

/// What is written: the reference never adds attributes or a public key.
#[derive(Sequence)]
struct Written<'a> {
    version: u8,
    algorithm: Algorithm<'a>,
    key: &'a OctetStringRef,
}

/// What is read: version 0 or 1, whether or not the public key that version 1 promises is there.
struct Info<'a> {
    algorithm: Algorithm<'a>,
    key: &'a [u8],
    public: Option<&'a [u8]>,
}

impl<'a> Info<'a> {
    fn parse(der: &'a [u8]) -> der::Result<Self> {
        let mut reader = SliceReader::new(der)?;
        let info = reader.sequence(|reader| {
            let version = u8::decode(reader)?;
            if version > 1 {
                return Err(Tag::Integer.value_error().into());
            }
            let algorithm = Algorithm::decode(reader)?;
            let key = <&OctetStringRef>::decode(reader)?.as_bytes();
            let mut public = None;
            while !reader.is_finished() {
                let extra = AnyRef::decode(reader)?;
                match extra.tag() {
                    Tag::ContextSpecific { number: TagNumber(0), .. } => {}
                    // A BIT STRING under an implicit tag: one byte of unused bits, then the bytes.
                    Tag::ContextSpecific { number: TagNumber(1), .. } => public = extra.value().get(1..),
                    other => return Err(other.value_error().into()),
                }
            }
            Ok::<_, der::Error>(Info { algorithm, key, public })
        })?;
        reader.finish()?;
        Ok(info)
    }
}

pub(crate) fn decode(der: &[u8]) -> Result<PrivateKey, KeyFileError> {
    let info = Info::parse(der).map_err(|_| KeyFileError::Malformed("it is not a PKCS#8 key"))?;
    let key = match info.algorithm.oid {
        EC => {
            let curve = info.algorithm.parameters.and_then(|any| any.decode_as::<ObjectIdentifier>().ok());
            match curve.and_then(Curve::from_oid) {
                Some(curve) => PrivateKey::from_sec1_der_on(curve, info.key)?,
                // The inner key may name the curve; and if it is one we refuse, the refusal should name it.
                None => PrivateKey::from_sec1_der(info.key)?,
            }
        }
        RSA if info.algorithm.parameters.is_none_or(AnyRef::is_null) => PrivateKey::from_pkcs1_der(info.key)?,
        NOTARY_ED25519 => PrivateKey::from_ed25519_notary(info.key)?,
        ED25519 => {
            let seed = <&OctetStringRef>::from_der(info.key)
                .map_err(|_| KeyFileError::Key(PrivateKeyError::Malformed(KeyType::Ed25519)))?;
            PrivateKey::from_ed25519_seed(seed.as_bytes())?
        }
        other => return Err(PrivateKeyError::UnsupportedType(KeyType::Other(other.to_string().into())).into()),
    };
    if info.public.is_some_and(|public| public.is_empty() || !key.public_key().bytes().ends_with(public)) {
        return Err(PrivateKeyError::Inconsistent(key.public_key().key_type().clone()).into());
    }
    Ok(key)
}

pub(crate) fn encode(key: &PrivateKey) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let private = key.to_private_bytes()?;
    let curve = key.curve().map(Curve::oid);
    let (version, oid, parameters) = match (key.public_key().key_type(), curve.as_ref()) {
        (KeyType::Ecdsa, Some(curve)) => (1, EC, Some(AnyRef::from(curve))),
        (KeyType::Rsa, None) => (0, RSA, None),
        (KeyType::Ed25519, None) => (0, NOTARY_ED25519, None),
        _ => return Err(KeyFileError::NotWritten),
    };
    let key = OctetStringRef::new(&private).map_err(|_| KeyFileError::NotWritten)?;
    Written { version, algorithm: Algorithm { oid, parameters }, key }
        .to_der()
        .map(Zeroizing::new)
        .map_err(|_| KeyFileError::NotWritten)
}
