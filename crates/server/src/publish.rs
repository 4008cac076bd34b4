//! Changes to collections: publications, renewals and deletions.
//!
//! Each is prepared from the stored state, off the threads that answer requests, and stored with the name of that state
//! (`Base`). When somebody was faster, it is prepared again from the new state: so a delegation uploaded at the same time
//! as another one finds its place in the snapshot that lists both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use countersign_storage::{Base, Deletion, NewMetadata, PublishError, State, StoreError};
use countersign_telemetry::traced;
use countersign_tuf::accept::{self, Files, Former, Move, Refusal, Renewal, Submission};
use countersign_tuf::{Gun, RoleName};
use fail::fail_point;
use jiff::Timestamp;
use serde_json::json;

use crate::app::App;
use crate::audit::{By, Entry, Outcome};
use crate::cache::{Current, Parts, Seen, Sharing};
use crate::content::Content;
use crate::error::{Code, Failure};
use crate::read;
use crate::server_keys::Remembered;
use crate::turns::Turn;
use crate::upload::{Memory, Upload};

/// Bytes up to which a file that was published is kept in memory at once; larger ones wait for somebody who reads them.
const SMALL: usize = 256 * 1024;
/// How often a change is prepared anew when other processes are faster.
const ATTEMPTS: u32 = 16;

/// Publishes an upload; `memory` is given back when it is done with, also when the client is gone before.
pub(crate) async fn publish(
    app: &Arc<App>,
    gun: Gun,
    upload: Upload,
    (memory, by): (Memory, By),
) -> Result<(), Failure> {
    let app = Arc::clone(app);
    let work = Arc::clone(&app);
    app.to_the_end(async move {
        let _memory = memory;
        let _turn = turn(&work, &gun).await?;
        let roles = accept::needed(upload.parts.keys());
        for _ in 0..ATTEMPTS {
            let basis = basis(&work, &gun, &roles).await?;
            let task = task(&upload, basis.state.base())?;
            let base = if matches!(task, Task::Move(..)) { Base::Moved } else { basis.state.base() };
            let files = prepare(&work, &gun, &basis, task).await?;
            fail_point!("publication-prepared");
            if store(&work, &by, &gun, basis, base, &files).await? == Stored::Yes {
                return Ok(());
            }
        }
        Err(Failure::new(Code::Busy))
    })
    .await
}

/// Signs the snapshot and timestamp anew where they are due; tells whether anything was stored.
pub(crate) async fn renew(app: &Arc<App>, gun: Gun, renewal: Renewal) -> Result<Stored, Failure> {
    let app = Arc::clone(app);
    let work = Arc::clone(&app);
    app.to_the_end(async move {
        let result = renew_in_turn(&work, &gun, renewal).await;
        let counter = match result {
            Ok(Stored::Yes) => &work.metrics.renewals,
            Ok(Stored::No) => return result,
            Err(_) => &work.metrics.renewal_failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        result
    })
    .await
}

async fn renew_in_turn(app: &Arc<App>, gun: &Gun, renewal: Renewal) -> Result<Stored, Failure> {
    let _turn = turn(app, gun).await?;
    let roles = [RoleName::Root, RoleName::Snapshot, RoleName::Timestamp].into();
    let by = By::service();
    for _ in 0..ATTEMPTS {
        let basis = basis(app, gun, &roles).await?;
        let base = basis.state.base();
        if base == Base::Nothing {
            return Ok(Stored::No);
        }
        let files = prepare(app, gun, &basis, Task::Renew(renewal)).await?;
        // Nothing was due: whoever had the turn before has done it.
        if files.is_empty() {
            return Ok(Stored::No);
        }
        if store(app, &by, gun, basis, base, &files).await? == Stored::Yes {
            return Ok(Stored::Yes);
        }
    }
    Err(Failure::new(Code::Busy))
}

/// Deletes a collection, if it is there.
pub(crate) async fn delete(app: &Arc<App>, gun: Gun, by: By) -> Result<(), Failure> {
    let app = Arc::clone(app);
    let work = Arc::clone(&app);
    app.to_the_end(async move {
        let _turn = turn(&work, &gun).await?;
        let ticket = work.audit.begin(Entry::new("delete", &by).gun(&gun)).await?;
        let result = traced("database.delete", work.metadata.delete(&gun, work.clock.now())).await;
        match &result {
            Ok(Deletion::Deleted) => ticket.end(Outcome::Done),
            Ok(Deletion::NothingThere) => {
                ticket.end_with(Outcome::Done, |entry| entry.reason("there was nothing to delete"));
            }
            Err(_) => ticket.end(Outcome::Unknown),
        }
        // Also after an error: the commit may have come through.
        work.caches.deleted(&gun);
        result.map(drop).map_err(Failure::from)
    })
    .await
}

async fn turn(app: &App, gun: &Gun) -> Result<Turn, Failure> {
    app.turns.take(gun, app.limits.patience).await.ok_or_else(|| Failure::new(Code::Busy))
}

/// Decides what an upload is: a publication, or a collection that moves here, which needs an empty place.
fn task(upload: &Upload, base: Base) -> Result<Task, Failure> {
    let Upload { parts, former } = upload.clone();
    match base {
        _ if former.is_empty() => Ok(Task::Accept(parts)),
        Base::Nothing => Ok(Task::Move(former, parts)),
        _ => Err(refused(Refusal::Validation("the collection is here already; it cannot move here once more".into()))),
    }
}

enum Task {
    Accept(Files),
    Move(Former, Files),
    Renew(Renewal),
}

/// What a publication is built upon.
struct Basis {
    state: State,
    /// When the state was seen.
    seen: Seen,
    /// The whole state, if it was in memory and holds.
    current: Option<Arc<Current>>,
    remembered: Remembered,
}

/// Loads what a publication is built upon: from memory, where that holds; whether it still does when the publication is
/// stored is for the database to say.
async fn basis(app: &App, gun: &Gun, roles: &BTreeSet<RoleName>) -> Result<Basis, Failure> {
    if let Some(current) = read::kept(app, gun).await {
        let seen = current.seen();
        let deletions = app.caches.deletions(gun);
        if let Some(state) = from_memory(app, gun, roles, &current).await? {
            let remembered = Remembered { deletions, holds: true };
            return Ok(Basis { state, seen, current: Some(current), remembered });
        }
    }
    let remembered = Remembered { deletions: app.caches.deletions(gun), holds: false };
    let seen = app.caches.seen(gun);
    let state = traced("database.state", app.metadata.state(gun, roles)).await?;
    Ok(Basis { state, seen, current: None, remembered })
}

async fn from_memory(
    app: &App,
    gun: &Gun,
    roles: &BTreeSet<RoleName>,
    current: &Current,
) -> Result<Option<State>, Failure> {
    let mut state = State { timestamp: Some(current.timestamp.sha256), ..State::default() };
    for role in roles {
        let file = match role {
            RoleName::Timestamp => Arc::clone(&current.timestamp),
            RoleName::Snapshot => Arc::clone(&current.snapshot),
            role => match current.digests.get(role) {
                None => continue,
                Some(digest) => match read::file(app, gun, role, *digest).await? {
                    Some(file) => file,
                    None => return Ok(None),
                },
            },
        };
        state.files.insert(role.clone(), file.stored().clone());
    }
    Ok(Some(state))
}

/// Validates and signs.
async fn prepare(app: &Arc<App>, gun: &Gun, basis: &Basis, task: Task) -> Result<Vec<NewMetadata>, Failure> {
    let state = &basis.state;
    if let Some(timestamp) = state.files.get(&RoleName::Timestamp) {
        app.signing.stored(timestamp.stored_at);
    }
    let now = app.signing.now()?;
    let (collection, signers) = (gun.clone(), app.keys.signers(gun, basis.remembered));
    let stored: Files = state.files.iter().map(|(role, file)| (role.clone(), file.bytes.clone())).collect();
    let compute = move || {
        let gun = &collection;
        let result = match task {
            Task::Accept(parts) => accept::accept(Submission { gun, now, stored: &stored, parts }, &signers),
            Task::Move(former, parts) => accept::accept_move(Move { gun, now, former, parts }, &signers),
            Task::Renew(renewal) => accept::renew(gun, now, &stored, &signers, renewal),
        };
        (result, signers.finish())
    };
    let (result, used) = app.compute(&app.validation, compute).await?;
    let used = used.map_err(|trouble| trouble.while_doing(Code::Updating))?;
    let files = result.map_err(refused)?;
    // Before the files are stored: a key that has signed must never be handed out as new.
    app.keys.mark_used(gun, used).await?;
    Ok(files.into_iter().map(NewMetadata::from).collect())
}

/// Says whether files were stored, or somebody was faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stored {
    Yes,
    No,
}

async fn store(
    app: &App,
    by: &By,
    gun: &Gun,
    basis: Basis,
    base: Base,
    files: &[NewMetadata],
) -> Result<Stored, Failure> {
    let now = app.clock.now();
    let timestamp = files.iter().find(|file| *file.role() == RoleName::Timestamp).map(NewMetadata::sha256);
    // Whatever comes of it, what is kept of the old state is not served from then on: the commit may have come through.
    let publishing = app.caches.publishing(gun, basis.seen, timestamp);
    let result = app.audit.publish(&*app.metadata, by, (gun, base, files), now).await?;
    fail_point!("publication-stored");
    let Err(error) = result else {
        app.signing.signed(now);
        let Some(current) = basis.current else {
            drop(publishing);
            read_back(app, gun, files).await?;
            return Ok(Stored::Yes);
        };
        let parts = after(app, gun, &current, files, (now, basis.remembered.deletions))?;
        // A store that is followed has read back what it stored, and of one that others change unheard nothing is kept.
        if app.caches.sharing() == Sharing::Alone {
            let pointers = app.metadata.pointers(gun).await?;
            if pointers.into_iter().map(|pointer| (pointer.role, pointer.sha256)).collect::<BTreeMap<_, _>>()
                != parts.digests
            {
                return Err(Failure::new(Code::Updating).cause("the stored files are not the accepted ones"));
            }
        }
        publishing.stored(parts);
        return Ok(Stored::Yes);
    };
    drop(publishing);
    match error {
        PublishError::Superseded => Ok(Stored::No),
        PublishError::VersionConflict { .. } => Err(Failure::new(Code::Version).detail(json!({})).cause(error)),
        PublishError::TooFarAhead { ref role, .. }
        | PublishError::TooHigh { ref role, .. }
        | PublishError::TooLarge { ref role, .. } => Err(refused(Refusal::of(role, &error))),
        PublishError::Store(error @ StoreError::SpeltAlike { .. }) => {
            let message =
                "the database cannot tell the collection's name from another's, which differs in upper or lower case";
            Err(refused(Refusal::Validation(message.into())).cause(error))
        }
        PublishError::Store(error) => Err(Failure::of_store(Code::Updating, error)),
    }
}

/// Makes the state that a publication leads to, which must be a whole chain, and keeps its small files.
fn after(
    app: &App,
    gun: &Gun,
    before: &Current,
    files: &[NewMetadata],
    (now, deletions): (Timestamp, u64),
) -> Result<Parts, Failure> {
    let (mut timestamp, mut snapshot) = (Arc::clone(&before.timestamp), Arc::clone(&before.snapshot));
    let mut digests = before.digests.clone();
    // To the microsecond, as the database has it.
    let stored_at = Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now);
    for file in files {
        digests.insert(file.role().clone(), file.sha256());
        if file.bytes().len() > SMALL {
            continue;
        }
        let (role, version, sha256) = (file.role().clone(), file.version(), file.sha256());
        // A copy, because the bytes may be part of a large upload, which would stay in memory with them.
        let bytes = Bytes::copy_from_slice(file.bytes());
        let content = Arc::new(Content::new(countersign_storage::Stored { role, version, sha256, bytes, stored_at }));
        let content = app.caches.file_before(gun, file.role(), sha256, deletions).keep(content);
        match file.role() {
            RoleName::Timestamp => timestamp = content,
            RoleName::Snapshot => snapshot = content,
            _ => {}
        }
    }
    read::whole(timestamp, snapshot, digests)
}

/// Reads back what was stored, before it is acknowledged: the current files are the accepted ones, and the timestamp leads
/// to each of them. Large files are compared by the digests that the store has of them.
async fn read_back(app: &App, gun: &Gun, files: &[NewMetadata]) -> Result<(), Failure> {
    let unlike = |what: String| Failure::new(Code::Updating).cause(what);
    let others = app.caches.sharing() != Sharing::Alone;
    let Some(current) = read::state(app, gun).await? else {
        // Another process may have deleted it since.
        return if others { Ok(()) } else { Err(unlike("nothing is stored after a publication".to_owned())) };
    };
    let version = files.iter().find(|file| *file.role() == RoleName::Timestamp).map(NewMetadata::version);
    if others && version.is_none_or(|version| current.timestamp.version > version) {
        // Another process has published since; what is current has been checked all the same.
        return Ok(());
    }
    // Of a role the last file counts: a collection that moves here brings earlier ones.
    let last: BTreeMap<&RoleName, _> = files.iter().map(|file| (file.role(), file.sha256())).collect();
    match last.into_iter().find(|(role, sha256)| current.digests.get(role) != Some(sha256)) {
        Some((role, _)) => Err(unlike(format!("the stored {role} is not the accepted one"))),
        None => Ok(()),
    }
}

/// Puts a refusal into the words of the protocol (validation of an upload).
fn refused(refusal: Refusal) -> Failure {
    let cause = refusal.to_string();
    let (name, error) = match refusal {
        Refusal::Malformed(_) => return Failure::new(Code::MalformedJson).cause(cause),
        Refusal::Stale => return Failure::new(Code::Version).detail(json!({})).cause(cause),
        Refusal::Stored(_) => return Failure::new(Code::InvalidUpdate).cause(cause),
        Refusal::Validation(message) => ("ErrValidation", json!({ "Msg": message })),
        Refusal::BadRoot(message) => ("ErrBadRoot", json!({ "Msg": message })),
        Refusal::BadTargets(message) => ("ErrBadTargets", json!({ "Msg": message })),
        Refusal::BadSnapshot(message) => ("ErrBadSnapshot", json!({ "Msg": message })),
        Refusal::BadHierarchy { missing, message } => {
            ("ErrBadHierarchy", json!({ "Missing": missing.as_str(), "Msg": message }))
        }
    };
    Failure::new(Code::InvalidUpdate).detail(json!({ "Name": name, "Error": error })).cause(cause)
}
