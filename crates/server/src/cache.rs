//! What is kept in memory: the current state of collections, files by their digest, and their compressed forms. All are
//! bounded.
//!
//! A current state is valid while nothing was published or deleted since before it was read: every change counts up the
//! collection's generation, one made here after its commit and before it is acknowledged, one that another process made when
//! it is heard of (`confirm`). A reader that was slower than a change cannot leave the old state behind as the new one,
//! because it stored the generation from before it read.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use countersign_crypto::digest::Sha256Digest;
use countersign_storage::{Category, Change, News};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::coding::Coding;
use crate::content::Content;

/// Counters that collections share by their hash.
const STRIPES: usize = 8192;
/// Weight of a file beside its bytes.
const FILE_OVERHEAD: usize = 1024;
/// Weight of a role's name and digest.
const ROLE_OVERHEAD: usize = 192;
/// Weight of a version's digest.
const VERSION_OVERHEAD: u32 = 384;

/// The current state of one collection: one publication.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) timestamp: Arc<Content>,
    pub(crate) snapshot: Arc<Content>,
    /// The digests of all current files.
    pub(crate) digests: BTreeMap<RoleName, Sha256Digest>,
    /// When the first of timestamp and snapshot expires.
    pub(crate) expires: Timestamp,
    /// When signing anew was last tried in vain.
    failed: Mutex<Option<Instant>>,
    generation: u64,
}

/// What a current state is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) timestamp: Arc<Content>,
    pub(crate) snapshot: Arc<Content>,
    pub(crate) digests: BTreeMap<RoleName, Sha256Digest>,
    pub(crate) expires: Timestamp,
}

impl Current {
    fn new(parts: Parts, generation: u64) -> Self {
        let Parts { timestamp, snapshot, digests, expires } = parts;
        Self { timestamp, snapshot, digests, expires, failed: Mutex::default(), generation }
    }

    /// Returns when it was seen.
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.generation)
    }

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

fn weight(file: &Content) -> u32 {
    u32::try_from(file.bytes.len().saturating_add(FILE_OVERHEAD)).unwrap_or(u32::MAX)
}

/// What is kept in memory.
#[derive(Debug)]
pub(crate) struct Caches {
    sharing: Sharing,
    kept: Option<Kept>,
    changed: Generations,
    deleted: Generations,
    /// Publications that are being stored by this process.
    publishing: Mutex<HashMap<Gun, Own>>,
}

/// A compressed form of a file; none where compressing gains nothing.
#[derive(Debug, Clone)]
pub(crate) struct Compressed(pub(crate) Option<Bytes>);

#[derive(Debug)]
struct Kept {
    current: Cache<Gun, Arc<Current>>,
    files: Cache<FileKey, Arc<Content>>,
    versions: Cache<VersionKey, Sha256Digest>,
    /// Files on their way to readers, for as long as that takes: a second reader gets the same copy.
    sending: Mutex<Sending>,
    /// By the digest of the uncompressed file.
    compressed: Cache<(Sha256Digest, Coding), Compressed>,
    /// Weight above which a file is not kept.
    largest: u32,
    /// Bytes above which a file is not compressed.
    compressible: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct FileKey {
    gun: Gun,
    role: RoleName,
    sha256: Sha256Digest,
    deletions: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct VersionKey {
    gun: Gun,
    role: RoleName,
    version: Version,
    deletions: u64,
}

/// A publication of this process.
#[derive(Debug)]
struct Own {
    timestamp: Option<Sha256Digest>,
    /// The generation of the state it is built upon; counted up with the collection's when it was heard of.
    generation: u64,
    heard: bool,
}

/// Whether other processes may change the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// No other process may.
    Alone,
    /// Others may, and all they do is heard of.
    Followed,
    /// Others may, unheard.
    Shared,
}

/// Proof of when something began to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen(u64);

impl Caches {
    /// Keeps at most so many bytes; nothing at all when others may change the stores unheard.
    pub(crate) fn new(sharing: Sharing, bytes: u64) -> Self {
        let kept = (sharing != Sharing::Shared).then(|| Kept::new(bytes));
        Self { sharing, kept, changed: Generations::new(), deleted: Generations::new(), publishing: Mutex::default() }
    }

    /// Tells who may change the stores.
    pub(crate) fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Says from when on a state is being read; to be called before reading.
    pub(crate) fn seen(&self, gun: &Gun) -> Seen {
        Seen(self.changed.get(gun))
    }

    /// Returns how often the collection was deleted, as far as is known; others may be counted with it.
    pub(crate) fn deletions(&self, gun: &Gun) -> u64 {
        self.deleted.get(gun)
    }

    pub(crate) fn current(&self, gun: &Gun) -> Option<Arc<Current>> {
        let found = self.kept.as_ref()?.current.get(gun)?;
        (found.generation == self.changed.get(gun)).then_some(found)
    }

    /// Makes a state of what was read, and keeps it unless a newer one is kept already.
    pub(crate) fn keep(&self, gun: &Gun, seen: Seen, parts: Parts) -> Arc<Current> {
        let new = Arc::new(Current::new(parts, seen.0));
        if let Some(kept) = &self.kept {
            kept.current.entry_by_ref(gun).and_compute_with(|old| match old {
                Some(old) if old.value().generation > seen.0 => Op::Nop,
                _ => Op::Put(Arc::clone(&new)),
            });
        }
        new
    }

    /// To be called before a publication is stored that is built upon a state which was seen so.
    pub(crate) fn publishing(&self, gun: &Gun, seen: Seen, timestamp: Option<Sha256Digest>) -> Publishing<'_> {
        self.own().insert(gun.clone(), Own { timestamp, generation: seen.0, heard: false });
        Publishing { caches: self, gun: gun.clone() }
    }

    /// To be called after a deletion was stored and before it is acknowledged.
    pub(crate) fn deleted(&self, gun: &Gun) {
        self.deleted.count_up(gun);
        self.changed.count_up(gun);
    }

    /// To be called with everything that is heard of, before anybody is told that it was asked for.
    pub(crate) fn heard(&self, news: &News) {
        let changes = match news {
            News::Changes(changes) => changes,
            News::Anything => {
                self.deleted.count_up_all();
                self.changed.count_up_all();
                return;
            }
        };
        let mut last: HashMap<&Gun, &Change> = HashMap::new();
        for change in changes {
            if change.category == Category::Deletion {
                self.deleted(&change.gun);
            }
            last.insert(&change.gun, change);
        }
        for (gun, change) in last {
            let Category::Update { sha256, .. } = &change.category else { continue };
            self.heard_of_publication(gun, *sha256);
        }
    }

    /// Counts up the generation, unless the state that is kept is the one that was published.
    fn heard_of_publication(&self, gun: &Gun, timestamp: Sha256Digest) {
        let mut own = self.own();
        if self.current(gun).is_some_and(|current| current.timestamp.sha256 == timestamp) {
            return;
        }
        if let Some(own) = own.get_mut(gun).filter(|own| own.timestamp == Some(timestamp) && !own.heard)
            && self.changed.count_up_from(gun, own.generation)
        {
            (own.generation, own.heard) = (own.generation + 1, true);
            return;
        }
        self.changed.count_up(gun);
    }

    /// Returns a slot for a file; to be asked for before reading the file.
    pub(crate) fn file(&self, gun: &Gun, role: &RoleName, sha256: Sha256Digest) -> FileSlot<'_> {
        self.file_before(gun, role, sha256, self.deleted.get(gun))
    }

    /// Returns a slot for a file of a collection that had been deleted so often when it was read.
    pub(crate) fn file_before(&self, gun: &Gun, role: &RoleName, sha256: Sha256Digest, deletions: u64) -> FileSlot<'_> {
        let key = FileKey { gun: gun.clone(), role: role.clone(), sha256, deletions };
        FileSlot { kept: self.kept.as_ref(), deleted: &self.deleted, key }
    }

    /// Returns a slot for a file, as [`Caches::file`] does, whose names are the caller's no more.
    pub(crate) fn file_named(&self, gun: Gun, role: RoleName, sha256: Sha256Digest) -> FileSlot<'_> {
        let deletions = self.deleted.get(&gun);
        FileSlot { kept: self.kept.as_ref(), deleted: &self.deleted, key: FileKey { gun, role, sha256, deletions } }
    }

    /// Returns a slot for the digest of a version; to be asked for before reading the version.
    pub(crate) fn version(&self, gun: &Gun, role: &RoleName, version: Version) -> VersionSlot<'_> {
        let deletions = self.deleted.get(gun);
        let key = VersionKey { gun: gun.clone(), role: role.clone(), version, deletions };
        VersionSlot { kept: self.kept.as_ref(), key }
    }

    /// Returns a compressed form, if it is kept.
    pub(crate) fn compressed(&self, sha256: Sha256Digest, coding: Coding) -> Option<Compressed> {
        self.kept.as_ref()?.compressed.get(&(sha256, coding))
    }

    /// Tells whether a file of so many bytes is worth being compressed: its compressed form can be kept.
    pub(crate) fn is_compressible(&self, length: usize) -> bool {
        self.kept.as_ref().is_some_and(|kept| length <= kept.compressible)
    }

    /// Compresses a file, once for all who ask at the same time, and keeps the result; takes a while.
    pub(crate) fn compress(&self, file: &Content, coding: Coding) -> Compressed {
        let compress = || Compressed(coding.compress(&file.bytes));
        match &self.kept {
            Some(kept) => kept.compressed.get_with((file.sha256, coding), compress),
            None => compress(),
        }
    }

    /// Tells how many bytes are kept, by what they are.
    pub(crate) fn bytes(&self) -> [(&'static str, u64); 3] {
        let of = |weigh: fn(&Kept) -> u64| self.kept.as_ref().map_or(0, weigh);
        [
            ("current", of(|kept| kept.current.weighted_size())),
            ("files", of(|kept| kept.files.weighted_size())),
            ("compressed", of(|kept| kept.compressed.weighted_size())),
        ]
    }

    fn own(&self) -> MutexGuard<'_, HashMap<Gun, Own>> {
        self.publishing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn sending(&self) -> MutexGuard<'_, Sending> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Three eighths for states, as much for files, the rest for compressed files and the digests of versions.
    fn new(bytes: u64) -> Self {
        let eighth = bytes / 8;
        let compressed_weight = |_: &(Sha256Digest, Coding), file: &Compressed| {
            let length = file.0.as_ref().map_or(0, Bytes::len).saturating_add(FILE_OVERHEAD);
            u32::try_from(length).unwrap_or(u32::MAX)
        };
        Self {
            current: Cache::builder()
                .weigher(|_: &Gun, current: &Arc<Current>| current.weight())
                .max_capacity(3 * eighth)
                .build(),
            files: Cache::builder()
                .weigher(|_: &FileKey, file: &Arc<Content>| weight(file))
                .max_capacity(3 * eighth)
                .build(),
            sending: Mutex::default(),
            versions: Cache::builder().weigher(|_, _| VERSION_OVERHEAD).max_capacity(eighth / 4).build(),
            compressed: Cache::builder().weigher(compressed_weight).max_capacity(2 * eighth - eighth / 4).build(),
            largest: u32::try_from(3 * eighth).unwrap_or(u32::MAX),
            compressible: usize::try_from(eighth).unwrap_or(usize::MAX),
        }
    }
}

/// A publication of this process that is being stored. However it ends, nothing older is served afterwards.
#[must_use]
pub(crate) struct Publishing<'a> {
    caches: &'a Caches,
    gun: Gun,
}

impl Publishing<'_> {
    /// Keeps the new state, if nothing else happened to the collection since the state it was built upon was seen; to be
    /// called before the publication is acknowledged.
    pub(crate) fn stored(self, parts: Parts) {
        let mut publishing = self.caches.own();
        let Some(own) = publishing.remove(&self.gun) else { return };
        let generation = if own.heard { own.generation } else { own.generation + 1 };
        let undisturbed = if own.heard {
            self.caches.changed.get(&self.gun) == generation
        } else {
            self.caches.changed.count_up_from(&self.gun, own.generation)
        };
        if undisturbed {
            self.caches.keep(&self.gun, Seen(generation), parts);
        } else {
            self.caches.changed.count_up(&self.gun);
        }
    }
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        // Still there: it was not stored, or nobody knows.
        if self.caches.own().remove(&self.gun).is_some() {
            self.caches.changed.count_up(&self.gun);
        }
    }
}

/// The place of one file, for as long as its collection is not deleted.
pub(crate) struct FileSlot<'a> {
    kept: Option<&'a Kept>,
    deleted: &'a Generations,
    key: FileKey,
}

impl FileSlot<'_> {
    /// Tells whether the collection has not been deleted since, as far as is known by now.
    pub(crate) fn holds(&self) -> bool {
        self.deleted.get(&self.key.gun) == self.key.deletions
    }

    /// Returns whose file it is, and of which role.
    pub(crate) fn names(&self) -> (&Gun, &RoleName) {
        (&self.key.gun, &self.key.role)
    }

    pub(crate) fn get(&self) -> Option<Arc<Content>> {
        let kept = self.kept?;
        kept.files.get(&self.key).or_else(|| kept.sending().get(&self.key))
    }

    /// Keeps a file; returns the copy that there is, if there is one already.
    pub(crate) fn keep(self, file: Arc<Content>) -> Arc<Content> {
        let Some(kept) = self.kept else { return file };
        let file = if file.has_room() { kept.sending().share(&self.key, file) } else { file };
        // One that is too large would stay until the next round of cleaning.
        if weight(&file) <= kept.largest {
            kept.files.insert(self.key, Arc::clone(&file));
        }
        file
    }
}

/// Files that somebody has, whether or not they are kept.
#[derive(Debug, Default)]
struct Sending {
    files: HashMap<FileKey, Weak<Content>>,
    /// How many files there may be before those that nobody has any more are looked for.
    sparse: usize,
}

impl Sending {
    fn get(&self, key: &FileKey) -> Option<Arc<Content>> {
        self.files.get(key)?.upgrade()
    }

    fn share(&mut self, key: &FileKey, file: Arc<Content>) -> Arc<Content> {
        if let Some(there) = self.get(key) {
            return there;
        }
        if self.files.len() >= self.sparse {
            self.files.retain(|_, file| file.strong_count() > 0);
            self.sparse = 2 * self.files.len() + 64;
        }
        self.files.insert(key.clone(), Arc::downgrade(&file));
        file
    }
}

/// The place of the digest of one version, for as long as its collection is not deleted.
pub(crate) struct VersionSlot<'a> {
    kept: Option<&'a Kept>,
    key: VersionKey,
}

impl VersionSlot<'_> {
    pub(crate) fn get(&self) -> Option<Sha256Digest> {
        self.kept?.versions.get(&self.key)
    }

    pub(crate) fn keep(self, sha256: Sha256Digest) {
        if let Some(kept) = self.kept {
            kept.versions.insert(self.key, sha256);
        }
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

    /// Counts up if the counter has this value.
    fn count_up_from(&self, gun: &Gun, value: u64) -> bool {
        self.counter(gun).is_some_and(|counter| {
            counter.compare_exchange(value, value + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        })
    }

    fn count_up_all(&self) {
        for counter in &self.counters {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use countersign_crypto::digest::sha256;
    use countersign_storage::Stored;

    use super::*;

    fn file(text: &str) -> Arc<Content> {
        let (role, version, sha256) = (RoleName::Timestamp, Version::FIRST, sha256(text.as_bytes()));
        let bytes = text.to_owned().into();
        Arc::new(Content::new(Stored { role, version, sha256, bytes, stored_at: Timestamp::UNIX_EPOCH }))
    }

    fn parts(text: &str) -> Parts {
        let file = file(text);
        Parts { timestamp: Arc::clone(&file), snapshot: file, digests: BTreeMap::new(), expires: Timestamp::MAX }
    }

    fn keep(caches: &Caches, gun: &Gun, seen: Seen, text: &str) {
        caches.keep(gun, seen, parts(text));
    }

    fn kept(caches: &Caches, gun: &Gun) -> Option<String> {
        caches.current(gun).map(|current| String::from_utf8_lossy(&current.timestamp.bytes).into_owned())
    }

    fn change(gun: &Gun, category: Category) -> Change {
        Change { id: 1, created_at: Timestamp::UNIX_EPOCH, gun: gun.clone(), category }
    }

    fn update(gun: &Gun, text: &str) -> Change {
        change(gun, Category::Update { version: Version::FIRST, sha256: sha256(text.as_bytes()) })
    }

    fn publish(caches: &Caches, gun: &Gun, text: &str) {
        let seen = caches.seen(gun);
        caches.publishing(gun, seen, Some(sha256(text.as_bytes()))).stored(parts(text));
    }

    #[test]
    fn a_state_read_before_a_change_is_not_served_after_it() {
        let caches = Caches::new(Sharing::Alone, 1_000_000);
        let gun = Gun::parse("a").unwrap();
        let before = caches.seen(&gun);
        keep(&caches, &gun, before, "old");
        assert_eq!(kept(&caches, &gun).as_deref(), Some("old"));
        drop(caches.publishing(&gun, before, None));
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
        publish(&caches, &gun, "new");
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
            caches.version(&gun, &large.role, Version::FIRST).keep(large.sha256);
            caches.compress(&file(&format!("{n}{}", "x".repeat(100))), Coding::Zstd);
        }
        let Kept { files, current, versions, compressed, .. } = caches.kept.as_ref().unwrap();
        files.run_pending_tasks();
        current.run_pending_tasks();
        versions.run_pending_tasks();
        compressed.run_pending_tasks();
        let sizes =
            [files.weighted_size(), current.weighted_size(), versions.weighted_size(), compressed.weighted_size()];
        assert!(sizes.iter().sum::<u64>() <= 100_000, "{sizes:?}");
        assert!(sizes.iter().all(|size| *size > 0), "{sizes:?}");
    }

    #[test]
    fn what_others_did_is_served_no_longer_once_it_was_heard_of() {
        let caches = Caches::new(Sharing::Followed, 1_000_000);
        let (gun, other) = (Gun::parse("a").unwrap(), Gun::parse("b").unwrap());
        let all = |text: &str| {
            keep(&caches, &gun, caches.seen(&gun), text);
            let slot = caches.file(&gun, &RoleName::Root, sha256(b"root"));
            slot.keep(file("root"));
            let slot = caches.version(&gun, &RoleName::Root, Version::FIRST);
            slot.keep(sha256(b"root"));
        };
        let files = || {
            let file = caches.file(&gun, &RoleName::Root, sha256(b"root")).get();
            (file.is_some(), caches.version(&gun, &RoleName::Root, Version::FIRST).get().is_some())
        };
        all("old");
        caches.heard(&News::Changes(vec![]));
        caches.heard(&News::Changes(vec![update(&other, "x")]));
        assert_eq!(kept(&caches, &gun).as_deref(), Some("old"));
        caches.heard(&News::Changes(vec![update(&gun, "new")]));
        assert_eq!((kept(&caches, &gun), files()), (None, (true, true)));
        all("new");
        caches.heard(&News::Changes(vec![update(&gun, "newer"), update(&gun, "new")]));
        assert_eq!(kept(&caches, &gun).as_deref(), Some("new"), "it is the last one that was published");
        caches.heard(&News::Changes(vec![change(&gun, Category::Deletion), update(&gun, "new")]));
        assert_eq!((kept(&caches, &gun), files()), (None, (false, false)));
        all("again");
        caches.heard(&News::Anything);
        assert_eq!((kept(&caches, &gun), files()), (None, (false, false)));
    }

    #[test]
    fn what_was_published_here_stays_although_it_is_heard_of() {
        let gun = Gun::parse("a").unwrap();
        let own = || News::Changes(vec![update(&gun, "own")]);
        let caches = || {
            let caches = Caches::new(Sharing::Followed, 1_000_000);
            keep(&caches, &gun, caches.seen(&gun), "old");
            caches
        };
        let digest = Some(sha256(b"own"));
        let late = caches();
        late.publishing(&gun, late.seen(&gun), digest).stored(parts("own"));
        late.heard(&own());
        assert_eq!(kept(&late, &gun).as_deref(), Some("own"));
        let early = caches();
        let publishing = early.publishing(&gun, early.seen(&gun), digest);
        early.heard(&own());
        assert_eq!(kept(&early, &gun), None, "whoever asks another process sees it already");
        publishing.stored(parts("own"));
        assert_eq!(kept(&early, &gun).as_deref(), Some("own"));
    }

    #[test]
    fn what_was_published_here_is_not_kept_when_others_have_published_since() {
        let gun = Gun::parse("a").unwrap();
        let digest = Some(sha256(b"own"));
        let (own, others) = (update(&gun, "own"), update(&gun, "newer"));
        for heard in
            [vec![vec![own.clone(), others.clone()]], vec![vec![own], vec![others.clone()]], vec![vec![others]]]
        {
            let caches = Caches::new(Sharing::Followed, 1_000_000);
            let publishing = caches.publishing(&gun, caches.seen(&gun), digest);
            for changes in heard {
                caches.heard(&News::Changes(changes));
            }
            publishing.stored(parts("own"));
            assert_eq!(kept(&caches, &gun), None);
        }
    }
}
