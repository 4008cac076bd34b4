use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use countersign_storage::contract::{Handle, Subject};
use countersign_storage::{Base, MetadataStore, NewMetadata, SqliteStore, StoreError};
use countersign_tuf::{Gun, RoleName, Version};

fn handle(store: SqliteStore) -> Handle {
    let store = Arc::new(store);
    Handle { metadata: store.clone(), keys: store }
}

async fn open() -> Subject {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    let first = handle(SqliteStore::open(&path).await.unwrap());
    let second = handle(SqliteStore::open(&path).await.unwrap());
    Subject { first, second, keep: Box::new(folder) }
}

mod contract {
    use super::open;

    countersign_storage::store_contract!(open);
}

#[tokio::test]
async fn the_file_and_its_side_files_are_for_the_owner_only() {
    let subject = open().await;
    subject.first.metadata.health().await.unwrap();
    let folder = subject.keep.downcast_ref::<tempfile::TempDir>().unwrap();
    let mut names = Vec::new();
    for entry in fs_err::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
        names.push(entry.file_name());
    }
    assert!(names.len() >= 2, "{names:?}");
}

#[tokio::test]
async fn a_file_that_is_open_to_others_is_closed_to_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    SqliteStore::open(&path).await.unwrap();
    assert_eq!(fs_err::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    fs_err::write(&path, "not a database, and long enough to look like one".repeat(100)).unwrap();
    let refused = SqliteStore::open(&path).await;
    assert!(matches!(refused, Err(StoreError::Database { .. } | StoreError::Migration(_))), "{refused:?}");
}

#[tokio::test]
async fn a_database_of_a_newer_release_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    raw(&path, "INSERT INTO _sqlx_migrations VALUES (9999, 'future', 0, 1, x'00', 1)").await;
    let refused = SqliteStore::open(&path).await;
    assert!(matches!(refused, Err(StoreError::Migration(_))), "{refused:?}");
}

#[tokio::test]
async fn a_missing_table_is_ill_health() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    let store = SqliteStore::open(&path).await.unwrap();
    raw(&path, "DROP TABLE changefeed").await;
    assert!(store.health().await.is_err());
}

#[tokio::test]
async fn a_closed_store_is_ill_health() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("trust.db")).await.unwrap();
    store.close().await;
    assert!(store.health().await.is_err());
}

#[tokio::test]
async fn a_row_that_somebody_damaged_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    let store = SqliteStore::open(&path).await.unwrap();
    raw(&path, "INSERT INTO changefeed (created_at, gun, version, category) VALUES (0, '../x', 1, 'deletion')").await;
    let query = countersign_storage::ChangeQuery::new(None, 0, 0);
    assert!(matches!(store.changes(&query).await, Err(StoreError::Damaged { what: "gun", .. })));
}

#[tokio::test]
async fn bytes_that_somebody_changed_are_an_error_and_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let (gun, role) = (Gun::parse("example.com/changed").unwrap(), RoleName::Targets);
    for (version, size) in [(1, 100), (2, 3_000_000)] {
        let file = NewMetadata::new(role.clone(), Version::new(version).unwrap(), vec![b'x'; size]);
        store.publish(&gun, Base::Anything, std::slice::from_ref(&file), jiff::Timestamp::UNIX_EPOCH).await.unwrap();
        assert!(store.current(&gun, &role).await.unwrap().unwrap().bytes == *file.bytes());
        raw(&path, "UPDATE tuf_files SET data = zeroblob(length(data))").await;
        for read in [
            store.current(&gun, &role).await,
            store.by_version(&gun, &role, file.version()).await,
            store.by_checksum(&gun, &role, &file.sha256()).await,
        ] {
            assert!(matches!(read, Err(StoreError::Damaged { what: "data", .. })));
        }
        assert!(store.state(&gun, &[role.clone()].into()).await.is_err());
    }
}

async fn raw(path: &std::path::Path, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}
