//! The crate against golden data made by the real tools, and against services that lie.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests and the workshop they are made in may unwrap"
)]

mod a10_delegations;
mod a15_delegations;
mod a15_publisher;
mod a15_rotation;
mod a1_accepted;
mod a2_rollback;
mod a3_freeze;
mod a4_hashes;
mod a5_signatures;
mod a6_keys;
mod a7_root_chain;
mod a8_root_certificates;
mod a9_json;
mod corpus;
mod folder;
mod fuzzing;
mod golden;
mod house;
mod moved;
mod server_validation;
mod swizzler;
mod workshop;
