//! Self-signed root certificates, exactly as the reference makes them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use der::asn1::{BitStringRef, ObjectIdentifier, OctetString, PrintableStringRef, SetOfVec, Uint, Utf8StringRef};
use der::{Any, AnyRef, DateTime, Decode as _, Encode as _, Sequence};
use jiff::{SignedDuration, Timestamp};
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::time::{Time, Validity};

use super::{COMMON_NAME, Certificate, CertificateError};
use crate::curve::Curve;
use crate::key_type::KeyType;
use crate::public_key::PublicKey;
use crate::random::{Random as _, SystemRandom};
use crate::signer::Signer;
use crate::spki::SubjectPublicKey;

/// How long a new root certificate is valid: ten years of 365 days.
pub const VALIDITY: SignedDuration = SignedDuration::from_hours(3650 * 24);

/// Serial numbers have this many random bytes.
const SERIAL_LENGTH: usize = 16;

const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const SHA256_WITH_RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
const ECDSA_WITH_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const ECDSA_WITH_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

#[derive(Sequence, Clone)]
struct Algorithm {
    oid: ObjectIdentifier,
    #[asn1(optional = "true")]
    parameters: Option<Any>,
}

/// The relative distinguished names of a subject that has nothing but a common name.
type OnlyName = Vec<SetOfVec<AttributeTypeAndValue>>;

#[derive(Sequence)]
struct Unsigned<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    version: u8,
    serial: Uint,
    signature: Algorithm,
    issuer: OnlyName,
    validity: Validity,
    subject: OnlyName,
    subject_public_key_info: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT")]
    extensions: Vec<Extension>,
}

#[derive(Sequence)]
struct Signed<'a> {
    unsigned: AnyRef<'a>,
    algorithm: Algorithm,
    signature: BitStringRef<'a>,
}

/// Makes the certificate under which a root key signs for one GUN, as PEM text in the normal form.
///
/// Subject and issuer are the common name alone, of any length; the serial number is random; the validity is ten years
/// from now; key usage is digital signature and key encipherment, extended key usage code signing, and it is no
/// authority (Notary protocol, root certificate generation).
///
/// # Errors
/// When the key is an Ed25519 key, cannot be used, or gives a signature that is not its own; when the library fails.
pub fn self_signed(common_name: &str, key: &dyn Signer, now: Timestamp) -> Result<Vec<u8>, CertificateError> {
    let (algorithm, verification) = algorithm(key.public_key())?;
    let subject = name(common_name).map_err(not_issued)?;
    let mut serial = [0; SERIAL_LENGTH];
    SystemRandom.fill(&mut serial).map_err(not_issued)?;
    let end = now.checked_add(VALIDITY).map_err(not_issued)?;
    let unsigned = Unsigned {
        version: 2,
        serial: Uint::new(&serial).map_err(not_issued)?,
        signature: algorithm.clone(),
        issuer: subject.clone(),
        validity: Validity::new(time(now)?, time(end)?),
        subject,
        subject_public_key_info: AnyRef::from_der(key.public_key().bytes()).map_err(not_issued)?,
        extensions: extensions().map_err(not_issued)?,
    };
    let unsigned = unsigned.to_der().map_err(not_issued)?;
    let signature = key.sign_certificate(&unsigned).map_err(not_issued)?;
    // The key may be in a device that answers with anything.
    verification.check(&unsigned, &signature)?;
    let signed = Signed {
        unsigned: AnyRef::from_der(&unsigned).map_err(not_issued)?,
        algorithm,
        signature: BitStringRef::from_bytes(&signature).map_err(not_issued)?,
    };
    let der = signed.to_der().map_err(not_issued)?;
    Ok(Certificate::from_der(&der)?.to_pem().into_bytes())
}

/// How the signature of a new certificate is checked.
struct Verification {
    algorithm: &'static dyn VerificationAlgorithm,
    key: Vec<u8>,
}

impl Verification {
    fn check(&self, unsigned: &[u8], signature: &[u8]) -> Result<(), CertificateError> {
        let key = ParsedPublicKey::new(self.algorithm, &self.key).map_err(not_issued)?;
        key.verify_sig(unsigned, signature).map_err(|_| not_issued("the signature is not by this key"))
    }
}

fn algorithm(key: &PublicKey) -> Result<(Algorithm, Verification), CertificateError> {
    if !matches!(key.key_type(), KeyType::Ecdsa | KeyType::Rsa) {
        return Err(not_issued(format_args!("keys of type {} cannot have a certificate", key.key_type())));
    }
    match SubjectPublicKey::parse(key.key_type(), key.bytes()).map_err(not_issued)? {
        SubjectPublicKey::Ec { curve, point } => {
            let (oid, algorithm): (_, &'static dyn VerificationAlgorithm) = match curve {
                Curve::P256 => (ECDSA_WITH_SHA256, &ECDSA_P256_SHA256_ASN1),
                Curve::P384 => (ECDSA_WITH_SHA384, &ECDSA_P384_SHA384_ASN1),
                Curve::P521 => (ECDSA_WITH_SHA512, &ECDSA_P521_SHA512_ASN1),
            };
            Ok((Algorithm { oid, parameters: None }, Verification { algorithm, key: point.to_vec() }))
        }
        SubjectPublicKey::Rsa { pkcs1 } => Ok((
            Algorithm { oid: SHA256_WITH_RSA, parameters: Some(Any::null()) },
            Verification { algorithm: &RSA_PKCS1_2048_8192_SHA256, key: pkcs1.to_vec() },
        )),
    }
}

/// Writes the name as `PrintableString` where that can spell it, else as `UTF8String`; length is not limited.
fn name(common_name: &str) -> der::Result<OnlyName> {
    let value = match PrintableStringRef::new(common_name) {
        Ok(printable) => Any::encode_from(&printable)?,
        Err(_) => Any::encode_from(&Utf8StringRef::new(common_name)?)?,
    };
    let mut set = SetOfVec::new();
    set.insert(AttributeTypeAndValue { oid: COMMON_NAME, value })?;
    Ok(vec![set])
}

fn time(instant: Timestamp) -> Result<Time, CertificateError> {
    let seconds = u64::try_from(instant.as_second()).map_err(not_issued)?;
    DateTime::from_unix_duration(std::time::Duration::from_secs(seconds)).map(Time::from).map_err(not_issued)
}

fn extensions() -> der::Result<Vec<Extension>> {
    let extension = |extn_id, critical, value: Vec<u8>| -> der::Result<Extension> {
        Ok(Extension { extn_id, critical, extn_value: OctetString::new(value)? })
    };
    Ok(vec![
        extension(KEY_USAGE, true, KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment).to_der()?)?,
        extension(EXTENDED_KEY_USAGE, false, ExtendedKeyUsage(vec![CODE_SIGNING]).to_der()?)?,
        extension(BASIC_CONSTRAINTS, true, BasicConstraints { ca: false, path_len_constraint: None }.to_der()?)?,
    ])
}

fn not_issued(error: impl std::fmt::Display) -> CertificateError {
    CertificateError::NotIssued(error.to_string())
}
