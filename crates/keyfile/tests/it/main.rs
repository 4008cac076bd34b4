//! What the crate promises, checked with key files of the reference, of old clients and of openssl.
#![expect(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may unwrap")]

mod arbitrary;
mod golden;
mod headers;
mod jwe;
mod legacy;
mod openssl;
mod pkcs8;
mod vectors;
