//! Starting and stopping.

use std::net::SocketAddr;
use std::sync::Arc;

use countersign_signer_rpc::{ServerConfig, SignerServer, SigningService, TlsError};
use countersign_storage::{Absent, Alias, ReferenceSigningKeys, SigningKeyStore, SqliteSigningKeys, StoreError};
use countersign_telemetry::Listener;
use countersign_vault::TokenError;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::aliases::open_one;
use crate::audit::{Audit, AuditError};
use crate::config::{Config, KeyStorage};
use crate::data_dir::{DataDir, DataDirError};
use crate::keys::{KeyTrouble, Keys, Parts};
use crate::metrics::{Counted, OperatorPages};
use crate::passphrases::{PassphraseError, is_short};
use crate::tokens;

/// The database in the data folder.
pub(crate) const DATABASE: &str = "keys.db";
/// What `SQLite` keeps beside it while it is open.
pub(crate) const LOG_OF_DATABASE: &str = "keys.db-wal";
pub(crate) const INDEX_OF_LOG: &str = "keys.db-shm";
/// The audit log in the data folder.
pub(crate) const AUDIT: &str = "audit.log";

/// Says why the service did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data folder cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log cannot be used.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Connections cannot be protected.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The passphrase for new keys is not at hand.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// Keys in the database cannot be opened.
    #[error(
        "keys under the alias {alias} cannot be used: its passphrase, or its token, must be at hand as long as keys are under it"
    )]
    Keys {
        /// The alias.
        alias: Alias,
        /// Why not.
        #[source]
        source: Box<KeyTrouble>,
    },
    /// The address cannot be listened on.
    #[error("{address} cannot be listened on")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl StartError {
    /// Tells whether a token did not take the PIN, or there was none: starting again would be another try, and wrong PINs lock
    /// a token.
    #[must_use]
    pub fn is_of_pin(&self) -> bool {
        let Self::Keys { source, .. } = self else { return false };
        matches!(
            **source,
            KeyTrouble::Token(
                TokenError::WrongPin { .. }
                    | TokenError::LastTry { .. }
                    | TokenError::Locked { .. }
                    | TokenError::PinState { .. }
                    | TokenError::PinRefused { .. }
                    | TokenError::NoPin { .. }
            )
        )
    }
}

/// The signing service.
#[derive(Debug)]
pub struct KeyService;

/// How a shut-down went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every call was answered.
    Completely,
    /// Some calls were cut, because their time was up.
    Partly,
}

/// A signing service that answers calls; dropping it stops it at once, [`Running::shut_down`] gracefully.
pub struct Running {
    address: SocketAddr,
    ending: CancellationToken,
    serving: Option<JoinHandle<std::io::Result<()>>>,
    store: Store,
    keys: Arc<Counted>,
    operators: Option<Listener>,
    _data: DataDir,
}

impl KeyService {
    /// Starts the service; it answers calls when this returns.
    ///
    /// # Errors
    /// Refuses to start with anything missing, unreadable or contradictory, rather than with less protection.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let data = DataDir::open(&config.data_dir, config.alias.as_str())?;
        let server = ServerConfig {
            identity: config.identity.clone(),
            clients: config.clients.clone(),
            drain: config.limits.drain,
        };
        let server = SignerServer::new(server)?;
        let store = Store::open(&config, &data).await?;
        check_passphrases(&store, &config).await?;
        let audit = match store {
            Store::Folder(_) => Audit::open(&data.file(AUDIT))?,
            Store::Reference(_) => Audit::Log,
        };
        if config.clients.names.is_empty() {
            tracing::warn!(
                authority = %config.clients.authority.display(),
                "every client with a certificate of the authority may have keys made and used: name the clients"
            );
        }
        let unavailable = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(unavailable)?;
        let address = listener.local_addr().map_err(unavailable)?;
        let tokens = config.tokens.clone();
        let keys = Keys::new(Parts {
            store: store.shared(),
            passphrases: config.passphrases,
            tokens: config.tokens,
            alias: config.alias,
            clock: config.clock,
            limits: config.limits,
            audit,
        });
        let keys = Arc::new(Counted::new(Arc::new(keys), tokens, server.certificate_until()));
        let operators = operators(&keys, config.metrics).await?;
        let ending = CancellationToken::new();
        let serving =
            Some(tokio::spawn(server.serve(listener, Arc::clone(&keys) as Arc<dyn SigningService>, ending.clone())));
        tracing::info!(%address, "the signing service is listening");
        Ok(Running { address, ending, serving, store, keys, operators, _data: data })
    }
}

async fn operators(keys: &Arc<Counted>, listen: Option<SocketAddr>) -> Result<Option<Listener>, StartError> {
    let Some(address) = listen else { return Ok(None) };
    let listener = Listener::on_address(address, Arc::new(OperatorPages(Arc::clone(keys)))).await;
    Ok(Some(listener.map_err(|source| StartError::Listen { address, source })?))
}

/// Checks that the keys in the database can be opened, by one of each alias, and that there is a passphrase for new ones.
async fn check_passphrases(store: &Store, config: &Config) -> Result<(), StartError> {
    let mut made = matches!(store, Store::Reference(_));
    let found = store.shared().some_of_each_alias().await?;
    for of_alias in found.chunk_by(|one, next| one.stored.alias == next.stored.alias) {
        let Some(alias) = of_alias.first().map(|key| key.stored.alias.clone()) else { continue };
        made |= alias == config.alias;
        if alias.token().is_some() && alias == config.alias {
            continue;
        }
        match (open_one(of_alias, &config.passphrases, &config.tokens).await, store) {
            // Taken from the token with its own tools: whoever wants to sign with one of them is told, and nobody else.
            (Err(KeyTrouble::Token(TokenError::NoKey { .. })), _) => {}
            // As with the reference: keys under an old passphrase that is gone are not found, and the others are.
            (Err(_), Store::Reference(_)) if alias != config.alias => {}
            // A token may be in a drawer: its keys are refused until it is back, and all others are used.
            (Err(KeyTrouble::Token(source)), _) if tokens::may_come_back(&source) => {}
            (opened, _) => opened.map_err(|source| StartError::Keys { alias, source: Box::new(source) })?,
        }
    }
    if config.alias.token().is_some() {
        return check_token(config).await;
    }
    let passphrases = &config.passphrases;
    let passphrase = if made { passphrases.get(&config.alias)? } else { passphrases.get_or_make(&config.alias)? };
    if is_short(&passphrase) {
        tracing::warn!(alias = %config.alias, "the passphrase is short: whoever gets the database could guess it");
    }
    Ok(())
}

/// Checks that the token for new keys is one of the settings' and takes the PIN; one that is away may come back.
async fn check_token(config: &Config) -> Result<(), StartError> {
    let (tokens, alias) = (config.tokens.clone(), config.alias.clone());
    let checked = tokio::task::spawn_blocking(move || tokens.health(&alias)).await;
    match checked.unwrap_or(Err(KeyTrouble::Busy)) {
        Ok(()) => Ok(()),
        Err(KeyTrouble::Token(error)) if tokens::may_come_back(&error) => {
            tracing::error!(alias = %config.alias, %error, "no keys can be made for now");
            Ok(())
        }
        Err(source) => Err(StartError::Keys { alias: config.alias.clone(), source: Box::new(source) }),
    }
}

/// An open store.
enum Store {
    Folder(SqliteSigningKeys),
    Reference(ReferenceSigningKeys),
}

impl Store {
    async fn open(config: &Config, data: &DataDir) -> Result<Self, StoreError> {
        match &config.storage {
            KeyStorage::Folder => {
                SqliteSigningKeys::open(&data.file(DATABASE), config.limits.database).await.map(Self::Folder)
            }
            KeyStorage::Reference { url, connections } => {
                ReferenceSigningKeys::open(url, *connections, Absent::Create).await.map(Self::Reference)
            }
        }
    }

    fn shared(&self) -> Arc<dyn SigningKeyStore> {
        match self {
            Self::Folder(store) => Arc::new(store.clone()),
            Self::Reference(store) => Arc::new(store.clone()),
        }
    }

    async fn close(&self) {
        match self {
            Self::Folder(store) => store.close().await,
            Self::Reference(store) => store.close().await,
        }
    }
}

impl Running {
    /// Returns the address that is listened on, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the address of metrics and health, if there is one.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.operators.as_ref().and_then(Listener::address)
    }

    /// Tells whoever asks that no more calls are wanted, and goes on answering them.
    pub fn announce_end(&self) {
        self.keys.drain();
    }

    /// Tells whether the service still takes calls.
    pub fn liveness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let serving = self.serving.as_ref().map(JoinHandle::abort_handle);
        let keys = Arc::clone(&self.keys);
        move || keys.is_draining() || serving.as_ref().is_some_and(|serving| !serving.is_finished())
    }

    /// Takes no more calls, lets those that have begun be answered within the drain time, and closes the database.
    pub async fn shut_down(mut self) -> Drained {
        self.keys.drain();
        self.ending.cancel();
        let served = match self.serving.take() {
            Some(serving) => matches!(serving.await, Ok(Ok(()))),
            None => true,
        };
        self.store.close().await;
        if served { Drained::Completely } else { Drained::Partly }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ending.cancel();
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}
