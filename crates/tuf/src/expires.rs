//! Expiry times as metadata spells them.

use jiff::Timestamp;
use std::fmt;

/// A point in time at which metadata expires, with the spelling it was read in.
///
/// Instants are compared; the text is kept, because it is part of the signed bytes (Notary protocol, expiry format).
/// Unlike [`Timestamp`] it holds every instant up to the last second of the year 9999.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expires {
    seconds: i64,
    nanoseconds: u32,
    text: Box<str>,
}

impl Expires {
    /// Reads an RFC 3339 time with upper-case `T` and `Z`; any number of fraction digits, any offset.
    ///
    /// Leap seconds, impossible dates and years beyond 9999 are no times.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (date_time, rest) = text.split_at_checked(19)?;
        let number = |from: usize, to: usize| digits(date_time.get(from..to)?);
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if !separators.iter().all(|(at, byte)| date_time.as_bytes().get(*at) == Some(byte)) {
            return None;
        }
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        if !(1..=12).contains(&month)
            || day < 1
            || day > days_in_month(year, month)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return None;
        }
        let (nanoseconds, zone) = fraction(rest)?;
        let seconds =
            days_since_epoch(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second - offset_seconds(zone)?;
        Some(Self { seconds, nanoseconds, text: text.into() })
    }

    /// Takes an instant, cut to whole seconds, and spells it in UTC.
    #[must_use]
    pub fn at(instant: Timestamp) -> Self {
        let whole = Timestamp::from_second(instant.as_second()).unwrap_or(instant);
        Self { seconds: whole.as_second(), nanoseconds: 0, text: whole.to_string().into() }
    }

    /// Tells whether the time lies strictly before `now`; there is no leeway.
    #[must_use]
    pub fn is_before(&self, now: Timestamp) -> bool {
        let now = (now.as_second(), i64::from(now.subsec_nanosecond()));
        (self.seconds, i64::from(self.nanoseconds)) < now
    }

    /// Returns the time as it was spelled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_seconds(&self) -> i64 {
        self.seconds
    }
}

/// Writes the time as the reference's messages do: `Fri Nov 20 10:14:00 UTC 2026`.
impl fmt::Display for Expires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.seconds) {
            Ok(instant) => write!(f, "{}", instant.strftime("%a %b %-d %H:%M:%S UTC %Y")),
            Err(_) => f.write_str(&self.text),
        }
    }
}

fn digits(text: &str) -> Option<i64> {
    if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Splits off `.digits` and returns nanoseconds (further digits are cut) and the rest.
fn fraction(rest: &str) -> Option<(u32, &str)> {
    let Some(after) = rest.strip_prefix('.') else { return Some((0, rest)) };
    let count = after.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, zone) = after.split_at_checked(count)?;
    let nanoseconds =
        digits.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    (count > 0).then_some((nanoseconds, zone))
}

fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes() {
        [b'+', ..] => 1,
        [b'-', ..] => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let valid = hours.len() == 2 && minutes.len() == 2;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (valid && hours < 24 && minutes < 60).then(|| sign * (hours * 3600 + minutes * 60))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts the days from 1970-01-01 in the proleptic Gregorian calendar.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let years = before * 365 + before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - 719_162;
    years + (1..month).map(|m| days_in_month(year, m)).sum::<i64>() + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> i64 {
        Expires::parse(text).unwrap_or_else(|| panic!("{text}")).seconds
    }

    #[test]
    fn instants_agree_with_jiff() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2026-11-22T12:00:00Z",
            "2000-02-29T23:59:59Z",
            "2036-11-19T10:08:44.74250578Z",
            "2029-11-21T15:39:51.508836876+05:30",
            "0001-01-01T00:00:00Z",
            "1900-03-01T00:00:00-08:00",
        ] {
            let expected: Timestamp = text.parse().unwrap();
            let ours = Expires::parse(text).unwrap();
            assert_eq!(ours.seconds, expected.as_millisecond().div_euclid(1000), "{text}");
            assert_eq!(ours.as_str(), text);
        }
    }

    #[test]
    fn the_year_9999_is_a_time() {
        assert!(seconds("9999-12-31T23:59:59-23:59") > seconds("9999-12-31T23:59:59Z"));
        assert!(!Expires::parse("9999-12-31T23:59:59Z").unwrap().is_before(Timestamp::MAX));
    }

    #[test]
    fn nanoseconds_count() {
        let now: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        assert!(Expires::parse("2026-01-01T00:00:00.499999999999Z").unwrap().is_before(now));
        assert!(!Expires::parse("2026-01-01T00:00:00.5Z").unwrap().is_before(now));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "null",
            "2026-13-01T00:00:00Z",
            "2026-02-30T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01t00:00:00Z",
            "2026-01-01T00:00:00z",
            "10000-01-01T00:00:00Z",
            "2026-01-01T23:59:60Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-00-01T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:00+9000000000000000000:00",
            "２026-01-01T00:00:00Z",
        ] {
            assert_eq!(Expires::parse(text), None, "{text}");
        }
    }

    #[test]
    fn spelled_as_the_reference_reads_it() {
        let expires = Expires::at("2026-11-06T10:14:00.75Z".parse().unwrap());
        assert_eq!(expires.as_str(), "2026-11-06T10:14:00Z");
        assert_eq!(expires.to_string(), "Fri Nov 6 10:14:00 UTC 2026");
    }
}
