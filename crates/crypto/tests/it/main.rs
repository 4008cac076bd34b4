//! What the crate promises, checked with golden data of the reference and with data that must be refused.
#![expect(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may unwrap")]

mod certificates;
mod chains;
mod golden;
mod issuing;
mod openssl;
mod private_keys;
mod public_keys;
mod signatures;
mod vectors;
