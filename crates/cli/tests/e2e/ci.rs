//! Signing in pipelines: keys from an archive, in memory, gone afterwards.
#![expect(clippy::indexing_slicing, reason = "a test fails where something is missing")]

mod pipeline;
mod pipelines;
mod running;
mod search;
mod signing;
mod unchanged;
