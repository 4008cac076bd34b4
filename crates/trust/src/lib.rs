//! What a person does with a collection: look up, sign, publish, revoke, inspect.
//!
//! [`CollectionClient`] joins the trust directory, the trust service and the rules of `countersign-tuf`. Reading commits to
//! the cache only what a whole update has verified; writing re-bases on what others published meanwhile, and reports
//! success only after the service's answer has been read back and verified.

mod client;
mod connection;
mod error;
mod initial;
mod publish;
pub mod report;
mod revoke;
mod signers;
mod signing;

pub use client::CollectionClient;
pub use connection::{Connection, ConnectionError, Credentials, Destination, TlsFiles};
pub use error::TrustError;
pub use publish::{Changes, Published};
pub use revoke::Revoked;
pub use signing::{News, ReleasedTag, SignRequest, Signed, check_releasing, is_releasing, releases};
