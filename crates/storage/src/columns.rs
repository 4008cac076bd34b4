//! Values of columns, written and read back. What cannot be read back was not written by this service.

use bytes::Bytes;
use countersign_crypto::digest::{Sha256Digest, sha256};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

use crate::{ServiceRole, StoreError};

/// Files above this many bytes are hashed away from the threads that wait for the database.
const HASHED_HERE: usize = 1024 * 1024;

pub(crate) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

pub(crate) fn read_time(micros: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(micros).map_err(|_| StoreError::damaged("time", &micros))
}

/// At most 2^53, so the conversion never saturates.
pub(crate) fn number(version: Version) -> i64 {
    i64::try_from(version.get()).unwrap_or(i64::MAX)
}

pub(crate) fn read_version(number: i64) -> Result<Version, StoreError> {
    u64::try_from(number).ok().and_then(Version::new).ok_or_else(|| StoreError::damaged("version", &number))
}

pub(crate) fn read_size(number: i64) -> Result<u64, StoreError> {
    u64::try_from(number).map_err(|_| StoreError::damaged("size", &number))
}

pub(crate) fn read_digest(hex: &str) -> Result<Sha256Digest, StoreError> {
    Sha256Digest::from_hex(hex).map_err(|_| StoreError::damaged("sha256", hex))
}

pub(crate) fn read_role(name: &str) -> Result<RoleName, StoreError> {
    RoleName::parse(name).map_err(|_| StoreError::damaged("role", name))
}

pub(crate) fn read_gun(name: &str) -> Result<Gun, StoreError> {
    Gun::parse(name).map_err(|_| StoreError::damaged("gun", name))
}

pub(crate) fn read_service_role(name: &str) -> Result<ServiceRole, StoreError> {
    match name {
        "snapshot" => Ok(ServiceRole::Snapshot),
        "timestamp" => Ok(ServiceRole::Timestamp),
        other => Err(StoreError::damaged("role", other)),
    }
}

/// Returns the bytes, which must have this digest.
pub(crate) async fn verified(file: Vec<u8>, digest: Sha256Digest) -> Result<Bytes, StoreError> {
    let bytes = Bytes::from(file);
    let (large, shared) = (bytes.len() > HASHED_HERE, bytes.clone());
    let hashed = if large { tokio::task::spawn_blocking(move || sha256(&shared)).await.ok() } else { None };
    let found = hashed.unwrap_or_else(|| sha256(&bytes));
    if found == digest { Ok(bytes) } else { Err(StoreError::damaged("data", &format!("{found:?}, not {digest:?}"))) }
}
