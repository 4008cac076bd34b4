//! SHA-256 and SHA-512: values that know their length, one-shot functions and streaming hashers.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest::{Context, SHA256, SHA512, digest};

/// Says why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} lower-case hexadecimal digits, found {found:?}")]
pub struct ParseDigestError {
    /// How many digits the digest has.
    pub expected: usize,
    /// What was given, cut to a readable length.
    pub found: String,
}

impl ParseDigestError {
    pub(crate) fn new(expected: usize, found: &str) -> Self {
        Self { expected, found: found.chars().take(160).collect() }
    }
}

macro_rules! digest_type {
    ($name:ident, $length:literal, $what:literal) => {
        #[doc = concat!("Holds a ", $what, " digest.")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $length]);

        impl $name {
            /// Length in bytes.
            pub const LENGTH: usize = $length;

            /// Wraps the raw bytes of a digest.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// Reads a digest from a slice that must have exactly the right length.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Returns the raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Writes the digest as lower-case hexadecimal digits.
            #[must_use]
            pub fn hex(&self) -> String {
                crate::hexadecimal::encode(&self.0)
            }

            /// Reads lower-case hexadecimal digits.
            ///
            /// # Errors
            /// When the text has another length or any other character.
            pub fn from_hex(text: &str) -> Result<Self, ParseDigestError> {
                crate::hexadecimal::decode(text).map(Self).ok_or_else(|| ParseDigestError::new(2 * $length, text))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.hex())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_hex(text)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

digest_type!(Sha256Digest, 32, "SHA-256");
digest_type!(Sha512Digest, 64, "SHA-512");

/// Hashes bytes with SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest(copied(digest(&SHA256, bytes).as_ref()))
}

/// Hashes bytes with SHA-512.
#[must_use]
pub fn sha512(bytes: &[u8]) -> Sha512Digest {
    Sha512Digest(copied(digest(&SHA512, bytes).as_ref()))
}

/// Hashes a stream with SHA-256.
#[derive(Clone)]
pub struct Sha256Hasher(Context);

impl Sha256Hasher {
    /// Starts with nothing hashed.
    #[must_use]
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the digest of everything taken in.
    #[must_use]
    pub fn finish(self) -> Sha256Digest {
        Sha256Digest(copied(self.0.finish().as_ref()))
    }
}

impl Default for Sha256Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256Hasher")
    }
}

/// Hashes a stream with SHA-256 and SHA-512 in one pass, as file metadata wants both.
#[derive(Clone)]
pub struct HashPair {
    sha256: Context,
    sha512: Context,
    length: u64,
}

impl HashPair {
    /// Starts with nothing hashed.
    #[must_use]
    pub fn new() -> Self {
        Self { sha256: Context::new(&SHA256), sha512: Context::new(&SHA512), length: 0 }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha512.update(bytes);
        self.length = self.length.saturating_add(bytes.len() as u64);
    }

    /// Returns how many bytes were taken in.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Returns both digests of everything taken in.
    #[must_use]
    pub fn finish(self) -> (Sha256Digest, Sha512Digest) {
        (Sha256Digest(copied(self.sha256.finish().as_ref())), Sha512Digest(copied(self.sha512.finish().as_ref())))
    }
}

impl Default for HashPair {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for HashPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashPair")
    }
}

/// Copies a digest whose length the algorithm fixes.
fn copied<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(digest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(sha256(b"abc").hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(sha512(b"abc").hex().starts_with("ddaf35a193617abacc417349ae204131"));
    }

    #[test]
    fn streams_agree_with_one_shot() {
        let mut one = Sha256Hasher::new();
        let mut pair = HashPair::new();
        for chunk in b"the quick brown fox".chunks(5) {
            one.update(chunk);
            pair.update(chunk);
        }
        assert_eq!(pair.length(), 19);
        let (short, long) = pair.finish();
        assert_eq!(one.finish(), sha256(b"the quick brown fox"));
        assert_eq!(short, sha256(b"the quick brown fox"));
        assert_eq!(long, sha512(b"the quick brown fox"));
    }

    #[test]
    fn only_lower_case_hexadecimal_of_the_right_length_is_read() {
        let digest = sha256(b"");
        assert_eq!(Sha256Digest::from_hex(&digest.hex()).unwrap(), digest);
        assert_eq!(Sha256Digest::from_slice(digest.as_bytes()), Some(digest));
        assert_eq!(Sha256Digest::from_slice(&[0; 31]), None);
        for bad in ["", "ab", &digest.hex().to_uppercase(), &format!("{digest}00"), &"g".repeat(64), &"é".repeat(32)] {
            assert!(Sha256Digest::from_hex(bad).is_err(), "{bad}");
        }
    }
}
