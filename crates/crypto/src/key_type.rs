//! The names of key types and signature methods.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// Names the type of a public key, as `keytype` in metadata (Notary protocol, keys and key IDs).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// `ecdsa`: a DER `SubjectPublicKeyInfo` of an elliptic curve key.
    Ecdsa,
    /// `ecdsa-x509`: the PEM text of a certificate for an elliptic curve key.
    EcdsaX509,
    /// `rsa`: a DER `SubjectPublicKeyInfo` of an RSA key.
    Rsa,
    /// `rsa-x509`: the PEM text of a certificate for an RSA key.
    RsaX509,
    /// `ed25519`: the 32 raw bytes of an Ed25519 key.
    Ed25519,
    /// Any other type: carried through, never trusted.
    Other(Box<str>),
}

impl KeyType {
    /// Returns the name used in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::EcdsaX509 => "ecdsa-x509",
            Self::Rsa => "rsa",
            Self::RsaX509 => "rsa-x509",
            Self::Ed25519 => "ed25519",
            Self::Other(name) => name,
        }
    }

    /// Tells whether keys of this type are certificates.
    #[must_use]
    pub const fn is_certificate(&self) -> bool {
        matches!(self, Self::EcdsaX509 | Self::RsaX509)
    }

    /// Returns the type of the bare key inside a certificate, and every other type unchanged.
    #[must_use]
    pub fn bare(&self) -> Self {
        match self {
            Self::EcdsaX509 => Self::Ecdsa,
            Self::RsaX509 => Self::Rsa,
            other => other.clone(),
        }
    }
}

impl From<&str> for KeyType {
    fn from(name: &str) -> Self {
        match name {
            "ecdsa" => Self::Ecdsa,
            "ecdsa-x509" => Self::EcdsaX509,
            "rsa" => Self::Rsa,
            "rsa-x509" => Self::RsaX509,
            "ed25519" => Self::Ed25519,
            other => Self::Other(other.into()),
        }
    }
}

impl FromStr for KeyType {
    type Err = Infallible;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(name.into())
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Names a signature method, as `method` in metadata (Notary protocol, signature algorithms).
///
/// The method never chooses the algorithm; the key does. A method that does not fit the key makes the signature invalid.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Method {
    /// `ecdsa`: r and s, each in the full width of the curve; SHA-256.
    Ecdsa,
    /// `rsapss`: RSASSA-PSS with SHA-256 and a salt of 32 bytes.
    RsaPss,
    /// `rsapkcs1v15`: RSASSA-PKCS1-v1_5 with SHA-256; only verified, never written.
    RsaPkcs1v15,
    /// `eddsa`: Ed25519 over the message itself.
    Eddsa,
    /// `pycrypto-pkcs#1 pss`: as `rsapss`, by a key given as PEM text; only verified, never written.
    PycryptoPss,
    /// Any other method, in lower case: carried through, never valid.
    Other(Box<str>),
}

impl Method {
    /// Reads a method; upper-case letters are lowered first, as the reference does.
    #[must_use]
    pub fn parse(name: &str) -> Self {
        match name.to_lowercase().as_str() {
            "ecdsa" => Self::Ecdsa,
            "rsapss" => Self::RsaPss,
            "rsapkcs1v15" => Self::RsaPkcs1v15,
            "eddsa" => Self::Eddsa,
            "pycrypto-pkcs#1 pss" => Self::PycryptoPss,
            other => Self::Other(other.into()),
        }
    }

    /// Returns the name written in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ecdsa => "ecdsa",
            Self::RsaPss => "rsapss",
            Self::RsaPkcs1v15 => "rsapkcs1v15",
            Self::Eddsa => "eddsa",
            Self::PycryptoPss => "pycrypto-pkcs#1 pss",
            Self::Other(name) => name,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_type_keeps_its_name() {
        for name in ["ecdsa", "ecdsa-x509", "rsa", "rsa-x509", "ed25519", "gpg", "", "ECDSA"] {
            assert_eq!(KeyType::from(name).as_str(), name);
        }
        assert_eq!(KeyType::from("ECDSA"), KeyType::Other("ECDSA".into()));
    }

    #[test]
    fn methods_are_lowered() {
        for name in ["ecdsa", "rsapss", "rsapkcs1v15", "eddsa", "pycrypto-pkcs#1 pss", "none"] {
            assert_eq!(Method::parse(name).as_str(), name);
            assert_eq!(Method::parse(&name.to_uppercase()), Method::parse(name));
        }
    }
}
