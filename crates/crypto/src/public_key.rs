//! Public keys as metadata lists them.

use std::fmt;
use std::hash::{Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::certificate::Certificate;
use crate::digest::sha256;
use crate::key_id::KeyId;
use crate::key_type::KeyType;
use crate::spki::SubjectPublicKey;
use crate::verifying_key::VerifyingKey;

/// Says why a public key must not be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The type is none that can verify.
    #[error("keys of type {:?} cannot verify signatures", .0.as_str())]
    UnsupportedType(KeyType),
    /// The bytes are not what the type promises.
    #[error("the {key_type} key is malformed: {reason}")]
    Malformed {
        /// What the key claims to be.
        key_type: KeyType,
        /// What is wrong with it.
        reason: String,
    },
    /// The bytes hold a key of another kind than the type says.
    #[error("a key labelled {labelled} holds {found}")]
    WrongKind {
        /// What the key claims to be.
        labelled: KeyType,
        /// What it is.
        found: String,
    },
    /// The curve is too weak or unknown.
    #[error("elliptic curve {0} is not accepted; use P-256, P-384 or P-521")]
    UnsupportedCurve(String),
    /// The RSA modulus is too short to be safe or too long to be checked in reasonable time.
    #[error("RSA keys must have {} to {} bits, this one has {bits}", crate::spki::RSA_BITS.start(), crate::spki::RSA_BITS.end())]
    RsaSize {
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// The RSA modulus or exponent cannot belong to a working key.
    #[error("the RSA key is unsafe: {0}")]
    UnsafeRsa(&'static str),
    /// The point is not one a person can have the private half of: small order, off the curve, or not encoded uniquely.
    #[error("the {0} point is not acceptable")]
    BadPoint(KeyType),
    /// The certificate around the key is not acceptable.
    #[error(transparent)]
    Certificate(#[from] Box<crate::certificate::CertificateError>),
}

impl KeyError {
    pub(crate) fn malformed(key_type: &KeyType, reason: impl fmt::Display) -> Self {
        Self::Malformed { key_type: key_type.clone(), reason: reason.to_string().escape_debug().take(160).collect() }
    }
}

/// Holds a public key exactly as metadata lists it; unknown and broken keys are carried too.
///
/// Making one never fails, so that documents survive; nothing can be verified with it before
/// [`PublicKey::verifying_key`] has approved it.
#[derive(Clone)]
pub struct PublicKey {
    key_type: KeyType,
    bytes: Vec<u8>,
    id: KeyId,
}

impl PublicKey {
    /// Takes the type and the decoded bytes of `keyval.public`.
    #[must_use]
    pub fn new(key_type: KeyType, bytes: Vec<u8>) -> Self {
        let id = sha256(json(&key_type, &bytes).as_bytes()).into();
        Self { key_type, bytes, id }
    }

    /// Takes a DER `SubjectPublicKeyInfo` and finds out whether it is an `ecdsa` or an `rsa` key.
    ///
    /// # Errors
    /// When it is neither, malformed, or refused by [`PublicKey::verifying_key`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        let key_type = SubjectPublicKey::parse(&KeyType::Other("public key".into()), der)?.key_type();
        let key = Self::new(key_type, der.to_vec());
        key.verifying_key()?;
        Ok(key)
    }

    /// Reads what people hand over as "my public key": a PEM certificate or a PEM `PUBLIC KEY`.
    ///
    /// Of a certificate file only the first certificate becomes part of the key, written in the normal form. Whether it
    /// is valid at some time is for [`Certificate::check`].
    ///
    /// # Errors
    /// When the text holds no such block, or the key in it would never be accepted.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        let kind = KeyType::Other("PEM".into());
        let block = pem::parse(text).map_err(|error| KeyError::malformed(&kind, error))?;
        match block.tag() {
            "CERTIFICATE" => Ok(Certificate::from_der(block.contents()).map_err(Box::new)?.certified_key()?),
            "PUBLIC KEY" => Self::from_spki_der(block.contents()),
            other => Err(KeyError::malformed(&kind, format_args!("expected CERTIFICATE or PUBLIC KEY, found {other}"))),
        }
    }

    /// Returns the type.
    #[must_use]
    pub const fn key_type(&self) -> &KeyType {
        &self.key_type
    }

    /// Returns the decoded bytes of `keyval.public`.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the TUF ID, under which metadata lists the key.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the canonical ID, under which the private half is kept.
    ///
    /// For a certificate this is the ID of the bare key in the first certificate; for every other key, and for a
    /// certificate that cannot be read, it is the TUF ID.
    #[must_use]
    pub fn canonical_id(&self) -> KeyId {
        self.bare().map_or(self.id, |bare| bare.id)
    }

    /// Returns the key in canonical JSON: what its ID is the SHA-256 of.
    #[must_use]
    pub fn to_json(&self) -> String {
        json(&self.key_type, &self.bytes)
    }

    /// Checks the key against every rule that does not depend on time and makes it able to verify.
    ///
    /// RSA keys have 2048 to 8192 bits, an odd modulus and an odd exponent of at least 3; elliptic curve points are
    /// uncompressed, on P-256, P-384 or P-521; Ed25519 keys are 32 bytes and not of small order; DER is exact, with
    /// nothing behind it; a certificate is not signed with SHA-1 or older.
    ///
    /// # Errors
    /// When the key breaks one of these rules or is of no type that verifies.
    pub fn verifying_key(&self) -> Result<VerifyingKey, KeyError> {
        VerifyingKey::new(self)
    }

    /// Returns the bare key inside a certificate, if this is one that can be read.
    fn bare(&self) -> Option<Self> {
        if !self.key_type.is_certificate() {
            return None;
        }
        let certificate = Certificate::first_of_pem(&self.bytes).ok()?;
        Some(Self::new(self.key_type.bare(), certificate.spki_der().to_vec()))
    }
}

fn json(key_type: &KeyType, bytes: &[u8]) -> String {
    let mut name = String::with_capacity(key_type.as_str().len());
    for character in key_type.as_str().chars() {
        if matches!(character, '"' | '\\') {
            name.push('\\');
        }
        name.push(character);
    }
    let public = STANDARD.encode(bytes);
    format!(r#"{{"keytype":"{name}","keyval":{{"private":null,"public":"{public}"}}}}"#)
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.key_type == other.key_type && self.bytes == other.bytes
    }
}

impl Eq for PublicKey {}

impl Hash for PublicKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.id, &self.key_type, &self.bytes).cmp(&(other.id, &other.key_type, &other.bytes))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("key_type", &self.key_type)
            .field("id", &self.id)
            .field("length", &self.bytes.len())
            .finish()
    }
}
