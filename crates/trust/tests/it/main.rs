//! The crate against trust services that work, fail and lie.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may unwrap and index")]

mod compromise;
mod golden;
mod house;
mod person;
mod publisher;
mod reader;
mod reference;
mod rotations;
mod signers;
mod staging;
mod taking;
mod witness;
