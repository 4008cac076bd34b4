//! Reading the audit log that is in the database.

use std::sync::Arc;

use countersign_audit::{ChainName, Head};
use countersign_storage::{AuditStore, MetadataStore, StoreError};

use crate::config::Config;
use crate::service::{Service, StartError};
use crate::stores::{self, Stores};

/// Says why the audit log in the database cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditReadError {
    /// The database is of another release, or there is none.
    #[error("the database is not of this release: see `countersign serve migrate --check`")]
    AnotherRelease,
    /// The store has no audit log.
    #[error("these tables have no audit log")]
    NoPlace,
    /// The database could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The audit log in a database; services may be writing it meanwhile.
pub struct AuditReader {
    stores: Stores,
    metadata: Arc<dyn MetadataStore>,
}

impl std::fmt::Debug for AuditReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditReader")
    }
}

impl AuditReader {
    /// Opens the database that the settings name.
    ///
    /// # Errors
    /// Fails when it is not of this release, has no audit log, or cannot be opened.
    pub async fn open(config: &Config) -> Result<Self, AuditReadError> {
        let layout = Service::layout(config).await?;
        if !layout.pending.is_empty() || !layout.unknown.is_empty() || layout.unfinished.is_some() {
            return Err(AuditReadError::AnotherRelease);
        }
        let stores = Stores::open_at(config, &config.data_dir.join(stores::FILE)).await?;
        let metadata = stores.metadata();
        if metadata.audit().is_none() {
            return Err(AuditReadError::NoPlace);
        }
        Ok(Self { stores, metadata })
    }

    fn log(&self) -> Result<&dyn AuditStore, AuditReadError> {
        self.metadata.audit().ok_or(AuditReadError::NoPlace)
    }

    /// Returns where all chains stand, by name.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn heads(&self) -> Result<Vec<(ChainName, Head)>, AuditReadError> {
        Ok(self.log()?.heads().await?)
    }

    /// Returns at most so many lines of a chain, in their order, after the entry with this number.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn lines(&self, chain: &ChainName, after: u64, limit: u16) -> Result<Vec<String>, AuditReadError> {
        Ok(self.log()?.lines(chain, after, limit).await?)
    }

    /// Closes the database.
    pub async fn close(&self) {
        self.stores.close().await;
    }
}
