//! Several services over one database: what one has acknowledged, all serve, although each keeps it in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_server::{Clock, Connections, DatabaseUrl, Storage};
use countersign_testkit::{DatabaseServer, Product};
use jiff::SignedDuration;
use tokio::task::JoinSet;

use crate::owner::Owner;
use crate::service::TestService;

const GUN: &str = "example.com/replicas";
const PRODUCTS: [Product; 2] = [Product::Postgres, Product::MariaDb];

/// Two services over one database, with one secret; the second one's clock is hours behind.
async fn two(server: &Arc<DatabaseServer>) -> (String, TestService, TestService) {
    let asked = Arc::clone(server);
    let text = tokio::task::spawn_blocking(move || asked.database()).await.unwrap();
    let storage = || Storage::Database {
        url: Box::new(DatabaseUrl::parse(&text).unwrap()),
        connections: Connections { most: 4, patience: Duration::from_secs(5) },
    };
    let first = TestService::with(|config| config.storage = storage()).await;
    let secret = std::fs::read(first.folder.path().join("data/secret")).unwrap();
    let time = first.time.clone();
    let second = TestService::with_secret(&secret, |config| {
        config.storage = storage();
        config.clock = Clock::new(move || time.now() - SignedDuration::from_hours(12));
    })
    .await;
    (text, first, second)
}

async fn version(service: &TestService, gun: &str) -> u64 {
    let targets = service.file(gun, "targets.json").await.ok().json()["signed"]["version"].as_u64().unwrap();
    let snapshot = service.file(gun, "snapshot.json").await.ok().json();
    // A whole chain: whatever was published meanwhile is newer.
    assert!(snapshot["signed"]["meta"]["targets"].is_object());
    targets
}

/// Cuts all connections to the database.
async fn cut(server: &Arc<DatabaseServer>, product: Product, text: &str) {
    let (server, text) = (Arc::clone(server), text.to_owned());
    let cut = move || match product {
        Product::Postgres => {
            let statement = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                WHERE datname = current_database() AND pid <> pg_backend_pid()";
            assert_ne!(server.ask(&text, statement), "0");
        }
        Product::MariaDb => {
            let name = text.rsplit('/').next().unwrap();
            let list =
                format!("SELECT id FROM information_schema.processlist WHERE db = '{name}' AND id <> connection_id()");
            let ids = server.ask(&text, &list);
            assert!(!ids.is_empty());
            ids.lines().for_each(|id| server.statement(&format!("KILL CONNECTION {id}")));
        }
    };
    tokio::task::spawn_blocking(cut).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_has_acknowledged_the_other_serves_at_once_although_it_keeps_the_old_in_memory() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (text, first, second) = two(&server).await;
        let owner = Owner::of(&first, GUN).await;
        owner.publish_first(&first).await;
        assert_eq!(version(&second, GUN).await, 1);
        for round in 2..14 {
            let (here, there) = if round % 3 == 0 { (&second, &first) } else { (&first, &second) };
            here.upload(GUN, &[("targets", owner.targets(round, &["v"]))]).await.ok();
            if round % 4 == 0 {
                // The other has been following over a connection that is no more.
                cut(&server, product, &text).await;
            }
            assert_eq!(version(there, GUN).await, round, "{product:?}");
            assert_eq!(version(here, GUN).await, round, "{product:?}");
            assert_eq!(version(there, GUN).await, round, "{product:?}: from memory");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_through_one_the_other_does_not_serve_from_memory() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (_, first, second) = two(&server).await;
        let owner = Owner::of(&first, GUN).await;
        owner.publish_first(&first).await;
        let digest = crate::owner::hex_digest(&second.file(GUN, "root.json").await.ok().body);
        let names = ["timestamp.json", "root.json", "1.root.json", &format!("root.{digest}.json")];
        for name in names.iter().chain(&names) {
            second.file(GUN, name).await.ok();
        }
        first.delete(GUN).await.ok();
        for name in names {
            assert_eq!(second.file(GUN, name).await.error(), "404 METADATA_NOT_FOUND", "{product:?} {name}");
        }
        // Its keys are retired, also where they have been in memory.
        let again = [("root", owner.root(1)), ("targets", owner.targets(1, &[]))];
        for service in [&second, &first] {
            let refused = service.upload(GUN, &again).await;
            assert_eq!(refused.status, 400, "{product:?}: {}", refused.text());
        }
    }
}

/// Whoever knows the checksum may have the file from any cache for weeks; a service that keeps it asks once a second.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_through_one_the_other_serves_by_checksum_for_a_second_at_most() {
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (_, first, second) = two(&server).await;
        let owner = Owner::of(&first, GUN).await;
        owner.publish_first(&first).await;
        let digest = crate::owner::hex_digest(&second.file(GUN, "root.json").await.ok().body);
        let name = format!("root.{digest}.json");
        for _ in 0..2 {
            second.file(GUN, &name).await.ok();
        }
        first.delete(GUN).await.ok();
        let deleted = Instant::now();
        // No other request makes the service ask.
        while second.file(GUN, &name).await.status == 200 {
            assert!(deleted.elapsed() < Duration::from_secs(5), "{product:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(second.file(GUN, &name).await.error(), "404 METADATA_NOT_FOUND", "{product:?}");
    }
}

/// Readers at both services never see an older version than one that was acknowledged before they asked, and never go back,
/// whichever service they ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_anywhere_never_see_less_than_was_acknowledged_nor_go_back() {
    use std::sync::atomic::{AtomicU64, Ordering};
    const LAST: u64 = 40;
    for product in PRODUCTS {
        let server = Arc::new(DatabaseServer::start(product));
        let (_, first, second) = two(&server).await;
        let owner = Owner::of(&first, GUN).await;
        owner.publish_first(&first).await;
        let (services, acknowledged) = (Arc::new([first, second]), Arc::new(AtomicU64::new(1)));
        let seen = Arc::new(AtomicU64::new(1));
        let mut readers = JoinSet::new();
        for reader in 0..6 {
            let (services, acknowledged, seen) = (Arc::clone(&services), Arc::clone(&acknowledged), Arc::clone(&seen));
            readers.spawn(async move {
                let mut turn = reader;
                while acknowledged.load(Ordering::SeqCst) < LAST {
                    turn += 1;
                    let least = acknowledged.load(Ordering::SeqCst).max(seen.load(Ordering::SeqCst));
                    let found = services[turn % 2].file(GUN, "targets.json").await.ok().json();
                    let found = found["signed"]["version"].as_u64().unwrap();
                    assert!(found >= least, "{product:?}: {found} after {least}");
                    seen.fetch_max(found, Ordering::SeqCst);
                }
            });
        }
        for next in 2..=LAST {
            let service = &services[usize::try_from(next).unwrap() % 2];
            service.upload(GUN, &[("targets", owner.targets(next, &["v"]))]).await.ok();
            acknowledged.store(next, Ordering::SeqCst);
        }
        readers.join_all().await;
    }
}

/// While the database cannot be asked nothing is served from memory: somebody else may have published.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_cannot_ask_the_database_serves_nothing_from_memory() {
    for product in PRODUCTS {
        let mut server = DatabaseServer::start(product);
        let url = Box::new(DatabaseUrl::parse(&server.database()).unwrap());
        let connections = Connections { most: 4, patience: Duration::from_secs(1) };
        let service = TestService::with(|config| config.storage = Storage::Database { url, connections }).await;
        let owner = Owner::of(&service, GUN).await;
        owner.publish_first(&service).await;
        let digest = crate::owner::hex_digest(&service.file(GUN, "root.json").await.ok().body);
        let names = ["timestamp.json", "root.json", &format!("root.{digest}.json")];
        for name in names {
            service.file(GUN, name).await.ok();
        }
        server.kill();
        for name in names {
            assert_eq!(service.file(GUN, name).await.error(), "503 UNAVAILABLE", "{product:?} {name}");
        }
        server.resume();
        for name in names {
            service.file(GUN, name).await.ok();
        }
    }
}
