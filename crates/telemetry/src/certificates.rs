//! How long certificates last.

use jiff::Timestamp;

use crate::{Exposition, Kind};

/// Adds the seconds until certificates end, each under the name of what it is for; below 0 they have ended.
pub fn write_certificates(
    certificates: impl IntoIterator<Item = (&'static str, Timestamp)>,
    now: Timestamp,
    text: &mut Exposition,
) {
    let name = "countersign_certificate_expiry_seconds";
    text.family(name, Kind::Gauge, "Seconds until a certificate of this service ends.");
    for (certificate, until) in certificates {
        text.sample(name, &[("certificate", certificate)], until.duration_since(now).as_secs());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_below_zero() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let in_seconds = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let mut text = Exposition::default();
        write_certificates([("service", in_seconds(86400)), ("keyserver-client", in_seconds(-5))], now, &mut text);
        let text = text.into_text();
        assert!(text.contains("countersign_certificate_expiry_seconds{certificate=\"service\"} 86400\n"), "{text}");
        assert!(text.contains("{certificate=\"keyserver-client\"} -5\n"), "{text}");
    }
}
