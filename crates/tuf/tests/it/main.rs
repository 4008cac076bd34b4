//! The crate against golden data made by the real tools, and against services that lie.

mod a1_accepted;
mod a2_rollback;
mod a3_freeze;
mod a4_hashes;
mod a5_signatures;
mod a6_keys;
mod folder;
mod golden;
mod workshop;
