//! Counting without locks: what happens on every request costs a few additions.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::exposition::Exposition;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn count(&self) {
        self.add(1);
    }

    /// Adds a number.
    pub fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// Returns the number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper ends of a histogram's buckets, in microseconds, and as the label says them in seconds.
const BUCKETS: [(u64, &str); 14] = [
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
];

/// Durations, counted by how long they were; those of several processes can be added up.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS.len()],
    beyond: AtomicU64,
    microseconds: AtomicU64,
}

impl Histogram {
    /// Counts a duration.
    pub fn record(&self, duration: Duration) {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let place = BUCKETS.iter().position(|(end, _)| microseconds <= *end);
        let bucket = place.and_then(|place| self.buckets.get(place)).unwrap_or(&self.beyond);
        bucket.fetch_add(1, Ordering::Relaxed);
        self.microseconds.fetch_add(microseconds, Ordering::Relaxed);
    }

    /// Writes the samples of a family with this name.
    pub fn write(&self, text: &mut Exposition, name: &str, labels: &[(&str, &str)]) {
        let (bucket, mut below) = (format!("{name}_bucket"), 0);
        let with = |end| [labels, &[("le", end)]].concat();
        for ((_, end), count) in BUCKETS.iter().zip(&self.buckets) {
            below += count.load(Ordering::Relaxed);
            text.sample(&bucket, &with(end), below);
        }
        below += self.beyond.load(Ordering::Relaxed);
        text.sample(&bucket, &with("+Inf"), below);
        let seconds = Duration::from_micros(self.microseconds.load(Ordering::Relaxed)).as_secs_f64();
        text.sample(&format!("{name}_sum"), labels, seconds);
        text.sample(&format!("{name}_count"), labels, below);
    }
}

/// Bits of a value that are kept below its leading one: quantiles are exact to an eighth.
const PRECISION: u32 = 3;
/// Places for the values of all sizes.
const PLACES: usize = (64 - PRECISION as usize + 1) << PRECISION;
/// How long a value counts in the quantiles: at least so long, at most twice.
const WINDOW: Duration = Duration::from_mins(5);
/// The quantiles that are written.
const QUANTILES: [(&str, u64); 3] = [("0.5", 500), ("0.9", 900), ("0.99", 990)];

/// Values with their sum, their number, and quantiles of the last minutes.
#[derive(Debug, Default)]
pub struct Summary {
    count: AtomicU64,
    sum: AtomicU64,
    /// Which window is being filled.
    window: AtomicU64,
    windows: [Counts; 2],
}

impl Summary {
    /// Counts a value, in this window.
    pub fn record(&self, Window(window): Window, value: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
        self.turn_to(window);
        self.counts(window).record(value);
    }

    /// Writes the samples of a family with this name.
    pub fn write(&self, text: &mut Exposition, name: &str, labels: &[(&str, &str)]) {
        self.turn_to(Window::now().0);
        for (quantile, permille) in QUANTILES {
            let labels = [labels, &[("quantile", quantile)]].concat();
            match self.quantile(permille) {
                Some(value) => text.sample(name, &labels, value),
                None => text.sample(name, &labels, "NaN"),
            }
        }
        text.sample(&format!("{name}_sum"), labels, self.sum.load(Ordering::Relaxed));
        text.sample(&format!("{name}_count"), labels, self.count.load(Ordering::Relaxed));
    }

    /// Forgets what is older than two windows.
    fn turn_to(&self, window: u64) {
        let before = self.window.load(Ordering::Relaxed);
        let turned = || self.window.compare_exchange(before, window, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if before < window && turned() {
            self.counts(window).clear();
            if window > before + 1 {
                self.counts(window + 1).clear();
            }
        }
    }

    fn counts(&self, window: u64) -> &Counts {
        let [even, odd] = &self.windows;
        if window.is_multiple_of(2) { even } else { odd }
    }

    fn quantile(&self, permille: u64) -> Option<u64> {
        let [even, odd] = &self.windows;
        let both = || (0..PLACES).map(|place| (place, even.at(place) + odd.at(place)));
        let total: u64 = both().map(|(_, count)| count).sum();
        let rank = (total * permille).div_ceil(1000);
        let mut below = 0;
        let place = both().find(|(_, count)| {
            below += count;
            below >= rank && below > 0
        });
        place.map(|(place, _)| value_at(place))
    }
}

/// How many values of each size there were.
#[derive(Debug, Default)]
struct Counts(OnceLock<Box<[AtomicU32]>>);

impl Counts {
    fn record(&self, value: u64) {
        let places = self.0.get_or_init(|| (0..PLACES).map(|_| AtomicU32::new(0)).collect());
        if let Some(count) = places.get(place_of(value)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn at(&self, place: usize) -> u64 {
        self.0.get().and_then(|places| places.get(place)).map_or(0, |count| count.load(Ordering::Relaxed).into())
    }

    fn clear(&self) {
        for count in self.0.get().into_iter().flatten() {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// Returns the place of values of this size: small ones have places of their own, larger ones share the leading bits.
fn place_of(value: u64) -> usize {
    let bits = u64::BITS - value.leading_zeros();
    let place = match bits.checked_sub(PRECISION + 1) {
        None | Some(0) => value,
        Some(shift) => (u64::from(shift) << PRECISION) + (value >> shift),
    };
    usize::try_from(place).unwrap_or(usize::MAX)
}

/// Returns the smallest value that has this place.
fn value_at(place: usize) -> u64 {
    let place = place as u64;
    match (place >> PRECISION).checked_sub(1) {
        None | Some(0) => place,
        Some(shift) => ((place & ((1 << PRECISION) - 1)) | (1 << PRECISION)) << shift,
    }
}

/// Some minutes, in which values are counted together; asked for once for all values of one event.
#[derive(Debug, Clone, Copy)]
pub struct Window(u64);

impl Window {
    /// Returns the present one.
    #[must_use]
    pub fn now() -> Self {
        static BEGUN: OnceLock<Instant> = OnceLock::new();
        Self(BEGUN.get_or_init(Instant::now).elapsed().as_secs() / WINDOW.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantiles(summary: &Summary) -> Vec<Option<u64>> {
        QUANTILES.iter().map(|(_, permille)| summary.quantile(*permille)).collect()
    }

    #[test]
    fn every_value_has_a_place_that_is_exact_to_an_eighth() {
        let mut last = 0;
        for value in
            (0..70_u64).chain((7..64).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + (1 << (bit - 1))]))
        {
            let place = place_of(value);
            assert!(place < PLACES && place >= last, "{value}");
            last = place;
            let found = value_at(place);
            assert!(found <= value && value - found <= value / 8, "{value} {found}");
        }
        assert!(place_of(u64::MAX) < PLACES);
    }

    #[test]
    fn quantiles_are_of_the_last_minutes_alone() {
        let summary = Summary::default();
        assert_eq!(quantiles(&summary), [None; 3]);
        for value in 1..=100 {
            summary.record(Window(0), value);
        }
        let found: Vec<_> = quantiles(&summary).into_iter().flatten().collect();
        for (found, exact) in found.iter().zip([50, 90, 99]) {
            assert!(found.abs_diff(exact) <= exact / 8, "{found} {exact}");
        }
        summary.record(Window(1), 7);
        assert!(summary.quantile(500).unwrap() >= 44, "the window before still counts");
        summary.record(Window(2), 7);
        assert_eq!(summary.quantile(990), Some(7), "and then no more");
        summary.turn_to(9);
        assert_eq!(summary.quantile(990), None);
        let mut text = Exposition::default();
        summary.write(&mut text, "x", &[("operation", "GetRole")]);
        let text = text.into_text();
        assert!(text.contains("x{operation=\"GetRole\",quantile=\"0.99\"} NaN\n"), "{text}");
        assert!(text.ends_with("x_sum{operation=\"GetRole\"} 5064\nx_count{operation=\"GetRole\"} 102\n"), "{text}");
    }

    #[test]
    fn a_histogram_counts_each_duration_once_and_in_all_larger_buckets() {
        let histogram = Histogram::default();
        for millis in [1, 2, 700, 60_000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut text = Exposition::default();
        histogram.write(&mut text, "d", &[]);
        let text = text.into_text();
        for line in [
            "d_bucket{le=\"0.0005\"} 0\n",
            "d_bucket{le=\"0.001\"} 1\n",
            "d_bucket{le=\"0.0025\"} 2\n",
            "d_bucket{le=\"1\"} 3\n",
            "d_bucket{le=\"10\"} 3\n",
            "d_bucket{le=\"+Inf\"} 4\n",
            "d_sum 60.703\n",
            "d_count 4\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
