//! Trying again, a bounded number of times and with growing pauses.

use std::time::Duration;

use super::error::RegistryError;
use crate::http::HttpError;

/// How often and how soon to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Most attempts without progress, the first included.
    pub attempts: u32,
    /// The pause after the first failure; each one after is twice as long.
    pub first_pause: Duration,
    /// The longest pause, also where the server asks for a longer one.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 5, first_pause: Duration::from_millis(250), longest_pause: Duration::from_secs(20) }
    }
}

impl RetryPolicy {
    /// Runs an operation until it succeeds, fails for good, or the attempts are used up.
    pub(crate) async fn run<T, F, Running>(&self, mut operation: F) -> Result<T, RegistryError>
    where
        F: FnMut() -> Running,
        Running: Future<Output = Result<T, RegistryError>>,
    {
        let mut attempts = self.begin();
        loop {
            match operation().await {
                Err(error) => attempts.again(error).await?,
                done => return done,
            };
        }
    }

    pub(crate) fn begin(self) -> Attempts {
        Attempts { policy: self, failed: 0 }
    }
}

/// Counts the failures of one operation.
#[derive(Debug)]
pub(crate) struct Attempts {
    policy: RetryPolicy,
    failed: u32,
}

impl Attempts {
    /// Waits for the next attempt and returns why the last one failed, or returns the error if there is to be none.
    pub(crate) async fn again(&mut self, error: RegistryError) -> Result<String, RegistryError> {
        if error.is_transient() { self.insist(error).await } else { Err(error) }
    }

    /// As [`Self::again`], for an error that usually is final and here is not.
    pub(crate) async fn insist(&mut self, error: RegistryError) -> Result<String, RegistryError> {
        self.failed += 1;
        if self.failed >= self.policy.attempts {
            return Err(error);
        }
        let growth = 2_u32.saturating_pow(self.failed - 1);
        let pause = self.policy.first_pause.saturating_mul(growth).max(asked_for(&error));
        tracing::debug!(%error, ?pause, "trying again");
        tokio::time::sleep(pause.min(self.policy.longest_pause)).await;
        Ok(error.to_string())
    }

    /// Starts counting anew, because something got through.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }
}

fn asked_for(error: &RegistryError) -> Duration {
    match error.http() {
        Some(HttpError::Status(status)) => status.retry_after.unwrap_or_default(),
        _ => Duration::ZERO,
    }
}
