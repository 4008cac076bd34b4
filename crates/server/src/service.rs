//! Starting and stopping.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use countersign_storage::{Holding, StoreError};
use countersign_telemetry::Listener;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use crate::access::AccessError;
use crate::app::{App, Parts};
use crate::audit::{self, AuditError, By, Entry, Journal};
use crate::config::{Config, Keys, Tls};
use crate::data_dir::{DataDir, DataDirError, Secret, SecretFile};
use crate::listen::{Ending, listen};
use crate::operators::OperatorPages;
use crate::renewal;
use crate::retention::{self, RetentionReport};
use crate::server_keys::{KeyTrouble, Remote, Rows, ServerKeys};
use crate::stores::Stores;
use crate::survey;
use crate::tls::{self, Authority, Certificates, Source, TlsError};
use crate::watched::When;

/// Pause between two looks at the files that are read again when they change.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

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
    /// Connections cannot be protected.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Who may do what cannot be decided.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// It cannot be written down who did what.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The secret does not open the keys in the database.
    #[error(
        "the file secret in the data folder does not open the keys in the database: restore the right one from a backup"
    )]
    WrongSecret(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database has keys, but the secret was missing.
    #[error("the database has keys, but the file secret in the data folder is missing: restore it from a backup")]
    MissingSecret,
    /// Another service uses the database with another secret.
    #[error(
        "another service encrypts keys in this database under another secret: put the file secret of its data folder into \
         this one's"
    )]
    AnotherSecret,
    /// The keyserver's certificates cannot be used.
    #[error("the keyserver cannot be asked")]
    Keyserver(#[from] countersign_signer_rpc::TlsError),
    /// A restore into the database has begun and not ended, or what it found was not accepted.
    #[error(
        "the database holds a restore that has not ended: begin it again with `countersign serve restore`, which takes away \
         what is there"
    )]
    UnfinishedRestore,
    /// The database has keys that are at a keyserver, but none is named.
    #[error("the collections' keys are at a keyserver: name it with --keyserver")]
    NoKeyserver,
    /// The reference's server has no place for keys.
    #[error("on the reference's tables the keys are at a signer: name it")]
    NeedsSigner,
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

/// The trust service.
#[derive(Debug)]
pub struct Service;

/// A trust service that answers requests; dropping it stops it at once, [`Running::shut_down`] gracefully.
pub struct Running {
    address: SocketAddr,
    authority: Option<PathBuf>,
    scheme: &'static str,
    ending: Ending,
    connections: TaskTracker,
    app: Arc<App>,
    tasks: Vec<JoinHandle<()>>,
    stores: Stores,
    operators: Option<Listener>,
    _data: DataDir,
}

/// How a shut-down went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drained {
    /// Every request was answered.
    Completely,
    /// Some connections were cut, because their time was up.
    Partly,
}

impl Service {
    /// Starts the service; it answers requests when this returns.
    ///
    /// # Errors
    /// Refuses to start with anything missing, unreadable or contradictory, rather than with less protection.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        let data = DataDir::open(&config.data_dir)?;
        let gate = config.gate()?;
        let (authority, certificates) = certificates(&config, &data)?;
        let clients = tls::client_verifier(&config.tls, config.client_certificates.as_ref())?;
        let stores = Stores::open(&config, &data).await?;
        if let Some(store) = stores.backup()
            && store.holding().await? == Holding::Part
        {
            return Err(StartError::UnfinishedRestore);
        }
        let (metadata, keys) = (stores.metadata(), stores.keys());
        let follower = metadata.follow();
        let sharing = stores.sharing(follower.as_deref());
        let secret = secret(&config, &data, &keys).await?;
        if let Some(secret) = &secret
            && !stores.agree_on(secret).await?
        {
            return Err(StartError::AnotherSecret);
        }
        let remote = remote(&config)?;
        let pools = stores.pools();
        let audit = Journal::open(&config, &metadata).await?;
        let parts =
            Parts { gate, certificates, clients, audit, metadata, keys, secret, remote, sharing, follower, pools };
        let app = Arc::new(App::new(parts, &config));
        let unavailable = |source| StartError::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(unavailable)?;
        let address = listener.local_addr().map_err(unavailable)?;
        let clients = app.clients.as_ref();
        let tls = app.certificates.as_ref().map(|shown| shown.server_config(clients)).transpose()?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (ending, connections) = (Ending::default(), TaskTracker::new());
        let mut tasks = vec![
            tokio::spawn(listen(Arc::clone(&app), listener, tls, ending.clone(), connections.clone())),
            tokio::spawn(renewal::run(Arc::clone(&app))),
        ];
        if let Some(rules) = config.retention {
            tasks.push(tokio::spawn(retention::run(Arc::clone(&app), rules)));
        }
        tasks.push(tokio::spawn(refresh_from_time_to_time(Arc::clone(&app))));
        tasks.push(tokio::spawn(survey::run(Arc::clone(&app), config.metrics.survey_pause)));
        if app.audit.is_on() {
            tasks.push(tokio::spawn(audit::run(Arc::clone(&app))));
        }
        let follower = app.confirmations.task();
        app.depends_on(tasks.iter().map(JoinHandle::abort_handle).chain(follower).collect());
        let operators = operators(&app, config.metrics.listen).await?;
        if scheme == "http" && !address.ip().is_loopback() {
            tracing::warn!(%address, "connections are not protected: plain HTTP was configured");
        }
        tracing::info!(%address, scheme, "the trust service is listening");
        Ok(Running { address, authority, scheme, ending, connections, app, tasks, stores, operators, _data: data })
    }
}

impl Running {
    /// Returns the address that is listened on, with the port that was taken.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the base URL for clients, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        match self.address.ip() {
            ip if ip.is_unspecified() || ip.is_loopback() => {
                format!("{}://localhost:{}", self.scheme, self.address.port())
            }
            _ => format!("{}://{}", self.scheme, self.address),
        }
    }

    /// Returns the file with the certificate of the own authority, if it is used: clients must trust it.
    #[must_use]
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Looks at all collections now, instead of at the next interval; returns how many were signed anew.
    pub async fn renew_now(&self) -> u64 {
        renewal::round(&self.app).await
    }

    /// Takes old versions away now, instead of at the next interval.
    pub async fn retain_now(&self, retention: countersign_storage::Retention) -> RetentionReport {
        retention::round(&self.app, retention).await
    }

    /// Reads certificates, keys and lists of users again, changed or not; what cannot be used is logged, and leaves the old
    /// one in use.
    pub fn reload(&self) {
        self.app.audit.later(Entry::new("reload", &By::service()));
        refresh(&self.app, When::Always);
    }

    /// Returns the address of the metrics and of health for operators, where it is one of their own.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.operators.as_ref().and_then(Listener::address)
    }

    /// Tells whoever asks that no more requests are wanted, and goes on answering them: balancers need a while to notice.
    pub fn announce_end(&self) {
        self.app.drain();
    }

    /// Tells whether everything runs that has to run as long as the service does.
    pub fn liveness(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let app = Arc::clone(&self.app);
        move || !app.dead_tasks()
    }

    /// Surveys all collections now, instead of at the next interval.
    pub async fn survey_now(&self) {
        survey::round(&self.app).await;
    }

    /// Takes no more connections, lets requests finish within the drain time, and closes the database.
    pub async fn shut_down(self) -> Drained {
        self.app.drain();
        self.ending.soon.cancel();
        for task in &self.tasks {
            task.abort();
        }
        self.connections.close();
        let finished = tokio::time::timeout(self.app.limits.drain, self.connections.wait()).await;
        self.ending.now.cancel();
        self.app.work.close();
        let worked = tokio::time::timeout(self.app.limits.drain, self.app.work.wait()).await;
        self.app.audit.end().await;
        // Work that did not end in time must not keep the process from ending.
        let _ = tokio::time::timeout(self.app.limits.drain, self.stores.close()).await;
        if finished.is_ok() && worked.is_ok() { Drained::Completely } else { Drained::Partly }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ending.soon.cancel();
        self.ending.now.cancel();
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("address", &self.address).finish_non_exhaustive()
    }
}

async fn operators(app: &Arc<App>, listen: Option<SocketAddr>) -> Result<Option<Listener>, StartError> {
    let Some(address) = listen else { return Ok(None) };
    let pages = Arc::new(OperatorPages(Arc::clone(app)));
    let listener = Listener::on_address(address, pages).await;
    let listener = listener.map_err(|source| StartError::Listen { address, source })?;
    tracing::info!(address = ?listener.address(), "the metrics are at an address of their own");
    Ok(Some(listener))
}

fn remote(config: &Config) -> Result<Option<Remote>, StartError> {
    match &config.keys {
        Keys::Here => Ok(None),
        Keys::Keyserver(keyserver) => Ok(Some(Remote::new(keyserver)?)),
    }
}

/// Returns a secret that opens the keys in the database. A new one is made only while there are no keys, and where keys are
/// made here.
pub(crate) async fn secret(config: &Config, data: &DataDir, keys: &Rows) -> Result<Option<Secret>, StartError> {
    let Rows::Store(store) = keys else {
        return if matches!(config.keys, Keys::Here) { Err(StartError::NeedsSigner) } else { Ok(None) };
    };
    let has_keys = store.any_key().await?.is_some();
    let has_secret = data.file("secret").exists();
    let secret = match config.keys {
        Keys::Here if has_keys && !has_secret => None,
        Keys::Keyserver(_) if !has_secret => None,
        Keys::Here | Keys::Keyserver(_) => {
            let (SecretFile::Found(secret) | SecretFile::Made(secret)) = data.secret()?;
            Some(secret)
        }
    };
    let check = ServerKeys::new(keys.clone(), secret.clone(), remote(config)?, config).check_secret().await;
    match check {
        Ok(()) => Ok(secret),
        Err(KeyTrouble::Store(error)) => Err(error.into()),
        Err(KeyTrouble::NoSecret { .. }) => Err(StartError::MissingSecret),
        Err(KeyTrouble::Elsewhere { .. }) => Err(StartError::NoKeyserver),
        Err(trouble) => Err(StartError::WrongSecret(trouble.into())),
    }
}

type Certified = (Option<PathBuf>, Option<Arc<Certificates>>);

fn certificates(config: &Config, data: &DataDir) -> Result<Certified, TlsError> {
    match &config.tls {
        Tls::None => Ok((None, None)),
        Tls::Files { certificate, key } => {
            let source = Source::Files { certificate: certificate.clone(), key: key.clone() };
            Ok((None, Some(Certificates::load(source)?)))
        }
        Tls::OwnAuthority { names } => {
            let authority = Box::new(Authority::open(data)?);
            let path = authority.certificate().to_owned();
            let (names, addresses) = tls::subjects(names, config.listen.ip())?;
            Ok((Some(path), Some(Certificates::load(Source::Authority { authority, names, addresses })?)))
        }
    }
}

async fn refresh_from_time_to_time(app: Arc<App>) {
    loop {
        tokio::time::sleep(REFRESH_INTERVAL).await;
        let app = Arc::clone(&app);
        // Files may be on disks that hang.
        let _ = tokio::task::spawn_blocking(move || refresh(&app, When::Changed)).await;
    }
}

fn refresh(app: &App, when: When) {
    let mut unread = app.unread.lock().unwrap_or_else(PoisonError::into_inner);
    let mut logged = |result: Result<bool, &dyn std::error::Error>, what: &'static str| match result {
        Ok(again) => {
            if again {
                tracing::info!("{what} has been read again");
            }
            unread.remove(what);
        }
        Err(error) => {
            // It is tried every few seconds, and said once.
            let text = chain(error);
            if unread.get(what) != Some(&text) {
                tracing::error!(error = text, "{what} cannot be read again: the old one stays in use");
                unread.insert(what, text);
            }
        }
    };
    if let Some(certificates) = &app.certificates {
        logged(
            certificates.refresh(when).as_ref().map_or_else(|error| Err(error as _), |done| Ok(*done)),
            "the certificate",
        );
    }
    if let Some(clients) = &app.clients {
        logged(
            clients.refresh(when).as_ref().map_or_else(|error| Err(error as _), |done| Ok(*done)),
            "who signs the certificates of clients",
        );
    }
    logged(
        app.gate.refresh(when).as_ref().map_or_else(|error| Err(error as _), |done| Ok(*done)),
        "what says who is let in",
    );
}

/// Writes an error with everything that led to it.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, error| format!("{text}: {error}"))
}
