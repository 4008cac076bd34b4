//! The two ends of the contract, with a service between them that lies as a test wants.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]

mod liar;
mod lies;
