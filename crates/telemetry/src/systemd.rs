//! The word to systemd (`sd_notify(3)`): only said where it was asked for, by `NOTIFY_SOCKET`.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// What this process tells the manager that started it.
#[derive(Debug, Clone, Copy)]
pub struct Service;

impl Service {
    /// It serves; what it serves is shown by `systemctl status`.
    pub fn ready(self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It reads its files again; [`Service::ready`] has to follow.
    pub fn reloading(self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "systemd was not told"),
        }
    }

    /// It is about to end.
    pub fn stopping(self, status: &str) {
        tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Says that it lives, as often as the manager wants to hear it, while `is_alive` says so.
    #[must_use]
    pub fn watch(self, is_alive: impl Fn() -> bool + Send + 'static) -> Option<Watchdog> {
        let limit = sd_notify::watchdog_enabled()?;
        let pause = (limit / 3).max(Duration::from_millis(10));
        Some(Watchdog(tokio::spawn(async move {
            loop {
                if is_alive() {
                    tell(&[NotifyState::Watchdog]);
                }
                tokio::time::sleep(pause).await;
            }
        })))
    }
}

/// Says that the process lives, until dropped.
#[derive(Debug)]
pub struct Watchdog(JoinHandle<()>);

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}
