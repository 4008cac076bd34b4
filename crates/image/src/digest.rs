//! Content digests: `sha256:` or `sha512:` and lower-case hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use countersign_crypto::digest::{HashPair, Sha256Digest, Sha256Hasher, Sha512Digest, sha256, sha512};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::reference::excerpt;

/// The digest of some content.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// A SHA-256 digest.
    Sha256(Sha256Digest),
    /// A SHA-512 digest.
    Sha512(Box<Sha512Digest>),
}

/// A hash function that contents may be named by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, written `sha256`.
    Sha256,
    /// SHA-512, written `sha512`.
    Sha512,
}

/// Says why a text is not a digest. The texts are docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The text does not consist of an algorithm, a colon and lower-case hexadecimal digits.
    #[error("invalid checksum digest format")]
    Format(String),
    /// The algorithm is unknown or too weak.
    #[error("unsupported digest algorithm")]
    Algorithm(String),
    /// The number of digits does not fit the algorithm.
    #[error("invalid checksum digest length")]
    Length(String),
}

/// Says that content is not what its digest promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the content has digest {found}, wanted is {wanted}")]
pub struct DigestMismatch {
    /// The digest asked for.
    pub wanted: Digest,
    /// The digest computed from the bytes received.
    pub found: Digest,
}

impl Algorithm {
    /// Returns the name as written before the colon.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Returns how many hexadecimal digits a digest has.
    #[must_use]
    pub fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// Hashes bytes.
    #[must_use]
    pub fn hash(self, bytes: &[u8]) -> Digest {
        match self {
            Self::Sha256 => Digest::Sha256(sha256(bytes)),
            Self::Sha512 => Digest::Sha512(Box::new(sha512(bytes))),
        }
    }

    /// Starts hashing a stream.
    #[must_use]
    pub fn hasher(self) -> Hasher {
        Hasher(match self {
            Self::Sha256 => Inner::Sha256(Sha256Hasher::new()),
            Self::Sha512 => Inner::Sha512(HashPair::new()),
        })
    }
}

impl Digest {
    /// Parses a digest.
    ///
    /// # Errors
    /// Refuses every algorithm but sha256 and sha512, capital digits, and a wrong number of digits.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        let (name, hex) = text.split_once(':').ok_or_else(|| DigestError::Format(excerpt(text)))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            _ => return Err(DigestError::Algorithm(excerpt(name))),
        };
        if hex.len() != algorithm.hex_length() {
            return Err(DigestError::Length(excerpt(text)));
        }
        let format = |_| DigestError::Format(excerpt(text));
        match algorithm {
            Algorithm::Sha256 => Sha256Digest::from_hex(hex).map(Self::Sha256).map_err(format),
            Algorithm::Sha512 => {
                Sha512Digest::from_hex(hex).map(|digest| Self::Sha512(Box::new(digest))).map_err(format)
            }
        }
    }

    /// Returns the SHA-256 digest of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Algorithm::Sha256.hash(bytes)
    }

    /// Returns the algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Returns the digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> String {
        match self {
            Self::Sha256(digest) => digest.hex(),
            Self::Sha512(digest) => digest.hex(),
        }
    }

    /// Checks that bytes have this digest.
    ///
    /// # Errors
    /// Returns both digests if they do not.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), DigestMismatch> {
        self.compare(self.algorithm().hash(bytes))
    }

    /// Checks that a computed digest is this one.
    ///
    /// # Errors
    /// Returns both digests if it is not.
    pub fn compare(&self, found: Self) -> Result<(), DigestMismatch> {
        if *self == found { Ok(()) } else { Err(DigestMismatch { wanted: self.clone(), found }) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm().as_str(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

impl FromStr for Digest {
    type Err = DigestError;
    fn from_str(text: &str) -> Result<Self, DigestError> {
        Self::parse(text)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

/// Hashes a stream with one algorithm.
#[derive(Debug, Clone)]
pub struct Hasher(Inner);

#[derive(Debug, Clone)]
enum Inner {
    Sha256(Sha256Hasher),
    Sha512(HashPair),
}

impl Hasher {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Inner::Sha256(hasher) => hasher.update(bytes),
            Inner::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest of everything taken in.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            Inner::Sha256(hasher) => Digest::Sha256(hasher.finish()),
            Inner::Sha512(hasher) => Digest::Sha512(Box::new(hasher.finish().1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn digests_of_both_algorithms_survive_text() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = algorithm.hash(b"abc");
            assert_eq!(Digest::parse(&digest.to_string()).unwrap(), digest);
            let mut hasher = algorithm.hasher();
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish(), digest);
            assert_eq!(serde_json::to_string(&digest).unwrap(), format!("\"{digest}\""));
            assert_eq!(serde_json::from_str::<Digest>(&format!("\"{digest}\"")).unwrap(), digest);
        }
    }

    #[test]
    fn malformed_digests_are_refused() {
        let hex = "0".repeat(64);
        for text in [
            "",
            ":",
            "sha256",
            "sha256:",
            "sha256:zz",
            &format!("sha256:{hex}0"),
            &format!("SHA256:{hex}"),
            &format!("sha384:{hex}"),
            &format!("sha256:{}", "A".repeat(64)),
            &format!("sha256:{}", "g".repeat(64)),
            &format!(" sha256:{hex}"),
            &format!("sha512:{hex}"),
            &hex,
        ] {
            assert!(Digest::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn other_bytes_are_noticed() {
        let digest = Digest::of(b"one");
        assert!(digest.verify(b"one").is_ok());
        assert_eq!(digest.verify(b"two").unwrap_err().found, Digest::of(b"two"));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_stable(text in "(sha256|sha512|x)?:?[0-9a-fA-F]{60,130}") {
            if let Ok(digest) = Digest::parse(&text) {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
