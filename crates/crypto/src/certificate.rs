//! Certificates: what a root key looks like in metadata, and what delegation keys may look like.

use std::fmt;

use der::asn1::{BmpString, ObjectIdentifier, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use der::{Any, Decode as _, Encode as _, Tag, Tagged as _};
use jiff::{SignedDuration, Timestamp};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

use crate::key_type::KeyType;
use crate::public_key::{KeyError, PublicKey};
use crate::spki::{EC_PUBLIC_KEY, RSA_ENCRYPTION};

mod bundle;
mod chain;
mod generate;
mod issued;
mod weakness;

pub use bundle::CertificateBundle;
pub use chain::ChainError;
pub use generate::{VALIDITY, self_signed};

/// The longest PEM text of certificates that is looked at, in bytes.
pub const MAX_PEM: usize = 256 * 1024;
/// The most certificates one key or one file of pinned authorities may hold.
pub const MAX_CERTIFICATES: usize = 64;
/// How far in the future a certificate's validity may begin, to forgive clocks that differ.
pub const NOT_BEFORE_LEEWAY: SignedDuration = SignedDuration::from_hours(24);

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Says what is wrong with a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// The text is longer or holds more certificates than is sensible.
    #[error("the certificates are too large: at most {MAX_PEM} bytes and {MAX_CERTIFICATES} certificates are read")]
    TooLarge,
    /// The text is not PEM.
    #[error("the certificate is not PEM text: {0}")]
    NotPem(String),
    /// A PEM block is something other than a certificate.
    #[error("expected only CERTIFICATE blocks, found {0}")]
    UnexpectedBlock(String),
    /// There is no certificate in the text.
    #[error("no certificate was found in the PEM text")]
    Empty,
    /// The certificate cannot be decoded.
    #[error("the certificate is malformed: {0}")]
    Malformed(String),
    /// The first certificate is an authority's, or another one is not.
    #[error("expected one leaf certificate first and only certificate authorities after it")]
    NotLeafFirst,
    /// The period of validity ends before it begins.
    #[error("the certificate {name} ends on {not_after}, before it begins on {not_before}")]
    InvertedValidity {
        /// Common name.
        name: String,
        /// Beginning of its validity.
        not_before: Timestamp,
        /// End of its validity.
        not_after: Timestamp,
    },
    /// The certificate was signed with a broken hash.
    #[error("the certificate {name} is signed with {algorithm}, which is no longer safe")]
    WeakSignature {
        /// Common name.
        name: String,
        /// What it is signed with.
        algorithm: &'static str,
    },
    /// The RSA key is too short.
    #[error("the certificate {name} has an RSA key of {bits} bits; at least 2048 are needed")]
    ShortRsa {
        /// Common name.
        name: String,
        /// Length of the modulus.
        bits: usize,
    },
    /// The certificate was valid once.
    #[error("the certificate {name} expired on {not_after}")]
    Expired {
        /// Common name.
        name: String,
        /// End of its validity.
        not_after: Timestamp,
    },
    /// The certificate is not valid yet.
    #[error("the certificate {name} is not valid before {not_before}")]
    NotYetValid {
        /// Common name.
        name: String,
        /// Beginning of its validity.
        not_before: Timestamp,
    },
    /// A certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    NotIssued(String),
}

/// Chooses whether the period of validity counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The certificate has to be valid now.
    Enforced,
    /// The certificate may have expired, as when the signers of an older root are looked up.
    Ignored,
}

/// Holds one X.509 certificate and the exact bytes it came in.
#[derive(Clone)]
pub struct Certificate {
    der: Vec<u8>,
    spki: Vec<u8>,
    parsed: x509_cert::Certificate,
    common_name: Option<String>,
    constraints: Option<BasicConstraints>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Reads DER, with nothing behind it.
    ///
    /// # Errors
    /// When the bytes are not a certificate.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_PEM {
            return Err(CertificateError::TooLarge);
        }
        let parsed = x509_cert::Certificate::from_der(der).map_err(malformed)?;
        let tbs = parsed.tbs_certificate();
        let constraints = tbs.get_extension::<BasicConstraints>().map_err(malformed)?.map(|(_, found)| found);
        let instant = |time: x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs())
                .map_err(malformed)
                .and_then(|seconds| Timestamp::from_second(seconds).map_err(malformed))
        };
        Ok(Self {
            spki: tbs.subject_public_key_info().to_der().map_err(malformed)?,
            common_name: only_common_name(tbs.subject()),
            constraints,
            not_before: instant(tbs.validity().not_before)?,
            not_after: instant(tbs.validity().not_after)?,
            der: der.to_vec(),
            parsed,
        })
    }

    /// Reads PEM text that holds nothing but certificates, as a file of pinned authorities does.
    ///
    /// # Errors
    /// When the text is not PEM, holds no certificate, or holds anything else.
    pub fn list_from_pem(text: &[u8]) -> Result<Vec<Self>, CertificateError> {
        if text.len() > MAX_PEM {
            return Err(CertificateError::TooLarge);
        }
        let blocks = pem::parse_many(text).map_err(|error| not_pem(&error))?;
        if blocks.len() > MAX_CERTIFICATES {
            return Err(CertificateError::TooLarge);
        }
        if blocks.is_empty() {
            return Err(CertificateError::Empty);
        }
        blocks.iter().map(Self::from_block).collect()
    }

    /// Reads the first block of PEM text and ignores the rest, as the computation of canonical IDs does.
    pub(crate) fn first_of_pem(text: &[u8]) -> Result<Self, CertificateError> {
        if text.len() > MAX_PEM {
            return Err(CertificateError::TooLarge);
        }
        let block = pem::parse(text).map_err(|error| not_pem(&error))?;
        Self::from_block(&block)
    }

    fn from_block(block: &pem::Pem) -> Result<Self, CertificateError> {
        if block.tag() != "CERTIFICATE" {
            return Err(CertificateError::UnexpectedBlock(block.tag().escape_debug().take(64).collect()));
        }
        Self::from_der(block.contents())
    }

    /// Returns the exact bytes of the certificate.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Writes the certificate in the normal form: 64 columns, LF, no headers (Notary protocol, PEM normalisation).
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode_config(
            &pem::Pem::new("CERTIFICATE", self.der.clone()),
            pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
        )
    }

    /// Returns the subject's common name, if it has exactly one that is readable text.
    #[must_use]
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }

    /// Returns the first instant of validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Returns the last instant of validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Tells whether the certificate says it belongs to a certificate authority.
    #[must_use]
    pub fn is_ca(&self) -> bool {
        self.constraints.as_ref().is_some_and(|constraints| constraints.ca)
    }

    /// Returns the bare `ecdsa` or `rsa` public key, not yet approved.
    ///
    /// # Errors
    /// When the key is of another kind.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        Ok(PublicKey::new(self.bare_type()?, self.spki.clone()))
    }

    /// Returns the key as metadata lists it: the certificate alone, in the normal form.
    ///
    /// # Errors
    /// When its key would never be accepted.
    pub fn certified_key(&self) -> Result<PublicKey, KeyError> {
        let key_type = match self.bare_type()? {
            KeyType::Rsa => KeyType::RsaX509,
            _ => KeyType::EcdsaX509,
        };
        let key = PublicKey::new(key_type, self.to_pem().into_bytes());
        key.verifying_key()?;
        Ok(key)
    }

    /// Applies the checks of root validation (Notary protocol, root validation and trust pinning).
    ///
    /// The validity begins before it ends; the signature is not made with SHA-1 or anything older; an RSA key has at
    /// least 2048 bits; and, if expiry counts, the certificate has begun by a day from now and has not ended.
    ///
    /// # Errors
    /// When one of them fails.
    pub fn check(&self, now: Timestamp, expiry: Expiry) -> Result<(), CertificateError> {
        self.check_form()?;
        if let Some(bits) = weakness::short_rsa(&self.parsed) {
            return Err(CertificateError::ShortRsa { name: self.label(), bits });
        }
        if expiry == Expiry::Ignored {
            return Ok(());
        }
        if now > self.not_after {
            return Err(CertificateError::Expired { name: self.label(), not_after: self.not_after });
        }
        let latest = now.checked_add(NOT_BEFORE_LEEWAY).unwrap_or(Timestamp::MAX);
        if self.not_before > latest {
            return Err(CertificateError::NotYetValid { name: self.label(), not_before: self.not_before });
        }
        Ok(())
    }

    /// Applies the checks that depend neither on time nor on the key.
    pub(crate) fn check_form(&self) -> Result<(), CertificateError> {
        if self.not_before > self.not_after {
            return Err(CertificateError::InvertedValidity {
                name: self.label(),
                not_before: self.not_before,
                not_after: self.not_after,
            });
        }
        match weakness::weak_signature(&self.parsed) {
            Some(algorithm) => Err(CertificateError::WeakSignature { name: self.label(), algorithm }),
            None => Ok(()),
        }
    }

    /// Verifies that a path of signatures leads from a trusted certificate, perhaps over some of the others, to this one; a
    /// trusted certificate counts as itself. Every certificate on the path has to be valid at this time, without leeway.
    ///
    /// # Errors
    /// When there is no such path.
    pub fn verify_issued(&self, others: &[Self], trusted: &[Self], now: Timestamp) -> Result<(), ChainError> {
        issued::verify(self, others, trusted, now)
    }

    /// Returns the DER `SubjectPublicKeyInfo` of the key, not yet approved.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Tells whether the certificate may issue others: an authority whose key usage, if any, allows it.
    fn may_issue(&self) -> bool {
        let usage = self.parsed.tbs_certificate().get_extension::<KeyUsage>();
        self.is_ca() && usage.is_ok_and(|found| found.is_none_or(|(_, usage)| usage.key_cert_sign()))
    }

    /// Returns how many authorities may stand between this one and a leaf, if that is limited.
    fn path_length(&self) -> Option<usize> {
        self.constraints.as_ref().and_then(|constraints| constraints.path_len_constraint).map(usize::from)
    }

    fn bare_type(&self) -> Result<KeyType, KeyError> {
        match self.parsed.tbs_certificate().subject_public_key_info().algorithm.oid {
            EC_PUBLIC_KEY => Ok(KeyType::Ecdsa),
            RSA_ENCRYPTION => Ok(KeyType::Rsa),
            other => Err(KeyError::WrongKind {
                labelled: KeyType::Other("certificate".into()),
                found: format!("algorithm {other}"),
            }),
        }
    }

    /// Names the certificate in messages.
    fn label(&self) -> String {
        self.common_name().map_or_else(
            || "without a common name".to_owned(),
            |name| name.escape_debug().take(255).collect::<String>(),
        )
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("common_name", &self.common_name)
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Returns the common name if there is exactly one: with two, parties could disagree about whose certificate it is.
fn only_common_name(subject: &x509_cert::name::Name) -> Option<String> {
    let mut names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    match (names.next(), names.next()) {
        (Some(name), None) => text(&name.value),
        _ => None,
    }
}

fn text(value: &Any) -> Option<String> {
    match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok().map(|text| text.as_str().to_owned()),
        Tag::TeletexString => {
            let text = value.decode_as::<TeletexStringRef<'_>>().ok()?;
            text.as_str().is_ascii().then(|| text.as_str().to_owned())
        }
        Tag::BmpString => value.decode_as::<BmpString>().ok().map(|text| text.to_string()),
        _ => None,
    }
}

/// Repeats no more than a little of the text, and nothing that a terminal would obey.
fn not_pem(error: &pem::PemError) -> CertificateError {
    CertificateError::NotPem(error.to_string().escape_debug().take(160).collect())
}

fn malformed(error: impl fmt::Display) -> CertificateError {
    CertificateError::Malformed(error.to_string())
}
