//! The trust service's repositories: metadata, change feed and keys.
//!
//! [`MetadataStore`] and [`KeyStore`] are the contracts; their documentation is what every implementation promises and what
//! the suite in `contract` (feature `contract`) checks. [`SqliteStore`] implements both in one file, [`NetworkedStore`] in a
//! database on a server. [`SigningKeyStore`] is the contract for the keys of a signing service that is apart;
//! [`SqliteSigningKeys`] implements it in a file of its own. [`ReferenceStore`] and [`ReferenceSigningKeys`] work on the
//! reference's own tables.

mod audit;
mod backup;
mod change;
mod columns;
mod condition;
#[cfg(feature = "contract")]
pub mod contract;
mod error;
mod follow;
mod keys;
mod metadata;
mod networked;
mod packing;
mod pool_use;
mod reference;
mod retention;
mod signing_keys;
mod sqlite;

pub use audit::{AuditStore, Record};
pub use backup::{BackupStore, Holding, Kept, KeptFile, KeptKey};
pub use change::{Category, Change, ChangeQuery, DEFAULT_PAGE, MAX_PAGE, PageSize, Window};
pub use error::{PendingKeyError, PublishError, StoreError};
pub use follow::{Follower, News};
pub use keys::{EncryptedKey, KeyStore, NewServiceKey, PendingLimits, ServiceKey, ServiceRole};
pub use metadata::{Base, Deletion, MetadataStore, NewMetadata, Pointer, State, Stored};
pub use networked::{Connections, DatabaseUrl, DatabaseUrlError, Layout, NetworkedStore, Password};
pub use pool_use::PoolUse;
pub use reference::{Absent, Backend, FoundChange, FoundKey, MAX_VERSION, ReferenceSigningKeys, ReferenceStore};
pub use retention::{Account, Amount, Figures, Held, Mode, Pruning, Retention, RetentionError, RetentionStore, retain};
pub use signing_keys::{
    Alias, AliasError, Binding, MAX_ALIAS, NewSigningKey, Resealed, Sealed, SigningKey, SigningKeyStore, Taken,
};
pub use sqlite::{SqliteSigningKeys, SqliteStore};
