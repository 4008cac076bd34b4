//! What keys there are, without what is secret of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_crypto::{KeyId, KeyType};
use countersign_storage::{Alias, PageSize, ServiceRole, SigningKey, SqliteSigningKeys, StoreError};
use countersign_tuf::Gun;
use jiff::Timestamp;

use crate::service::DATABASE;

/// How long a lock of the running service is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Says why keys cannot be listed (environment).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// There is no database in the data folder.
    #[error("there is no database of keys in {0}")]
    NoDatabase(PathBuf),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key that a signing service has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedKey {
    /// Its id.
    pub id: KeyId,
    /// The collection that it signs for.
    pub gun: Gun,
    /// The role that it signs for.
    pub role: ServiceRole,
    /// Its algorithm.
    pub algorithm: KeyType,
    /// What it is kept under: a passphrase or a token.
    pub alias: Alias,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last signed, to a day; none: it waits for its first use.
    pub last_used: Option<Timestamp>,
}

impl From<SigningKey> for ListedKey {
    fn from(found: SigningKey) -> Self {
        let SigningKey { stored, created_at, last_used } = found;
        let (key, alias) = (stored.key, stored.alias);
        let (id, gun, role, algorithm) = (key.id, key.gun, key.role, key.algorithm);
        Self { id, gun, role, algorithm, alias, created_at, last_used }
    }
}

/// Lists the keys in a data folder, also while a service runs on it. No passphrase and no token is needed.
///
/// # Errors
/// There is no database, or it cannot be used.
pub async fn list(data_dir: &Path) -> Result<Vec<ListedKey>, ListError> {
    let path = data_dir.join(DATABASE);
    if !path.is_file() {
        return Err(ListError::NoDatabase(data_dir.to_owned()));
    }
    let store = SqliteSigningKeys::open(&path, PATIENCE).await?;
    let mut listed: Vec<ListedKey> = Vec::new();
    loop {
        let page = store.page(listed.last().map(|key| &key.id), PageSize::wished(0)).await?;
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(ListedKey::from));
    }
    store.close().await;
    listed.sort_by(|one, other| (&one.gun, one.role, one.created_at).cmp(&(&other.gun, other.role, other.created_at)));
    Ok(listed)
}
