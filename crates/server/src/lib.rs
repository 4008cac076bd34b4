//! The trust service: HTTP API, validation, renewal, change feed, metrics.
//!
//! [`Service::start`] takes a [`Config`] and returns a [`Running`] service. A request goes through `listen` (connections,
//! TLS, time limits), `dispatch` (routing, panics, the log line), and one module for each family of routes: `read`,
//! `upload`, `keys`, `feed`, `health`. Everything that changes a collection goes through `publish`, which asks
//! `countersign-tuf` whether a change is right and `countersign-storage` whether it came first.

mod access;
mod answer;
mod app;
mod audit;
mod backup;
mod cache;
mod chain;
mod coding;
mod config;
mod confirm;
mod content;
mod data_dir;
pub mod departure;
mod dispatch;
mod error;
mod feed;
mod files;
mod health;
pub mod import;
mod keys;
mod listen;
mod meters;
mod metrics;
mod multipart;
mod operators;
mod path;
mod publish;
mod query;
mod read;
mod renewal;
mod retention;
mod route;
mod server_keys;
mod service;
mod signing_clock;
mod stores;
mod survey;
mod tls;
mod turns;
mod upload;
mod watched;

pub use access::{Access, AccessError, Allowance, OwnHost, Reading, Right, RuleError, TokenAccess, UserAccess};
pub use audit::{AuditChainName, AuditConfig, AuditError, AuditReadError, AuditReader, AuditSink, AuditedRenewals};
pub use backup::{BackupError, Contents, Despite, Findings, Restored, SecretState};
pub use config::{
    CacheAges, Clock, ClockCheck, Config, KeyAlgorithm, Keys, KeyserverConfig, KeyserverIdentity, Limits,
    MetricsConfig, Rates, Renewal, Storage, Tls,
};
pub use countersign_storage::{
    Account, Alias, Amount, Backend, Connections, DatabaseUrl, DatabaseUrlError, Figures, Layout, Mode, Password,
    Retention, RetentionError,
};
pub use data_dir::DataDirError;
pub use files::raise_file_limit;
pub use multipart::{MAX_BOUNDARY, MAX_PART_HEADER, MAX_PARTS};
pub use retention::{RetainError, RetentionReport};
pub use route::{GunPrefixError, GunPrefixes};
pub use service::{Drained, Running, Service, StartError};
pub use tls::{ClientCertificates, Demand, TlsError};
