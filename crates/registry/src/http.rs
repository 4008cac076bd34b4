//! One HTTP client for registries, token servers and trust services.
//!
//! Nothing waits for ever, no body is larger than its caller allows, redirects are followed only where asked and take no
//! credentials to another origin, and an error says whether the other side is absent, untrustworthy or talking nonsense.

mod address;
mod client;
mod error;
mod origin;
mod proxy;
mod request;
mod response;
mod tls;

pub use client::{HttpClient, HttpOptions, MAX_REDIRECTS};
pub use error::{ErrorEntry, HttpError, StatusError, TlsFault, WaitingFor};
pub use origin::{Origin, Scheme};
pub use proxy::{ProxyError, ProxyRules};
pub(crate) use request::ByteStream;
pub use request::{Patience, Request};
pub use response::{MAX_ERROR_BODY, Response};
pub use tls::{TlsFileError, TlsOptions, Verification};
