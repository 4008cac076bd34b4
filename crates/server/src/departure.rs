//! Keys that the service made itself go to a keyserver: they are opened, compared with the roots of their collections, handed
//! over, and, when asked, let go here. Services may be running meanwhile.

use std::sync::Arc;

use countersign_crypto::{KeyId, PrivateKey};
use countersign_keyfile::jwe;
use countersign_storage::{
    EncryptedKey, KeyStore, MetadataStore, NewServiceKey, PageSize, Resealed, ServiceKey, ServiceRole, StoreError,
};
use countersign_tuf::metadata::Root;
use countersign_tuf::{Gun, RoleName, Unverified};
use jiff::Timestamp;

use crate::config::{Config, Storage};
use crate::data_dir::{DataDirError, Secret, secret_in};
use crate::server_keys::{AT_KEYSERVER, Rows};
use crate::service::{Service, StartError};
use crate::stores::{self, Stores};

/// Says why no keys can be handed over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DepartureError {
    /// The database is of another release, or there is none.
    #[error("the database is not of this release: see `countersign serve migrate --check`")]
    AnotherRelease,
    /// The tables are the reference's.
    #[error("on the reference's tables the service has no keys: they are at its signer")]
    ReferenceTables,
    /// The secret is not there.
    #[error("the file secret is missing in {0}: the keys in the database cannot be opened without it")]
    NoSecret(std::path::PathBuf),
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A key of the service.
#[derive(Debug)]
pub struct OwnKey {
    /// Its id.
    pub id: KeyId,
    /// The collection that it signs for.
    pub gun: Gun,
    /// The role that it signs for.
    pub role: ServiceRole,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last signed; none: it waits for its first use.
    pub last_used: Option<Timestamp>,
    /// What it is good for, and the key itself where it is here and can be opened.
    pub standing: Standing,
    sealed: Sealed,
}

/// The private part as it is in the database.
#[derive(Debug, Clone)]
pub struct Sealed(KeyId, EncryptedKey);

impl OwnKey {
    /// What [`Departure::let_go`] needs of it.
    #[must_use]
    pub fn sealed(&self) -> Sealed {
        self.sealed.clone()
    }
}

/// What a key is good for.
#[derive(Debug)]
#[non_exhaustive]
pub enum Standing {
    /// The current root of its collection names it, for its role.
    Named(Box<PrivateKey>),
    /// It was asked for and has not signed yet: a root that is not published yet may name it.
    Waits(Box<PrivateKey>),
    /// The current root of its collection names others.
    OutOfUse(Box<PrivateKey>),
    /// Its collection was deleted: it signs nothing any more, wherever it is.
    Retired,
    /// It is at a keyserver already.
    Elsewhere,
    /// It cannot be used, and why.
    Broken(String),
}

/// The keys of a service.
pub struct Departure {
    stores: Stores,
    metadata: Arc<dyn MetadataStore>,
    keys: Arc<dyn KeyStore>,
    secret: Secret,
}

impl std::fmt::Debug for Departure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Departure").finish_non_exhaustive()
    }
}

impl Departure {
    /// Opens the database of a service, and reads its secret.
    ///
    /// # Errors
    /// One of them is not there, is of another release or of another kind.
    pub async fn open(config: &Config) -> Result<Self, DepartureError> {
        if matches!(config.storage, Storage::Reference { .. }) {
            return Err(DepartureError::ReferenceTables);
        }
        let secret = secret_in(&config.data_dir)?;
        let secret = secret.ok_or_else(|| DepartureError::NoSecret(config.data_dir.clone()))?;
        let layout = Service::layout(config).await?;
        if !layout.pending.is_empty() || !layout.unknown.is_empty() || layout.unfinished.is_some() {
            return Err(DepartureError::AnotherRelease);
        }
        let stores = Stores::open_at(config, &config.data_dir.join(stores::FILE)).await?;
        let (metadata, rows) = (stores.metadata(), stores.keys());
        let Rows::Store(keys) = rows else { return Err(DepartureError::ReferenceTables) };
        if !stores.agree_on(&secret).await? {
            return Err(StartError::AnotherSecret.into());
        }
        Ok(Self { stores, metadata, keys, secret })
    }

    /// Returns some of the keys, in the order of their ids; none when there are no more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn page(&self, after: Option<&KeyId>) -> Result<Vec<OwnKey>, DepartureError> {
        let mut page = Vec::new();
        for found in self.keys.keys(after, PageSize::wished(0)).await? {
            page.push(self.look_at(found).await?);
        }
        Ok(page)
    }

    /// Has the service look for a key at the keyserver from now on: its private part is taken out of the database, if it still
    /// is the one that was read. A service that runs signs with it until it is restarted.
    ///
    /// # Errors
    /// The database fails.
    pub async fn let_go(&self, Sealed(id, private): &Sealed) -> Result<Resealed, DepartureError> {
        Ok(self.keys.replace_private(id, private, &EncryptedKey::new(AT_KEYSERVER)).await?)
    }

    /// Closes the database.
    pub async fn close(self) {
        self.stores.close().await;
    }

    async fn look_at(&self, found: ServiceKey) -> Result<OwnKey, StoreError> {
        let ServiceKey { key, created_at, last_used } = found;
        let standing = if key.private.as_str() == AT_KEYSERVER {
            Standing::Elsewhere
        } else if self.keys.service_key(&key.gun, &key.id).await?.is_none() {
            Standing::Retired
        } else {
            let named = self.names(&key.gun, key.role, &key.id).await?;
            match self.opened(&key).await {
                Ok(private) if named => Standing::Named(private),
                Ok(private) if last_used.is_none() => Standing::Waits(private),
                Ok(private) => Standing::OutOfUse(private),
                Err(why) => Standing::Broken(why),
            }
        };
        let (id, gun, role, sealed) = (key.id, key.gun, key.role, Sealed(key.id, key.private));
        Ok(OwnKey { id, gun, role, created_at, last_used, standing, sealed })
    }

    async fn opened(&self, key: &NewServiceKey) -> Result<Box<PrivateKey>, String> {
        let (key, secret) = (key.clone(), self.secret.clone());
        let opening = tokio::task::spawn_blocking(move || {
            let private = jwe::open_key(key.private.as_str(), &key.algorithm, secret.as_bytes());
            let private = private.map_err(|error| error.to_string())?;
            let public = private.public_key();
            // The id is the public key's own digest: whoever is named by it is this very key.
            if public.canonical_id() == key.id && public.bytes() == key.public {
                Ok(Box::new(private))
            } else {
                Err("the private key belongs to another public key".to_owned())
            }
        });
        opening.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Tells whether the current root of a collection names a key for a role.
    async fn names(&self, gun: &Gun, role: ServiceRole, id: &KeyId) -> Result<bool, StoreError> {
        let Some(file) = self.metadata.current(gun, &RoleName::Root).await? else { return Ok(false) };
        let Ok(root) = Unverified::<Root>::read(&RoleName::Root, file.bytes) else { return Ok(false) };
        let role = match role {
            ServiceRole::Snapshot => RoleName::Snapshot,
            ServiceRole::Timestamp => RoleName::Timestamp,
        };
        let root = root.into_untrusted();
        Ok(root.keys_of(&role).is_some_and(|keys| keys.iter().any(|(_, key)| key.canonical_id() == *id)))
    }
}
