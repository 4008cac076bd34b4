//! Following changes, and storing publications together.

use std::collections::BTreeSet;
use std::sync::Arc;

use countersign_storage::{
    Base, Category, Connections, DatabaseUrl, MetadataStore, NetworkedStore, NewMetadata, News, PublishError,
};
use countersign_testkit::{DatabaseServer, Product};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const PRODUCTS: [Product; 2] = [Product::Postgres, Product::MariaDb];

async fn open(server: &Arc<DatabaseServer>) -> (String, NetworkedStore, NetworkedStore) {
    let server = Arc::clone(server);
    let text = tokio::task::spawn_blocking(move || server.database()).await.unwrap();
    let url = DatabaseUrl::parse(&text).unwrap();
    let first = NetworkedStore::open(&url, Connections::default()).await.unwrap();
    let second = NetworkedStore::open(&url, Connections::default()).await.unwrap();
    (text, first, second)
}

fn gun(n: usize) -> Gun {
    Gun::parse(&format!("example.com/followed/{n}")).unwrap()
}

fn whole(version: u64, text: &str) -> Vec<NewMetadata> {
    let number = Version::new(version).unwrap();
    RoleName::BASE.map(|role| NewMetadata::new(role, number, format!("{version} {text}").into_bytes())).to_vec()
}

async fn publish(store: &NetworkedStore, gun: &Gun, version: u64) -> Result<(), PublishError> {
    let base = store.state(gun, &BTreeSet::new()).await?.base();
    store.publish(gun, base, &whole(version, gun.as_str()), Timestamp::UNIX_EPOCH).await
}

/// Cuts every connection that reads the change feed, and those of nobody else.
async fn cut_followers(server: &Arc<DatabaseServer>, product: Product, text: &str) {
    let (server, text) = (Arc::clone(server), text.to_owned());
    let cut = move || match product {
        Product::Postgres => {
            let statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE query LIKE '%countersign_changes WHERE%' AND pid <> pg_backend_pid()";
            server.ask(&text, statement)
        }
        Product::MariaDb => {
            // What the connection did last is not known there: all are cut.
            let name = text.rsplit('/').next().unwrap().to_owned();
            let list =
                format!("SELECT id FROM information_schema.processlist WHERE db = '{name}' AND id <> connection_id()");
            let ids = server.ask(&text, &list);
            ids.lines().for_each(|id| server.statement(&format!("KILL CONNECTION {id}")));
            ids
        }
    };
    assert_ne!(tokio::task::spawn_blocking(cut).await.unwrap(), "0");
}

/// Every publication is known to whoever asks after it was acknowledged: from two stores, at the same time, over many
/// collections, with some in one transaction.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_asks_after_an_acknowledgement_hears_of_it() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (_, first, second) = open(&server).await;
        publish(&first, &gun(0), 1).await.unwrap();
        let mut publishers = JoinSet::new();
        for n in 1..=12 {
            let store = if n % 2 == 0 { first.clone() } else { second.clone() };
            let mut follower = if n % 3 == 0 { first.follow().unwrap() } else { second.follow().unwrap() };
            publishers.spawn(async move {
                assert_eq!(follower.news().await.unwrap(), News::Anything, "the first look");
                for version in 1..=8 {
                    publish(&store, &gun(n), version).await.unwrap();
                    let own = |change: &countersign_storage::Change| {
                        let expected = whole(version, gun(n).as_str()).pop().unwrap();
                        let category = Category::Update { version: expected.version(), sha256: expected.sha256() };
                        change.gun == gun(n) && change.category == category
                    };
                    match follower.news().await.unwrap() {
                        News::Changes(changes) => assert!(changes.iter().any(own), "{product:?} {n}: {changes:?}"),
                        News::Anything => unreachable!("{product:?}: so little happened"),
                    }
                }
                store.delete(&gun(n), Timestamp::UNIX_EPOCH).await.unwrap();
                let News::Changes(changes) = follower.news().await.unwrap() else { unreachable!() };
                assert!(changes.iter().any(|change| change.gun == gun(n) && change.category == Category::Deletion));
            });
        }
        publishers.join_all().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_whose_connection_is_cut_misses_nothing() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (text, first, second) = open(&server).await;
        publish(&first, &gun(1), 1).await.unwrap();
        let mut follower = second.follow().unwrap();
        follower.news().await.unwrap();
        for version in 2..6 {
            publish(&first, &gun(1), version).await.unwrap();
            cut_followers(&server, product, &text).await;
            let News::Changes(changes) = follower.news().await.unwrap() else { unreachable!("{product:?}") };
            assert_eq!(changes.len(), 1, "{product:?}");
            assert_eq!(follower.news().await.unwrap(), News::Changes(vec![]), "{product:?}");
        }
    }
}

/// A database that was restored, or a server that took over without having heard of everything, goes on from an older state.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_went_back_is_noticed() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (text, first, second) = open(&server).await;
        let mut follower = second.follow().unwrap();
        for version in 1..4 {
            publish(&first, &gun(1), version).await.unwrap();
        }
        follower.news().await.unwrap();
        assert_eq!(follower.news().await.unwrap(), News::Changes(vec![]));
        // Back to before the third publication, and on in another way: as many changes, but not the same.
        for back in [
            "DELETE FROM countersign_changes WHERE id = 3",
            "UPDATE countersign_counters SET value = 2 WHERE name = 'changes'",
        ] {
            let (server, text) = (Arc::clone(&server), text.clone());
            let _ = tokio::task::spawn_blocking(move || server.ask(&text, back)).await.unwrap();
        }
        publish(&first, &gun(2), 1).await.unwrap();
        assert_eq!(follower.news().await.unwrap(), News::Anything, "{product:?}");
        assert_eq!(follower.news().await.unwrap(), News::Changes(vec![]), "{product:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_much_news_that_nobody_reads_it_is_anything() {
    let server = Arc::new(DatabaseServer::start(Product::Postgres));
    let (_, first, second) = open(&server).await;
    publish(&first, &gun(0), 1).await.unwrap();
    let mut follower = second.follow().unwrap();
    follower.news().await.unwrap();
    let mut publishers = JoinSet::new();
    for n in 0..600 {
        let first = first.clone();
        publishers.spawn(async move {
            first.publish(&gun(1000 + n), Base::Nothing, &whole(1, "x"), Timestamp::UNIX_EPOCH).await.unwrap();
        });
    }
    publishers.join_all().await;
    assert_eq!(follower.news().await.unwrap(), News::Anything);
    publish(&first, &gun(0), 2).await.unwrap();
    assert!(matches!(follower.news().await.unwrap(), News::Changes(changes) if changes.len() == 1));
}

/// Of publications that are stored together each is held against its own collection, and one that does not fit keeps none of
/// the others from being stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_publications_stored_together_only_those_that_do_not_fit_are_refused() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (_, first, second) = open(&server).await;
        let (count, barrier) = (48, Arc::new(Barrier::new(48)));
        for round in 1..=3_u64 {
            let mut publishers = JoinSet::new();
            for n in 0..count {
                let store = if n % 4 == 3 { second.clone() } else { first.clone() };
                let barrier = Arc::clone(&barrier);
                publishers.spawn(async move {
                    let state = store.state(&gun(n), &BTreeSet::new()).await.unwrap();
                    // Every third is built upon a state that is not there; every fifth has an old version.
                    let base =
                        if n % 3 == 0 { Base::Timestamp(whole(99, "").pop().unwrap().sha256()) } else { state.base() };
                    let version = if n % 5 == 0 && round > 1 { 1 } else { round };
                    barrier.wait().await;
                    let files = whole(version, gun(n).as_str());
                    let result = store.publish(&gun(n), base, &files, Timestamp::UNIX_EPOCH).await;
                    match result {
                        Err(PublishError::Superseded) => assert_eq!(n % 3, 0),
                        Err(PublishError::VersionConflict { .. }) => assert!(n % 5 == 0 && n % 3 != 0 && round > 1),
                        Ok(()) => assert!(n % 3 != 0 && (n % 5 != 0 || round == 1), "{n}"),
                        Err(other) => unreachable!("{product:?}: {other:?}"),
                    }
                });
            }
            publishers.join_all().await;
        }
        for n in 0..count {
            let expected: &[u64] = match (n % 3, n % 5) {
                (0, _) => &[],
                (_, 0) => &[1; 4],
                _ => &[3; 4],
            };
            let versions: Vec<u64> =
                first.pointers(&gun(n)).await.unwrap().iter().map(|pointer| pointer.version.get()).collect();
            assert_eq!(versions, expected, "{product:?} {n}");
        }
    }
}

/// One whose transaction cannot be done is refused alone, with what was wrong with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_publication_that_the_database_refuses_spoils_no_other() {
    let server = Arc::new(DatabaseServer::start(Product::Postgres));
    let (text, first, _) = open(&server).await;
    let statement = "ALTER TABLE countersign_collections ADD CHECK (gun <> 'example.com/followed/5')";
    let asked = Arc::clone(&server);
    let _ = tokio::task::spawn_blocking(move || asked.ask(&text, statement)).await.unwrap();
    let mut publishers = JoinSet::new();
    for n in 0..16 {
        let first = first.clone();
        publishers.spawn(async move {
            let result = first.publish(&gun(n), Base::Nothing, &whole(1, "x"), Timestamp::UNIX_EPOCH).await;
            assert_eq!(result.is_ok(), n != 5, "{n}: {result:?}");
        });
    }
    publishers.join_all().await;
}
