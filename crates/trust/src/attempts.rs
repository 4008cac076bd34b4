//! How often and after which pauses a publication is tried again when others were faster.

use crate::error::TrustError;
use countersign_crypto::digest::{Sha256Digest, sha256};
use countersign_crypto::{Random, SystemRandom};
use countersign_tuf::{Collection, Gun};
use std::time::Duration;

/// How often a publication is re-based on what others published.
pub(crate) const ATTEMPTS: u32 = 12;

/// The longest that the first pause between two attempts may be; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// How often the service may speak of something newer without serving it.
const REFUSALS: u32 = 3;

/// What was served while uploads were refused because of something newer.
#[derive(Default)]
pub(crate) struct Refused {
    /// What was served before the last refusal.
    served: Option<Served>,
    times: u32,
}

/// A served state. The timestamp is no part of it: that is made anew without anything else being new.
#[derive(PartialEq, Eq)]
enum Served {
    NoCollection,
    Snapshot(Sha256Digest),
}

impl Served {
    fn of(base: Option<&Collection>) -> Self {
        base.map_or(Self::NoCollection, |collection| Self::Snapshot(sha256(collection.snapshot().file())))
    }
}

impl Refused {
    pub(crate) fn note(&mut self, base: Option<&Collection>) {
        let served = Some(Served::of(base));
        self.times = if self.served == served { self.times + 1 } else { 1 };
        self.served = served;
    }

    /// Ends the attempts if the service has served nothing else after several refusals.
    pub(crate) fn check(&self, gun: &Gun, base: Option<&Collection>) -> Result<(), TrustError> {
        let same = self.served == Some(Served::of(base));
        if same && self.times >= REFUSALS { Err(TrustError::ConflictWithNothing(gun.clone())) } else { Ok(()) }
    }
}

/// Returns how long to wait after a lost race: at random, so that many publishers do not meet again and again.
pub(crate) fn pause(attempt: u32) -> Duration {
    let longest = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(attempt)).min(LONGEST_PAUSE);
    let mut byte = [u8::MAX];
    // Without randomness everybody waits equally long.
    let _ = SystemRandom.fill(&mut byte);
    longest.mul_f64(f64::from(byte[0]) / f64::from(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_end() {
        let pauses: Vec<Duration> = (0..ATTEMPTS).map(pause).collect();
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!((0..100).all(|_| pause(0) <= FIRST_PAUSE));
        let late: std::collections::BTreeSet<Duration> = (0..100).map(|_| pause(u32::MAX)).collect();
        assert!(late.len() > 10 && late.iter().any(|pause| *pause > FIRST_PAUSE), "{late:?}");
    }
}
