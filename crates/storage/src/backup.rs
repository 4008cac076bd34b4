//! Everything that a service keeps, as it goes from one store to another of any kind.
//!
//! Files go as they are stored: packed, some of them as what is different from an earlier version, which every store
//! understands alike. So a backup is as small as the database, and nothing has to be unpacked to make one.

use async_trait::async_trait;
use countersign_crypto::KeyId;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;
use tokio::sync::mpsc::Sender;

use crate::{Change, KeyStore, MetadataStore, PageSize, RetentionStore, ServiceKey, StoreError};

/// The name under which it stands that a restore has begun and not ended.
pub(crate) const RESTORING: &str = "restoring";
/// Rows that are read at once.
pub(crate) const PAGE: i64 = 32;

/// A stored version of a role, packed as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptFile {
    /// The collection.
    pub gun: Gun,
    /// The role.
    pub role: RoleName,
    /// The version.
    pub version: Version,
    /// The digest of the file.
    pub sha256: Sha256Digest,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Whether it is the role's current one.
    pub is_current: bool,
    /// Bytes of the file; 0: `data` is the file.
    pub length: u64,
    /// The version that it is stored as a difference from.
    pub base: Option<Version>,
    /// What is stored.
    pub data: Vec<u8>,
}

/// A key of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// The key, its private part as it is stored: encrypted, or a word that says that it is at a keyserver.
    pub key: ServiceKey,
    /// When its collection was deleted: from then on it signs nothing.
    pub retired_at: Option<Timestamp>,
}

/// One thing of all that a service keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// A version of a role.
    File(KeptFile),
    /// A change, with its number.
    Change(Change),
    /// A key.
    Key(KeptKey),
    /// The highest number that a change ever had.
    LastChange(i64),
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holding {
    /// Nothing at all.
    Nothing,
    /// What a restore has left that did not end.
    Part,
    /// Collections, changes or keys.
    Something,
}

/// The part of a store that is backed up, and restored into.
///
/// What every implementation promises: [`BackupStore::dump`] sends one state, that of a moment after it was called, and
/// keeps nobody from publishing; what was sent, loaded into a store of any kind, reads back there byte for byte.
#[async_trait]
pub trait BackupStore: MetadataStore + RetentionStore + KeyStore {
    /// Sends everything: files by collection, role and version, then changes by number, then keys. Ends early, without an
    /// error, when nobody listens any more.
    ///
    /// # Errors
    /// Fails when the database does, or has what this service never wrote.
    async fn dump(&self, to: Sender<Kept>) -> Result<(), StoreError>;

    /// Says what the store holds.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn holding(&self) -> Result<Holding, StoreError>;

    /// Begins a restore: takes away what an earlier one has left and records that one has begun. Returns what the store held;
    /// where that is [`Holding::Something`], nothing was done.
    ///
    /// # Errors
    /// Fails when the database does; then nothing was done.
    async fn begin_restore(&self) -> Result<Holding, StoreError>;

    /// Stores things of a dump, all or none.
    ///
    /// # Errors
    /// Fails when one of them is there already, when no restore has begun, or when the database fails.
    async fn load(&self, things: &[Kept]) -> Result<(), StoreError>;

    /// Records that the restore has ended.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn end_restore(&self) -> Result<(), StoreError>;

    /// Returns keys, retired ones too, in the order of their ids.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn kept_keys(&self, after: Option<&KeyId>, limit: PageSize) -> Result<Vec<KeptKey>, StoreError>;
}

/// Tells that nobody listens any more.
pub(crate) struct Unheard;

/// Sends a thing.
pub(crate) async fn tell(to: &Sender<Kept>, kept: Kept) -> Result<(), Unheard> {
    to.send(kept).await.map_err(|_| Unheard)
}

/// Returns what a row says of the version that it is stored as a difference from.
pub(crate) fn base(number: i64) -> Result<Option<Version>, StoreError> {
    if number == 0 { Ok(None) } else { crate::columns::read_version(number).map(Some) }
}

/// Returns a length as it stands in a row.
pub(crate) fn length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
