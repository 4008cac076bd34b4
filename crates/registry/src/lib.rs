//! HTTP, registry authentication, docker's configuration and the distribution API.

mod foreign;

pub mod auth;
pub mod credentials;
pub mod http;

pub use foreign::foreign_text;
