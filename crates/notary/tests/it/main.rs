//! The client of the trust service's HTTP API against services that say what a test wants.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may unwrap")]

mod answers;
mod requests;
mod service;
