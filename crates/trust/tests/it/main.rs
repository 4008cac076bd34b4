//! The crate against trust services that work, fail and lie.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod golden;
mod house;
mod person;
mod publisher;
mod reader;
