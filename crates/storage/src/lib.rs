//! The trust service's repositories: metadata, change feed and keys.
//!
//! [`MetadataStore`] and [`KeyStore`] are the contracts; their documentation is what every implementation promises and what
//! the suite in `contract` (feature `contract`) checks. [`SqliteStore`] implements both in one file.

mod change;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod keys;
mod metadata;
mod sqlite;

pub use change::{Category, Change, ChangeQuery, DEFAULT_PAGE, MAX_PAGE, PageSize, Window};
pub use error::{PendingKeyError, PublishError, StoreError};
pub use keys::{EncryptedKey, KeyStore, NewServiceKey, PendingLimits, ServiceKey, ServiceRole};
pub use metadata::{Base, Deletion, MetadataStore, NewMetadata, Pointer, State, Stored};
pub use sqlite::SqliteStore;
