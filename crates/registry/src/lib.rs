//! HTTP, registry authentication, docker's configuration and the distribution API.

mod foreign;
mod progress;
mod transfer;

pub mod auth;
pub mod credentials;
pub mod distribution;
pub mod http;

pub use foreign::foreign_text;
pub use progress::{Arrival, Progress, Silent, Step};
pub use transfer::{MAX_TREE_BYTES, PARALLEL_BLOBS, PushOptions, Pushed, pull_image, push_image};
