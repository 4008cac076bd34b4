//! The audit log in the database: entries beside what they tell of, in the same transaction where that is possible.

use async_trait::async_trait;
use countersign_audit::{ChainName, Draft, Head};
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::Gun;
use jiff::Timestamp;

use crate::columns::read_digest;
use crate::{Base, NewMetadata, PublishError, StoreError};

/// An entry and the chain that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The chain.
    pub chain: ChainName,
    /// What it says.
    pub draft: Draft,
}

/// Keeps an audit log. Each chain's entries have numbers without gaps, and each is chained to the one before, whoever adds to
/// the chain at the same time.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Publishes like [`MetadataStore::publish`](crate::MetadataStore::publish); the entry is there exactly if the publication is.
    ///
    /// # Errors
    /// As for `publish`.
    async fn publish_recorded(
        &self,
        gun: &Gun,
        base: Base,
        files: &[NewMetadata],
        now: Timestamp,
        record: &Record,
    ) -> Result<(), PublishError>;

    /// Adds entries to a chain, all or none; returns where it stands then.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn append(&self, chain: &ChainName, drafts: &[Draft]) -> Result<Head, StoreError>;

    /// Returns where all chains stand, by name.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn heads(&self) -> Result<Vec<(ChainName, Head)>, StoreError>;

    /// Returns at most so many lines of a chain, in their order, after the entry with this number.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn lines(&self, chain: &ChainName, after: u64, limit: u16) -> Result<Vec<String>, StoreError>;
}

/// Reads where a chain stands.
pub(crate) fn read_head(seq: i64, hash: &str) -> Result<Head, StoreError> {
    let seq = u64::try_from(seq).map_err(|_| StoreError::damaged("seq", &seq))?;
    Ok(Head { seq, hash: read_digest(hash)? })
}

/// Reads a chain's name.
pub(crate) fn read_chain(name: &str) -> Result<ChainName, StoreError> {
    ChainName::parse(name).map_err(|_| StoreError::damaged("chain", name))
}

/// A number as the database has it.
pub(crate) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// Chains entries after a head; returns the lines with their numbers, and the new head.
pub(crate) fn chained<'a>(
    chain: &ChainName,
    head: Head,
    drafts: impl IntoIterator<Item = &'a Draft>,
) -> (Vec<(i64, String)>, Head) {
    let (mut lines, mut head) = (Vec::new(), head);
    for draft in drafts {
        let (line, next) = draft.chained(chain, &head);
        lines.push((number(next.seq), line));
        head = next;
    }
    (lines, head)
}

/// The hash of a chain that has no entry, in hexadecimal.
pub(crate) fn no_hash() -> String {
    Sha256Digest::from_bytes([0; 32]).hex()
}
