//! Everything that is kept goes from any store into any other, as it was at one moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_crypto::digest::sha256;
use countersign_crypto::{KeyId, KeyType};
use countersign_storage::{
    BackupStore, Base, Category, ChangeQuery, Connections, DatabaseUrl, EncryptedKey, Holding, Kept, NetworkedStore,
    NewMetadata, NewServiceKey, PageSize, PendingLimits, ServiceRole, SqliteStore, Window,
};
use countersign_testkit::{DatabaseServer, Product};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::{SignedDuration, Timestamp};
use tempfile::TempDir;
use tokio::sync::mpsc;

const LIMITS: PendingLimits = PendingLimits { count: 100, keep: SignedDuration::from_secs(60) };

/// A store of each kind, and what they live in.
struct Stores {
    all: [Arc<dyn BackupStore>; 3],
    _keep: (TempDir, [DatabaseServer; 2]),
}

async fn networked(server: &DatabaseServer) -> Arc<dyn BackupStore> {
    let url = DatabaseUrl::parse(&server.database()).unwrap();
    Arc::new(NetworkedStore::open(&url, Connections::default()).await.unwrap())
}

async fn sqlite(folder: &TempDir, name: &str) -> Arc<dyn BackupStore> {
    Arc::new(SqliteStore::open(&folder.path().join(name)).await.unwrap())
}

impl Stores {
    async fn open() -> Self {
        let servers = [Product::Postgres, Product::MariaDb].map(DatabaseServer::start);
        let folder = tempfile::tempdir().unwrap();
        let all = [sqlite(&folder, "trust.db").await, networked(&servers[0]).await, networked(&servers[1]).await];
        Self { all, _keep: (folder, servers) }
    }
}

fn gun(name: &str) -> Gun {
    Gun::parse(&format!("example.com/{name}")).unwrap()
}

/// Files that are small, packed, and more than a row holds.
fn publication(version: u64, tags: u64) -> Vec<NewMetadata> {
    let tag = |n: u64| format!(r#""v{n}":{{"hashes":{{"sha256":"{}"}}}},"#, sha256(&n.to_le_bytes()).hex());
    let text: String = (0..tags).map(tag).chain([version.to_string()]).collect();
    let number = Version::new(version).unwrap();
    let small = |role| NewMetadata::new(role, number, format!("{version}").into_bytes());
    vec![
        small(RoleName::Root),
        NewMetadata::new(RoleName::Targets, number, text),
        small(RoleName::Snapshot),
        small(RoleName::Timestamp),
    ]
}

async fn publish(store: &dyn BackupStore, gun: &Gun, version: u64, tags: u64) {
    let now = Timestamp::from_second(i64::try_from(version).unwrap()).unwrap();
    store.publish(gun, Base::Anything, &publication(version, tags), now).await.unwrap();
}

async fn key(store: &dyn BackupStore, gun: &Gun, name: &str) -> KeyId {
    let id = KeyId::from(sha256(name.as_bytes()));
    let key = NewServiceKey {
        id,
        gun: gun.clone(),
        role: ServiceRole::Timestamp,
        algorithm: KeyType::Ecdsa,
        public: name.as_bytes().to_vec(),
        private: EncryptedKey::new(format!("jwe of {name}")),
    };
    store.insert_pending(key, LIMITS, Timestamp::UNIX_EPOCH).await.unwrap();
    id
}

/// Collections of all sorts, one that was deleted, keys that wait, are used and are retired.
async fn fill(store: &dyn BackupStore) {
    for version in 1..=40 {
        publish(store, &gun("small"), version, 1).await;
    }
    for version in 1..=4 {
        publish(store, &gun("packed"), version, 1_000 + version).await;
        publish(store, &gun("gone"), version, 1).await;
    }
    publish(store, &gun("large"), 1, 30_000).await;
    for name in ["small", "gone"] {
        let id = key(store, &gun(name), name).await;
        store.mark_used(&gun(name), &id, Timestamp::UNIX_EPOCH).await.unwrap();
    }
    key(store, &gun("large"), "waits").await;
    store.delete(&gun("gone"), Timestamp::UNIX_EPOCH).await.unwrap();
}

async fn dump(store: &Arc<dyn BackupStore>) -> Vec<Kept> {
    let (sender, mut things) = mpsc::channel(4);
    let dumping = tokio::spawn({
        let store = Arc::clone(store);
        async move { store.dump(sender).await }
    });
    let mut all = Vec::new();
    while let Some(kept) = things.recv().await {
        all.push(kept);
    }
    dumping.await.unwrap().unwrap();
    all
}

async fn restore(store: &dyn BackupStore, things: &[Kept]) {
    assert_ne!(store.begin_restore().await.unwrap(), Holding::Something);
    for batch in things.chunks(7) {
        store.load(batch).await.unwrap();
    }
    store.end_restore().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_through_every_kind_of_store_is_what_it_was() {
    let stores = Stores::open().await;
    let [first, second, third] = &stores.all;
    fill(&**first).await;
    let things = dump(first).await;
    let folder = tempfile::tempdir().unwrap();
    let fourth = sqlite(&folder, "again.db").await;
    for store in [second, third, &fourth] {
        restore(&**store, &things).await;
        assert!(dump(store).await == things);
        for version in 1..=4 {
            let version = Version::new(version).unwrap();
            let read = async |store: &Arc<dyn BackupStore>| {
                store.by_version(&gun("packed"), &RoleName::Targets, version).await.unwrap().unwrap()
            };
            assert_eq!(read(store).await, read(first).await);
        }
        let retired = store.service_key(&gun("gone"), &KeyId::from(sha256(b"gone"))).await.unwrap();
        assert!(retired.is_none());
    }
    // What was packed on a server goes on being packed against in the file.
    for store in [first, second, third, &fourth] {
        publish(&**store, &gun("packed"), 5, 1_005).await;
        let newest = ChangeQuery { gun: None, window: Window::Newest, limit: PageSize::wished(1) };
        let changes = store.changes(&newest).await.unwrap();
        assert_eq!(changes[0].id, 51, "40 + 8 + 1, a deletion, and this one");
        let bases =
            dump(store).await.iter().filter(|kept| matches!(kept, Kept::File(file) if file.base.is_some())).count();
        assert_eq!(bases, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_of_one_moment_and_keeps_nobody_from_publishing() {
    let stores = Stores::open().await;
    for store in &stores.all {
        fill(&**store).await;
        let done = Arc::new(AtomicBool::new(false));
        let publisher = tokio::spawn({
            let (store, done) = (Arc::clone(store), Arc::clone(&done));
            async move {
                let mut version = 40;
                while !done.load(Ordering::Relaxed) {
                    version += 1;
                    publish(&*store, &gun("small"), version, 1).await;
                    publish(&*store, &gun("zz"), version, 1).await;
                }
                version
            }
        });
        let (sender, mut things) = mpsc::channel(1);
        let dumping = tokio::spawn({
            let store = Arc::clone(store);
            async move { store.dump(sender).await }
        });
        // The dump has begun, and waits for whoever writes it away; publications come all the while.
        let mut all = vec![things.recv().await.unwrap()];
        let counter = || async {
            let newest = ChangeQuery { gun: None, window: Window::Newest, limit: PageSize::wished(1) };
            store.changes(&newest).await.unwrap()[0].id
        };
        let before = counter().await;
        while counter().await < before + 10 {
            tokio::task::yield_now().await;
        }
        while let Some(kept) = things.recv().await {
            all.push(kept);
        }
        dumping.await.unwrap().unwrap();
        done.store(true, Ordering::Relaxed);
        assert!(publisher.await.unwrap() > 44);
        let last =
            all.iter().filter_map(|kept| if let Kept::Change(change) = kept { Some(change) } else { None }).next_back();
        let last = last.unwrap();
        assert!(last.id <= before, "nothing of what came after the dump began");
        for name in ["small", "zz"] {
            let timestamps = all.iter().filter_map(|kept| match kept {
                Kept::File(file) if file.gun == gun(name) && file.role == RoleName::Timestamp => Some(file),
                _ => None,
            });
            let current = timestamps.filter(|file| file.is_current).map(|file| file.version).next();
            let told = all.iter().rev().find_map(|kept| match kept {
                Kept::Change(change) if change.gun == gun(name) => match change.category {
                    Category::Update { version, .. } => Some(version),
                    Category::Deletion => None,
                },
                _ => None,
            });
            assert_eq!(current, told, "{name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_cut_short_is_seen_and_begins_again_and_nothing_else_is_restored_over() {
    let stores = Stores::open().await;
    let folder = tempfile::tempdir().unwrap();
    let source = sqlite(&folder, "source.db").await;
    fill(&*source).await;
    let things = dump(&source).await;
    for store in &stores.all {
        assert_eq!(store.holding().await.unwrap(), Holding::Nothing);
        assert!(store.load(&things[..1]).await.is_err(), "no restore has begun");
        assert_eq!(store.begin_restore().await.unwrap(), Holding::Nothing);
        store.load(&things[..things.len() / 2]).await.unwrap();
        assert_eq!(store.holding().await.unwrap(), Holding::Part);
        // Nothing of a part that cannot be stored whole.
        assert!(store.load(&[things[things.len() / 2].clone(), things[0].clone()]).await.is_err());
        assert!(store.load(&things[..1]).await.is_err(), "it is there already");
        restore(&**store, &things).await;
        assert_eq!(store.holding().await.unwrap(), Holding::Something);
        assert_eq!(store.begin_restore().await.unwrap(), Holding::Something);
        assert!(dump(store).await == things);
    }
    // A service that only ever gave out a key, or whose collections were all deleted, holds something too.
    let keys = sqlite(&folder, "keys.db").await;
    key(&*keys, &gun("a"), "a").await;
    assert_eq!(keys.begin_restore().await.unwrap(), Holding::Something);
}
