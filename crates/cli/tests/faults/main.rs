//! Faults under load: service, keyserver and database are killed, paused, cut off and locked out at random moments, while
//! publishers publish, readers read and strangers misbehave. Then the history of every collection is read and checked.
//!
//! Bounded here; `cargo xtask faults MINUTES` goes on for longer. `COUNTERSIGN_TEST_FAULT_SECONDS` says how long one storm
//! lasts, `COUNTERSIGN_TEST_SEED` which one it is: the moments are the seed's, what happens in them is the machine's. Every
//! storm prints what it injected and what it checked.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "tests may unwrap, and print their report"
)]

mod checker;
mod crowd;
mod deployments;
mod http;
mod publisher;
mod reader;
mod report;
mod storm;
mod stranger;
