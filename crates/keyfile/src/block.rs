//! Key files and their blocks.

use std::fmt;

use countersign_crypto::{PrivateKey, PrivateKeyError, Random};
use zeroize::Zeroizing;

use crate::armor::{self, Armored, PROC_TYPE};
use crate::error::KeyFileError;
use crate::legacy::{self, DEK_INFO};
use crate::pbes2::{self, Strength};
use crate::pkcs8;

const ROLE: &str = "role";
const GUN: &str = "gun";
const PATH: &str = "path";

/// Names the form of a block's body, by the text of its BEGIN line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// `ENCRYPTED PRIVATE KEY`: encrypted PKCS#8.
    Encrypted,
    /// `PRIVATE KEY`: plain PKCS#8.
    Plain,
    /// `EC PRIVATE KEY`: SEC1, perhaps with a legacy encryption.
    Ec,
    /// `RSA PRIVATE KEY`: PKCS#1, perhaps with a legacy encryption.
    Rsa,
    /// `ED25519 PRIVATE KEY`: Notary's 96 bytes, perhaps with a legacy encryption.
    Ed25519,
    /// Anything else, carried along.
    Other(String),
}

impl Label {
    /// Returns the text between `-----BEGIN ` and `-----`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Encrypted => "ENCRYPTED PRIVATE KEY",
            Self::Plain => "PRIVATE KEY",
            Self::Ec => "EC PRIVATE KEY",
            Self::Rsa => "RSA PRIVATE KEY",
            Self::Ed25519 => "ED25519 PRIVATE KEY",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        match text {
            "ENCRYPTED PRIVATE KEY" => Self::Encrypted,
            "PRIVATE KEY" => Self::Plain,
            "EC PRIVATE KEY" => Self::Ec,
            "RSA PRIVATE KEY" => Self::Rsa,
            "ED25519 PRIVATE KEY" => Self::Ed25519,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// Chooses how a key is protected in a new block.
#[derive(Clone, Copy)]
pub enum Protection<'a> {
    /// Not at all: whoever reads the file has the key.
    None,
    /// By a passphrase, in the only form that every client reads: PBKDF2-HMAC-SHA1 with 2,048 rounds, AES-256-CBC.
    Compatible(&'a [u8]),
    /// By a passphrase, with PBKDF2-HMAC-SHA256 and 600,000 rounds: openssl reads it, the reference does not.
    Pbkdf2Sha256(&'a [u8]),
    /// By a passphrase, with scrypt, which takes 16 MiB for each guess: openssl reads it, the reference does not.
    Scrypt(&'a [u8]),
}

impl fmt::Debug for Protection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Compatible(_) => "Compatible(…)",
            Self::Pbkdf2Sha256(_) => "Pbkdf2Sha256(…)",
            Self::Scrypt(_) => "Scrypt(…)",
        })
    }
}

/// Holds one PEM block of a key file: what kind it is, its headers and its body.
#[derive(Clone)]
pub struct KeyBlock {
    label: Label,
    headers: Vec<(String, String)>,
    body: Zeroizing<Vec<u8>>,
}

impl KeyBlock {
    /// Writes a key into a new block without headers (Notary protocol, private key files).
    ///
    /// # Errors
    /// When the passphrase is empty or there is no randomness.
    pub fn seal(key: &PrivateKey, protection: Protection<'_>, random: &mut dyn Random) -> Result<Self, KeyFileError> {
        let plain = pkcs8::encode(key)?;
        let (strength, passphrase) = match protection {
            Protection::None => return Ok(Self { label: Label::Plain, headers: Vec::new(), body: plain }),
            Protection::Compatible(passphrase) => (Strength::Compatible, passphrase),
            Protection::Pbkdf2Sha256(passphrase) => (Strength::Pbkdf2Sha256, passphrase),
            Protection::Scrypt(passphrase) => (Strength::Scrypt, passphrase),
        };
        let body = Zeroizing::new(pbes2::encrypt(&plain, passphrase, strength, random)?);
        Ok(Self { label: Label::Encrypted, headers: Vec::new(), body })
    }

    /// Returns the kind of the block.
    #[must_use]
    pub const fn label(&self) -> &Label {
        &self.label
    }

    /// Returns the role, a delegation or any text a person chose.
    #[must_use]
    pub fn role(&self) -> Option<&str> {
        self.header(ROLE)
    }

    /// Returns the GUN, which only targets, snapshot and timestamp keys have.
    #[must_use]
    pub fn gun(&self) -> Option<&str> {
        self.header(GUN)
    }

    /// Returns the path, which only blocks in exported bundles have.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.header(PATH)
    }

    /// Returns any header; of several with one name the last, as the reference does.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Lists the headers as they stand in the text.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets or removes the role.
    ///
    /// # Errors
    /// When the value cannot stand in a header.
    pub fn set_role(&mut self, role: Option<&str>) -> Result<(), KeyFileError> {
        self.set(ROLE, role)
    }

    /// Sets or removes the GUN.
    ///
    /// # Errors
    /// When the value cannot stand in a header.
    pub fn set_gun(&mut self, gun: Option<&str>) -> Result<(), KeyFileError> {
        self.set(GUN, gun)
    }

    /// Sets or removes the path.
    ///
    /// # Errors
    /// When the value cannot stand in a header.
    pub fn set_path(&mut self, path: Option<&str>) -> Result<(), KeyFileError> {
        self.set(PATH, path)
    }

    /// Tells whether a passphrase is needed.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.label == Label::Encrypted
            || self.header(DEK_INFO).is_some()
            || self.header(PROC_TYPE).is_some_and(|kind| kind.contains("ENCRYPTED"))
    }

    /// Reads an unencrypted key.
    ///
    /// # Errors
    /// When a passphrase is needed, or the block holds no usable private key.
    pub fn decode(&self) -> Result<PrivateKey, KeyFileError> {
        if self.is_encrypted() { Err(KeyFileError::PassphraseNeeded) } else { self.decode_bytes(&self.body) }
    }

    /// Reads the key with a passphrase; for an unencrypted one the passphrase does not matter.
    ///
    /// The encryptions have no integrity, so that a wrong passphrase and changed bytes look alike; the caller should
    /// compare the key's ID with the one the file is named by.
    ///
    /// # Errors
    /// When the passphrase does not fit, or the block holds no usable private key.
    pub fn decrypt(&self, passphrase: &[u8]) -> Result<PrivateKey, KeyFileError> {
        if !self.is_encrypted() {
            return self.decode();
        }
        let bytes = match (&self.label, self.header(DEK_INFO)) {
            (Label::Encrypted, None) => pbes2::decrypt(&self.body, passphrase)?,
            (Label::Encrypted, Some(_)) => return Err(KeyFileError::Malformed("it is encrypted in two ways at once")),
            (Label::Other(label), _) => return Err(not_a_key(label)),
            (_, Some(dek_info)) => legacy::decrypt(dek_info, &self.body, passphrase)?,
            (_, None) => return Err(KeyFileError::Malformed("the DEK-Info header is missing")),
        };
        self.decode_bytes(&bytes).map_err(after_decryption)
    }

    /// Writes the block as PEM text: `Proc-Type` first, the other headers sorted, LF.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        armor::write(self.label.as_str(), &self.headers, &self.body, &mut text);
        text
    }

    fn decode_bytes(&self, bytes: &[u8]) -> Result<PrivateKey, KeyFileError> {
        match &self.label {
            Label::Encrypted | Label::Plain => pkcs8::decode(bytes),
            Label::Ec => Ok(PrivateKey::from_sec1_der(bytes)?),
            Label::Rsa => Ok(PrivateKey::from_pkcs1_der(bytes)?),
            Label::Ed25519 => Ok(PrivateKey::from_ed25519_notary(bytes)?),
            Label::Other(label) => Err(not_a_key(label)),
        }
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), KeyFileError> {
        if let Some(value) = value.filter(|value| value.chars().any(char::is_control) || value.trim() != *value) {
            return Err(KeyFileError::InvalidHeader {
                name: name.to_owned(),
                value: value.chars().take(255).collect(),
            });
        }
        self.headers.retain(|(known, _)| known != name);
        self.headers.extend(value.map(|value| (name.to_owned(), value.to_owned())));
        Ok(())
    }
}

impl From<Armored> for KeyBlock {
    fn from(Armored { label, headers, body }: Armored) -> Self {
        Self { label: label.as_str().into(), headers, body }
    }
}

impl fmt::Debug for KeyBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyBlock").field("label", &self.label).field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// Holds a whole key file, or a bundle of several.
#[derive(Debug, Clone)]
pub struct KeyFile {
    blocks: Vec<KeyBlock>,
}

impl KeyFile {
    /// Reads PEM text of one or several blocks; text around them is ignored.
    ///
    /// # Errors
    /// When the text is too large, is not PEM or holds no block. Blocks that are no private keys are carried.
    pub fn parse(text: &[u8]) -> Result<Self, KeyFileError> {
        Ok(Self { blocks: armor::read(text)?.into_iter().map(KeyBlock::from).collect() })
    }

    /// Reads PEM text that must hold exactly one block, as a file of the key store does.
    ///
    /// # Errors
    /// As [`KeyFile::parse`], and when there are several blocks.
    pub fn parse_one(text: &[u8]) -> Result<KeyBlock, KeyFileError> {
        let mut blocks = Self::parse(text)?.blocks.into_iter();
        match (blocks.next(), blocks.next()) {
            (Some(block), None) => Ok(block),
            (None, _) => Err(KeyFileError::Empty),
            (Some(_), Some(_)) => Err(KeyFileError::Malformed("one block was expected, several were found")),
        }
    }

    /// Returns the blocks in their order.
    #[must_use]
    pub fn blocks(&self) -> &[KeyBlock] {
        &self.blocks
    }

    /// Gives the blocks away in their order.
    #[must_use]
    pub fn into_blocks(self) -> Vec<KeyBlock> {
        self.blocks
    }

    /// Writes all blocks, one after the other.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        for block in &self.blocks {
            armor::write(block.label.as_str(), &block.headers, &block.body, &mut text);
        }
        text
    }
}

impl FromIterator<KeyBlock> for KeyFile {
    fn from_iter<T: IntoIterator<Item = KeyBlock>>(blocks: T) -> Self {
        Self { blocks: blocks.into_iter().collect() }
    }
}

fn not_a_key(label: &str) -> KeyFileError {
    KeyFileError::NotAPrivateKey(label.escape_debug().take(64).collect())
}

/// Reads a failure to decode what was decrypted as what it most likely is.
fn after_decryption(error: KeyFileError) -> KeyFileError {
    match error {
        KeyFileError::Malformed(_)
        | KeyFileError::Key(
            PrivateKeyError::Malformed(_) | PrivateKeyError::Inconsistent(_) | PrivateKeyError::UnsupportedType(_),
        ) => KeyFileError::WrongPassphrase,
        other => other,
    }
}
