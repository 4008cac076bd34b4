//! What engines say while they work: one JSON object a line.

pub use event::{Amount, Event, PushedManifest, Status};
pub(crate) use lines::Lines;

mod event;
mod lines;
