//! What can be said of the audit log, and why it cannot be had.

use std::path::PathBuf;
use std::time::Duration;

pub use countersign_audit::ChainName;
use countersign_storage::StoreError;

/// Where the audit log is, and what is in it.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// Where entries go.
    pub sink: AuditSink,
    /// Who writes: the name of its chain in a database, the beginning of the name elsewhere.
    pub instance: ChainName,
    /// What becomes of the service's own signatures.
    pub renewals: AuditedRenewals,
    /// What tells one state of the settings from another: written down at each start.
    pub settings: Option<String>,
    /// How long a change waits for its entry.
    pub patience: Duration,
}

impl AuditConfig {
    /// How long a change waits for its entry, unless something else is said.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Writes everything down here.
    #[must_use]
    pub fn new(sink: AuditSink, instance: ChainName) -> Self {
        Self { sink, instance, renewals: AuditedRenewals::Recorded, settings: None, patience: Self::PATIENCE }
    }
}

/// Where entries go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// To a file, which is held by one process; whoever renames it gets a new one made in its place.
    File(PathBuf),
    /// To stdout, a new chain at each start.
    Stdout,
    /// To the database that has the metadata.
    Database,
}

/// Whether the service's own renewals of timestamps and snapshots are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditedRenewals {
    /// Like publications.
    Recorded,
    /// They are not.
    LeftOut,
}

/// Says why there is no audit log, without which nothing is served.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened or read.
    #[error("the audit log {path} cannot be used")]
    File {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It is a folder, a pipe or a device.
    #[error("the audit log {0} is no file: for pipes there is stdout")]
    NoFile(PathBuf),
    /// Another process writes it.
    #[error("another process is writing the audit log {0}")]
    InUse(PathBuf),
    /// It does not end as this service would have left it.
    #[error(
        "the audit log {0} does not end with an entry: see what `countersign audit verify` says, then move it away, and a new \
         chain begins"
    )]
    NotOurs(PathBuf),
    /// The first entry cannot be written.
    #[error("the audit log cannot be written")]
    Unwritten,
    /// The thread that writes cannot be started.
    #[error("the audit log cannot be written by a thread of its own")]
    Thread(#[source] std::io::Error),
    /// The store has no place for it.
    #[error("these tables have no place for an audit log: name a file")]
    NoPlace,
    /// The database failed.
    #[error("the audit log in the database cannot be written")]
    Store(#[from] StoreError),
}
