//! Readers and publishers at work for a while: everything is answered, in time, and memory stays what it is.
//!
//! `COUNTERSIGN_TEST_LOAD` says for how many seconds (nightly: 3600), `COUNTERSIGN_TEST_LOAD_READERS` (1000) and
//! `COUNTERSIGN_TEST_LOAD_PUBLISHERS` (50) how many there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Client;
use tokio::task::JoinHandle;

use crate::memory::Apart;
use crate::owner::Owner;
use crate::service::{TestService, client, multipart};

const SECONDS: u64 = 4;
const READERS: u64 = 40;
const PUBLISHERS: u64 = 6;
/// Slower than this nothing in a hundred may be, on however busy a machine and unoptimised.
const READ: Duration = Duration::from_secs(2);
const PUBLISH: Duration = Duration::from_secs(8);
/// Memory may grow so much in the second half, in KiB: what is kept for readers has a limit of 32 MiB.
const GROWTH: u64 = 40 * 1024;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

fn gun(number: u64) -> String {
    format!("example.com/load/{number}")
}

/// How long each request took; panics at one that is not answered as it should be.
type Times = JoinHandle<Vec<Duration>>;

fn reader(client: Client, base: String, first: u64, collections: u64, done: Arc<AtomicBool>) -> Times {
    tokio::spawn(async move {
        let mut times = Vec::new();
        let roles = ["timestamp", "snapshot", "targets", "root"];
        for (number, role) in (first..).zip(roles.into_iter().cycle()) {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let begun = Instant::now();
            let url = format!("{base}/v2/{}/_trust/tuf/{role}.json", gun(number % collections));
            let answer = client.get(url).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            answer.bytes().await.unwrap();
            times.push(begun.elapsed());
        }
        times
    })
}

fn publisher(client: Client, base: String, owner: Owner, done: Arc<AtomicBool>) -> Times {
    tokio::spawn(async move {
        let mut times = Vec::new();
        for version in 2_u64.. {
            if done.load(Ordering::Relaxed) {
                break;
            }
            let tag = format!("v{version}");
            let file = owner.targets(version, &["v1", &tag]);
            let begun = Instant::now();
            let upload = client.post(format!("{base}/v2/{}/_trust/tuf/", owner.gun));
            let upload = upload.header("Content-Type", "multipart/form-data; boundary=BOUNDARY");
            let answer = upload.body(multipart(&[("targets", file)])).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            times.push(begun.elapsed());
        }
        times
    })
}

/// The time that one in a hundred exceeds, of all requests.
async fn slow(all: Vec<Times>) -> (usize, Duration) {
    let mut times = Vec::new();
    for one in all {
        times.extend(one.await.unwrap());
    }
    times.sort_unstable();
    (times.len(), times.get(times.len() * 99 / 100).copied().unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn under_load_everything_is_answered_in_time_and_memory_does_not_grow() {
    let seconds = number("COUNTERSIGN_TEST_LOAD", SECONDS);
    let readers = number("COUNTERSIGN_TEST_LOAD_READERS", READERS);
    let publishers = number("COUNTERSIGN_TEST_LOAD_PUBLISHERS", PUBLISHERS);
    let service = TestService::start().await;
    let mut owners = Vec::new();
    for number in 0..publishers {
        let owner = Owner::of(&service, &gun(number)).await;
        owner.publish_first(&service).await;
        owners.push(owner);
    }
    let TestService { running, folder, .. } = service;
    running.shut_down().await;
    let apart = Apart::start(&folder.path().join("data"));
    let (client, done) = (client(), Arc::new(AtomicBool::new(false)));
    let start_reader = |number| reader(client.clone(), apart.base.clone(), number, publishers, Arc::clone(&done));
    let start_publisher = |owner| publisher(client.clone(), apart.base.clone(), owner, Arc::clone(&done));
    let publishing: Vec<Times> = owners.into_iter().map(start_publisher).collect();
    let reading: Vec<Times> = (0..readers).map(start_reader).collect();
    tokio::time::sleep(Duration::from_secs(seconds) / 2).await;
    let half = apart.resident();
    tokio::time::sleep(Duration::from_secs(seconds) / 2).await;
    let whole = apart.resident();
    done.store(true, Ordering::Relaxed);
    let ((read, slow_read), (published, slow_publish)) = (slow(reading).await, slow(publishing).await);
    println!(
        "{read} reads, one in a hundred above {slow_read:?}; {published} publications, {slow_publish:?}; {half} KiB at half \
         time, {whole} KiB at the end"
    );
    assert!(read as u64 > readers && published as u64 > publishers, "{read} {published}");
    assert!(slow_read < READ, "one read in a hundred took more than {slow_read:?}");
    assert!(slow_publish < PUBLISH, "one publication in a hundred took more than {slow_publish:?}");
    assert!(whole < half + GROWTH, "{half} KiB at half time, {whole} KiB at the end");
}
