//! Layouts and archives: honest ones with a second opinion from skopeo, and hostile ones.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests may unwrap")]

mod engine;
mod hostile;
mod skopeo;
mod support;
mod write;
