//! The fixed time at which the golden data is fresh, and clocks that go wrong.

use std::path::PathBuf;

use jiff::Timestamp;

/// The clock reading to give to code under test: 2026-11-22T12:00:00Z, half an hour after the golden data was made
/// and within the lifetime of all its roles.
pub const FIXTURE_CLOCK: Timestamp = Timestamp::constant(1_795_348_800, 0);

/// The library that shifts the clock of a program that is started with it: `LD_PRELOAD`, `FAKETIME=+20m`.
#[must_use]
pub fn faketime_library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists()).expect("libfaketime: install Debian package faketime")
}

#[cfg(test)]
mod tests {
    use super::FIXTURE_CLOCK;

    #[test]
    fn the_fixture_clock_reads_noon() {
        assert_eq!(FIXTURE_CLOCK.to_string(), "2026-11-22T12:00:00Z");
    }
}
