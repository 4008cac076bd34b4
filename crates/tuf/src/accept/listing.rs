//! The files that the service signs itself: snapshot and timestamp, made with an upload or renewed before they expire.

use super::{Files, MOVE_AHEAD, NewMetadata, Refusal, stored_root};
use crate::expires::Expires;
use crate::metadata::{FileMeta, Payload, Root, Snapshot, Timestamp};
use crate::name::{Gun, RoleName, Version};
use crate::sign::{SignerSet, SigningError, sign};
use crate::verify::{Unverified, Verified};
use bytes::Bytes;
use jiff::{Timestamp as Instant, ToSpan};
use std::collections::BTreeMap;

/// How long a snapshot is valid, in days.
pub(crate) const SNAPSHOT_DAYS: i64 = 1095;
/// How long a timestamp is valid, in days.
pub(crate) const TIMESTAMP_DAYS: i64 = 14;

/// A timestamp that is valid for so many days more than it could be was signed by a clock that was wrong.
const SKEW_DAYS: i64 = 1;

/// When files are signed anew before they expire.
#[derive(Debug, Clone, Copy)]
pub struct RenewBefore {
    /// Seconds before the snapshot's expiry.
    pub snapshot: i64,
    /// Seconds before the timestamp's expiry.
    pub timestamp: i64,
}

impl RenewBefore {
    /// Renews only what has expired.
    pub const EXPIRY: Self = Self { snapshot: 0, timestamp: 0 };

    /// Renews well ahead: a timestamp in the second half of its life, a snapshot a month before its end.
    pub const WELL_AHEAD: Self = Self { snapshot: 30 * 86_400, timestamp: TIMESTAMP_DAYS * 86_400 / 2 };
}

/// What of a collection is to be signed anew.
#[derive(Debug, Clone, Copy)]
pub enum Renewal {
    /// What expires within these times.
    Due(RenewBefore),
    /// All that the service signs, at versions ahead of all that it may have signed before its database was set back.
    Restored,
}

impl From<RenewBefore> for Renewal {
    fn from(before: RenewBefore) -> Self {
        Self::Due(before)
    }
}

/// Signs the stored snapshot and timestamp anew where they are due; returns nothing where they are not.
///
/// `stored` holds the current root, snapshot and timestamp.
///
/// # Errors
/// Something stored is missing or unusable, the root has expired, or the service lacks a key.
pub fn renew(
    gun: &Gun,
    now: Instant,
    stored: &Files,
    signers: &dyn SignerSet,
    renewal: impl Into<Renewal>,
) -> Result<Vec<NewMetadata>, Refusal> {
    let missing = |role: &str| Refusal::Stored(format!("{role} is missing"));
    let snapshot_file = stored.get(&RoleName::Snapshot).ok_or_else(|| missing("snapshot"))?;
    let timestamp_file = stored.get(&RoleName::Timestamp).ok_or_else(|| missing("timestamp"))?;
    let snapshot: Snapshot = read_stored(&RoleName::Snapshot, snapshot_file)?;
    let timestamp: Timestamp = read_stored(&RoleName::Timestamp, timestamp_file)?;
    let due = |expires: &Expires, seconds: i64| match now.checked_add(seconds.seconds()) {
        Ok(ahead) => expires.is_before(ahead),
        Err(_) => true,
    };
    // What was signed by a clock that ran ahead would keep on being good for whoever wants to freeze a reader.
    let lasting = |expires: &Expires, days: i64| {
        let latest = now.checked_add(((days + SKEW_DAYS) * 24).hours());
        latest.is_ok_and(|latest| !expires.is_before(latest))
    };
    let (renew_snapshot, renew_timestamp, pace) = match renewal.into() {
        Renewal::Due(before) => (
            due(&snapshot.expires, before.snapshot) || lasting(&snapshot.expires, SNAPSHOT_DAYS),
            due(&timestamp.expires, before.timestamp) || lasting(&timestamp.expires, TIMESTAMP_DAYS),
            Pace::Next,
        ),
        Renewal::Restored => (true, true, Pace::Ahead),
    };
    if !renew_snapshot && !renew_timestamp {
        return Ok(Vec::new());
    }
    let root = stored_root(gun, stored.get(&RoleName::Root).ok_or_else(|| missing("root"))?)?;
    root.unexpired(now).map_err(|error| Refusal::Stored(error.to_string()))?;
    check_stored_snapshot(snapshot_file, &root)?;
    let mut renewed = Vec::new();
    let mut listed = snapshot_file.clone();
    if renew_snapshot {
        let files = Files::from([(RoleName::Root, root.file().clone())]);
        match make_snapshot(now, (Some(snapshot_file), pace), &files, &root, signers) {
            Ok(snapshot) => {
                listed = snapshot.bytes.clone();
                renewed.push(snapshot);
            }
            // The publisher holds the snapshot key and has time left to sign.
            Err(Refusal::BadHierarchy { .. }) if !snapshot.expires.is_before(now) => {}
            Err(refusal) => return Err(refusal),
        }
    }
    if !renewed.is_empty() || renew_timestamp {
        renewed.push(make_timestamp(now, (Some(timestamp_file), pace), &listed, &root, signers)?);
    }
    Ok(renewed)
}

/// Checks that a stored snapshot is what the root's snapshot keys have signed: no timestamp of ours vouches for another.
fn check_stored_snapshot(file: &Bytes, root: &Verified<Root>) -> Result<(), Refusal> {
    let role = RoleName::Snapshot;
    let read = Unverified::<Snapshot>::read(&role, file.clone()).map_err(|error| Refusal::Stored(error.to_string()))?;
    let keys = root.keys_of(&role).ok_or_else(|| Refusal::Stored("root names no snapshot keys".into()))?;
    read.verify(&keys).map(drop).map_err(|(error, _)| Refusal::Stored(error.to_string()))
}

/// Makes the snapshot that lists `files` beside what the stored one lists.
pub(super) fn make_snapshot(
    now: Instant,
    (stored, pace): (Option<&Bytes>, Pace),
    files: &Files,
    root: &Verified<Root>,
    signers: &dyn SignerSet,
) -> Result<NewMetadata, Refusal> {
    let (version, mut meta) = match stored {
        Some(file) => {
            let old: Snapshot = read_stored(&RoleName::Snapshot, file)?;
            (pace.after(old.version)?, old.meta)
        }
        None => (Version::FIRST, BTreeMap::new()),
    };
    meta.extend(files.iter().map(|(role, file)| (role.clone(), FileMeta::of(file))));
    let snapshot = Snapshot { version, expires: expiry(now, SNAPSHOT_DAYS)?, meta };
    let lacking = || Refusal::BadHierarchy {
        missing: RoleName::Snapshot,
        message: "no snapshot was included in update and server does not hold current snapshot key for repository"
            .into(),
    };
    sign_own(&RoleName::Snapshot, &snapshot, root, signers, lacking)
}

/// Makes the timestamp that names a snapshot.
pub(super) fn make_timestamp(
    now: Instant,
    (stored, pace): (Option<&Bytes>, Pace),
    snapshot: &Bytes,
    root: &Verified<Root>,
    signers: &dyn SignerSet,
) -> Result<NewMetadata, Refusal> {
    let version = match stored {
        Some(file) => pace.after(read_stored::<Timestamp>(&RoleName::Timestamp, file)?.version)?,
        None => Version::FIRST,
    };
    let timestamp = Timestamp { version, expires: expiry(now, TIMESTAMP_DAYS)?, snapshot: FileMeta::of(snapshot) };
    let lacking = || Refusal::BadRoot("no timestamp keys exist on the server".into());
    sign_own(&RoleName::Timestamp, &timestamp, root, signers, lacking)
}

fn sign_own<T: Payload>(
    role: &RoleName,
    payload: &T,
    root: &Verified<Root>,
    signers: &dyn SignerSet,
    lacking: impl Fn() -> Refusal,
) -> Result<NewMetadata, Refusal> {
    let keys = root.keys_of(role).ok_or_else(&lacking)?;
    let signed = sign(payload.write(), &keys, signers).map_err(|error| match error {
        SigningError::MissingKeys { .. } => lacking(),
        other => Refusal::Stored(other.to_string()),
    })?;
    Ok(NewMetadata::new(role.clone(), payload.version(), signed.file().clone()))
}

fn read_stored<T: Payload>(role: &RoleName, file: &Bytes) -> Result<T, Refusal> {
    let read = Unverified::<T>::read(role, file.clone()).map_err(|error| Refusal::Stored(error.to_string()))?;
    Ok(read.into_untrusted())
}

/// Which version follows a stored one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace {
    /// The next.
    Next,
    /// One that is ahead of all that another service may have given out.
    Ahead,
}

impl Pace {
    fn after(self, version: Version) -> Result<Version, Refusal> {
        let following = match self {
            Self::Next => version.next(),
            Self::Ahead => Version::new(version.get().saturating_add(MOVE_AHEAD)),
        };
        following.ok_or_else(|| Refusal::Stored("the last possible version is in use".into()))
    }
}

fn expiry(now: Instant, days: i64) -> Result<Expires, Refusal> {
    let later = now.checked_add((days * 24).hours());
    later.map(Expires::at).map_err(|_| Refusal::Stored("the clock is implausible".into()))
}
