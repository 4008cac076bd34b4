//! Ed25519 private keys, in Notary's 96 bytes: public key, seed, public key.

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::PrivateKeyError;
use crate::key_type::KeyType;

const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed(KeyType::Ed25519);

pub(super) fn from_notary(bytes: &[u8]) -> Result<Ed25519KeyPair, PrivateKeyError> {
    let (front, rest) = bytes.split_at_checked(32).ok_or(MALFORMED)?;
    let (seed, back) = rest.split_at_checked(32).ok_or(MALFORMED)?;
    if back.len() != 32 {
        return Err(MALFORMED);
    }
    let pair = from_seed(seed)?;
    if pair.public_key().as_ref() != front || front != back {
        return Err(PrivateKeyError::Inconsistent(KeyType::Ed25519));
    }
    Ok(pair)
}

pub(super) fn from_seed(seed: &[u8]) -> Result<Ed25519KeyPair, PrivateKeyError> {
    if seed.len() != 32 {
        return Err(MALFORMED);
    }
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| MALFORMED)
}

pub(super) fn to_notary(pair: &Ed25519KeyPair) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let seed = pair.seed().map_err(|_| PrivateKeyError::Library)?;
    let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| PrivateKeyError::Library)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(96));
    bytes.extend_from_slice(pair.public_key().as_ref());
    bytes.extend_from_slice(seed.as_ref());
    bytes.extend_from_slice(pair.public_key().as_ref());
    Ok(bytes)
}

pub(super) fn public_bytes(pair: &Ed25519KeyPair) -> Vec<u8> {
    pair.public_key().as_ref().to_vec()
}
