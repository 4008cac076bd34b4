//! A database that holds very much: what is asked of one collection does not take longer for it.
//!
//! `COUNTERSIGN_TEST_VERSIONS` says how many files are stored (nightly: 1000000).

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use countersign_storage::{ChangeQuery, MetadataStore, NewMetadata, SqliteStore};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

const VERSIONS: u64 = 6_000;
/// Versions of each of the four roles of a collection.
const EACH: u64 = 10;
/// How often each question is asked.
const SAMPLES: u64 = 31;
/// A search through everything would take hundreds of times longer; this much is noise.
const NOISE: u32 = 8;

fn gun(number: u64) -> Gun {
    Gun::parse(&format!("example.com/many/{number}")).unwrap()
}

async fn publish(store: &SqliteStore, gun: &Gun, version: u64) {
    let version = Version::new(version).unwrap();
    let bytes = format!("{gun} {version} ").repeat(16).into_bytes();
    let files = RoleName::BASE.map(|role| NewMetadata::new(role, version, bytes.clone()));
    let base = store.state(gun, &BTreeSet::new()).await.unwrap().base();
    store.publish(gun, base, &files, Timestamp::UNIX_EPOCH).await.unwrap();
}

/// What a reader and a publisher ask of one collection, each question's median time.
async fn times(store: &SqliteStore, gun: &Gun) -> [Duration; 3] {
    let mut taken: [Vec<Duration>; 3] = Default::default();
    let first = store.pointers(gun).await.unwrap().first().unwrap().version.get();
    for number in 1..=SAMPLES {
        let begun = Instant::now();
        assert_eq!(store.pointers(gun).await.unwrap().len(), 4);
        let old = store.by_version(gun, &RoleName::Targets, Version::FIRST).await.unwrap().unwrap();
        assert!(store.by_checksum(gun, &RoleName::Targets, &old.sha256).await.unwrap().is_some());
        taken[0].push(begun.elapsed());
        let begun = Instant::now();
        publish(store, gun, first + number).await;
        taken[1].push(begun.elapsed());
        let begun = Instant::now();
        assert!(!store.changes(&ChangeQuery::new(Some(gun.clone()), 0, 5)).await.unwrap().is_empty());
        taken[2].push(begun.elapsed());
    }
    taken.map(|mut times| {
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap()
    })
}

async fn open(folder: &Path) -> SqliteStore {
    SqliteStore::open(&folder.join("trust.db")).await.unwrap()
}

#[tokio::test]
async fn among_very_many_versions_of_very_many_collections_one_is_as_quick_as_alone() {
    let versions = std::env::var("COUNTERSIGN_TEST_VERSIONS").map_or(VERSIONS, |text| text.parse().unwrap());
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [alone, among] = [open(folders[0].path()).await, open(folders[1].path()).await];
    let collections = versions / (4 * EACH);
    for number in 0..collections {
        for version in 1..=EACH {
            publish(&among, &gun(number), version).await;
        }
    }
    let one = gun(collections / 2);
    for version in 1..=EACH {
        publish(&alone, &one, version).await;
    }
    let (alone, among) = (times(&alone, &one).await, times(&among, &one).await);
    println!("reading, publishing, changes: alone {alone:?}, among {versions} versions {among:?}");
    for (alone, among) in alone.into_iter().zip(among) {
        assert!(among < alone * NOISE + Duration::from_millis(5), "{among:?} among many, {alone:?} alone");
    }
}
