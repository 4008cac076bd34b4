//! Whether the clock can be right. By one that cannot, nothing is signed: a timestamp that has expired when it is made locks
//! all readers out, and what is stored already is better.

use std::sync::atomic::{AtomicI64, Ordering};

use countersign_storage::{MetadataStore, PageSize, StoreError};
use countersign_tuf::RoleName;
use jiff::{SignedDuration, Timestamp};

use crate::config::{Clock, ClockCheck};

/// No clock that shows an earlier time is right: this release did not exist then (seconds since 1970). To be raised with
/// each release.
const RELEASED: Timestamp = Timestamp::constant(1_793_491_200, 0);
/// A clock may be so far behind what was signed before: several services on one database never agree to the second, and
/// a day does not matter to a timestamp that lives for two weeks.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// Says why the clock cannot be right, and what to do about it (environment).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Implausible {
    #[error(
        "nothing is signed: the clock says {now}, but this release was made after {RELEASED}; set the clock, the service \
         goes on by itself then"
    )]
    BeforeRelease { now: Timestamp },
    #[error(
        "nothing is signed: the clock says {now}, but a timestamp was signed at {signed}; if the clock is behind, set it, \
         the service goes on by itself then; if it is right now and was ahead before, start the service once with \
         --trust-clock, which signs anew what was signed ahead"
    )]
    BeforeSigned { now: Timestamp, signed: Timestamp },
}

/// The clock that signatures are dated by.
#[derive(Debug)]
pub(crate) struct SigningClock {
    clock: Clock,
    check: ClockCheck,
    /// When something was signed last, as far as is known; microseconds since 1970.
    newest: AtomicI64,
}

impl SigningClock {
    pub(crate) fn new(clock: Clock, check: ClockCheck) -> Self {
        let newest = match check {
            ClockCheck::AgainstStored => Timestamp::MIN,
            ClockCheck::OperatorsWord => clock.now(),
        };
        Self { clock, check, newest: AtomicI64::new(newest.as_microsecond()) }
    }

    /// Returns the time, if it can be right.
    pub(crate) fn now(&self) -> Result<Timestamp, Implausible> {
        let now = self.clock.now();
        if now < RELEASED {
            return Err(Implausible::BeforeRelease { now });
        }
        let signed = Timestamp::from_microsecond(self.newest.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX);
        if is_behind(now, signed) { Err(Implausible::BeforeSigned { now, signed }) } else { Ok(now) }
    }

    /// Takes note of when a stored timestamp was signed.
    pub(crate) fn stored(&self, at: Timestamp) {
        if self.check == ClockCheck::AgainstStored {
            self.signed(at);
        }
    }

    /// Takes note of when something was signed here.
    pub(crate) fn signed(&self, at: Timestamp) {
        self.newest.fetch_max(at.as_microsecond(), Ordering::Relaxed);
    }

    /// Looks whether any collection's timestamp was signed at a time to which the clock has not come yet.
    pub(crate) async fn compare(&self, store: &dyn MetadataStore) -> Result<(), StoreError> {
        let latest = self.clock.now().saturating_add(TOLERANCE).unwrap_or(Timestamp::MAX);
        let ahead = store.stale(Timestamp::MIN..=latest, None, PageSize::wished(1)).await?;
        if let Some(gun) = ahead.first()
            && let Some(timestamp) = store.current(gun, &RoleName::Timestamp).await?
        {
            self.stored(timestamp.stored_at);
        }
        Ok(())
    }
}

fn is_behind(now: Timestamp, signed: Timestamp) -> bool {
    now.saturating_add(TOLERANCE).is_ok_and(|latest| latest < signed)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn clock(time: &Arc<Mutex<Timestamp>>) -> Clock {
        let time = Arc::clone(time);
        Clock::new(move || *time.lock().unwrap())
    }

    #[test]
    fn a_clock_is_held_against_the_release_and_against_what_was_signed() {
        let right: Timestamp = "2027-05-05T12:00:00Z".parse().unwrap();
        let time = Arc::new(Mutex::new(right));
        let signing = SigningClock::new(clock(&time), ClockCheck::AgainstStored);
        assert_eq!(signing.now(), Ok(right));
        signing.signed(right);
        let back = |by: SignedDuration| {
            *time.lock().unwrap() = right - by;
            signing.now()
        };
        assert!(back(TOLERANCE).is_ok());
        let refused = back(TOLERANCE + SignedDuration::from_micros(1)).unwrap_err();
        assert!(matches!(refused, Implausible::BeforeSigned { signed, .. } if signed == right), "{refused}");
        assert!(refused.to_string().contains("--trust-clock"), "{refused}");
        assert!(matches!(back(SignedDuration::from_hours(24 * 3650)), Err(Implausible::BeforeRelease { .. })));
        assert!(back(SignedDuration::ZERO).is_ok(), "it goes on by itself");
    }

    #[test]
    fn on_the_operators_word_only_what_is_signed_from_then_on_counts() {
        let time = Arc::new(Mutex::new("2027-05-05T12:00:00Z".parse::<Timestamp>().unwrap()));
        let signing = SigningClock::new(clock(&time), ClockCheck::OperatorsWord);
        signing.stored("2030-01-01T00:00:00Z".parse().unwrap());
        assert!(signing.now().is_ok());
        *time.lock().unwrap() -= SignedDuration::from_hours(25);
        assert!(signing.now().is_err(), "the word was given for the time of the start");
    }

    #[test]
    fn the_clock_of_this_machine_is_not_before_the_release() {
        assert!(Timestamp::now() > RELEASED);
    }
}
