//! Whether the store can write, as far as is known.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::StoreError;

/// A write that succeeded so lately shows that the store can write.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// After a failed write the store is ill for so long, unless another write succeeds: one that fails while a smaller one
/// could succeed must be noticed by whoever asks once in a while.
const ILL_FOR: Duration = Duration::from_mins(1);

/// What the last write showed.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    last: Mutex<Option<(Instant, Outcome)>>,
    /// Held by the one who tries.
    trying: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Stored,
    Failed,
}

impl Condition {
    /// To be called after every commit.
    pub(crate) fn stored(&self) {
        *self.last() = Some((Instant::now(), Outcome::Stored));
    }

    /// To be called after every write that failed.
    pub(crate) fn failed(&self) {
        *self.last() = Some((Instant::now(), Outcome::Failed));
    }

    /// Returns what is known at this time; none when it has to be tried.
    fn known(&self, now: Instant) -> Option<Result<(), StoreError>> {
        let (at, outcome) = (*self.last())?;
        let ago = now.saturating_duration_since(at);
        match outcome {
            Outcome::Stored if ago < GOOD_FOR => Some(Ok(())),
            Outcome::Failed if ago < ILL_FOR => Some(Err(StoreError::LastWriteFailed { ago })),
            Outcome::Stored | Outcome::Failed => None,
        }
    }

    /// Checks that something can be written; however many ask, little is written.
    pub(crate) async fn check(
        &self,
        attempt: impl Future<Output = Result<(), StoreError>> + Send,
    ) -> Result<(), StoreError> {
        if let Some(known) = self.known(Instant::now()) {
            return known;
        }
        let _trying = self.trying.lock().await;
        if let Some(known) = self.known(Instant::now()) {
            return known;
        }
        let tried = attempt.await;
        match &tried {
            Ok(()) => self.stored(),
            Err(_) => self.failed(),
        }
        tried
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, Outcome)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_shows_for_a_while_what_the_store_can_do() {
        let (condition, now) = (Condition::default(), Instant::now());
        assert!(condition.known(now).is_none(), "nothing is known before the first write");
        condition.stored();
        assert!(matches!(condition.known(now), Some(Ok(()))));
        assert!(condition.known(now + GOOD_FOR + Duration::from_secs(1)).is_none());
        condition.failed();
        let later = now + GOOD_FOR + Duration::from_secs(1);
        assert!(matches!(condition.known(later), Some(Err(StoreError::LastWriteFailed { .. }))));
        assert!(condition.known(now + ILL_FOR + Duration::from_secs(1)).is_none());
        condition.stored();
        assert!(matches!(condition.known(now), Some(Ok(()))), "a write that succeeds ends the illness");
    }
}
