use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use countersign_storage::contract::signing_keys::{Bindings, KeySubject};
use countersign_storage::{SqliteSigningKeys, SqliteStore, StoreError};

const PATIENCE: Duration = Duration::from_secs(10);

async fn open() -> KeySubject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.db");
    let first = Arc::new(SqliteSigningKeys::open(&path, PATIENCE).await.unwrap());
    let second = Arc::new(SqliteSigningKeys::open(&path, PATIENCE).await.unwrap());
    KeySubject { first, second, bindings: Bindings::Kept, keep: Box::new(folder) }
}

mod contract {
    countersign_storage::signing_key_contract!(open);
}

#[tokio::test]
async fn the_file_is_for_the_owner_only() {
    let subject = open().await;
    let folder = subject.keep.downcast_ref::<tempfile::TempDir>().unwrap();
    let mode = fs_err::metadata(folder.path().join("keys.db")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_trust_services_database_is_not_taken_for_one_of_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let refused = SqliteSigningKeys::open(&path, PATIENCE).await;
    assert!(matches!(refused, Err(StoreError::Migration(_))), "{refused:?}");
    SqliteStore::open(&path).await.unwrap();
}
