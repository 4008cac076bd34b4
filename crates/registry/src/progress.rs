//! What happens while images travel, for whoever wants to show it.

use countersign_image::Digest;

/// Hears how far each piece of content is. Called often and from several tasks; it should not take long.
pub trait Progress: Send + Sync {
    /// Tells what happened to one piece of content.
    fn report(&self, digest: &Digest, step: Step<'_>);
}

/// Something that happened to one piece of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// It is about to travel.
    Begin {
        /// Its size in bytes.
        total: u64,
    },
    /// It moved on.
    Moved {
        /// How much of it has travelled, in bytes.
        done: u64,
    },
    /// It is tried again after a failure.
    Again {
        /// Why the last attempt failed.
        reason: &'a str,
    },
    /// It arrived.
    Done(Arrival),
}

/// How content came to be where it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It travelled.
    Travelled,
    /// It was there already.
    AlreadyThere,
    /// The registry took it from another repository.
    Mounted,
    /// It lives elsewhere and must not be copied.
    Foreign,
}

/// Shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _digest: &Digest, _step: Step<'_>) {}
}
