//! Whether what was restored is what was backed up, and whether clients would take it.

use countersign_keyfile::jwe;
use countersign_storage::{BackupStore, KeptKey, PageSize, ServiceRole, StoreError};
use countersign_tuf::{Collection, Gun, RoleName};
use jiff::Timestamp;

use super::{Contents, Finding};
use crate::data_dir::Secret;
use crate::import::sound::{self, History};
use crate::server_keys::AT_KEYSERVER;

/// Findings that are named one by one.
const NAMED: usize = 100;

/// What is not in order.
#[derive(Debug, Default)]
pub struct Findings {
    /// How much.
    pub count: u64,
    /// The first hundred: the collection, if it is about one, and what is wrong.
    pub named: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, gun: Option<&Gun>, what: impl Into<String>) {
        self.count += 1;
        if self.named.len() < NAMED {
            self.named.push((gun.cloned(), what.into()));
        }
    }
}

/// Reads everything back: every file against its digest, every collection as a client that sees it for the first time and as
/// one that knows its earliest root, every key with the secret.
pub(super) async fn all(
    store: &dyn BackupStore,
    contents: Contents,
    secret: Option<&Secret>,
    now: Timestamp,
) -> Result<Findings, StoreError> {
    let mut findings = Findings::default();
    let (mut files, mut collections, mut after) = (0, 0, None);
    loop {
        let page = store.collections(after.as_ref(), PageSize::wished(0)).await?;
        let Some(last) = page.last().cloned() else { break };
        for gun in &page {
            collections += 1;
            files += collection(store, gun, now, &mut findings).await?;
        }
        after = Some(last);
    }
    if (files, collections) != (contents.files, contents.collections) {
        let text = format!(
            "{files} files of {collections} collections can be reached, of {} of {}",
            contents.files, contents.collections
        );
        findings.add(None, text);
    }
    keys(store, secret, &mut findings).await?;
    Ok(findings)
}

/// Verifies a collection; returns how many files it has.
async fn collection(
    store: &dyn BackupStore,
    gun: &Gun,
    now: Timestamp,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let held = store.history(gun).await?;
    let mut files = Vec::with_capacity(held.len());
    let mut is_whole = true;
    for file in &held {
        files.push((file.role.clone(), file.version));
        let read = store.by_version(gun, &file.role, file.version).await;
        let trouble = match read {
            Ok(Some(_)) => continue,
            Ok(None) => "it is not there".to_owned(),
            Err(error @ StoreError::Damaged { .. }) => error.to_string(),
            Err(error) => return Err(error),
        };
        is_whole = false;
        findings.add(Some(gun), format!("version {} of {} cannot be read: {trouble}", file.version, file.role));
    }
    let history = History::of(files);
    for pointer in store.pointers(gun).await? {
        if history.present(&pointer.role) != Some(pointer.version) {
            findings.add(Some(gun), format!("the current {} is not its newest version", pointer.role));
        }
    }
    if is_whole {
        match sound::check(store, gun, &history, now).await? {
            Ok(sound) => signing(store, gun, &sound.collection, findings).await?,
            Err(problem) => findings.add(Some(gun), format!("clients would refuse it: {problem}")),
        }
    }
    Ok(held.len() as u64)
}

/// Tells when the service has no key to sign the collection's next timestamp with.
async fn signing(
    store: &dyn BackupStore,
    gun: &Gun,
    collection: &Collection,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let keys = collection.root().keys_of(&RoleName::Timestamp);
    for (_, key) in keys.iter().flat_map(countersign_tuf::TrustedKeys::iter) {
        let held = store.service_key(gun, &key.canonical_id()).await?;
        if held.is_some_and(|held| held.key.role == ServiceRole::Timestamp) {
            return Ok(());
        }
    }
    findings.add(Some(gun), "its timestamp key is not there: nobody can publish, and its timestamp will expire");
    Ok(())
}

async fn keys(store: &dyn BackupStore, secret: Option<&Secret>, findings: &mut Findings) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let page = store.kept_keys(after.as_ref(), PageSize::wished(0)).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some(last.key.key.id);
        let Some(secret) = secret else { continue };
        for kept in &page {
            if let Err(trouble) = opens(kept, secret) {
                findings.add(Some(&kept.key.key.gun), format!("key {}: {trouble}", kept.key.key.id));
            }
        }
    }
}

fn opens(kept: &KeptKey, secret: &Secret) -> Result<(), String> {
    let key = &kept.key.key;
    if key.private.as_str() == AT_KEYSERVER {
        return Ok(());
    }
    let opened = jwe::open_key(key.private.as_str(), &key.algorithm, secret.as_bytes());
    let opened = opened.map_err(|_| "the secret does not open it".to_owned())?;
    if opened.public_key().canonical_id() == key.id {
        Ok(())
    } else {
        Err("it belongs to another public key".to_owned())
    }
}
