//! Reading metadata: current, by version, by checksum.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::digest::Sha256Digest;
use countersign_storage::{StoreError, Stored};
use countersign_telemetry::traced;
use countersign_tuf::accept::RenewBefore;
use countersign_tuf::{Expires, Gun, RoleName, Version};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use crate::answer::{self, Answer, Body, Policy, Wished};
use crate::app::App;
use crate::cache::{Compressed, Current, Parts};
use crate::chain;
use crate::coding::Coding;
use crate::confirm::Memory;
use crate::content::Content;
use crate::error::{Code, Failure};
use crate::publish;

/// How often a current state is read again when it is deleted under the reader's hands.
const ATTEMPTS: u32 = 3;
/// Bytes up to which a file is not counted among those that are on their way to readers.
const SMALL: usize = 64 * 1024;
/// Bytes that are compressed at once, where the request is answered.
const QUICKLY_COMPRESSED: usize = 32 * 1024;
/// Pause after a failed attempt to sign anew on behalf of a reader.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// Answers with the current file of a role; a timestamp or snapshot that has expired is signed anew first.
pub(crate) async fn current(app: &Arc<App>, gun: Gun, role: RoleName, wished: &Wished) -> Result<Answer, Failure> {
    let mut current = state(app, &gun).await?.ok_or_else(nothing_stored)?;
    let made_here = matches!(role, RoleName::Timestamp | RoleName::Snapshot);
    if made_here && current.expires < app.clock.now() {
        Box::pin(renew(app, &gun, &current)).await?;
        current = state(app, &gun).await?.ok_or_else(nothing_stored)?;
    }
    let found = match role {
        RoleName::Timestamp => Arc::clone(&current.timestamp),
        RoleName::Snapshot => Arc::clone(&current.snapshot),
        role => {
            let digest = current.digests.get(&role).ok_or_else(nothing_stored)?;
            file(app, &gun, &role, *digest).await?.ok_or_else(nothing_stored)?
        }
    };
    metadata(app, &found, &app.policies.current, wished).await
}

/// Answers with the file of a role that has this digest.
pub(crate) async fn by_checksum(
    app: &Arc<App>,
    gun: Gun,
    role: RoleName,
    sha256: Sha256Digest,
    wished: &Wished,
) -> Result<Answer, Failure> {
    let slot = app.caches.file_named(gun, role, sha256);
    let kept = slot.get();
    let memory = if kept.is_some() { app.confirmations.confirm_lately().await } else { Memory::Holds };
    let (gun, role) = slot.names();
    let found = match kept {
        Some(_) if memory == Memory::IsUnconfirmed => {
            Box::pin(load(app, app.metadata.by_checksum(gun, role, &sha256))).await?.map(Arc::new)
        }
        Some(found) if slot.holds() => app.metrics.looks.files.look(Some(found)),
        _ => file(app, gun, role, sha256).await?,
    };
    let found = found.ok_or_else(nothing_stored)?;
    metadata(app, &found, &app.policies.consistent, wished).await
}

/// Answers with the file of a role that has this version.
pub(crate) async fn by_version(
    app: &Arc<App>,
    gun: Gun,
    role: RoleName,
    version: Version,
    wished: &Wished,
) -> Result<Answer, Failure> {
    let kept = app.caches.version(&gun, &role, version).get().is_some();
    let holds = !kept || app.confirmations.confirm().await == Memory::Holds;
    let slot = app.caches.version(&gun, &role, version);
    let found = if let Some(sha256) = slot.get().filter(|_| holds) {
        file(app, &gun, &role, sha256).await?
    } else {
        let deletions = app.caches.deletions(&gun);
        let reading = traced("database.by_version", app.metadata.by_version(&gun, &role, version));
        let found = Box::pin(load(app, reading)).await?;
        found.map(|content| {
            slot.keep(content.sha256);
            app.caches.file_before(&gun, &role, content.sha256, deletions).keep(Arc::new(content))
        })
    };
    metadata(app, &found.ok_or_else(nothing_stored)?, &app.policies.consistent, wished).await
}

/// Answers with a file in the best form that the client takes.
async fn metadata(app: &Arc<App>, file: &Arc<Content>, policy: &Policy, wished: &Wished) -> Result<Answer, Failure> {
    let mut body = Body { bytes: file.body(), coding: None };
    if app.caches.is_compressible(file.bytes.len()) {
        for coding in wished.codings.iter() {
            if let Compressed(Some(bytes)) = compressed(app, file, coding).await? {
                body = Body { bytes, coding: Some(coding) };
                break;
            }
        }
    }
    Ok(answer::metadata(file, body, policy, wished))
}

async fn compressed(app: &Arc<App>, file: &Arc<Content>, coding: Coding) -> Result<Compressed, Failure> {
    if let Some(kept) = app.caches.compressed(file.sha256, coding) {
        return Ok(kept);
    }
    if file.bytes.len() <= QUICKLY_COMPRESSED {
        return Ok(app.caches.compress(file, coding));
    }
    let (caches, file) = (Arc::clone(&app.caches), Arc::clone(file));
    Box::pin(app.compute(&app.validation, move || caches.compress(&file, coding))).await
}

/// What is not stored: a detail tells it from a path that does not exist.
pub(crate) fn nothing_stored() -> Failure {
    Failure::new(Code::MetadataNotFound).detail(json!({}))
}

/// Signs anew; after a failure not again for a while, because the reason lasts (no key, an expired root) and readers do not.
async fn renew(app: &Arc<App>, gun: &Gun, current: &Current) -> Result<(), Failure> {
    if current.failed_within(RENEWAL_PAUSE) {
        return Err(Failure::new(Code::Unknown).cause("renewal failed a moment ago"));
    }
    match publish::renew(app, gun.clone(), RenewBefore::EXPIRY.into()).await {
        Ok(_) => Ok(()),
        Err(failure) => {
            // A keyserver that is away may be back at any moment, and asking it once more costs little.
            if !failure.cannot_sign() {
                current.failed_now();
            }
            Err(as_unknown(failure))
        }
    }
}

/// Whatever kept a file from being signed anew is nothing the reader could mend.
fn as_unknown(failure: Failure) -> Failure {
    if failure.is_busy() { failure } else { Failure::new(Code::Unknown).cause(failure.chain().unwrap_or_default()) }
}

/// Returns the current state of a collection; all of one publication, and a whole chain.
pub(crate) async fn state(app: &App, gun: &Gun) -> Result<Option<Arc<Current>>, Failure> {
    if let Some(current) = app.metrics.looks.current.look(kept(app, gun).await) {
        return Ok(Some(current));
    }
    // On the heap: what is in memory is answered without carrying this along.
    Box::pin(state_from_database(app, gun)).await
}

async fn state_from_database(app: &App, gun: &Gun) -> Result<Option<Arc<Current>>, Failure> {
    for _ in 0..ATTEMPTS {
        let seen = app.caches.seen(gun);
        let pointers = traced("database.pointers", app.metadata.pointers(gun)).await?;
        let digests: BTreeMap<_, _> = pointers.into_iter().map(|pointer| (pointer.role, pointer.sha256)).collect();
        let (Some(timestamp), Some(snapshot)) = (digests.get(&RoleName::Timestamp), digests.get(&RoleName::Snapshot))
        else {
            return Ok(None);
        };
        let timestamp = file(app, gun, &RoleName::Timestamp, *timestamp).await?;
        let snapshot = file(app, gun, &RoleName::Snapshot, *snapshot).await?;
        // Deleted since the pointers were read: read them again.
        let (Some(timestamp), Some(snapshot)) = (timestamp, snapshot) else { continue };
        return Ok(Some(app.caches.keep(gun, seen, whole(timestamp, snapshot, digests)?)));
    }
    Ok(None)
}

/// Returns the current state of a collection if it is kept in memory and still holds.
pub(crate) async fn kept(app: &App, gun: &Gun) -> Option<Arc<Current>> {
    let current = app.caches.current(gun)?;
    if !app.confirmations.are_needed() {
        return Some(current);
    }
    let holds = app.confirmations.confirm().await == Memory::Holds;
    // It may be another one by now.
    app.caches.current(gun).filter(|_| holds)
}

/// Makes a state of files that must belong together.
pub(crate) fn whole(
    timestamp: Arc<Content>,
    snapshot: Arc<Content>,
    digests: BTreeMap<RoleName, Sha256Digest>,
) -> Result<Parts, Failure> {
    chain::check(timestamp.stored(), snapshot.stored(), &digests)
        .map_err(|broken| Failure::new(Code::Unknown).cause(broken))?;
    let expires = expires(&timestamp).min(expires(&snapshot));
    Ok(Parts { timestamp, snapshot, digests, expires })
}

/// Returns a file, from memory where it is kept: whoever asks knows that it is there, or asks the database first.
pub(crate) async fn file(
    app: &App,
    gun: &Gun,
    role: &RoleName,
    sha256: Sha256Digest,
) -> Result<Option<Arc<Content>>, Failure> {
    let slot = app.caches.file(gun, role, sha256);
    if let Some(found) = app.metrics.looks.files.look(slot.get()) {
        return Ok(Some(found));
    }
    let reading = traced("database.by_checksum", app.metadata.by_checksum(gun, role, &sha256));
    let found = Box::pin(load(app, reading)).await?;
    Ok(found.map(|file| slot.keep(Arc::new(file))))
}

/// Reads a file for somebody: a few at a time, and only while there is room for what readers have not taken yet.
async fn load(
    app: &App,
    reading: impl Future<Output = Result<Option<Stored>, StoreError>>,
) -> Result<Option<Content>, Failure> {
    let _turn = app.permit(&app.loads).await?;
    let Some(file) = reading.await? else { return Ok(None) };
    if file.bytes.len() <= SMALL {
        return Ok(Some(Content::new(file)));
    }
    let kibibytes = u32::try_from(file.bytes.len().div_ceil(1024)).unwrap_or(u32::MAX);
    let room = Arc::clone(&app.room).try_acquire_many_owned(kibibytes);
    let room = room.map_err(|_| Failure::new(Code::Busy).cause("readers have not taken what is on its way to them"))?;
    Ok(Some(Content::in_room(file, room)))
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    signed: Signed<'a>,
}

#[derive(Deserialize)]
struct Signed<'a> {
    #[serde(borrow)]
    expires: std::borrow::Cow<'a, str>,
}

/// Reads when a stored file expires; one that does not say counts as expired, so that it is looked at closely.
pub(crate) fn expires(file: &Stored) -> Timestamp {
    let read: Option<Envelope<'_>> = serde_json::from_slice(&file.bytes).ok();
    let Some(expires) = read.and_then(|file| Expires::parse(&file.signed.expires)) else { return Timestamp::MIN };
    Timestamp::from_second(expires.unix_seconds()).unwrap_or(Timestamp::MAX)
}
