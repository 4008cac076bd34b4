//! The distribution API of registries: manifests, blobs, tags.

mod blobs;
mod connect;
mod documents;
mod error;
mod retry;
mod tags;
mod upload;

pub use blobs::MAX_BLOB_IN_MEMORY;
pub use connect::{RegistryClient, RegistryOptions, RegistrySecurity};
pub use documents::{ClaimedDocument, DocumentName, FetchedDocument, StoredDocument};
pub use error::RegistryError;
pub use retry::RetryPolicy;
pub use tags::{MAX_TAG_PAGES, MAX_TAGS};
pub use upload::BlobContent;
