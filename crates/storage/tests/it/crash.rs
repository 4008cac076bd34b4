//! The process dies at every durable step; what was acknowledged is there afterwards, and nothing is there in part.
//!
//! Each test starts this binary again as a child, which kills itself (SIGKILL) at a failpoint.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use countersign_crypto::digest::sha256;
use countersign_crypto::{KeyId, KeyType};
use countersign_storage::{
    Base, ChangeQuery, EncryptedKey, KeyStore, MetadataStore, NewMetadata, NewServiceKey, PendingLimits,
    RetentionStore, ServiceRole, SqliteStore,
};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::{SignedDuration, Timestamp};

const FAILPOINT: &str = "COUNTERSIGN_TEST_FAILPOINT";
const DATABASE: &str = "COUNTERSIGN_TEST_DATABASE";
const LIMITS: PendingLimits = PendingLimits { count: 10, keep: SignedDuration::from_secs(60) };

fn gun() -> Gun {
    Gun::parse("example.com/crash").unwrap()
}

fn whole(version: u64) -> Vec<NewMetadata> {
    let version = Version::new(version).unwrap();
    RoleName::BASE.map(|role| NewMetadata::new(role, version, version.to_string().into_bytes())).to_vec()
}

fn key() -> NewServiceKey {
    NewServiceKey {
        id: KeyId::from(sha256(b"key")),
        gun: gun(),
        role: ServiceRole::Timestamp,
        algorithm: KeyType::Ecdsa,
        public: b"public".to_vec(),
        private: EncryptedKey::new("jwe"),
    }
}

fn kill_myself() {
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
}

/// The child: works until the failpoint. Started by hand or by a plain test run it does nothing.
#[tokio::test]
async fn child() {
    let (Ok(failpoint), Ok(path)) = (std::env::var(FAILPOINT), std::env::var(DATABASE)) else { return };
    fail::cfg_callback(failpoint.as_str(), kill_myself).unwrap();
    let store = SqliteStore::open(Path::new(&path)).await.unwrap();
    let now = Timestamp::UNIX_EPOCH;
    if failpoint.starts_with("publish") {
        let base = store.state(&gun(), &BTreeSet::new()).await.unwrap().base();
        store.publish(&gun(), base, &whole(2), now).await.unwrap();
    } else if failpoint.starts_with("delete") {
        store.delete(&gun(), now).await.unwrap();
    } else if failpoint.starts_with("prune") {
        let files = RoleName::BASE.map(|role| (role, Version::FIRST));
        let timestamp = store.state(&gun(), &BTreeSet::new()).await.unwrap().timestamp;
        store.prune(&gun(), timestamp, &files).await.unwrap();
    } else {
        store.insert_pending(key(), LIMITS, now).await.unwrap();
        store.mark_used(&gun(), &key().id, now).await.unwrap();
    }
    unreachable!("the failpoint {failpoint} was never reached");
}

/// Publishes version 1, lets a child die at the failpoint, and opens the database again.
async fn survive(failpoint: &str) -> (SqliteStore, tempfile::TempDir) {
    survive_after(failpoint, 1).await
}

/// Publishes so many versions, lets a child die at the failpoint, and opens the database again.
async fn survive_after(failpoint: &str, last: u64) -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    let store = SqliteStore::open(&path).await.unwrap();
    for version in 1..=last {
        store.publish(&gun(), Base::Anything, &whole(version), Timestamp::UNIX_EPOCH).await.unwrap();
    }
    store.close().await;
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::child", "--nocapture"])
        .env(FAILPOINT, failpoint)
        .env(DATABASE, &path)
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(9), "{failpoint}: {}", String::from_utf8_lossy(&child.stderr));
    (SqliteStore::open(&path).await.unwrap(), folder)
}

async fn versions(store: &SqliteStore) -> Vec<u64> {
    store.pointers(&gun()).await.unwrap().iter().map(|pointer| pointer.version.get()).collect()
}

async fn changes(store: &SqliteStore) -> usize {
    store.changes(&ChangeQuery::new(Some(gun()), 0, 0)).await.unwrap().len()
}

#[tokio::test]
async fn killed_before_the_commit_of_a_publication_the_old_state_is_whole() {
    for failpoint in ["publish-begun", "publish-file-written", "publish-change-written", "publish-before-commit"] {
        let (store, _folder) = survive(failpoint).await;
        assert_eq!(versions(&store).await, [1; 4], "{failpoint}");
        assert_eq!(changes(&store).await, 1, "{failpoint}");
        let two = Version::new(2).unwrap();
        assert_eq!(store.by_version(&gun(), &RoleName::Root, two).await.unwrap(), None, "{failpoint}");
        let base = store.state(&gun(), &BTreeSet::new()).await.unwrap().base();
        store.publish(&gun(), base, &whole(2), Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(versions(&store).await, [2; 4], "the next publication works");
    }
}

#[tokio::test]
async fn killed_after_the_commit_of_a_publication_the_new_state_is_whole() {
    let (store, _folder) = survive("publish-committed").await;
    assert_eq!(versions(&store).await, [2; 4]);
    assert_eq!(changes(&store).await, 2);
}

#[tokio::test]
async fn killed_while_deleting_all_or_nothing_is_gone() {
    for failpoint in ["delete-pointers-gone", "delete-before-commit"] {
        let (store, _folder) = survive(failpoint).await;
        assert_eq!(versions(&store).await, [1; 4], "{failpoint}");
        assert_eq!(changes(&store).await, 1, "{failpoint}");
    }
    let (store, _folder) = survive("delete-committed").await;
    assert_eq!(versions(&store).await, [0; 0]);
    assert_eq!(changes(&store).await, 2);
}

#[tokio::test]
async fn killed_while_old_versions_go_all_of_them_are_there_or_none() {
    for failpoint in ["prune-file-gone", "prune-before-commit"] {
        let store = survive_after(failpoint, 2).await;
        assert_eq!(store.0.history(&gun()).await.unwrap().len(), 8, "{failpoint}");
    }
    let (store, _folder) = survive_after("prune-committed", 2).await;
    let history = store.history(&gun()).await.unwrap();
    assert_eq!(history.len(), 5, "the old root stays");
    for held in history {
        assert!(store.by_version(&gun(), &held.role, held.version).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn killed_while_making_a_key_it_is_there_or_not() {
    let find = async |store: &SqliteStore| store.service_key(&gun(), &key().id).await.unwrap();
    let (store, _folder) = survive("key-before-commit").await;
    assert_eq!(find(&store).await, None);
    let (store, _folder) = survive("key-committed").await;
    assert_eq!(find(&store).await.unwrap().last_used, None);
    let (store, _folder) = survive("key-marked-used").await;
    assert!(find(&store).await.unwrap().last_used.is_some());
}
