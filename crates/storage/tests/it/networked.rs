//! The contract on `PostgreSQL` and `MariaDB`, and what only servers can show.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign_storage::contract::{Handle, Subject};
use countersign_storage::{
    ChangeQuery, Connections, DatabaseUrl, MetadataStore, NetworkedStore, NewMetadata, PublishError, StoreError,
};
use countersign_testkit::{Balancer, DatabaseServer, Product};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

const PRODUCTS: [Product; 2] = [Product::Postgres, Product::MariaDb];

fn url(text: &str) -> DatabaseUrl {
    DatabaseUrl::parse(text).unwrap()
}

async fn connect(text: &str) -> NetworkedStore {
    NetworkedStore::open(&url(text), Connections::default()).await.unwrap()
}

async fn database(server: &Arc<DatabaseServer>) -> String {
    let server = Arc::clone(server);
    tokio::task::spawn_blocking(move || server.database()).await.unwrap()
}

fn handle(store: NetworkedStore) -> Handle {
    let store = Arc::new(store);
    Handle { metadata: store.clone(), keys: store }
}

/// Both handles open the empty database at the same time: two replicas that start together.
async fn open(server: &Arc<DatabaseServer>) -> Subject {
    let url = database(server).await;
    let (first, second) = tokio::join!(connect(&url), connect(&url));
    Subject { first: handle(first), second: handle(second), keep: Box::new(Arc::clone(server)) }
}

mod contract {
    use super::open;

    countersign_storage::store_contract!(keeps(countersign_testkit::DatabaseServer): open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn postgresql_keeps_the_contract() {
    contract::keeps(Arc::new(DatabaseServer::start(Product::Postgres))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn mariadb_keeps_the_contract() {
    contract::keeps(Arc::new(DatabaseServer::start(Product::MariaDb))).await;
}

fn whole(version: u64) -> Vec<NewMetadata> {
    let number = Version::new(version).unwrap();
    RoleName::BASE.map(|role| NewMetadata::new(role, number, format!("{version} ").repeat(9).into_bytes())).to_vec()
}

async fn publish(store: &NetworkedStore, gun: &Gun, version: u64) -> Result<(), PublishError> {
    let base = store.state(gun, &BTreeSet::new()).await?.base();
    store.publish(gun, base, &whole(version), Timestamp::UNIX_EPOCH).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_processes_that_start_together_find_one_layout() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let text = database(&server).await;
        let before = NetworkedStore::layout(&url(&text)).await.unwrap();
        assert!(before.applied.is_empty() && !before.pending.is_empty(), "{before:?}");
        let starting: Vec<_> = (0..10)
            .map(|_| {
                tokio::spawn({
                    let text = text.clone();
                    async move { connect(&text).await }
                })
            })
            .collect();
        for store in starting {
            store.await.unwrap().health().await.unwrap();
        }
        let after = NetworkedStore::layout(&url(&text)).await.unwrap();
        assert_eq!((after.applied, after.pending, after.unknown), (before.pending, vec![], vec![]), "{product:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_release_is_refused_and_a_half_made_one_named() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let text = database(&server).await;
        connect(&text).await.close().await;
        let insert = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES";
        let _ = server.ask(&text, &format!("{insert} (9999, 'future', true, '', 1)"));
        let refused = NetworkedStore::open(&url(&text), Connections::default()).await;
        assert!(matches!(refused, Err(StoreError::Migration(_))), "{refused:?}");
        assert_eq!(NetworkedStore::layout(&url(&text)).await.unwrap().unknown, [9999], "{product:?}");
        let _ = server.ask(&text, "UPDATE _sqlx_migrations SET success = false WHERE version = 9999");
        assert_eq!(NetworkedStore::layout(&url(&text)).await.unwrap().unfinished, Some(9999));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_server_is_away_callers_are_told_soon_and_afterwards_it_goes_on_by_itself() {
    let gun = Gun::parse("example.com/away").unwrap();
    for product in PRODUCTS {
        let mut server = DatabaseServer::start(product);
        let patience = Duration::from_secs(1);
        let store = NetworkedStore::open(&url(&server.database()), Connections { most: 4, patience }).await.unwrap();
        publish(&store, &gun, 1).await.unwrap();
        server.kill();
        for _ in 0..3 {
            let begun = Instant::now();
            let Err(error) = store.pointers(&gun).await else { unreachable!("nobody can have answered") };
            assert!(error.is_busy(), "{product:?}: {error:?}");
            assert!(begun.elapsed() < 4 * patience, "{:?}", begun.elapsed());
        }
        assert!(store.health().await.is_err());
        server.resume();
        publish(&store, &gun, 2).await.unwrap();
        store.health().await.unwrap();
        assert_eq!(store.changes(&ChangeQuery::new(None, 0, 0)).await.unwrap().len(), 2, "{product:?}");
    }
}

const SECOND: Duration = Duration::from_secs(1);
/// Longer than any statement may take.
const STATEMENT: Duration = Duration::from_secs(25);

/// Connections that pass nothing on any more, and do not end either.
async fn goes_on_after_silence(product: Product) {
    let gun = Gun::parse("example.com/silent").unwrap();
    let server = Arc::new(DatabaseServer::start(product));
    let way = Balancer::start(vec![server.address()]);
    let direct = server.database();
    let text = direct.replace(&server.address().to_string(), &way.address().to_string());
    let store = NetworkedStore::open(&url(&text), Connections::default()).await.unwrap();
    publish(&store, &gun, 1).await.unwrap();
    let mut follower = store.follow().unwrap();
    follower.news().await.unwrap();
    let base = store.state(&gun, &BTreeSet::new()).await.unwrap().base();
    let holding = {
        let server = Arc::clone(&server);
        tokio::task::spawn_blocking(move || server.hold(&direct, "countersign_current", 3 * SECOND))
    };
    tokio::time::sleep(SECOND).await;
    let begun = Instant::now();
    let files = whole(2);
    let publishing = store.publish(&gun, base, &files, Timestamp::UNIX_EPOCH);
    // In the middle of a statement, which waits for the table.
    let silencing = async {
        tokio::time::sleep(SECOND).await;
        way.silence();
        tokio::time::timeout(SECOND, follower.news()).await
    };
    let (published, heard) = tokio::join!(publishing, silencing);
    assert!(holding.await.unwrap() && heard.is_err(), "{heard:?}");
    let Err(PublishError::Store(error)) = published else { unreachable!("nobody can have answered: {published:?}") };
    assert!(error.is_busy() && begun.elapsed() < STATEMENT, "{product:?}: {error:?} after {:?}", begun.elapsed());
    // Over new connections, for whoever does what; each that is found silent takes the time of one try.
    let begun = Instant::now();
    while let Err(error) = publish(&store, &gun, 3).await {
        assert!(begun.elapsed() < STATEMENT, "{product:?}: {error:?}");
    }
    assert_eq!(store.pointers(&gun).await.unwrap().len(), 4);
    follower.news().await.unwrap();
    assert!(begun.elapsed() < STATEMENT, "{product:?}: {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_given_up_and_replaced() {
    let [postgres, mariadb] = PRODUCTS.map(|product| tokio::spawn(goes_on_after_silence(product)));
    postgres.await.unwrap();
    mariadb.await.unwrap();
}

/// How often each server is killed.
const KILLS: u64 = 4;
const PUBLISHERS: u64 = 4;

/// Acknowledged publications before each kill.
const LOAD: u64 = 3 * PUBLISHERS;

/// What those who publish and the one who kills tell each other.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicU64,
    stop: AtomicBool,
}

impl Progress {
    /// Waits for so many more acknowledged publications.
    async fn wait_for(&self, more: u64) {
        let begun = (Instant::now(), self.acknowledged.load(Ordering::Relaxed));
        while self.acknowledged.load(Ordering::Relaxed) < begun.1 + more {
            assert!(begun.0.elapsed() < Duration::from_mins(1), "nobody publishes any more");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Publishes one version after the other until told to stop; returns the last acknowledged one.
async fn publish_on(store: NetworkedStore, gun: Gun, progress: Arc<Progress>) -> u64 {
    let mut acknowledged = 0;
    while !progress.stop.load(Ordering::Relaxed) {
        let Ok(pointers) = store.pointers(&gun).await else { continue };
        let found = pointers.first().map_or(0, |pointer| pointer.version.get());
        assert!(found >= acknowledged, "{gun}: version {acknowledged} was acknowledged and is lost, {found} is there");
        if publish(&store, &gun, found + 1).await.is_ok() {
            acknowledged = found + 1;
            progress.acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    acknowledged
}

/// Reads the whole history of a collection: every version is whole, in sequence, and in the change feed.
async fn check_history(store: &NetworkedStore, gun: &Gun, acknowledged: u64) -> u64 {
    let pointers = store.pointers(gun).await.unwrap();
    let versions: BTreeSet<u64> = pointers.iter().map(|pointer| pointer.version.get()).collect();
    assert_eq!((pointers.len(), versions.len()), (4, 1), "{gun}: half a publication: {pointers:?}");
    let last = versions.first().copied().unwrap();
    assert!(last >= acknowledged, "{gun}: {acknowledged} was acknowledged, {last} is the last");
    for version in 1..=last {
        for file in whole(version) {
            let stored = store.by_version(gun, file.role(), file.version()).await.unwrap().unwrap();
            assert_eq!(stored.bytes, *file.bytes());
        }
    }
    let beyond = Version::new(last + 1).unwrap();
    for role in RoleName::BASE {
        assert_eq!(store.by_version(gun, &role, beyond).await.unwrap(), None, "{gun}: half a publication");
    }
    let mut feed = Vec::new();
    let mut after = 0;
    loop {
        let page = store.changes(&ChangeQuery::new(Some(gun.clone()), after, 1000)).await.unwrap();
        let Some(change) = page.last() else { break };
        after = change.id;
        feed.extend(page.into_iter().map(|change| match change.category {
            countersign_storage::Category::Update { version, .. } => version.get(),
            countersign_storage::Category::Deletion => 0,
        }));
    }
    assert_eq!(feed, (1..=last).collect::<Vec<_>>(), "{gun}: the change feed tells another story");
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_server_killed_under_load_nothing_acknowledged_is_lost_and_nothing_half_written_is_seen() {
    let kills = std::env::var("COUNTERSIGN_TEST_KILLS").map_or(KILLS, |text| text.parse().unwrap());
    for product in PRODUCTS {
        let mut server = DatabaseServer::start(product);
        let text = server.database();
        let patience = Duration::from_secs(30);
        let open = || async { NetworkedStore::open(&url(&text), Connections { most: 4, patience }).await.unwrap() };
        let progress = Arc::new(Progress::default());
        let guns: Vec<Gun> = (0..PUBLISHERS).map(|n| Gun::parse(&format!("example.com/killed/{n}")).unwrap()).collect();
        let mut working = Vec::new();
        for gun in &guns {
            working.push(tokio::spawn(publish_on(open().await, gun.clone(), Arc::clone(&progress))));
        }
        for kill in 0..kills {
            progress.wait_for(LOAD).await;
            // Moments that differ from kill to kill, so that different steps are hit.
            tokio::time::sleep(Duration::from_millis(7 * (kill % 5))).await;
            server.kill();
            server.resume();
        }
        progress.wait_for(LOAD).await;
        progress.stop.store(true, Ordering::Relaxed);
        let (store, mut checked) = (open().await, 0);
        for (gun, work) in guns.iter().zip(working) {
            checked += check_history(&store, gun, work.await.unwrap()).await;
        }
        assert!(checked >= LOAD * (kills + 1), "{product:?}: only {checked} publications between {kills} kills");
        println!("{product:?}: killed {kills} times, {checked} publications of {PUBLISHERS} publishers checked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_to_ask_decides_on_the_secret() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let text = database(&server).await;
        let (one, two) = (connect(&text).await, connect(&text).await);
        let (first, second) = tokio::join!(one.agree_on_secret("one"), two.agree_on_secret("two"));
        assert_eq!(first.unwrap(), second.unwrap(), "{product:?}");
    }
}
