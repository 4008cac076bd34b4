//! Digests computed apart from the code under test.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// The SHA-256 of the bytes as 64 lower-case hexadecimal characters.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The digest of a manifest or blob: `sha256:` and 64 lower-case hexadecimal characters.
#[must_use]
pub fn oci_digest(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}
