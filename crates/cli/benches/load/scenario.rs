//! What is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign_crypto::digest::sha256;
use countersign_testkit::{Keyserver, Product};
use tokio::runtime::Runtime;

use crate::http::{Address, get};
use crate::process::{Database, Server, memory, processor, processors};
use crate::publisher::{Owner, Step};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const ROUNDS: usize = 5;
const COLLECTIONS: usize = 64;
const GUN: &str = "example.com/load";

/// What was measured in one round.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Requests a second.
    rate: f64,
    /// Microseconds of the server's processor time for each request.
    cost: f64,
    /// Microseconds of the database's.
    database: f64,
    /// Milliseconds within which half, and all but a hundredth, were answered.
    half: f64,
    most: f64,
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn medians(rounds: &[Figures]) -> Figures {
    let of = |value: fn(&Figures) -> f64| median(rounds.iter().map(value).collect());
    Figures {
        rate: of(|f| f.rate),
        cost: of(|f| f.cost),
        database: of(|f| f.database),
        half: of(|f| f.half),
        most: of(|f| f.most),
    }
}

/// The time within which so many of a hundred were answered; the times are sorted.
fn quantile(times: &[f64], of_hundred: usize) -> f64 {
    times[(times.len() - 1) * of_hundred / 100]
}

fn load_of_machine() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap().split(' ').next().unwrap().to_owned()
}

/// Asks the same over so many connections for a while.
async fn ask(address: &Address, request: Vec<u8>, connections: usize, time: Duration, ids: (u32, &[u32])) -> Figures {
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let request = Arc::new(request);
    let mut clients = Vec::new();
    for _ in 0..connections {
        let mut connection = address.connect().await;
        assert_eq!(connection.ask(&request).await, 200);
        let (stop, count, request) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&request));
        clients.push(tokio::spawn(async move {
            let mut times = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                assert_eq!(connection.ask(&request).await, 200);
                times.push(begun.elapsed().as_secs_f64() * 1e3);
                count.fetch_add(1, Ordering::Relaxed);
            }
            times
        }));
    }
    let (before, database, begun) = (processor(ids.0), processors(ids.1), Instant::now());
    let first = count.load(Ordering::Relaxed);
    tokio::time::sleep(time).await;
    let requests = (count.load(Ordering::Relaxed) - first) as f64;
    let (cost, database) = (processor(ids.0) - before, processors(ids.1) - database);
    let rate = requests / begun.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.await.unwrap());
    }
    times.sort_by(f64::total_cmp);
    let (cost, database) = (cost * 1e6 / requests, database * 1e6 / requests);
    Figures { rate, cost, database, half: quantile(&times, 50), most: quantile(&times, 99) }
}

/// A trust service over plain HTTP.
fn service(folder: &std::path::Path, database: &str, keyserver: Option<&Keyserver>) -> Server {
    let folder = folder.display().to_string();
    let mut arguments = vec!["serve".to_owned(), folder, database.to_owned()];
    arguments.extend(keyserver.into_iter().flat_map(Keyserver::arguments));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    Server::this(&arguments)
}

/// The program itself, with TLS.
fn program(folder: &std::path::Path, database: &str) -> Server {
    Server::start(|address| {
        let mut command = std::process::Command::new(PROGRAM);
        command.args(["serve", "--data-dir"]).arg(folder).args(["--listen", address]);
        command.env("HOME", folder).env_remove("COUNTERSIGN_LOG");
        if database != "sqlite" {
            command.args(["--database", database]);
        }
        command
    })
}

/// A constant answer of the same HTTP stack against timestamps and content by checksum, with and without TLS.
pub(crate) fn reads(runtime: &Runtime, time: Duration) {
    println!("reads: requests a second | processor time of the service, of the database, in µs each | ms: half, 99 %");
    for product in [None, Some(Product::Postgres), Some(Product::MariaDb)] {
        let database = product.map(Database::start);
        let url = database.as_ref().map_or("sqlite", |database| database.url.as_str());
        let ids = || database.as_ref().map(Database::processes).unwrap_or_default();
        let folder = tempfile::tempdir().unwrap();
        let plain = service(&folder.path().join("data"), url, None);
        let digest = runtime.block_on(async {
            let mut connection = Address::plain(plain.address).connect().await;
            Owner::publish_first(&mut connection, GUN, 10).await;
            assert_eq!(connection.ask(&get(&format!("/v2/{GUN}/_trust/tuf/targets.json"))).await, 200);
            sha256(connection.body()).hex()
        });
        let timestamp = get(&format!("/v2/{GUN}/_trust/tuf/timestamp.json"));
        let content = get(&format!("/v2/{GUN}/_trust/tuf/targets.{digest}.json"));
        measure(runtime, time, product, "plain", &[timestamp.clone(), content.clone()], &ids, (&plain, None, "plain"));
        if product.is_none() {
            drop(plain);
        }
        let data = folder.path().join("data");
        let own = folder.path().join("tls");
        if product.is_some() {
            std::fs::create_dir(&own).unwrap();
            std::fs::copy(data.join("secret"), own.join("secret")).unwrap();
        }
        let data = if product.is_some() { own } else { data };
        let tls = program(&data, url);
        let authority = std::fs::read(data.join("ca.pem")).unwrap();
        let pair = countersign_testkit::TestCa::new();
        let certificate = pair.loopback_server();
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        std::fs::write(&chain, &certificate.certificate_pem).unwrap();
        std::fs::write(&key, &certificate.key_pem).unwrap();
        let files = format!("{},{}", chain.display(), key.display());
        let trusted = (authority, pair.pem().into_bytes());
        measure(runtime, time, product, "TLS", &[timestamp, content], &ids, (&tls, Some(&trusted), &files));
    }
}

/// A server, the authorities of its certificate and of the constant one's, and what the constant one is started with.
type Measured<'a> = (&'a Server, Option<&'a (Vec<u8>, Vec<u8>)>, &'a str);

fn measure(
    runtime: &Runtime,
    time: Duration,
    product: Option<Product>,
    scheme: &str,
    requests: &[Vec<u8>; 2],
    ids: &dyn Fn() -> Vec<u32>,
    (server, authorities, constant): Measured<'_>,
) {
    let bare = Server::this(&["constant", constant]);
    let address = |server: &Server, authority: Option<&Vec<u8>>| match authority {
        None => Address::plain(server.address),
        Some(authority) => Address::tls(server.address, authority),
    };
    let ours = address(server, authorities.map(|(ours, _)| ours));
    let constants = address(&bare, authorities.map(|(_, constants)| constants));
    for connections in [1, 16, 64, 256] {
        let mut rounds: [Vec<Figures>; 3] = Default::default();
        for _ in 0..ROUNDS {
            let constant = ask(&constants, get("/"), connections, time, (bare.id(), &[]));
            rounds[0].push(runtime.block_on(constant));
            for (request, rounds) in requests.iter().zip(&mut rounds[1..]) {
                let ids = ids();
                let asked = ask(&ours, request.clone(), connections, time, (server.id(), &ids));
                rounds.push(runtime.block_on(asked));
            }
        }
        let most_of_all = medians(&rounds[0]).rate;
        for (what, rounds) in ["constant", "timestamp", "checksum"].iter().zip(&rounds) {
            let Figures { rate, cost, database, half, most } = medians(rounds);
            let name = product.map_or("SQLite".to_owned(), |product| format!("{product:?}"));
            println!(
                "{name:9} {scheme:5} {connections:3} connections {what:9} {rate:7.0}/s {:3.0} % | {cost:5.1} {database:5.1} \
                 | {half:6.2} {most:6.2} | load {}",
                100.0 * rate / most_of_all,
                load_of_machine()
            );
        }
    }
}

/// Publications over many collections, each moving one tag of ten, signed beforehand.
pub(crate) fn publish(runtime: &Runtime, time: Duration) {
    println!("publish: a second | processor time of the service, keyserver, database, in µs each | ms: half, 99 %");
    for (product, apart) in [
        (Some(Product::Postgres), true),
        (Some(Product::Postgres), false),
        (Some(Product::MariaDb), true),
        (None, false),
    ] {
        let database = product.map(Database::start);
        let url = database.as_ref().map_or("sqlite", |database| database.url.as_str());
        let mut keyserver = apart.then(|| Keyserver::start(PROGRAM));
        let folder = tempfile::tempdir().unwrap();
        let server = service(&folder.path().join("data"), url, keyserver.as_ref());
        let keys = keyserver.as_mut().map(|keyserver| keyserver.process().id());
        let address = Address::plain(server.address);
        let mut owners = Vec::new();
        for n in 0..COLLECTIONS {
            owners.push(runtime.block_on(async {
                let mut connection = address.connect().await;
                Owner::publish_first(&mut connection, &format!("example.com/load/{n}"), 10).await
            }));
        }
        let (mut rounds, mut holder) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let stores = database.as_ref().map(Database::processes).unwrap_or_default();
            let held = keys.map_or(0.0, processor);
            let round = runtime.block_on(publish_for(time, &address, owners, (server.id(), &stores)));
            owners = round.1;
            holder.push((keys.map_or(0.0, processor) - held) * 1e6 / (round.0.rate * time.as_secs_f64()));
            rounds.push(round.0);
        }
        let (holder, Figures { rate, cost, database, half, most }) = (median(holder), medians(&rounds));
        let name = product.map_or("SQLite".to_owned(), |product| format!("{product:?}"));
        println!(
            "{name:9} keyserver {} {rate:6.0}/s | {cost:6.0} {holder:6.0} {database:6.0} | {half:6.1} {most:6.1} | load {}",
            if apart { "apart" } else { "none " },
            load_of_machine()
        );
    }
}

/// Lets every owner publish for a while, one upload after the other over a connection of his own.
async fn publish_for(
    time: Duration,
    address: &Address,
    mut owners: Vec<Owner>,
    (server, stores): (u32, &[u32]),
) -> (Figures, Vec<Owner>) {
    // More than can be published in the time.
    let uploads = 2500 * usize::try_from(time.as_secs()).unwrap() / COLLECTIONS;
    let signed: Vec<Vec<Vec<u8>>> =
        owners.iter_mut().map(|owner| (0..uploads).map(|_| owner.upload(Step::Move)).collect()).collect();
    let (ended, mut connections) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for _ in &owners {
        connections.push(address.connect().await);
    }
    let (service, store, begun) = (processor(server), processors(stores), Instant::now());
    let mut publishers = Vec::new();
    for ((owner, mut connection), uploads) in owners.into_iter().zip(connections).zip(signed) {
        let ended = Arc::clone(&ended);
        publishers.push(tokio::spawn(async move {
            let mut times = Vec::new();
            // What is signed and not published is left out: versions may leap.
            for upload in uploads {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let begun = Instant::now();
                let status = connection.ask(&upload).await;
                assert_eq!(status, 200, "{}", String::from_utf8_lossy(connection.body()));
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
            (times, owner)
        }));
    }
    tokio::time::sleep(time).await;
    ended.store(true, Ordering::Relaxed);
    let (mut times, mut owners) = (Vec::new(), Vec::new());
    for publisher in publishers {
        let (own, owner) = publisher.await.unwrap();
        times.extend(own);
        owners.push(owner);
    }
    let (seconds, count) = (begun.elapsed().as_secs_f64(), times.len() as f64);
    times.sort_by(f64::total_cmp);
    let figures = Figures {
        rate: count / seconds,
        cost: (processor(server) - service) * 1e6 / count,
        database: (processors(stores) - store) * 1e6 / count,
        half: quantile(&times, 50),
        most: quantile(&times, 99),
    };
    (figures, owners)
}

/// One more tag in 100 000.
pub(crate) fn large(runtime: &Runtime) {
    for product in [Some(Product::Postgres), Some(Product::MariaDb), None] {
        let database = product.map(Database::start);
        let url = database.as_ref().map_or("sqlite", |database| database.url.as_str());
        let folder = tempfile::tempdir().unwrap();
        let server = service(&folder.path().join("data"), url, None);
        let (mut walls, mut costs) = (Vec::new(), Vec::new());
        runtime.block_on(async {
            let mut connection = Address::plain(server.address).connect().await;
            let mut owner = Owner::publish_first(&mut connection, GUN, 100_000).await;
            for _ in 0..11 {
                let upload = owner.upload(Step::Add);
                let (before, begun) = (processor(server.id()), Instant::now());
                assert_eq!(connection.ask(&upload).await, 200);
                walls.push(begun.elapsed().as_secs_f64() * 1e3);
                costs.push((processor(server.id()) - before) * 1e3);
            }
        });
        println!(
            "{:9} one more tag in 100 000: {:.0} ms, {:.0} ms of processor time, {} MiB in memory | load {}",
            product.map_or("SQLite".to_owned(), |product| format!("{product:?}")),
            median(walls),
            median(costs),
            memory(server.id()) >> 20,
            load_of_machine()
        );
    }
}

/// Memory over a million requests.
pub(crate) fn endurance(runtime: &Runtime) {
    let database = Database::start(Product::Postgres);
    let folder = tempfile::tempdir().unwrap();
    let server = service(&folder.path().join("data"), &database.url, None);
    runtime.block_on(async {
        let address = Address::plain(server.address);
        let mut guns = Vec::new();
        for n in 0..COLLECTIONS {
            let mut connection = address.connect().await;
            guns.push(Owner::publish_first(&mut connection, &format!("example.com/load/{n}"), 10).await.gun);
        }
        for hundred_thousands in 0..=10 {
            println!("{hundred_thousands:2}00 000 requests: {:.1} MiB", memory(server.id()) as f64 / 1_048_576.0);
            let mut clients = Vec::new();
            for client in 0..32 {
                let (address, guns) = (address.clone(), guns.clone());
                clients.push(tokio::spawn(async move {
                    let mut connection = address.connect().await;
                    for n in 0..3125 {
                        let gun = &guns[(client + n) % guns.len()];
                        let name = ["timestamp", "snapshot", "targets", "root", "1.root"][n % 5];
                        let request = format!(
                            "GET /v2/{gun}/_trust/tuf/{name}.json HTTP/1.1\r\nHost: load\r\nAccept-Encoding: {}\r\n\r\n",
                            ["gzip", "zstd", "identity"][n % 3]
                        );
                        assert_eq!(connection.ask(request.as_bytes()).await, 200);
                    }
                }));
            }
            for client in clients {
                client.await.unwrap();
            }
        }
    });
}

/// How long a service takes to start on a database with 100 000 collections.
pub(crate) fn start(runtime: &Runtime) {
    use countersign_storage::{
        Base, Connections, DatabaseUrl, MetadataStore, NetworkedStore, NewMetadata, SqliteStore,
    };
    use countersign_tuf::{Gun, RoleName, Version};
    for product in [Some(Product::Postgres), Some(Product::MariaDb), None] {
        let database = product.map(Database::start);
        let url = database.as_ref().map_or("sqlite", |database| database.url.as_str());
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        drop(service(&data, url, None));
        runtime.block_on(async {
            let store: Arc<dyn MetadataStore> = if product.is_some() {
                let url = DatabaseUrl::parse(url).unwrap();
                Arc::new(NetworkedStore::open(&url, Connections::default()).await.unwrap())
            } else {
                Arc::new(SqliteStore::open(&data.join("trust.db")).await.unwrap())
            };
            let mut writers = Vec::new();
            for writer in 0..100 {
                let store = Arc::clone(&store);
                writers.push(tokio::spawn(async move {
                    for n in 0..1000 {
                        let gun = Gun::parse(&format!("example.com/{writer}/{n}")).unwrap();
                        let file = |role| NewMetadata::new(role, Version::FIRST, vec![b'x'; 500]);
                        let files = RoleName::BASE.map(file);
                        store.publish(&gun, Base::Nothing, &files, jiff::Timestamp::now()).await.unwrap();
                    }
                }));
            }
            for writer in writers {
                writer.await.unwrap();
            }
        });
        let mut times = Vec::new();
        for _ in 0..7 {
            let begun = Instant::now();
            let server = service(&data, url, None);
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            drop(server);
        }
        println!(
            "{:9} start with 100 000 collections: {:.0} ms | load {}",
            product.map_or("SQLite".to_owned(), |product| format!("{product:?}")),
            median(times),
            load_of_machine()
        );
    }
}
