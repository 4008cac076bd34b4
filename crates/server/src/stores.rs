//! The stores that the settings name: opening, closing, and bringing them to this release's layout.

use std::path::Path;
use std::sync::Arc;

use countersign_crypto::digest::sha256;
use countersign_storage::{
    Absent, BackupStore, Follower, KeyStore, Layout, MetadataStore, NetworkedStore, PoolUse, ReferenceStore,
    SqliteStore, StoreError,
};

use crate::cache::Sharing;
use crate::config::{Config, Storage};
use crate::data_dir::{DataDir, Secret};
use crate::server_keys::Rows;
use crate::service::{Service, StartError};

/// The database's file in the data folder.
pub(crate) const FILE: &str = "trust.db";
/// What goes before the secret when its fingerprint is taken.
const FINGERPRINT: &str = "countersign: the secret of the keys in this database: ";

/// Returns what tells secrets apart. The secret is random and long, so that this gives nothing away.
pub(crate) fn fingerprint(secret: &Secret) -> String {
    sha256(format!("{FINGERPRINT}{}", **secret).as_bytes()).hex()
}

/// Tells how the connections of each pool are used.
pub(crate) type Pools = Box<dyn Fn() -> Vec<(&'static str, PoolUse)> + Send + Sync>;

/// Open stores.
pub(crate) enum Stores {
    Sqlite(SqliteStore),
    Networked(NetworkedStore),
    Reference(ReferenceStore),
    Given { metadata: Arc<dyn MetadataStore>, keys: Arc<dyn KeyStore> },
}

impl Stores {
    pub(crate) async fn open(config: &Config, data: &DataDir) -> Result<Self, StoreError> {
        Self::open_at(config, &data.file(FILE)).await
    }

    /// Opens the stores, the embedded one in this file: without holding its folder, beside a service that does.
    pub(crate) async fn open_at(config: &Config, file: &Path) -> Result<Self, StoreError> {
        match &config.storage {
            Storage::Sqlite => SqliteStore::open_patiently(file, config.limits.database).await.map(Self::Sqlite),
            Storage::Database { url, connections } => {
                NetworkedStore::open(url, *connections).await.map(Self::Networked)
            }
            Storage::Reference { url, connections } => {
                ReferenceStore::open(url, *connections, Absent::Create).await.map(Self::Reference)
            }
            Storage::Shared { metadata, keys } => {
                Ok(Self::Given { metadata: Arc::clone(metadata), keys: Arc::clone(keys) })
            }
        }
    }

    pub(crate) fn metadata(&self) -> Arc<dyn MetadataStore> {
        match self {
            Self::Sqlite(store) => Arc::new(store.clone()),
            Self::Networked(store) => Arc::new(store.clone()),
            Self::Reference(store) => Arc::new(store.clone()),
            Self::Given { metadata, .. } => Arc::clone(metadata),
        }
    }

    pub(crate) fn keys(&self) -> Rows {
        match self {
            Self::Sqlite(store) => Rows::Store(Arc::new(store.clone())),
            Self::Networked(store) => Rows::Store(Arc::new(store.clone())),
            Self::Reference(_) => Rows::of_signer(self.metadata()),
            Self::Given { keys, .. } => Rows::Store(Arc::clone(keys)),
        }
    }

    /// Returns the store that can be backed up; the reference's tables are backed up as the reference is.
    pub(crate) fn backup(&self) -> Option<Arc<dyn BackupStore>> {
        match self {
            Self::Sqlite(store) => Some(Arc::new(store.clone())),
            Self::Networked(store) => Some(Arc::new(store.clone())),
            Self::Reference(_) | Self::Given { .. } => None,
        }
    }

    /// Only the file is known to be nobody else's: this process holds its folder.
    pub(crate) fn sharing(&self, follower: Option<&dyn Follower>) -> Sharing {
        match (self, follower) {
            (Self::Sqlite(_), _) => Sharing::Alone,
            (_, Some(_)) => Sharing::Followed,
            (_, None) => Sharing::Shared,
        }
    }

    /// Tells whether every other service on the database encrypts its keys under the same secret.
    pub(crate) async fn agree_on(&self, secret: &Secret) -> Result<bool, StoreError> {
        let Self::Networked(store) = self else { return Ok(true) };
        let fingerprint = fingerprint(secret);
        Ok(store.agree_on_secret(&fingerprint).await? == fingerprint)
    }

    /// Returns what tells how the connections to the database are used.
    pub(crate) fn pools(&self) -> Pools {
        match self {
            Self::Sqlite(store) => {
                let store = store.clone();
                Box::new(move || store.pools().to_vec())
            }
            Self::Networked(store) => {
                let store = store.clone();
                Box::new(move || vec![("all", store.pool())])
            }
            Self::Reference(store) => {
                let store = store.clone();
                Box::new(move || vec![("all", store.pool())])
            }
            Self::Given { .. } => Box::new(Vec::new),
        }
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Networked(store) => store.close().await,
            Self::Reference(store) => store.close().await,
            Self::Given { .. } => {}
        }
    }
}

impl Service {
    /// Brings the database to this release's layout, as starting the service does, and does nothing else.
    ///
    /// # Errors
    /// Fails when the data folder is in use, or the database cannot be used or was written by a newer release.
    pub async fn migrate(config: &Config) -> Result<(), StartError> {
        let data = DataDir::open(&config.data_dir)?;
        Stores::open(config, &data).await?.close().await;
        Ok(())
    }

    /// Compares the database's layout with this release's, and changes nothing.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub async fn layout(config: &Config) -> Result<Layout, StartError> {
        match &config.storage {
            Storage::Database { url, .. } => Ok(NetworkedStore::layout(url).await?),
            Storage::Sqlite => Ok(SqliteStore::layout(&config.data_dir.join(Path::new(FILE))).await?),
            Storage::Reference { .. } | Storage::Shared { .. } => Ok(Layout::default()),
        }
    }
}
