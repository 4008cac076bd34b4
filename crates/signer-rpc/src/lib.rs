//! The signing service's gRPC, wire-compatible with the reference in both directions (Notary protocol, signer gRPC).
//!
//! A trust service asks a [`SignerClient`]; a signing service is a [`SigningService`] behind a [`SignerServer`]. Both ends
//! prove who they are with certificates: there is no way to run or to reach a signer without. A connection that is lost is
//! made again by the next call.

mod client;
mod limits;
mod listener;
mod server;
mod service;
mod tls;
mod wire;

pub use client::{CallError, ClientConfig, Ownership, SignerClient};
pub use limits::{MAX_CONTENT, MAX_GUN, MAX_MESSAGE};
pub use server::{ServerConfig, SignerServer};
pub use service::{Caller, KeyDescription, KeyRequest, Made, Refusal, SignRequest, Signed, SigningService};
pub use tls::{Clients, Identity, TlsError};
