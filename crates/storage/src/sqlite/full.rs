//! A database that cannot grow: whatever step of a write finds it full, nothing of the write is there, and the same write
//! succeeds once there is room.

use std::collections::BTreeSet;

use countersign_crypto::digest::sha256;
use countersign_crypto::{KeyId, KeyType};
use countersign_testkit::Dice;
use countersign_tuf::{Gun, RoleName, Version};
use jiff::{SignedDuration, Timestamp};

use super::SqliteStore;
use crate::{
    ChangeQuery, EncryptedKey, KeyStore, MetadataStore, NewMetadata, NewServiceKey, PendingKeyError, PendingLimits,
    PublishError, ServiceRole, StoreError,
};

const LIMITS: PendingLimits = PendingLimits { count: 10, keep: SignedDuration::from_secs(60) };
/// Bytes of each file and key: several pages, so that the database is full in the middle of one, too.
const SIZE: usize = 20_000;

fn gun() -> Gun {
    Gun::parse("example.com/full").unwrap()
}

fn whole(version: u64) -> Vec<NewMetadata> {
    let mut dice = Dice::of(version);
    let version = Version::new(version).unwrap();
    // Nothing that would take less room than it has bytes.
    let bytes: Vec<u8> = std::iter::repeat_with(|| dice.roll().to_le_bytes()).flatten().take(SIZE).collect();
    RoleName::BASE.map(|role| NewMetadata::new(role, version, bytes.clone())).to_vec()
}

fn key() -> NewServiceKey {
    NewServiceKey {
        id: KeyId::from(sha256(b"key")),
        gun: gun(),
        role: ServiceRole::Timestamp,
        algorithm: KeyType::Ecdsa,
        public: vec![7; SIZE],
        private: EncryptedKey::new("jwe"),
    }
}

async fn open() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("trust.db")).await.unwrap();
    publish(&store, 1).await.unwrap();
    (store, folder)
}

async fn publish(store: &SqliteStore, version: u64) -> Result<(), PublishError> {
    let base = store.state(&gun(), &BTreeSet::new()).await.unwrap().base();
    store.publish(&gun(), base, &whole(version), Timestamp::UNIX_EPOCH).await
}

/// Lets the file grow by so many pages, or as much as it likes.
async fn room(store: &SqliteStore, pages: Option<i64>) {
    let (now,): (i64,) = sqlx::query_as("PRAGMA page_count").fetch_one(&store.writer).await.unwrap();
    let most = pages.map_or(i64::from(u32::MAX) - 1, |pages| now + pages);
    let statement = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {most}"));
    sqlx::query(statement).execute(&store.writer).await.unwrap();
}

async fn versions(store: &SqliteStore) -> (Vec<u64>, usize) {
    let versions = store.pointers(&gun()).await.unwrap().iter().map(|pointer| pointer.version.get()).collect();
    (versions, store.changes(&ChangeQuery::new(Some(gun()), 0, 0)).await.unwrap().len())
}

async fn assert_sound(store: &SqliteStore) {
    let (answer,): (String,) = sqlx::query_as("PRAGMA integrity_check").fetch_one(&store.readers).await.unwrap();
    assert_eq!(answer, "ok");
}

#[tokio::test]
async fn a_publication_that_finds_no_room_at_any_step_leaves_nothing() {
    let (store, _folder) = open().await;
    let two = Version::new(2).unwrap();
    let mut failed = 0;
    loop {
        room(&store, Some(failed)).await;
        let Err(error) = publish(&store, 2).await else { break };
        assert!(matches!(error, PublishError::Store(StoreError::Database { .. })), "{error:?}");
        assert_eq!(versions(&store).await, (vec![1; 4], 1), "with room for {failed} pages");
        assert_eq!(store.by_version(&gun(), &RoleName::Root, two).await.unwrap(), None);
        assert!(matches!(store.health().await, Err(StoreError::LastWriteFailed { .. })));
        failed += 1;
    }
    assert!(failed >= 16, "four files of five pages found room after {failed}");
    assert_eq!(versions(&store).await, (vec![2; 4], 2));
    store.health().await.unwrap();
    room(&store, None).await;
    publish(&store, 3).await.unwrap();
    assert_sound(&store).await;
}

#[tokio::test]
async fn a_key_that_finds_no_room_at_any_step_is_not_there() {
    let (store, _folder) = open().await;
    let mut failed = 0;
    loop {
        room(&store, Some(failed)).await;
        let Err(error) = store.insert_pending(key(), LIMITS, Timestamp::UNIX_EPOCH).await else { break };
        assert!(matches!(error, PendingKeyError::Store(_)), "{error:?}");
        assert_eq!(store.service_key(&gun(), &key().id).await.unwrap(), None);
        assert!(store.health().await.is_err());
        failed += 1;
    }
    assert!(failed >= 3, "five pages found room after {failed}");
    store.health().await.unwrap();
    assert_eq!(store.service_key(&gun(), &key().id).await.unwrap().unwrap().key, key());
    assert_sound(&store).await;
}

#[tokio::test]
async fn a_full_database_can_still_be_relieved() {
    let (store, _folder) = open().await;
    room(&store, Some(0)).await;
    publish(&store, 2).await.unwrap_err();
    store.delete(&gun(), Timestamp::UNIX_EPOCH).await.unwrap();
    assert_eq!(versions(&store).await, (vec![], 2));
    publish(&store, 1).await.unwrap();
    store.health().await.unwrap();
    assert_sound(&store).await;
}
