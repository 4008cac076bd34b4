//! The trust service's HTTP API, as a client.
//!
//! [`TrustService`] speaks for one collection at one service. Reading answers the update state machine's wishes and says
//! exactly what kind of absence there is: only a service that is away may be replaced by the cache, one that cannot prove
//! who it is never (Notary protocol, HTTP behaviour of the client).

mod address;
mod error;
mod multipart;
mod service;

pub use address::{ServiceAddress, ServiceAddressError};
pub use error::ServiceError;
pub use service::{Access, TrustService};
