//! Doing something until it is done, its time is over, or a signal says stop; whoever holds keys then gets to remove them.

use crate::error::{CliError, Kind};
use rustix::process::Signal;
use std::str::FromStr;
use std::time::Duration;
use tokio::signal::unix::{Signal as Stream, SignalKind, signal};
use tokio::time::Instant;

/// Exit code of what ran out of time, as `timeout(1)` has it.
pub(super) const TIMED_OUT: u8 = 124;
/// The longest time that can be given: a week.
const LONGEST: Duration = Duration::from_hours(24 * 7);

/// How long something may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TimeLimit(pub(super) Duration);

impl FromStr for TimeLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit = match text.get(digits.len()..) {
            Some("" | "s") => 1,
            Some("m") => 60,
            Some("h") => 3600,
            _ => 0,
        };
        let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).unwrap_or_default();
        match Duration::from_secs(seconds) {
            Duration::ZERO => Err("give seconds, or a number with s, m or h: 90, 90s, 15m, 1h".to_owned()),
            limit if limit > LONGEST => Err("a week is the longest".to_owned()),
            limit => Ok(Self(limit)),
        }
    }
}

impl TimeLimit {
    /// Turns a limit, if there is one, into the moment when it is over.
    pub(super) fn from_now(limit: Option<Self>) -> Deadline {
        Deadline(limit.map(|Self(limit)| Instant::now() + limit))
    }
}

/// When the time is over, if ever.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline(Option<Instant>);

impl Deadline {
    /// Waits for it; for ever without one.
    pub(super) async fn pass(self) {
        match self.0 {
            Some(moment) => tokio::time::sleep_until(moment).await,
            None => std::future::pending().await,
        }
    }
}

/// The signals that end a job, heard from the moment this value is made.
pub(super) struct Stops {
    streams: Vec<(Signal, Stream)>,
}

impl Stops {
    /// Begins to hear them: nothing that follows is ended by them any more without being told.
    pub(super) fn listen() -> Result<Self, CliError> {
        let wanted = [
            (Signal::INT, SignalKind::interrupt()),
            (Signal::TERM, SignalKind::terminate()),
            (Signal::HUP, SignalKind::hangup()),
            (Signal::QUIT, SignalKind::quit()),
        ];
        let streams = wanted.into_iter().map(|(name, kind)| signal(kind).map(|stream| (name, stream)));
        let streams = streams.collect::<Result<_, _>>().map_err(|error| CliError::internal(&error))?;
        Ok(Self { streams })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (name, stream) in &mut self.streams {
                if stream.poll_recv(context).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }
}

/// The exit code of what a signal ended.
pub(super) fn code_of(signal: Signal) -> u8 {
    u8::try_from(signal.as_raw()).unwrap_or_default().saturating_add(128)
}

/// Does something, unless it is stopped; then there is a hint at what may have happened until then.
pub(super) async fn guarded<T>(
    stops: &mut Stops,
    deadline: Deadline,
    hint: &'static str,
    work: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    tokio::select! {
        done = work => done,
        stop = stops.next() => {
            let text = format!("stopped by signal {}; the keys are removed", stop.as_raw());
            Err(CliError::new(Kind::Exit(code_of(stop)), text).hint(hint))
        }
        () = deadline.pass() => {
            Err(CliError::new(Kind::Exit(TIMED_OUT), "the time is over; the keys are removed").hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_with_their_units() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200)] {
            assert_eq!(text.parse(), Ok(TimeLimit(Duration::from_secs(seconds))), "{text}");
        }
        for text in ["", "0", "s", "5d", "-1", "1.5h", "999999999999999999999h", "200h"] {
            assert!(text.parse::<TimeLimit>().is_err(), "{text}");
        }
    }
}
