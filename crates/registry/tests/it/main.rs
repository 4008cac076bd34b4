//! The registry client against real registries, and against servers that lie, stall and cut.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may unwrap")]

mod auth;
mod blobs;
mod documents;
mod http;
mod support;
mod tls;
mod transfer;
mod upload;
