//! What a person reads while the steps run.

use std::io::Write;
use std::time::Duration;

/// Writes one line where cargo writes its own, so that the order is kept.
pub(crate) fn line(text: &str) {
    let mut output = std::io::stderr().lock();
    // Nobody reads any more: the exit code still tells.
    let _ = writeln!(output, "{text}").and_then(|()| output.flush());
}

/// Spells a duration for people: `0.4 s`, `12 s`, `3 min 20 s`.
pub(crate) fn spoken(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", duration.as_secs_f64()),
        10..120 => format!("{seconds} s"),
        _ => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::spoken;
    use std::time::Duration;

    #[test]
    fn durations_are_spelled_for_people() {
        assert_eq!(spoken(Duration::from_millis(440)), "0.4 s");
        assert_eq!(spoken(Duration::from_secs(12)), "12 s");
        assert_eq!(spoken(Duration::from_secs(200)), "3 min 20 s");
    }
}
