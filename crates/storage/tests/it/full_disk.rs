//! A disk that is full for a moment.
//!
//! The test starts this binary again as a child that ignores the signal of too large files and limits the size of its own
//! files, which stands for the full disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use countersign_crypto::digest::sha256;
use countersign_crypto::{KeyId, KeyType};
use countersign_storage::{
    Base, EncryptedKey, KeyStore, MetadataStore, NewMetadata, NewServiceKey, PendingLimits, ServiceRole, SqliteStore,
    StoreError,
};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::{SignedDuration, Timestamp};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const DATABASE: &str = "COUNTERSIGN_TEST_FULL_DISK";
const LIMITS: PendingLimits = PendingLimits { count: 10, keep: SignedDuration::from_secs(60) };

fn gun(name: &str) -> Gun {
    Gun::parse(name).unwrap()
}

/// A publication that is larger than what is left.
fn whole(version: u64) -> Vec<NewMetadata> {
    let version = Version::new(version).unwrap();
    RoleName::BASE.map(|role| NewMetadata::new(role, version, vec![b'x'; 100_000])).to_vec()
}

async fn publish(store: &SqliteStore, name: &str, version: u64) -> bool {
    let gun = gun(name);
    let base = store.state(&gun, &BTreeSet::new()).await.unwrap().base();
    store.publish(&gun, base, &whole(version), Timestamp::UNIX_EPOCH).await.is_ok()
}

async fn make_key(store: &SqliteStore, id: &[u8]) -> bool {
    let key = NewServiceKey {
        id: KeyId::from(sha256(id)),
        gun: gun("h/keys"),
        role: ServiceRole::Timestamp,
        algorithm: KeyType::Ecdsa,
        public: vec![7; 100_000],
        private: EncryptedKey::new("jwe"),
    };
    store.insert_pending(key, LIMITS, Timestamp::UNIX_EPOCH).await.is_ok()
}

async fn version(store: &SqliteStore, name: &str) -> Option<u64> {
    let file = store.current(&gun(name), &RoleName::Targets).await.unwrap();
    file.map(|file| file.version.get())
}

fn limit_files(bytes: Option<u64>) {
    let maximum = getrlimit(Resource::Fsize).maximum;
    setrlimit(Resource::Fsize, Rlimit { current: bytes, maximum }).unwrap();
}

#[tokio::test]
async fn a_disk_that_was_full_for_a_moment_stops_nothing_afterwards() {
    let Ok(path) = std::env::var(DATABASE) else {
        return in_a_child("a_disk_that_was_full_for_a_moment_stops_nothing_afterwards");
    };
    let store = SqliteStore::open(Path::new(&path)).await.unwrap();
    assert!(publish(&store, "h/a", 1).await);
    let log = fs_err::metadata(format!("{path}-wal")).unwrap().len();
    for _ in 0..3 {
        limit_files(Some(log + 10_000));
        assert!(!publish(&store, "h/a", 2).await, "what is not stored is not acknowledged");
        assert!(!publish(&store, "h/b", 1).await);
        assert!(!make_key(&store, b"one").await);
        assert_eq!((version(&store, "h/a").await, version(&store, "h/b").await), (Some(1), None));
        assert!(matches!(store.health().await, Err(StoreError::LastWriteFailed { .. })));
        limit_files(None);
    }
    assert!(publish(&store, "h/a", 2).await);
    assert!(publish(&store, "h/b", 1).await);
    assert!(make_key(&store, b"one").await);
    store.health().await.unwrap();
    store.close().await;
    let again = SqliteStore::open(Path::new(&path)).await.unwrap();
    assert_eq!((version(&again, "h/a").await, version(&again, "h/b").await), (Some(2), Some(1)));
    assert!(matches!(again.state(&gun("h/b"), &BTreeSet::new()).await.unwrap().base(), Base::Timestamp { .. }));
}

#[tokio::test]
async fn a_store_that_has_not_written_yet_notices_a_full_disk() {
    let Ok(path) = std::env::var(DATABASE) else {
        return in_a_child("a_store_that_has_not_written_yet_notices_a_full_disk");
    };
    let store = SqliteStore::open(Path::new(&path)).await.unwrap();
    assert!(publish(&store, "h/a", 1).await);
    let idle = SqliteStore::open(Path::new(&path)).await.unwrap();
    limit_files(Some(fs_err::metadata(format!("{path}-wal")).unwrap().len()));
    assert!(matches!(idle.health().await, Err(StoreError::Database { doing: "tried to write", .. })));
    limit_files(None);
    assert!(publish(&idle, "h/a", 2).await);
    idle.health().await.unwrap();
}

fn in_a_child(test: &str) {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new("sh")
        .args(["-c", r#"trap '' XFSZ; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("full_disk::{test}"), "--nocapture"])
        .env(DATABASE, folder.path().join("trust.db"))
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
}
