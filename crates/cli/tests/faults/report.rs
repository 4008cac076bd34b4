//! What a storm did and what was found, for people to read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// Counts by what is counted, and what must not have happened.
#[derive(Debug, Default)]
pub(crate) struct Report {
    counts: Mutex<BTreeMap<(Part, &'static str), u64>>,
    violations: Mutex<Vec<String>>,
}

/// The parts of a report, in the order of printing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Injected,
    Happened,
    Checked,
}

impl Report {
    pub(crate) fn count(&self, part: Part, what: &'static str) {
        self.add(part, what, 1);
    }

    pub(crate) fn add(&self, part: Part, what: &'static str, number: u64) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry((part, what)).or_default() += number;
    }

    /// Notes what must not happen; the storm goes on, and fails at its end.
    pub(crate) fn violated(&self, what: String) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    pub(crate) fn number(&self, part: Part, what: &'static str) -> u64 {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).get(&(part, what)).copied().unwrap_or_default()
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        for part in [Part::Injected, Part::Happened, Part::Checked] {
            let counted: Vec<String> = counts
                .iter()
                .filter(|((of, _), _)| *of == part)
                .map(|((_, what), number)| format!("{number} {what}"))
                .collect();
            writeln!(f, "  {:<9} {}", format!("{part:?}:").to_lowercase(), counted.join(", "))?;
        }
        Ok(())
    }
}
