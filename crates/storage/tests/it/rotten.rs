//! Rows of packed files that somebody changed, or a disk: an error, and never a wrong file.

use countersign_crypto::digest::sha256;
use countersign_storage::{
    Base, Connections, DatabaseUrl, NetworkedStore, NewMetadata, RetentionStore, SqliteStore, StoreError,
};
use countersign_testkit::{DatabaseServer, Product};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

/// What becomes of the rows, and the versions that cannot be read then. Version 1 is stored by itself, 2 and 3 as
/// differences from it; `TABLE` is the table of files.
const DAMAGES: [(&str, &[u64]); 8] = [
    ("UPDATE TABLE SET length = length - 1 WHERE version = 2", &[2]),
    ("UPDATE TABLE SET length = length + 1 WHERE version = 2", &[2]),
    ("UPDATE TABLE SET length = 0 WHERE version = 2", &[2]),
    ("UPDATE TABLE SET length = 9000000000000000000 WHERE version = 2", &[2]),
    ("UPDATE TABLE SET base = 0 WHERE version = 2", &[2]),
    ("UPDATE TABLE SET base = 2 WHERE version = 2", &[2]),
    ("UPDATE TABLE SET base = 77 WHERE version = 2", &[2]),
    ("UPDATE TABLE SET base = 2 WHERE version = 3", &[3]),
];

fn gun() -> Gun {
    Gun::parse("example.com/rotten").unwrap()
}

fn file(version: u64) -> NewMetadata {
    let lines: String = (0..2_000 + version).map(|n| sha256(&n.to_le_bytes()).hex()).collect();
    NewMetadata::new(RoleName::Targets, Version::new(version).unwrap(), lines)
}

async fn check<S: RetentionStore>(store: &S, change: impl Fn(&str)) {
    for (damage, unreadable) in DAMAGES {
        for version in 1..=3 {
            store.publish(&gun(), Base::Anything, &[file(version)], Timestamp::UNIX_EPOCH).await.unwrap();
        }
        let bases: Vec<_> = store.history(&gun()).await.unwrap().into_iter().map(|held| held.base).collect();
        assert_eq!(bases, [Some(Version::FIRST), Some(Version::FIRST), None]);
        change(damage);
        for version in 1..=3 {
            let (wanted, number) = (file(version), Version::new(version).unwrap());
            for read in [
                store.by_version(&gun(), &RoleName::Targets, number).await,
                store.by_checksum(&gun(), &RoleName::Targets, &wanted.sha256()).await,
            ] {
                match read {
                    Ok(found) => {
                        assert!(!unreadable.contains(&version), "{damage}: {version}");
                        assert!(found.unwrap().bytes == *wanted.bytes(), "{damage}: {version}");
                    }
                    Err(StoreError::Damaged { .. }) => assert!(unreadable.contains(&version), "{damage}: {version}"),
                    Err(error) => unreachable!("{damage}: {version}: {error:?}"),
                }
            }
        }
        store.publish(&gun(), Base::Anything, &[file(4)], Timestamp::UNIX_EPOCH).await.unwrap();
        let current = store.current(&gun(), &RoleName::Targets).await.unwrap().unwrap();
        assert!(current.bytes == *file(4).bytes(), "{damage}: the next publication can be read");
        store.delete(&gun(), Timestamp::UNIX_EPOCH).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotten_rows_are_errors_and_never_wrong_files_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let change = |statement: &str| {
        let statement = sqlx::AssertSqlSafe(statement.replace("TABLE", "tuf_files"));
        let changed = sqlx::query(statement).execute(&pool);
        let done = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(changed)).unwrap();
        assert_eq!(done.rows_affected(), 1);
    };
    check(&store, change).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotten_rows_are_errors_and_never_wrong_files_on_database_servers() {
    for product in [Product::Postgres, Product::MariaDb] {
        let server = DatabaseServer::start(product);
        let url = server.database();
        let store = NetworkedStore::open(&DatabaseUrl::parse(&url).unwrap(), Connections::default()).await.unwrap();
        let change = |statement: &str| {
            let _ = server.ask(&url, &statement.replace("TABLE", "countersign_files"));
        };
        check(&store, change).await;
    }
}
