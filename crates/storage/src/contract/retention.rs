//! Taking old versions away.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_tuf::{Gun, RoleName, Version};

use super::{Handle, Subject, at, file, gun, role};
use crate::{Amount, Base, Held, Mode, NewMetadata, PageSize, Pruning, Retention, RetentionStore, retain};

/// Steps of a history.
const STEPS: u64 = 40;

fn keeper(handle: &Handle) -> &dyn RetentionStore {
    handle.metadata.retention().unwrap()
}

fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

fn newest(number: u32) -> Retention {
    Retention::Versions(NonZeroU32::new(number).unwrap())
}

/// Numbers that look random and are the same every time.
fn dice(step: u64) -> u64 {
    sha256(&step.to_le_bytes()).as_bytes().iter().take(4).fold(0, |sum, byte| sum * 256 + u64::from(*byte))
}

/// A file with so many lines, of which no other seed has any.
fn lines(seed: u64, count: u64) -> Bytes {
    (0..count).flat_map(|n| sha256(&(seed << 32 | n).to_le_bytes()).hex().into_bytes()).collect()
}

async fn publish(handle: &Handle, gun: &Gun, name: &str, number: u64, bytes: &Bytes) {
    let file = NewMetadata::new(role(name), version(number), bytes.clone());
    handle.metadata.publish(gun, Base::Anything, &[file], at(i64::try_from(number).unwrap())).await.unwrap();
}

async fn versions(handle: &Handle, gun: &Gun, name: &str) -> Vec<u64> {
    let history = keeper(handle).history(gun).await.unwrap();
    history.iter().filter(|held| held.role == role(name)).map(|held| held.version.get()).collect()
}

/// Whatever a history of growing, shrinking and replaced files leaves, and whenever old versions go: those that have to stay
/// are there, all that are there read back byte for byte from another process, and the figures are those of the database.
pub async fn old_versions_go_and_all_others_read_back(subject: &Subject) {
    let gun = gun("example.com/retention");
    let mut published: BTreeMap<u64, Bytes> = BTreeMap::new();
    for step in 1..=STEPS {
        let bytes = match dice(step) % 10 {
            0 => lines(step, 900),
            1 => lines(1, 3),
            2 => lines(2, 1_500 + step),
            _ => lines(1, 1_000 + step),
        };
        publish(&subject.first, &gun, "targets", step, &bytes).await;
        publish(&subject.first, &gun, "root", step, &bytes).await;
        published.insert(step, bytes);
        if dice(step) % 7 != 3 {
            continue;
        }
        let keep = u32::try_from(1 + dice(step) % 5).unwrap();
        let dry = retain(keeper(&subject.second), &gun, newest(keep), at(0), Mode::DryRun).await.unwrap();
        let before = keeper(&subject.first).history(&gun).await.unwrap();
        let done = retain(keeper(&subject.second), &gun, newest(keep), at(0), Mode::Apply).await.unwrap();
        let after = keeper(&subject.first).history(&gun).await.unwrap();
        assert_eq!(dry, done);
        let sum = |all: &[Held]| Amount {
            versions: all.len().try_into().unwrap(),
            bytes: all.iter().map(|held| held.bytes).sum(),
        };
        let (before, left) = (sum(&before), sum(&after));
        assert_eq!(
            (before.versions - left.versions, before.bytes - left.bytes),
            (done.going().versions, done.going().bytes)
        );
        for number in step.saturating_sub(u64::from(keep)) + 1..=step {
            assert!(
                after.iter().any(|held| held.role == RoleName::Targets && held.version.get() == number),
                "{number}"
            );
        }
        assert_eq!(versions(&subject.first, &gun, "root").await, (1..=step).rev().collect::<Vec<_>>());
        for held in after {
            let bytes = published.get(&held.version.get()).unwrap();
            let found = subject.second.metadata.by_version(&gun, &held.role, held.version).await.unwrap().unwrap();
            assert!(found.bytes == *bytes, "{} {} after step {step}", held.role, held.version);
            let found = subject.first.metadata.by_checksum(&gun, &held.role, &held.sha256).await.unwrap().unwrap();
            assert!(found.bytes == *bytes, "{} {} after step {step}", held.role, held.version);
        }
    }
    assert!(versions(&subject.first, &gun, "targets").await.len() < 25);
    assert_eq!(
        keeper(&subject.first).collections(None, PageSize::wished(9)).await.unwrap(),
        std::slice::from_ref(&gun)
    );
    assert_eq!(keeper(&subject.first).collections(Some(&gun), PageSize::wished(9)).await.unwrap(), []);
}

/// Roots, current files, and what a difference refers to stay, although their removal is asked for.
pub async fn what_has_to_stay_stays_whatever_is_asked(subject: &Subject) {
    let gun = gun("example.com/asked");
    for number in 1..=3 {
        publish(&subject.first, &gun, "targets", number, &lines(1, 1_000 + number)).await;
        publish(&subject.first, &gun, "root", number, &lines(1, number)).await;
        publish(&subject.first, &gun, "targets/x", number, &lines(1, number)).await;
    }
    let history = keeper(&subject.first).history(&gun).await.unwrap();
    assert!(history.iter().any(|held| held.base == Some(version(1))), "nothing is stored as a difference: {history:?}");
    let ask = [("root", 1), ("targets", 1), ("targets", 3), ("targets/x", 3), ("targets/x", 9), ("targets/y", 1)];
    let ask = ask.map(|(name, number)| (role(name), version(number)));
    assert_eq!(keeper(&subject.second).prune(&gun, None, &ask).await.unwrap(), Pruning::Done);
    assert_eq!(keeper(&subject.first).history(&gun).await.unwrap(), history);
    let ask = [(role("targets/x"), version(1))];
    assert_eq!(keeper(&subject.second).prune(&gun, None, &ask).await.unwrap(), Pruning::Done);
    assert_eq!(versions(&subject.first, &gun, "targets/x").await, [3, 2]);
}

/// Taking versions away keeps the collection's publishers waiting no longer where there are many more.
pub async fn old_versions_go_as_fast_from_a_long_history(subject: &Subject) {
    // Reading all versions for each one would take twenty times as long.
    let holds = |(short, long): &(Duration, Duration)| *long < 5 * *short + Duration::from_millis(50);
    let mut took = Vec::new();
    // A machine that is busy with other things makes one measure wrong, and not all.
    while took.len() < 3 && !took.last().is_some_and(holds) {
        let attempt = took.len();
        let short = quickest_portion(subject, &format!("example.com/short{attempt}"), 600).await;
        took.push((short, quickest_portion(subject, &format!("example.com/long{attempt}"), 12_000).await));
    }
    assert!(took.last().is_some_and(holds), "short and long: {took:?}");
}

/// Publishes so many versions, and takes some hundreds away; returns how long a hundred took.
async fn quickest_portion(subject: &Subject, name: &str, count: u64) -> Duration {
    const GOING: u64 = 400;
    let gun = gun(name);
    let all: Vec<u64> = (1..=count).collect();
    for numbers in all.chunks(2_000) {
        let file =
            |number: &u64| NewMetadata::new(RoleName::Targets, version(*number), format!("{number}").into_bytes());
        let files: Vec<NewMetadata> = numbers.iter().map(file).collect();
        subject.first.metadata.publish(&gun, Base::Anything, &files, at(1)).await.unwrap();
    }
    let ask: Vec<_> = (1..=GOING).map(|number| (RoleName::Targets, version(number))).collect();
    let mut quickest = Duration::MAX;
    for ask in ask.chunks(100) {
        let begun = Instant::now();
        assert_eq!(keeper(&subject.second).prune(&gun, None, ask).await.unwrap(), Pruning::Done);
        quickest = quickest.min(begun.elapsed());
    }
    let left = versions(&subject.first, &gun, "targets").await;
    assert_eq!((left.len(), left.last()), (usize::try_from(count - GOING).unwrap(), Some(&(GOING + 1))));
    quickest
}

/// What was decided upon a state that is no longer there is not done.
pub async fn nothing_goes_after_another_publication(subject: &Subject) {
    let gun = gun("example.com/meanwhile");
    let (one, two) = (file("timestamp", 1, "a"), file("timestamp", 2, "b"));
    let digests = [one.sha256(), two.sha256()];
    for new in [one, two] {
        subject.first.metadata.publish(&gun, Base::Anything, &[new], at(0)).await.unwrap();
    }
    let ask = [(RoleName::Timestamp, Version::FIRST)];
    for wrong in [None, Some(digests[0])] {
        assert_eq!(keeper(&subject.second).prune(&gun, wrong, &ask).await.unwrap(), Pruning::Superseded);
        assert_eq!(versions(&subject.first, &gun, "timestamp").await, [2, 1]);
    }
    assert_eq!(keeper(&subject.second).prune(&gun, Some(digests[1]), &ask).await.unwrap(), Pruning::Done);
    assert_eq!(versions(&subject.first, &gun, "timestamp").await, [2]);
}

/// While one publishes and deletes and another takes old versions away, whoever reads gets right files.
pub async fn retention_beside_publishers_and_readers(subject: &Subject) {
    let gun = gun("example.com/beside");
    let done = Arc::new(AtomicBool::new(false));
    let mut working = tokio::task::JoinSet::new();
    for handle in [subject.first.clone(), subject.second.clone()] {
        let (reading, read_gun, read_done) = (handle.clone(), gun.clone(), Arc::clone(&done));
        working.spawn(async move {
            let mut number = 0;
            while !read_done.load(Ordering::Relaxed) {
                number += 1;
                let asked = version(1 + number % 20);
                let found = reading.metadata.by_version(&read_gun, &RoleName::Targets, asked).await.unwrap();
                assert!(found.is_none_or(|found| found.bytes == lines(1, 1_000 + asked.get())));
                if let Some(found) = reading.metadata.current(&read_gun, &RoleName::Targets).await.unwrap() {
                    assert!(found.bytes == lines(1, 1_000 + found.version.get()));
                }
            }
        });
        let (gun, done) = (gun.clone(), Arc::clone(&done));
        working.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                retain(keeper(&handle), &gun, newest(2), at(0), Mode::Apply).await.unwrap();
                tokio::task::yield_now().await;
            }
        });
    }
    for life in 1..=2 {
        for number in 1..=20 {
            publish(&subject.first, &gun, "targets", number, &lines(1, 1_000 + number)).await;
        }
        if life == 1 {
            subject.second.metadata.delete(&gun, at(99)).await.unwrap();
        }
    }
    done.store(true, Ordering::Relaxed);
    working.join_all().await;
    retain(keeper(&subject.first), &gun, newest(2), at(0), Mode::Apply).await.unwrap();
    let left = versions(&subject.second, &gun, "targets").await;
    assert!(left.starts_with(&[20, 19]) && left.len() <= 3, "{left:?}");
}
