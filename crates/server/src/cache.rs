//! What is kept in memory: the current state of collections, and files by their digest. Both are bounded.
//!
//! A current state is valid while nothing was published or deleted since before it was read: every change counts up the
//! collection's generation after its commit and before it is acknowledged. A reader that was slower than a change cannot
//! leave the old state behind as the new one, because it stored the generation from before it read.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_crypto::digest::Sha256Digest;
use countersign_storage::Stored;
use countersign_tuf::{Gun, RoleName};
use jiff::Timestamp;
use moka::ops::compute::Op;
use moka::sync::Cache;

/// Counters that collections share by their hash.
const STRIPES: usize = 1024;
/// Weight of a file beside its bytes.
const FILE_OVERHEAD: usize = 512;
/// Weight of a role's name and digest.
const ROLE_OVERHEAD: usize = 192;

/// The current state of one collection: one publication.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) timestamp: Arc<Stored>,
    pub(crate) snapshot: Arc<Stored>,
    /// The digests of all current files.
    pub(crate) digests: BTreeMap<RoleName, Sha256Digest>,
    /// When the first of timestamp and snapshot expires.
    pub(crate) expires: Timestamp,
    /// When signing anew was last tried in vain.
    failed: Mutex<Option<Instant>>,
    generation: u64,
}

impl Current {
    /// Notes that signing anew was tried in vain.
    pub(crate) fn failed_now(&self) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Tells whether that was so lately.
    pub(crate) fn failed_within(&self, duration: Duration) -> bool {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|time| time.elapsed() < duration)
    }

    fn weight(&self) -> u32 {
        let roles = self.digests.len().saturating_mul(ROLE_OVERHEAD);
        let files = weight(&self.timestamp).saturating_add(weight(&self.snapshot));
        files.saturating_add(u32::try_from(roles).unwrap_or(u32::MAX))
    }
}

fn weight(file: &Stored) -> u32 {
    u32::try_from(file.bytes.len().saturating_add(FILE_OVERHEAD)).unwrap_or(u32::MAX)
}

/// What is kept in memory.
#[derive(Debug)]
pub(crate) struct Caches {
    current: Option<Cache<Gun, Arc<Current>>>,
    files: Option<Cache<FileKey, Arc<Stored>>>,
    changed: Generations,
    deleted: Generations,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FileKey {
    gun: Gun,
    role: RoleName,
    sha256: Sha256Digest,
    deletions: u64,
}

/// Whether other processes may change the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    Alone,
    Shared,
}

/// Proof of when something began to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen(u64);

impl Caches {
    /// Keeps at most so many bytes; nothing at all when others may change the stores.
    pub(crate) fn new(sharing: Sharing, bytes: u64) -> Self {
        let (changed, deleted) = (Generations::new(), Generations::new());
        if sharing == Sharing::Shared {
            return Self { current: None, files: None, changed, deleted };
        }
        let weigh_current = |_: &Gun, current: &Arc<Current>| current.weight();
        let weigh_file = |_: &FileKey, file: &Arc<Stored>| weight(file);
        let current = Cache::builder().weigher(weigh_current).max_capacity(bytes / 2).build();
        let files = Cache::builder().weigher(weigh_file).max_capacity(bytes / 2).build();
        Self { current: Some(current), files: Some(files), changed, deleted }
    }

    /// Tells whether only this process changes the stores.
    pub(crate) fn sharing(&self) -> Sharing {
        if self.current.is_some() { Sharing::Alone } else { Sharing::Shared }
    }

    /// Says from when on a state is being read; to be called before reading.
    pub(crate) fn seen(&self, gun: &Gun) -> Seen {
        Seen(self.changed.get(gun))
    }

    pub(crate) fn current(&self, gun: &Gun) -> Option<Arc<Current>> {
        let found = self.current.as_ref()?.get(gun)?;
        (found.generation == self.changed.get(gun)).then_some(found)
    }

    /// Makes a state of what was read, and keeps it unless a newer one is kept already.
    pub(crate) fn keep(
        &self,
        gun: &Gun,
        seen: Seen,
        (timestamp, snapshot): (Arc<Stored>, Arc<Stored>),
        digests: BTreeMap<RoleName, Sha256Digest>,
        expires: Timestamp,
    ) -> Arc<Current> {
        let new =
            Arc::new(Current { timestamp, snapshot, digests, expires, failed: Mutex::default(), generation: seen.0 });
        if let Some(cache) = &self.current {
            cache.entry_by_ref(gun).and_compute_with(|old| match old {
                Some(old) if old.value().generation > seen.0 => Op::Nop,
                _ => Op::Put(Arc::clone(&new)),
            });
        }
        new
    }

    /// To be called after a publication was stored and before it is acknowledged.
    pub(crate) fn published(&self, gun: &Gun) {
        self.changed.count_up(gun);
    }

    /// To be called after a deletion was stored and before it is acknowledged.
    pub(crate) fn deleted(&self, gun: &Gun) {
        self.deleted.count_up(gun);
        self.changed.count_up(gun);
    }

    /// Returns a slot for a file; to be asked for before reading the file.
    pub(crate) fn file(&self, gun: &Gun, role: &RoleName, sha256: Sha256Digest) -> FileSlot<'_> {
        let deletions = self.deleted.get(gun);
        FileSlot {
            cache: self.files.as_ref(),
            key: FileKey { gun: gun.clone(), role: role.clone(), sha256, deletions },
        }
    }
}

/// The place of one file, for as long as its collection is not deleted.
pub(crate) struct FileSlot<'a> {
    cache: Option<&'a Cache<FileKey, Arc<Stored>>>,
    key: FileKey,
}

impl FileSlot<'_> {
    pub(crate) fn get(&self) -> Option<Arc<Stored>> {
        self.cache?.get(&self.key)
    }

    pub(crate) fn keep(self, file: Stored) -> Arc<Stored> {
        let file = Arc::new(file);
        if let Some(cache) = self.cache {
            cache.insert(self.key, Arc::clone(&file));
        }
        file
    }
}

#[derive(Debug)]
struct Generations {
    hasher: RandomState,
    counters: Box<[AtomicU64]>,
}

impl Generations {
    fn new() -> Self {
        Self { hasher: RandomState::new(), counters: (0..STRIPES).map(|_| AtomicU64::new(0)).collect() }
    }

    fn counter(&self, gun: &Gun) -> Option<&AtomicU64> {
        let stripe = usize::try_from(self.hasher.hash_one(gun) % STRIPES as u64).ok()?;
        self.counters.get(stripe)
    }

    fn get(&self, gun: &Gun) -> u64 {
        self.counter(gun).map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    fn count_up(&self, gun: &Gun) {
        if let Some(counter) = self.counter(gun) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_crypto::digest::sha256;
    use countersign_tuf::Version;

    use super::*;

    fn file(text: &str) -> Stored {
        let (role, version, sha256) = (RoleName::Timestamp, Version::FIRST, sha256(text.as_bytes()));
        Stored { role, version, sha256, bytes: text.to_owned().into(), stored_at: Timestamp::UNIX_EPOCH }
    }

    fn keep(caches: &Caches, gun: &Gun, seen: Seen, text: &str) {
        let file = Arc::new(file(text));
        caches.keep(gun, seen, (Arc::clone(&file), file), BTreeMap::new(), Timestamp::MAX);
    }

    fn kept(caches: &Caches, gun: &Gun) -> Option<String> {
        caches.current(gun).map(|current| String::from_utf8_lossy(&current.timestamp.bytes).into_owned())
    }

    #[test]
    fn a_state_read_before_a_change_is_not_served_after_it() {
        let caches = Caches::new(Sharing::Alone, 1_000_000);
        let gun = Gun::parse("a").unwrap();
        let before = caches.seen(&gun);
        keep(&caches, &gun, before, "old");
        assert_eq!(kept(&caches, &gun).as_deref(), Some("old"));
        caches.published(&gun);
        assert_eq!(kept(&caches, &gun), None);
        keep(&caches, &gun, before, "old, from a slow reader");
        assert_eq!(kept(&caches, &gun), None);
        keep(&caches, &gun, caches.seen(&gun), "new");
        keep(&caches, &gun, before, "old, from a very slow reader");
        assert_eq!(kept(&caches, &gun).as_deref(), Some("new"));
    }

    #[test]
    fn a_file_is_not_served_after_the_deletion_of_its_collection() {
        let caches = Caches::new(Sharing::Alone, 1_000_000);
        let gun = Gun::parse("a").unwrap();
        let file = file("x");
        let slot = || caches.file(&gun, &file.role, file.sha256);
        let late = slot();
        slot().keep(file.clone());
        assert!(slot().get().is_some());
        caches.published(&gun);
        assert!(slot().get().is_some(), "a publication changes no file");
        caches.deleted(&gun);
        assert!(slot().get().is_none());
        late.keep(file.clone());
        assert!(slot().get().is_none());
    }

    #[test]
    fn nothing_of_shared_stores_is_kept() {
        let caches = Caches::new(Sharing::Shared, 1_000_000);
        let gun = Gun::parse("a").unwrap();
        keep(&caches, &gun, caches.seen(&gun), "x");
        assert_eq!(kept(&caches, &gun), None);
        let file = file("x");
        caches.file(&gun, &file.role, file.sha256).keep(file.clone());
        assert!(caches.file(&gun, &file.role, file.sha256).get().is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes() {
        let caches = Caches::new(Sharing::Alone, 100_000);
        for n in 0..100 {
            let gun = Gun::parse(&format!("a/{n}")).unwrap();
            let large = file(&"x".repeat(10_000));
            caches.file(&gun, &large.role, large.sha256).keep(large.clone());
            keep(&caches, &gun, caches.seen(&gun), &"x".repeat(10_000));
        }
        let (files, current) = (caches.files.as_ref().unwrap(), caches.current.as_ref().unwrap());
        files.run_pending_tasks();
        current.run_pending_tasks();
        assert!(files.weighted_size() <= 50_000 && files.entry_count() > 0);
        assert!(current.weighted_size() <= 50_000 && current.entry_count() > 0);
    }
}
