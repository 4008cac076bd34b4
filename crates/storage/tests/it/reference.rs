//! The reference's own tables: the contract as far as its layout can hold it, and what it cannot hold.

use std::sync::Arc;

use countersign_storage::contract::signing_keys::{Bindings, KeySubject};
use countersign_storage::contract::{Handle, Subject};
use countersign_storage::{
    Absent, Backend, Base, ChangeQuery, Connections, DatabaseUrl, MAX_VERSION, MetadataStore, NewMetadata, PageSize,
    PublishError, ReferenceSigningKeys, ReferenceStore, SqliteStore, StoreError,
};
use countersign_testkit::{DatabaseServer, Product};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

const PRODUCTS: [Product; 2] = [Product::Postgres, Product::MariaDb];

/// Writes the database's address as the reference's configuration has it.
fn address(product: Product, url: &str) -> DatabaseUrl {
    match product {
        Product::Postgres => DatabaseUrl::of_reference(Backend::Postgres, &format!("{url}?sslmode=disable")).unwrap(),
        Product::MariaDb => {
            let place = url.strip_prefix("mysql://root@").unwrap();
            let (host, name) = place.split_once('/').unwrap();
            DatabaseUrl::of_reference(Backend::MySql, &format!("root@tcp({host})/{name}?parseTime=True")).unwrap()
        }
    }
}

async fn database(server: &Arc<DatabaseServer>) -> String {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || server.database()).await.unwrap()
}

fn product(url: &str) -> Product {
    if url.starts_with("mysql") { Product::MariaDb } else { Product::Postgres }
}

async fn store(url: &str) -> ReferenceStore {
    ReferenceStore::open(&address(product(url), url), Connections::default(), Absent::Create).await.unwrap()
}

async fn signing_keys(url: &str) -> ReferenceSigningKeys {
    ReferenceSigningKeys::open(&address(product(url), url), Connections::default(), Absent::Create).await.unwrap()
}

/// Both handles open the empty database at the same time.
async fn open(server: &Arc<DatabaseServer>) -> Subject {
    let url = database(server).await;
    let (first, second) = tokio::join!(store(&url), store(&url));
    let folder = tempfile::tempdir().unwrap();
    // The reference's server keeps no keys; the checks that run here ask for none.
    let keys = Arc::new(SqliteStore::open(&folder.path().join("none.db")).await.unwrap());
    let handle = |metadata| Handle { metadata: Arc::new(metadata), keys: keys.clone() };
    Subject { first: handle(first), second: handle(second), keep: Box::new((Arc::clone(server), folder)) }
}

async fn open_keys(server: &Arc<DatabaseServer>) -> KeySubject {
    let url = database(server).await;
    let (first, second) = tokio::join!(signing_keys(&url), signing_keys(&url));
    KeySubject {
        first: Arc::new(first),
        second: Arc::new(second),
        bindings: Bindings::Lost,
        keep: Box::new(Arc::clone(server)),
    }
}

mod contract {
    use super::{open, open_keys};

    countersign_storage::store_contract!(
        postgres_keeps(countersign_testkit::DatabaseServer): open,
        metadata without ["the_highest_version_can_be_stored"]
    );
    // Names that differ in letter case alone are one name to the reference's unique index.
    countersign_storage::store_contract!(
        mariadb_keeps(countersign_testkit::DatabaseServer): open,
        metadata without [
            "the_highest_version_can_be_stored", "deletion_takes_exactly_one_collection",
            "one_collections_changes_are_filtered",
        ]
    );
    countersign_storage::signing_key_contract!(keys_are_kept(countersign_testkit::DatabaseServer): open_keys);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_references_tables_in_postgresql_keep_the_contract() {
    let server = Arc::new(DatabaseServer::start(Product::Postgres));
    contract::postgres_keeps(Arc::clone(&server)).await;
    contract::keys_are_kept(server).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_references_tables_in_mariadb_keep_the_contract() {
    let server = Arc::new(DatabaseServer::start(Product::MariaDb));
    contract::mariadb_keeps(Arc::clone(&server)).await;
    contract::keys_are_kept(server).await;
}

fn gun(name: &str) -> Gun {
    Gun::parse(name).unwrap()
}

fn whole(version: u64) -> Vec<NewMetadata> {
    let number = Version::new(version).unwrap();
    RoleName::BASE.map(|role| NewMetadata::new(role, number, format!("{version} ").repeat(9).into_bytes())).to_vec()
}

fn now() -> Timestamp {
    "2026-11-23T01:02:03.456789Z".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_references_columns_cannot_hold_is_refused() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let store = store(&database(&server).await).await;
        let (high, higher) = (Version::new(MAX_VERSION).unwrap(), Version::new(MAX_VERSION + 1).unwrap());
        let file = |version| NewMetadata::new(RoleName::Targets, version, b"x".to_vec());
        let refused = store.publish(&gun("a"), Base::Anything, &[file(higher)], now()).await;
        assert!(matches!(refused, Err(PublishError::TooHigh { highest: MAX_VERSION, .. })), "{refused:?}");
        assert_eq!(store.by_version(&gun("a"), &RoleName::Targets, higher).await.unwrap(), None);
        store.publish(&gun("a"), Base::Anything, &[file(high)], now()).await.unwrap();
        assert_eq!(store.current(&gun("a"), &RoleName::Targets).await.unwrap().unwrap().version, high);
        store.publish(&gun("example.com/App"), Base::Nothing, &whole(1), now()).await.unwrap();
        let alike = store.publish(&gun("example.com/app"), Base::Nothing, &whole(1), now()).await;
        match product {
            Product::Postgres => alike.unwrap(),
            Product::MariaDb => {
                assert!(matches!(alike, Err(PublishError::Store(StoreError::SpeltAlike { .. }))), "{alike:?}");
            }
        }
        let other = store.pointers(&gun("example.com/app")).await.unwrap().len();
        assert_eq!(other, if product == Product::Postgres { 4 } else { 0 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_gets_the_references_tables_once_and_one_of_others_is_left_alone() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let url = database(&server).await;
        let absent = ReferenceStore::open(&address(product, &url), Connections::default(), Absent::Refuse).await;
        assert!(matches!(absent, Err(StoreError::TableMissing { .. })), "{absent:?}");
        let starting: Vec<_> = (0..6)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { store(&url).await.health().await.unwrap() })
            })
            .collect();
        for started in starting {
            started.await.unwrap();
        }
        let version = server.ask(&url, "SELECT version FROM schema_migrations");
        assert_eq!(version, if product == Product::Postgres { "2" } else { "5" });
        assert_eq!(server.ask(&url, "SELECT category FROM change_category ORDER BY category"), "deletion\nupdate");
        // An older layout of the reference is for its own migrations.
        let old = database(&server).await;
        let _ = server.ask(&old, "CREATE TABLE tuf_files (id int)");
        let refused = ReferenceStore::open(&address(product, &old), Connections::default(), Absent::Create).await;
        assert!(matches!(refused, Err(StoreError::TableMissing { table: "change_category" })), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_of_the_reference_in_between_supersedes_ours_and_none_is_lost() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let url = database(&server).await;
        let store = store(&url).await;
        let gun = gun("example.com/shared");
        store.publish(&gun, Base::Nothing, &whole(1), now()).await.unwrap();
        let base = store.state(&gun, &std::collections::BTreeSet::new()).await.unwrap().base();
        // The reference asks for no lock of ours: its rows are just there.
        let _ = server.ask(
            &url,
            "INSERT INTO tuf_files (gun, role, version, data, sha256) VALUES ('example.com/shared', 'timestamp', 2, 'x', \
             '2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881')",
        );
        let late = store.publish(&gun, base, &whole(2), now()).await;
        assert!(matches!(late, Err(PublishError::Superseded)), "{late:?}");
        assert_eq!(store.by_version(&gun, &RoleName::Root, Version::new(2).unwrap()).await.unwrap(), None);
        let base = store.state(&gun, &std::collections::BTreeSet::new()).await.unwrap().base();
        store.publish(&gun, base, &whole(3), now()).await.unwrap();
        let all = store.collections(None, PageSize::wished(10)).await.unwrap();
        assert_eq!(all, std::slice::from_ref(&gun));
        assert_eq!(store.versions(&gun).await.unwrap().len(), 9);
        assert_eq!(store.changes(&ChangeQuery::new(None, 0, 0)).await.unwrap().len(), 2);
    }
}
