//! What the service can be told.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::Algorithm;
pub use countersign_signer_rpc::{ClientConfig as KeyserverConfig, Identity as KeyserverIdentity};
use countersign_storage::{Connections, DatabaseUrl, KeyStore, MetadataStore, Retention};
use jiff::{SignedDuration, Timestamp};

use crate::access::{Access, AccessError, Gate};
use crate::audit::AuditConfig;
use crate::route::GunPrefixes;
use crate::service::StartError;
use crate::tls::{self, ClientCertificates};

/// Everything the service can be told; [`Config::new`] gives defaults that need nothing else.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The folder for the database, the secret and the authority; created (mode 0700) when missing.
    pub data_dir: PathBuf,
    /// How connections are protected.
    pub tls: Tls,
    /// Who has to have signed the certificates that clients show; without it they are asked for none.
    pub client_certificates: Option<ClientCertificates>,
    /// Who may do what.
    pub access: Access,
    /// Where it is written down who did what; nowhere unless something is said.
    pub audit: Option<AuditConfig>,
    /// Where metadata and keys are stored.
    pub storage: Storage,
    /// Who makes and uses the keys of snapshots and timestamps.
    pub keys: Keys,
    /// The algorithm of keys made from now on.
    pub key_algorithm: KeyAlgorithm,
    /// Which collections are served.
    pub gun_prefixes: GunPrefixes,
    /// How long answers may be cached on the way.
    pub cache_ages: CacheAges,
    /// Where the time comes from.
    pub clock: Clock,
    /// What the clock is held against before something is signed.
    pub clock_check: ClockCheck,
    /// Sizes, numbers and times that are never exceeded.
    pub limits: Limits,
    /// When the service signs anew of its own accord.
    pub renewal: Renewal,
    /// Which old versions stay; all of them unless something is said.
    pub retention: Option<Retention>,
    /// Where the metrics are, and what is surveyed for them.
    pub metrics: MetricsConfig,
}

impl Config {
    /// Listens on an address and keeps everything in one folder.
    #[must_use]
    pub fn new(listen: SocketAddr, data_dir: PathBuf) -> Self {
        Self {
            listen,
            data_dir,
            tls: Tls::OwnAuthority { names: Vec::new() },
            client_certificates: None,
            access: Access::Open,
            audit: None,
            storage: Storage::Sqlite,
            keys: Keys::Here,
            key_algorithm: KeyAlgorithm::EcdsaP256,
            gun_prefixes: GunPrefixes::default(),
            cache_ages: CacheAges::default(),
            clock: Clock::system(),
            clock_check: ClockCheck::AgainstStored,
            limits: Limits::default(),
            renewal: Renewal::default(),
            retention: None,
            metrics: MetricsConfig::default(),
        }
    }

    /// Reads the files that are named, as the start of the service does; nothing is written, and no database is opened.
    ///
    /// # Errors
    /// When the service would not start with them.
    pub fn check(&self) -> Result<(), StartError> {
        self.gate()?;
        tls::check(&self.tls, self.client_certificates.as_ref(), self.listen.ip())?;
        Ok(())
    }

    /// Reads who may do what.
    pub(crate) fn gate(&self) -> Result<Gate, AccessError> {
        let Access::Users(users) = &self.access else { return Gate::new(&self.access) };
        if users.passwords.is_none() && self.client_certificates.is_none() {
            return Err(AccessError::Nobody);
        }
        Gate::new(&self.access)
    }
}

/// How connections are protected.
#[derive(Debug, Clone)]
pub enum Tls {
    /// An authority of the service's own signs its certificate for localhost, the loopback addresses, the listen address
    /// and these names or addresses.
    OwnAuthority {
        /// More DNS names or IP addresses.
        names: Vec<String>,
    },
    /// A certificate chain and its unencrypted key, both PEM; read again when the files change.
    Files {
        /// The certificate chain, leaf first.
        certificate: PathBuf,
        /// The private key.
        key: PathBuf,
    },
    /// Plain HTTP: for tests, and behind a proxy that protects the connections.
    None,
}

/// Where metadata and keys are stored.
#[derive(Clone)]
pub enum Storage {
    /// In the file `trust.db` of the data folder, which no other process may use at the same time.
    Sqlite,
    /// In a database on a server, which other services may use too.
    Database {
        /// Where it is.
        url: Box<DatabaseUrl>,
        /// How many connections this service uses.
        connections: Connections,
    },
    /// In the tables of the reference's server, which its processes may use too; the keys are then at a signer
    /// ([`Keys::Keyserver`]), and nothing about them is kept here.
    Reference {
        /// Where the database is.
        url: Box<DatabaseUrl>,
        /// How many connections this service uses.
        connections: Connections,
    },
    /// In these stores, which other processes may use too: nothing that they could change is kept in memory.
    Shared {
        /// The metadata.
        metadata: Arc<dyn MetadataStore>,
        /// The keys.
        keys: Arc<dyn KeyStore>,
    },
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.write_str("Sqlite"),
            Self::Database { url, .. } => write!(f, "Database({url})"),
            Self::Reference { url, .. } => write!(f, "Reference({url})"),
            Self::Shared { .. } => f.write_str("Shared"),
        }
    }
}

/// Who makes and uses the keys of snapshots and timestamps.
#[derive(Debug, Clone)]
pub enum Keys {
    /// The service itself; the keys are in its database.
    Here,
    /// A signing service: `countersign keyserver`, or the reference's signer. Keys that were made here before go on signing
    /// here; new ones are made there.
    Keyserver(KeyserverConfig),
}

/// The algorithm of the service's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256.
    EcdsaP256,
    /// Ed25519.
    Ed25519,
}

impl KeyAlgorithm {
    pub(crate) fn algorithm(self) -> Algorithm {
        match self {
            Self::EcdsaP256 => Algorithm::EcdsaP256,
            Self::Ed25519 => Algorithm::Ed25519,
        }
    }
}

/// How long answers may be cached, in seconds; 0 forbids it (Notary protocol, reading metadata).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheAges {
    current: u32,
    consistent: u32,
}

impl CacheAges {
    /// The longest age: one year.
    pub const MAX: u32 = 31_536_000;

    /// Takes the ages of current metadata and of metadata named by version or checksum; none when one is above
    /// [`CacheAges::MAX`].
    #[must_use]
    pub fn new(current: u32, consistent: u32) -> Option<Self> {
        (current <= Self::MAX && consistent <= Self::MAX).then_some(Self { current, consistent })
    }

    /// Returns the seconds for current metadata.
    #[must_use]
    pub fn current(self) -> u32 {
        self.current
    }

    /// Returns the seconds for metadata named by version or checksum.
    #[must_use]
    pub fn consistent(self) -> u32 {
        self.consistent
    }
}

impl Default for CacheAges {
    fn default() -> Self {
        Self { current: 300, consistent: 2_592_000 }
    }
}

/// Where the time comes from.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The system's time.
    #[must_use]
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// A time of the caller's choice.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// What the clock is held against before something is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockCheck {
    /// The times at which stored timestamps were signed: behind them, nothing is signed.
    AgainstStored,
    /// The operator says that the clock is right at the start, although something may have been signed by one that was
    /// ahead; that is signed anew.
    OperatorsWord,
}

/// Sizes, numbers and times that are never exceeded. The parts of an upload have limits of their own.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of an upload.
    pub upload_bytes: usize,
    /// Uploads that are held in memory at the same time, each with up to 1 MiB.
    pub uploads: usize,
    /// Those among them that may be larger.
    pub large_uploads: usize,
    /// Open connections; more wait in the system's queue.
    pub connections: usize,
    /// Open connections of one client, which is an address, or a network of IPv6 (/64); more are closed at once. No limit
    /// unless one is said: behind a proxy all clients are one.
    pub client_connections: Option<NonZeroUsize>,
    /// Time for the TLS handshake.
    pub handshake: Duration,
    /// Time for the header of a request, and for the next request on an open connection.
    pub header: Duration,
    /// Bytes of the request line and all header lines.
    pub header_bytes: usize,
    /// Lines of a header.
    pub header_lines: usize,
    /// Time for a body, to which one second is added for every [`Limits::body_rate`] bytes received.
    pub body: Duration,
    /// Bytes per second below which a body is too slow.
    pub body_rate: u32,
    /// Time for a body, whatever its size.
    pub body_total: Duration,
    /// Time for one connection; it is asked to end then and cut after the drain time.
    pub connection: Duration,
    /// Streams of one HTTP/2 connection.
    pub streams: u32,
    /// Time a publisher waits for others that publish the same collection, or for memory or a processor.
    pub patience: Duration,
    /// Time a statement waits for a lock that another process holds on the database.
    pub database: Duration,
    /// Time for connections to finish when the service is shut down.
    pub drain: Duration,
    /// Keys that wait for their first use, over all collections.
    pub pending_keys: u64,
    /// Age at which such a key gives way when the limit is reached.
    pub pending_key_age: SignedDuration,
    /// Bytes of metadata kept in memory.
    pub memory: u64,
    /// How often and how much each client may ask.
    pub rates: Rates,
}

/// How often and how much each client may ask; no limit unless one is said. Ten seconds' worth may come at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests a second of one address, or of one network of IPv6 (/64): behind a proxy all clients are one.
    pub of_address: Option<NonZeroU32>,
    /// Requests a second of everybody with one name.
    pub of_name: Option<NonZeroU32>,
    /// Bytes of uploads an hour of everybody with one name, or of one address where nobody has names.
    pub upload_bytes: Option<NonZeroU64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            upload_bytes: 128 * 1024 * 1024,
            uploads: 256,
            large_uploads: 4,
            connections: 4096,
            client_connections: None,
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(30),
            header_bytes: 64 * 1024,
            header_lines: 100,
            body: Duration::from_secs(30),
            body_rate: 16 * 1024,
            body_total: Duration::from_mins(5),
            connection: Duration::from_mins(30),
            streams: 64,
            patience: Duration::from_secs(30),
            database: Duration::from_secs(10),
            drain: Duration::from_secs(20),
            pending_keys: 100_000,
            pending_key_age: SignedDuration::from_hours(7 * 24),
            memory: 32 * 1024 * 1024,
            rates: Rates::default(),
        }
    }
}

/// Where the metrics are, and what is surveyed for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// An address of their own, by plain HTTP; then they are no more where clients are served, as the reference has them.
    pub listen: Option<SocketAddr>,
    /// How many collections are named in the metrics, those that expire first; named only at an address of their own, and
    /// none unless asked for.
    pub expiring: usize,
    /// Pause between two surveys of all collections.
    pub survey_pause: Duration,
}

impl MetricsConfig {
    /// The most collections that can be named.
    pub const MAX_EXPIRING: usize = 1000;
}

impl Default for MetricsConfig {
    fn default() -> Self {
        Self { listen: None, expiring: 0, survey_pause: Duration::from_mins(15) }
    }
}

/// When the service signs timestamps and snapshots anew of its own accord.
#[derive(Debug, Clone)]
pub struct Renewal {
    /// Pause between two rounds over all collections.
    pub interval: Duration,
    /// Age at which a timestamp is looked at: half of its life.
    pub timestamp_age: SignedDuration,
    /// Remaining life below which a snapshot is signed anew.
    pub snapshot_rest: SignedDuration,
    /// Whether the database was set back to an older state: then everything is signed anew at the start, at versions ahead of
    /// those that readers may have seen.
    pub restored: bool,
}

impl Default for Renewal {
    fn default() -> Self {
        Self {
            interval: Duration::from_hours(1),
            timestamp_age: SignedDuration::from_hours(7 * 24),
            snapshot_rest: SignedDuration::from_hours(30 * 24),
            restored: false,
        }
    }
}
