//! What large collections take in the database.

use countersign_crypto::digest::sha256;
use countersign_storage::{Base, Connections, DatabaseUrl, MetadataStore, NetworkedStore, NewMetadata, SqliteStore};
use countersign_testkit::{DatabaseServer, Product};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

/// Tags of the collection when it is large.
const TAGS: u64 = 10_000;
/// Publications of one more tag each.
const MORE: u64 = 40;
/// Bytes that one more tag may cost, over all files of its publication: of 900 kB of targets alone.
const COST: u64 = 16 * 1024;

fn gun() -> Gun {
    Gun::parse("example.com/large").unwrap()
}

/// Files of the sizes that a publication has with so many tags.
fn publication(tags: u64) -> Vec<NewMetadata> {
    let digest = |n: u64| sha256(&n.to_le_bytes()).hex();
    let tag = |n: u64| format!(r#""v{n}":{{"hashes":{{"sha256":"{}"}},"length":524}},"#, digest(n));
    let signature = |role: u64| digest(tags * 4 + role).repeat(2);
    let targets: String = (0..tags).map(tag).chain([signature(0)]).collect();
    let small =
        |role: u64| format!(r#"{{"meta":{{"x":"{}"}},"signatures":["{}"]}}"#, digest(tags).repeat(4), signature(role));
    let version = Version::new(tags).unwrap();
    vec![
        NewMetadata::new(RoleName::Targets, version, targets),
        NewMetadata::new(RoleName::Snapshot, version, small(1)),
        NewMetadata::new(RoleName::Timestamp, version, small(2)),
    ]
}

async fn publish(store: &dyn MetadataStore, tags: std::ops::Range<u64>) {
    for tags in tags {
        store.publish(&gun(), Base::Anything, &publication(tags), Timestamp::UNIX_EPOCH).await.unwrap();
    }
    let first = store.by_version(&gun(), &RoleName::Targets, Version::new(TAGS).unwrap()).await.unwrap().unwrap();
    assert!(first.bytes == *publication(TAGS).first().unwrap().bytes());
}

fn check(what: &str, before: u64, after: u64) {
    let each = (after - before) / MORE;
    assert!(each > 500 && each < COST, "{what}: {each} bytes for each tag, {before} before");
}

#[tokio::test]
async fn one_more_tag_in_ten_thousand_costs_kilobytes_in_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trust.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let bytes = async || -> u64 {
        let statement = "SELECT (SELECT sum(length(data)) FROM tuf_files) \
            + (SELECT coalesce(sum(length(data)), 0) FROM file_pieces)";
        let (bytes,): (i64,) = sqlx::query_as(statement).fetch_one(&pool).await.unwrap();
        bytes.try_into().unwrap()
    };
    publish(&store, TAGS..TAGS + 1).await;
    let before = bytes().await;
    publish(&store, TAGS + 1..TAGS + 1 + MORE).await;
    check("SQLite", before, bytes().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_more_tag_in_ten_thousand_costs_kilobytes_on_database_servers() {
    for product in [Product::Postgres, Product::MariaDb] {
        let server = DatabaseServer::start(product);
        let url = server.database();
        let store = NetworkedStore::open(&DatabaseUrl::parse(&url).unwrap(), Connections::default()).await.unwrap();
        let bytes = || -> u64 {
            let statement = "SELECT (SELECT sum(octet_length(data)) FROM countersign_files) \
                + (SELECT coalesce(sum(octet_length(data)), 0) FROM countersign_pieces)";
            server.ask(&url, statement).parse().unwrap()
        };
        publish(&store, TAGS..TAGS + 1).await;
        let before = bytes();
        publish(&store, TAGS + 1..TAGS + 1 + MORE).await;
        check(&format!("{product:?}"), before, bytes());
    }
}
