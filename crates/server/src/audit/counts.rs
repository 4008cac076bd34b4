//! What is counted of the audit log, and where it stands.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use countersign_audit::{ChainName, Head};
use countersign_telemetry::{Counter, Exposition, Kind};
use jiff::Timestamp;

/// Counts, and the last entry.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Entries written.
    pub(super) entries: Counter,
    /// Attempts to write that failed.
    pub(super) failures: Counter,
    /// Changes that were refused because there could be no entry.
    pub(super) refused: Counter,
    /// Entries about refusals and outcomes that were given up.
    pub(super) dropped: Counter,
    failing: AtomicBool,
    last: Mutex<Last>,
}

#[derive(Debug, Default, Clone)]
struct Last {
    when: Option<Timestamp>,
    head: Option<(ChainName, Head)>,
}

impl Counts {
    /// Takes note of entries whose place is known.
    pub(super) fn wrote(&self, chain: &ChainName, head: Head, entries: u64, now: Timestamp) {
        self.recorded(entries, now);
        self.lock().head = Some((chain.clone(), head));
    }

    /// Takes note of entries that the database gave a place.
    pub(super) fn recorded(&self, entries: u64, now: Timestamp) {
        self.entries.add(entries);
        self.failing.store(false, Ordering::Relaxed);
        self.lock().when = Some(now);
    }

    pub(super) fn failed(&self) {
        self.failures.count();
        self.failing.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    pub(super) fn head(&self) -> Option<(ChainName, Head)> {
        self.lock().head.clone()
    }

    pub(super) fn write(&self, text: &mut Exposition) {
        for (name, help, counter) in [
            ("countersign_audit_entries_total", "Entries of the audit log.", &self.entries),
            ("countersign_audit_failures_total", "Writes to the audit log that failed.", &self.failures),
            ("countersign_audit_refused_total", "Changes refused because there could be no entry.", &self.refused),
            (
                "countersign_audit_dropped_total",
                "Entries about refusals and outcomes that were given up.",
                &self.dropped,
            ),
        ] {
            text.single(name, Kind::Counter, help, counter.get());
        }
        let up = u8::from(!self.is_failing());
        text.single("countersign_audit_up", Kind::Gauge, "1 while the audit log can be written.", up);
        if let Some(when) = self.lock().when {
            let name = "countersign_audit_last_entry_timestamp_seconds";
            text.single(name, Kind::Gauge, "When the last entry was written.", when.as_second());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
