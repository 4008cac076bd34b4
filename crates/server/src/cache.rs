//! What is kept in memory: the current state of collections, and files by their digest. Both are bounded.
//!
//! A current state is valid while nothing was published or deleted since before it was read: every change counts up the
//! collection's generation after its commit and before it is acknowledged. A reader that was slower than a change cannot
//! leave the old state behind as the new one, because it stored the generation from before it read.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use countersign_crypto::digest::Sha256Digest;
use countersign_storage::Stored;
use countersign_tuf::{Gun, RoleName};
use jiff::Timestamp;
use moka::ops::compute::Op;
use moka::sync::Cache;

/// Counters that collections share by their hash.
const STRIPES: usize = 1024;
/// Weight of a file beside its bytes.
const FILE_OVERHEAD: u32 = 512;

/// The current state of one collection: one publication.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) timestamp: Arc<Stored>,
    pub(crate) snapshot: Arc<Stored>,
    /// The digests of all current files.
    pub(crate) digests: BTreeMap<RoleName, Sha256Digest>,
    /// When the first of timestamp and snapshot expires.
    pub(crate) expires: Timestamp,
    generation: u64,
}

/// What is kept in memory.
#[derive(Debug)]
pub(crate) struct Caches {
    current: Option<Cache<Gun, Arc<Current>>>,
    files: Cache<FileKey, Arc<Stored>>,
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
    pub(crate) fn new(sharing: Sharing, collections: u64, bytes: u64) -> Self {
        let current = match sharing {
            Sharing::Alone => Some(Cache::new(collections)),
            Sharing::Shared => None,
        };
        let weigh = |_: &FileKey, file: &Arc<Stored>| {
            u32::try_from(file.bytes.len()).unwrap_or(u32::MAX).saturating_add(FILE_OVERHEAD)
        };
        let files = Cache::builder().weigher(weigh).max_capacity(bytes).build();
        Self { current, files, changed: Generations::new(), deleted: Generations::new() }
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
        let new = Arc::new(Current { timestamp, snapshot, digests, expires, generation: seen.0 });
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
        FileSlot { cache: &self.files, key: FileKey { gun: gun.clone(), role: role.clone(), sha256, deletions } }
    }
}

/// The place of one file, for as long as its collection is not deleted.
pub(crate) struct FileSlot<'a> {
    cache: &'a Cache<FileKey, Arc<Stored>>,
    key: FileKey,
}

impl FileSlot<'_> {
    pub(crate) fn get(&self) -> Option<Arc<Stored>> {
        self.cache.get(&self.key)
    }

    pub(crate) fn keep(self, file: Stored) -> Arc<Stored> {
        let file = Arc::new(file);
        self.cache.insert(self.key, Arc::clone(&file));
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
        let caches = Caches::new(Sharing::Alone, 10, 1000);
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
        let caches = Caches::new(Sharing::Alone, 10, 1_000_000);
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
    fn shared_stores_have_no_current_state_in_memory() {
        let caches = Caches::new(Sharing::Shared, 10, 1000);
        let gun = Gun::parse("a").unwrap();
        keep(&caches, &gun, caches.seen(&gun), "x");
        assert_eq!(kept(&caches, &gun), None);
    }
}
