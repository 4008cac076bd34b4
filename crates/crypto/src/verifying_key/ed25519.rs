//! The rules about Ed25519 keys that the library leaves to its callers.

use aws_lc_rs::signature::{ED25519, ParsedPublicKey};

use crate::key_type::KeyType;
use crate::public_key::KeyError;

/// The y coordinates of the points whose order divides eight, little-endian.
///
/// Under such a key one constant signature fits every message (RFC 8032 leaves the check open, `verify_strict` of other
/// libraries makes it).
const SMALL_ORDER: [[u8; 32]; 5] = [
    // Order 4: y = 0.
    [0; 32],
    // Order 1, the identity: y = 1.
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    // Order 2: y = p - 1.
    [
        0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f,
    ],
    // Order 8.
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
];

/// Reads the 32 raw bytes of a key and refuses points nobody can own or that are spelled in a second way.
pub(super) fn parse(bytes: &[u8]) -> Result<ParsedPublicKey, KeyError> {
    let key: [u8; 32] = bytes.try_into().map_err(|_| {
        KeyError::malformed(&KeyType::Ed25519, format_args!("expected 32 bytes, found {}", bytes.len()))
    })?;
    let mut y = key;
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    if SMALL_ORDER.contains(&y) || !is_reduced(&y) {
        return Err(KeyError::BadPoint(KeyType::Ed25519));
    }
    ParsedPublicKey::new(&ED25519, key).map_err(|_| KeyError::BadPoint(KeyType::Ed25519))
}

/// Tells whether y is below p = 2^255 - 19 (RFC 8032, 5.1.3).
fn is_reduced(y: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = y;
    *last != 0x7f || *first < 0xed || middle.iter().any(|byte| *byte != 0xff)
}
