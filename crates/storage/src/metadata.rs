//! Metadata: every version of every file of every collection.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use async_trait::async_trait;
use bytes::Bytes;
use countersign_crypto::digest::{Sha256Digest, sha256};
use countersign_tuf::accept::{self, MAX_VERSION_STEP};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;

use crate::{AuditStore, Change, ChangeQuery, Follower, PageSize, PublishError, RetentionStore, StoreError};

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The role the file belongs to.
    pub role: RoleName,
    /// The version the file carries.
    pub version: Version,
    /// The digest of `bytes`.
    pub sha256: Sha256Digest,
    /// The bytes exactly as they were stored.
    pub bytes: Bytes,
    /// When the file was stored, to the microsecond.
    pub stored_at: Timestamp,
}

/// A file to be stored, with the digest of its bytes: computed here, or by the validation that accepted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMetadata {
    role: RoleName,
    version: Version,
    bytes: Bytes,
    sha256: Sha256Digest,
}

impl NewMetadata {
    /// Prepares a file for storing.
    pub fn new(role: RoleName, version: Version, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let sha256 = sha256(&bytes);
        Self { role, version, bytes, sha256 }
    }

    /// Returns the role.
    #[must_use]
    pub fn role(&self) -> &RoleName {
        &self.role
    }

    /// Returns the version.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Returns the bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Compares the version with the highest stored one of the role, as every store does before it publishes.
    pub(crate) fn check_version(&self, base: Base, highest: Option<Version>) -> Result<(), PublishError> {
        let (role, offered) = (&self.role, self.version);
        if let Some(stored) = highest.filter(|stored| *stored >= offered) {
            return Err(PublishError::VersionConflict { role: role.clone(), offered, stored });
        }
        let stored = highest.map_or(0, Version::get);
        let is_any = match base {
            Base::Anything => true,
            Base::Moved => highest.is_none(),
            Base::Nothing | Base::Timestamp(_) => false,
        };
        if !is_any && offered.get() - stored > MAX_VERSION_STEP {
            return Err(PublishError::TooFarAhead { role: role.clone(), offered, stored });
        }
        Ok(())
    }

    /// Returns the digest of the bytes.
    #[must_use]
    pub fn sha256(&self) -> Sha256Digest {
        self.sha256
    }
}

impl From<accept::NewMetadata> for NewMetadata {
    fn from(accepted: accept::NewMetadata) -> Self {
        let accept::NewMetadata { role, version, bytes, sha256 } = accepted;
        Self { role, version, bytes, sha256 }
    }
}

/// Where the current file of a role is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    /// The role.
    pub role: RoleName,
    /// Its current version.
    pub version: Version,
    /// The digest of its current file.
    pub sha256: Sha256Digest,
}

/// Files of one and the same publication.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The current timestamp's digest, none when nothing is published: the value to build upon, see [`Base`].
    pub timestamp: Option<Sha256Digest>,
    /// The current files among those asked for.
    pub files: BTreeMap<RoleName, Stored>,
}

impl State {
    /// Returns the base of a publication made from this state.
    #[must_use]
    pub fn base(&self) -> Base {
        self.timestamp.map_or(Base::Nothing, Base::Timestamp)
    }
}

/// The state of the collection that a publication was built upon.
///
/// Checked in the transaction that stores the publication: it is the fence between publishers, whichever process they run in
/// and however long they were paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Base {
    /// Whatever is there, and however far versions are apart (for imports of foreign databases).
    Anything,
    /// The collection has no current timestamp.
    Nothing,
    /// The collection has no current timestamp; what comes first of each role was there at another service, whatever its version.
    Moved,
    /// The current timestamp has this digest.
    Timestamp(Sha256Digest),
}

/// What a deletion found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Every version of the collection is gone and a deletion is in the change feed.
    Deleted,
    /// There was nothing; the change feed is unchanged.
    NothingThere,
}

/// Stores the metadata of collections and the feed of changes to them.
///
/// What every implementation promises (Notary protocol, server database; the suite in `contract` checks it):
/// - A publication is stored whole or not at all, and is durable when `publish` returns.
/// - Readers see the collection before or after a publication, never between.
/// - For every role, versions only grow until the collection is deleted; gaps are fine up to
///   [`MAX_VERSION_STEP`](countersign_tuf::accept::MAX_VERSION_STEP).
/// - The *current* files are those of the last publication that contained the role.
/// - Names are compared byte by byte; one collection's deletion does not touch another's files.
#[async_trait]
pub trait MetadataStore: Send + Sync {
    /// Returns the current file of a role.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn current(&self, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError>;

    /// Returns the current files of several roles, all of the same publication; roles without a file are left out.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn state(&self, gun: &Gun, roles: &BTreeSet<RoleName>) -> Result<State, StoreError>;

    /// Returns where the current files of all roles are, all of the same publication, in role order.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn pointers(&self, gun: &Gun) -> Result<Vec<Pointer>, StoreError>;

    /// Returns the file of this role with this digest, whichever version it is.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn by_checksum(
        &self,
        gun: &Gun,
        role: &RoleName,
        sha256: &Sha256Digest,
    ) -> Result<Option<Stored>, StoreError>;

    /// Returns the file of this role with this version.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn by_version(&self, gun: &Gun, role: &RoleName, version: Version) -> Result<Option<Stored>, StoreError>;

    /// Stores the files in one transaction and makes them current; when a timestamp is among them, an update is added to
    /// the change feed. An empty list changes nothing.
    ///
    /// # Errors
    /// Nothing is stored when the collection's state is not `base` (`Superseded`), or when a version is not greater than
    /// every stored version of its role (`VersionConflict`) or is too far ahead of them (`TooFarAhead`; not with
    /// [`Base::Anything`], and not the first one with [`Base::Moved`]), or when the database fails.
    async fn publish(&self, gun: &Gun, base: Base, files: &[NewMetadata], now: Timestamp) -> Result<(), PublishError>;

    /// Removes every version of every role of exactly this collection, and retires the service's keys that have signed for it.
    ///
    /// # Errors
    /// Fails when the database does; then nothing is removed.
    async fn delete(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError>;

    /// Returns changes, oldest first.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, StoreError>;

    /// Returns collections whose current timestamp was not stored within the given time, in byte order after `after`: the old
    /// ones, and those stored in what is still the future, by a clock that was wrong.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn stale(
        &self,
        fresh: RangeInclusive<Timestamp>,
        after: Option<&Gun>,
        limit: PageSize,
    ) -> Result<Vec<Gun>, StoreError>;

    /// Returns the part that retention works on, where there is one.
    fn retention(&self) -> Option<&dyn RetentionStore> {
        None
    }

    /// Returns the audit log beside the metadata, where there is one.
    fn audit(&self) -> Option<&dyn AuditStore> {
        None
    }

    /// Returns a follower of the changes that all processes make; none where they cannot be followed without missing one.
    ///
    /// A store with a follower reads back what it stores before [`MetadataStore::publish`] returns.
    fn follow(&self) -> Option<Box<dyn Follower>> {
        None
    }

    /// Checks that the database answers, has its tables and can be written to.
    ///
    /// # Errors
    /// Fails when it does not.
    async fn health(&self) -> Result<(), StoreError>;
}
