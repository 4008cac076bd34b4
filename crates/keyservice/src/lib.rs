//! The signing service: makes, keeps and uses the keys of collections, away from the trust service.
//!
//! [`KeyService::start`] takes a [`Config`] and returns a [`Running`] service, which answers over `countersign-signer-rpc`.
//! A key is made for one collection and role, and signs nothing but files of that role. At rest it is encrypted under a
//! passphrase that has a name, its alias; [`rotate`] encrypts all keys under another one. Or it is made on a PKCS#11 token and
//! never leaves it ([`KeyTokens`]). [`list`] says which keys there are. What was asked and answered is in the `audit` log; neither
//! it nor any other log has a secret in it.

mod aliases;
mod audit;
mod binding;
mod config;
mod data_dir;
mod intake;
mod keys;
mod list;
mod memory;
mod metrics;
mod passphrases;
mod rotation;
mod service;
mod tokens;

pub use countersign_signer_rpc::{Clients, Identity};
pub use countersign_storage::Alias as KeyAlias;

pub use aliases::AliasError;
pub use audit::AuditError;
pub use config::{Clock, Config, KeyStorage, Limits};
pub use data_dir::DataDirError;
pub use intake::{Arrival, Arrived, FromSigner, Intake, IntakeError};
pub use keys::KeyTrouble;
pub use list::{ListError, ListedKey, list};
pub use memory::hide_memory;
pub use passphrases::{PassphraseError, Passphrases, Variables};
pub use rotation::{Rotation, RotationError, rotate};
pub use service::{Drained, KeyService, Running, StartError};
pub use tokens::{KeyTokens, PinPlaces};
