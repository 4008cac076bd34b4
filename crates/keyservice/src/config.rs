//! What the service can be told.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_signer_rpc::{Clients, Identity};
use countersign_storage::{Alias, Connections, DatabaseUrl};
use jiff::{SignedDuration, Timestamp};

use crate::passphrases::Passphrases;
use crate::tokens::KeyTokens;

/// Everything the service can be told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The folder for the database, the audit log, and passphrases made here; created (mode 0700) when missing.
    pub data_dir: PathBuf,
    /// Where the keys are, and the audit log.
    pub storage: KeyStorage,
    /// The service's certificate.
    pub identity: Identity,
    /// Whose calls are answered.
    pub clients: Clients,
    /// The passphrase that new keys are encrypted under.
    pub alias: Alias,
    /// Where passphrases are.
    pub passphrases: Passphrases,
    /// An address for metrics and health, by plain HTTP; none unless one is named.
    pub metrics: Option<SocketAddr>,
    /// The tokens that aliases name.
    pub tokens: KeyTokens,
    /// Where the time comes from.
    pub clock: Clock,
    /// Numbers and times that are never exceeded.
    pub limits: Limits,
}

/// Where the keys are, and with them the audit log.
#[derive(Debug, Clone)]
pub enum KeyStorage {
    /// In a file of the data folder, and the audit log in another.
    Folder,
    /// In the table of the reference's signer, which its processes may use too. Passphrases are never made here; what would be
    /// in the audit log goes to the log, at the level of information.
    Reference {
        /// Where the database is.
        url: Box<DatabaseUrl>,
        /// How many connections this service uses.
        connections: Connections,
    },
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

/// Numbers and times that are never exceeded.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Keys that wait for their first use, over all collections.
    pub pending_keys: u64,
    /// Age at which such a key gives way when the limit is reached.
    pub pending_key_age: SignedDuration,
    /// Time a call waits for others that keep the processor busy.
    pub patience: Duration,
    /// Time a statement waits for a lock that another process holds on the database.
    pub database: Duration,
    /// Time for calls to be answered when the service is shut down.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            pending_keys: 100_000,
            pending_key_age: SignedDuration::from_hours(7 * 24),
            patience: Duration::from_secs(5),
            database: Duration::from_secs(5),
            drain: Duration::from_secs(20),
        }
    }
}
