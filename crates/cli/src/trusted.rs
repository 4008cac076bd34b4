//! What docker does with content trust: push and sign, verify and pull, in docker's words and on docker's streams.
//!
//! Shared by `docker trust push`, `docker trust pull` and by the program in the place of `docker`.

mod engines;
mod lines;
pub(crate) mod pull;
pub(crate) mod push;
mod remarks;
pub(crate) mod signing;
pub(crate) mod words;

pub(crate) use engines::Engines;
pub(crate) use lines::Lines;
pub(crate) use remarks::{remark, retiring};
