//! Key IDs.

use std::fmt;
use std::str::FromStr;

use crate::digest::{ParseDigestError, Sha256Digest};

/// Identifies a public key: the SHA-256 of its canonical JSON (Notary protocol, keys and key IDs).
///
/// The same type carries the TUF ID, under which a key is listed in metadata, and the canonical ID, under which its
/// private half is kept; for a certificate the two differ.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// Wraps the raw bytes of an ID.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<Sha256Digest> for KeyId {
    fn from(digest: Sha256Digest) -> Self {
        Self(*digest.as_bytes())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crate::hexadecimal::encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = ParseDigestError;

    /// Reads exactly 64 lower-case hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        crate::hexadecimal::decode(text).map(Self).ok_or_else(|| ParseDigestError::new(64, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        let text = "d13fb991ff306cd6888781a1a6c51f6949b08da8345c1df1cd1a4f8507ac1e76";
        let id: KeyId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:.7}"), "d13fb99");
        for bad in [&text[1..], &text.to_uppercase(), &format!(" {}", &text[1..]), ""] {
            assert!(bad.parse::<KeyId>().is_err(), "{bad}");
        }
    }
}
