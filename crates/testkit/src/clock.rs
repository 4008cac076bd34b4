//! The fixed time at which the golden data is fresh.

use jiff::Timestamp;

/// The clock reading to give to code under test: 2026-11-22T12:00:00Z, half an hour after the golden data was made
/// and within the lifetime of all its roles.
pub const FIXTURE_CLOCK: Timestamp = Timestamp::constant(1_795_348_800, 0);

#[cfg(test)]
mod tests {
    use super::FIXTURE_CLOCK;

    #[test]
    fn the_fixture_clock_reads_noon() {
        assert_eq!(FIXTURE_CLOCK.to_string(), "2026-11-22T12:00:00Z");
    }
}
