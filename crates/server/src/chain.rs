//! Whether stored files belong together: the timestamp names the snapshot, and the snapshot lists the other current files.
//!
//! Readers check the same and more. It is checked here so that a damaged database is an error of this service and not,
//! for everybody who reads, the look of an attack.

use std::collections::BTreeMap;

use countersign_crypto::digest::Sha256Digest;
use countersign_storage::Stored;
use countersign_tuf::metadata::{FileMeta, MetadataError, Snapshot, Timestamp};
use countersign_tuf::{RoleName, Unverified};

/// Says where the chain from the timestamp to a current file breaks.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("a stored file cannot be read")]
    Unreadable(#[from] MetadataError),
    #[error("the current {role} is not listed")]
    Unlisted { role: RoleName },
    #[error("the current {role} has the digest {stored}, but another is listed")]
    Another { role: RoleName, stored: String },
}

/// Checks that the current files, given by their digests, are those that the timestamp leads to.
///
/// A delegation that no targets file describes any more may have a current file which is not listed.
pub(crate) fn check(
    timestamp: &Stored,
    snapshot: &Stored,
    digests: &BTreeMap<RoleName, Sha256Digest>,
) -> Result<(), Broken> {
    let named = Unverified::<Timestamp>::read(&RoleName::Timestamp, timestamp.bytes.clone())?;
    compare(&RoleName::Snapshot, Some(&named.untrusted().snapshot), snapshot.sha256)?;
    let listed = Unverified::<Snapshot>::read(&RoleName::Snapshot, snapshot.bytes.clone())?;
    for (role, digest) in digests {
        match (role, listed.untrusted().meta.get(role)) {
            (RoleName::Timestamp | RoleName::Snapshot, _) | (RoleName::Delegation(_), None) => {}
            (role, meta) => compare(role, meta, *digest)?,
        }
    }
    Ok(())
}

/// Compares by SHA-256; what is listed by another hash alone was compared with the file when it was accepted.
fn compare(role: &RoleName, listed: Option<&FileMeta>, stored: Sha256Digest) -> Result<(), Broken> {
    let listed = listed.ok_or_else(|| Broken::Unlisted { role: role.clone() })?;
    if listed.sha256.is_none_or(|sha256| sha256 == stored) {
        Ok(())
    } else {
        Err(Broken::Another { role: role.clone(), stored: stored.hex() })
    }
}
