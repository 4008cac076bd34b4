//! The reference's own tables: the contract as far as its layout can hold it, and what it cannot hold.

use std::sync::Arc;

use countersign_storage::contract::signing_keys::{Bindings, KeySubject};
use countersign_storage::contract::{Handle, Subject};
use countersign_storage::{
    Absent, Alias, Backend, Base, ChangeQuery, Connections, DatabaseUrl, EncryptedKey, MAX_VERSION, MetadataStore,
    NewMetadata, NewServiceKey, NewSigningKey, PageSize, PendingLimits, PublishError, ReferenceSigningKeys,
    ReferenceStore, ServiceRole, SigningKeyStore, SqliteStore, StoreError,
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
                store.health().await.expect("nothing is wrong with the database");
            }
        }
        let large = NewMetadata::new(RoleName::Targets, Version::new(2).unwrap(), vec![b'x'; 17 << 20]);
        let large = store.publish(&gun("example.com/App"), Base::Anything, &[large], now()).await;
        match product {
            Product::Postgres => large.unwrap(),
            Product::MariaDb => {
                assert!(matches!(large, Err(PublishError::TooLarge { bytes: 17_825_792, .. })), "{large:?}");
                store.health().await.expect("nothing is wrong with the database");
            }
        }
        let fits = NewMetadata::new(RoleName::Targets, Version::new(3).unwrap(), vec![b'x'; (16 << 20) - (16 << 10)]);
        store.publish(&gun("example.com/App"), Base::Anything, &[fits], now()).await.unwrap();
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
        assert_eq!(all, [gun.as_str()]);
        assert_eq!(store.versions(&gun).await.unwrap().len(), 9);
        assert_eq!(store.changes(&ChangeQuery::new(None, 0, 0)).await.unwrap().len(), 2);
    }
}

/// The reference's routes take nearly any name; whoever asks for a key or publishes under one leaves such rows.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_reference_takes_and_we_do_not_end_no_list() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let url = database(&server).await;
        let store = store(&url).await;
        store.publish(&gun("a"), Base::Nothing, &whole(1), now()).await.unwrap();
        let _ = server.ask(
            &url,
            "INSERT INTO changefeed (gun, version, sha256, category) VALUES ('a b', 1, repeat('0', 64), 'update'), \
             ('50%', 1, repeat('0', 64), 'update'), ('b', 1, 'none', 'update')",
        );
        let _ = server.ask(
            &url,
            "INSERT INTO tuf_files (gun, role, version, data, sha256) VALUES ('a b', 'timestamp', 1, 'x', repeat('0', 64)), \
             ('a|b', 'timestamp', 1, 'x', repeat('0', 64))",
        );
        store.publish(&gun("z"), Base::Nothing, &whole(1), now()).await.unwrap();
        for (after, records, wanted) in [
            (0, 0, "az"),
            (0, 1, "a"),
            (0, 2, "az"),
            (1, 1, "z"),
            (-1, 1, "z"),
            (-1, 2, "az"),
            (5, -1, "a"),
            (5, 1, ""),
        ] {
            let found = store.changes(&ChangeQuery::new(None, after, records)).await.unwrap();
            let names: String = found.iter().map(|change| change.gun.as_str()).collect();
            assert_eq!(names, wanted, "{product:?}: {records} changes after {after}");
        }
        let rows = store.feed(&ChangeQuery::new(None, 0, 0)).await.unwrap();
        let seen: Vec<_> = rows.iter().map(|row| (row.gun.as_str(), row.category.is_ok())).collect();
        assert_eq!(seen, [("a", true), ("a b", true), ("50%", true), ("b", false), ("z", true)]);
        for (after, limit, wanted) in
            [(None, 10, "az"), (None, 1, "a"), (Some(gun("a")), 1, "z"), (Some(gun("z")), 1, "")]
        {
            let limit = PageSize::wished(limit);
            let found = store.stale(Timestamp::MAX..=Timestamp::MAX, after.as_ref(), limit).await.unwrap();
            assert_eq!(found.iter().map(Gun::as_str).collect::<String>(), wanted, "{product:?}: after {after:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_cannot_be_read_or_were_deleted_do_not_stand_for_their_alias() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let url = database(&server).await;
        let keys = signing_keys(&url).await;
        let key = NewServiceKey {
            id: "f".repeat(64).parse().unwrap(),
            gun: gun("a"),
            role: ServiceRole::Timestamp,
            algorithm: "ecdsa".into(),
            public: b"public".to_vec(),
            private: EncryptedKey::new("private"),
        };
        let new = NewSigningKey { key, alias: Alias::parse("one").unwrap(), binding: None };
        let limits = PendingLimits { count: 9, keep: jiff::SignedDuration::MAX };
        let stored = keys.insert(new, limits, now()).await.unwrap();
        for (id, alias, gun, deleted) in
            [(0, "one", "a b", "NULL"), (1, "gone", "a", "'2026-01-01 00:00:00'"), (2, "two", "50%", "NULL")]
        {
            let _ = server.ask(
                &url,
                &format!(
                    "INSERT INTO private_keys (key_id, encryption_alg, keywrap_alg, algorithm, passphrase_alias, public, private, \
                     gun, role, deleted_at) SELECT repeat('{id}', 64), encryption_alg, keywrap_alg, algorithm, '{alias}', public, \
                     private, '{gun}', role, {deleted} FROM private_keys WHERE key_id = repeat('f', 64)"
                ),
            );
        }
        let found = keys.some_of_each_alias().await.unwrap();
        let ids: Vec<_> = found.iter().map(|key| key.stored.key.id).collect();
        assert_eq!(ids, [stored.stored.key.id], "{product:?}");
    }
}

/// The reference's early releases did not say which collection a key is for, nor when it signed: such a key may sign daily.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_early_releases_gives_way_to_nobody() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let url = database(&server).await;
        let keys = signing_keys(&url).await;
        let insert = async |id: &str, name: &str, seconds: i64| {
            let key = NewServiceKey {
                id: id.repeat(64).parse().unwrap(),
                gun: gun(name),
                role: ServiceRole::Timestamp,
                algorithm: "ecdsa".into(),
                public: b"public".to_vec(),
                private: EncryptedKey::new("private"),
            };
            let new = NewSigningKey { key, alias: Alias::parse("one").unwrap(), binding: None };
            let limits = PendingLimits { count: 1, keep: jiff::SignedDuration::from_secs(1) };
            keys.insert(new, limits, now() + jiff::SignedDuration::from_secs(seconds)).await
        };
        insert("a", "first", 0).await.unwrap();
        let _ = server.ask(&url, "UPDATE private_keys SET gun = '', role = '', created_at = '2015-01-01 00:00:00'");
        insert("b", "second", 10).await.unwrap();
        insert("c", "third", 20).await.unwrap();
        let left = server.ask(&url, "SELECT key_id FROM private_keys ORDER BY key_id");
        assert!(left.contains(&"a".repeat(64)) && left.contains(&"c".repeat(64)), "{product:?}: {left}");
        assert!(!left.contains(&"b".repeat(64)), "{product:?}: {left}");
        assert!(insert("d", "fourth", 20).await.is_err(), "{product:?}: nothing is old enough");
    }
}

/// A move and an ordinary first publication have no version in common, so that the unique index lets both in.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_beginnings_without_a_common_version_one_wins() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let url = database(&server).await;
        let (one, other) = (store(&url).await, store(&url).await);
        let versions = [3, 7, 1007, 2040].map(|version| Version::new(version).unwrap());
        let moved: Vec<_> = RoleName::BASE
            .iter()
            .zip(versions)
            .map(|(role, version)| NewMetadata::new(role.clone(), version, format!("{version}").into_bytes()))
            .collect();
        for round in 0..20 {
            let gun = gun(&format!("example.com/{round}"));
            let first = whole(1);
            let (here, there) = tokio::join!(
                one.publish(&gun, Base::Nothing, &first, now()),
                other.publish(&gun, Base::Moved, &moved, now())
            );
            let lost = if here.is_ok() { there } else { here.and(there) };
            assert!(matches!(lost, Err(PublishError::Superseded)), "{product:?}: {round}: {lost:?}");
            assert_eq!(one.versions(&gun).await.unwrap().len(), 4, "{product:?}: {round}");
        }
    }
}

/// Every column with its type, whether it may be null, and how long it may be (Notary protocol, server and signer database).
const POSTGRES_COLUMNS: &str = "\
changefeed.id integer NO\nchangefeed.created_at timestamp without time zone YES\nchangefeed.gun character varying NO 255\n\
changefeed.version integer NO\nchangefeed.sha256 character YES 64\nchangefeed.category character varying NO 20\n\
tuf_files.id integer NO\ntuf_files.created_at timestamp without time zone YES\n\
tuf_files.updated_at timestamp without time zone YES\ntuf_files.deleted_at timestamp without time zone YES\n\
tuf_files.gun character varying NO 255\ntuf_files.role character varying NO 255\ntuf_files.version integer NO\n\
tuf_files.data bytea NO\ntuf_files.sha256 character YES 64";
const MARIADB_COLUMNS: &str = "\
changefeed.id int(11) NO\nchangefeed.created_at timestamp\nchangefeed.gun varchar(255) NO utf8mb3\n\
changefeed.version int(11) NO\nchangefeed.sha256 char(64) YES utf8mb3\nchangefeed.category varchar(20) NO utf8mb3\n\
tuf_files.id int(11) NO\ntuf_files.created_at timestamp YES\ntuf_files.updated_at timestamp YES\n\
tuf_files.deleted_at timestamp YES\ntuf_files.gun varchar(255) NO utf8mb3\ntuf_files.role varchar(255) NO utf8mb3\n\
tuf_files.version int(11) NO\ntuf_files.data longblob NO\ntuf_files.sha256 char(64) YES utf8mb3";

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_have_the_references_columns_and_indexes() {
    let server = Arc::new(DatabaseServer::start(Product::Postgres));
    let url = database(&server).await;
    drop(store(&url).await);
    drop(signing_keys(&url).await);
    let columns = server.ask(
        &url,
        "SELECT trim(concat(table_name, '.', column_name, ' ', data_type, ' ', is_nullable, ' ', character_maximum_length)) \
         FROM information_schema.columns WHERE table_name IN ('tuf_files', 'changefeed') ORDER BY table_name, ordinal_position",
    );
    assert_eq!(columns, POSTGRES_COLUMNS);
    let indexes = server.ask(&url, "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY indexname");
    let wanted = "change_category_pkey changefeed_pkey idx_changefeed_gun key_id key_id_2 private_keys_pkey \
        schema_migrations_pkey tuf_files_gun_role_version_key tuf_files_pkey tuf_files_sha256_idx";
    assert_eq!(indexes.split_whitespace().collect::<Vec<_>>(), wanted.split_whitespace().collect::<Vec<_>>());
    let server = Arc::new(DatabaseServer::start(Product::MariaDb));
    let url = database(&server).await;
    drop(store(&url).await);
    drop(signing_keys(&url).await);
    let columns = server.ask(
        &url,
        "SELECT TRIM(CONCAT(table_name, '.', column_name, ' ', column_type, ' ', \
         IF(table_name = 'changefeed' AND column_name = 'created_at', '', is_nullable), ' ', \
         COALESCE(character_set_name, ''))) FROM information_schema.columns WHERE table_schema = DATABASE() \
         AND table_name IN ('tuf_files', 'changefeed') ORDER BY table_name, ordinal_position",
    );
    assert_eq!(columns, MARIADB_COLUMNS);
    let indexes = server.ask(
        &url,
        "SELECT CONCAT(table_name, '.', index_name, '.', column_name) FROM information_schema.statistics \
         WHERE table_schema = DATABASE() AND table_name <> 'schema_migrations' \
         ORDER BY table_name, index_name, seq_in_index",
    );
    let wanted = "changefeed.category.category changefeed.idx_changefeed_gun.gun changefeed.PRIMARY.id \
        change_category.PRIMARY.category private_keys.key_id.key_id private_keys.key_id_2.key_id private_keys.key_id_2.algorithm \
        private_keys.PRIMARY.id tuf_files.gun.gun tuf_files.gun.role tuf_files.gun.version tuf_files.PRIMARY.id \
        tuf_files.sha256.sha256";
    assert_eq!(indexes.split_whitespace().collect::<Vec<_>>(), wanted.split_whitespace().collect::<Vec<_>>());
}

/// The reference writes times in UTC and leaves the session's time zone to the server: so they stand in the tables as they are,
/// whatever the zone.
#[tokio::test(flavor = "multi_thread")]
async fn times_stand_in_the_tables_in_utc_whatever_the_servers_time_zone() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let url = database(&server).await;
        let (zone, read) = match product {
            Product::Postgres => (
                "ALTER SYSTEM SET timezone = 'Asia/Kolkata'",
                "SELECT to_char(created_at, 'HH24:MI:SS.US') FROM tuf_files",
            ),
            Product::MariaDb => {
                ("SET GLOBAL time_zone = '+05:30'", "SELECT DATE_FORMAT(created_at, '%H:%i:%s') FROM tuf_files")
            }
        };
        server.statement(zone);
        if product == Product::Postgres {
            server.statement("SELECT pg_reload_conf()");
        }
        let store = store(&url).await;
        store.publish(&gun("a"), Base::Nothing, &whole(1)[..1], now()).await.unwrap();
        let (text, wanted) = (server.ask(&url, read), now());
        let found = store.current(&gun("a"), whole(1)[0].role()).await.unwrap().unwrap().stored_at;
        match product {
            Product::Postgres => assert_eq!((text.as_str(), found), ("01:02:03.456789", wanted)),
            Product::MariaDb => {
                let seconds = Timestamp::from_second(wanted.as_second()).unwrap();
                assert_eq!((text.as_str(), found), ("01:02:03", seconds));
            }
        }
    }
}
