//! What the people who run the services see: metrics, logs, traces, health, and the word to systemd.
//!
//! Nothing here knows what a collection is. A service counts with [`Counter`], [`Summary`] and [`Histogram`], writes what it
//! has counted into an [`Exposition`], and hands it out through [`Listener`]. What belongs to one request is its
//! [`Request`]: its id is in every line that is logged on its behalf, its spans are in one trace.

mod admin;
mod certificates;
mod counting;
mod exposition;
mod listener;
mod log;
mod process;
mod request;
mod systemd;
mod trace;

pub use admin::AdminSocket;
pub use certificates::write_certificates;
pub use counting::{Counter, Histogram, Summary, Window};
pub use exposition::{CONTENT_TYPE, Exposition, Kind};
pub use listener::{Answer, Asked, Listener, Pages, text};
pub use log::{LevelError, Log, LogFormat};
pub use process::write_process;
pub use request::{Request, current, within};
pub use systemd::{Service as Systemd, Watchdog};
pub use trace::{Span, TraceError, Traces, traced};
