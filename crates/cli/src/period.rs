//! Lengths of time as people write them.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use std::fmt;
use std::str::FromStr;

/// Longest length of time that is taken, in days: a hundred years.
const MAX_DAYS: i64 = 36_525;

/// A length of time: a whole number and `s`, `m`, `h`, `d` or `w`, such as `90d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Period(SignedDuration);

/// Says that a text is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no length of time: a whole number and s, m, h, d or w is wanted, such as 90d, and at most 100 years")]
pub(crate) struct PeriodError(String);

impl Period {
    /// Gives whole days.
    pub(crate) const fn days(days: i32) -> Self {
        Self(SignedDuration::from_hours(24 * days as i64))
    }

    /// Gives whole seconds.
    pub(crate) const fn seconds(seconds: i32) -> Self {
        Self(SignedDuration::from_secs(seconds as i64))
    }

    /// Returns the instant that lies so long after another.
    pub(crate) fn after(self, instant: Timestamp) -> Timestamp {
        instant.saturating_add(self.0).unwrap_or(Timestamp::MAX)
    }

    /// Returns the instant that lies so long before another.
    pub(crate) fn before(self, instant: Timestamp) -> Timestamp {
        instant.saturating_sub(self.0).unwrap_or(Timestamp::MIN)
    }

    /// Returns the same for clocks that only run forward.
    pub(crate) fn as_duration(self) -> std::time::Duration {
        self.0.unsigned_abs()
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let refuse = || PeriodError(text.chars().take(40).collect());
        let unit = text.chars().next_back().ok_or_else(refuse)?;
        let number = text.strip_suffix(unit).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let number: i64 = number.and_then(|digits| digits.parse().ok()).ok_or_else(refuse)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return Err(refuse()),
        };
        let total = number.checked_mul(seconds).filter(|total| *total <= MAX_DAYS * 24 * 3600).ok_or_else(refuse)?;
        Ok(Self(SignedDuration::from_secs(total)))
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;

    fn try_from(text: String) -> Result<Self, PeriodError> {
        text.parse()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let units = [(24 * 3600, 'd'), (3600, 'h'), (60, 'm')];
        match units.into_iter().find(|(length, _)| seconds >= *length && seconds % length == 0) {
            Some((length, unit)) => write!(f, "{}{unit}", seconds / length),
            None => write!(f, "{seconds}s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written() {
        for (text, seconds, written) in [
            ("90d", 90 * 86_400, "90d"),
            ("2w", 14 * 86_400, "14d"),
            ("36h", 36 * 3600, "36h"),
            ("5m", 300, "5m"),
            ("20s", 20, "20s"),
            ("0d", 0, "0s"),
            ("36525d", 36_525 * 86_400, "36525d"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.0.as_secs(), period.to_string().as_str()), (seconds, written), "{text}");
        }
        for text in
            ["", "d", "90", "90 d", "-1d", "1.5d", "1y", "36526d", "99999999999999999999d", "9223372036854775807w", "ä"]
        {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
