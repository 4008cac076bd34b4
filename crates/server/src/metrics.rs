//! Counters and timings in the Prometheus text format; no collection is named in them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The media type of the exposition format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted; the names of request metrics are the reference's (Notary protocol, metrics).
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    operations: Mutex<Operations>,
    /// Connections open now.
    pub(crate) connections: AtomicU64,
    /// Timestamps and snapshots that were signed anew without a publication.
    pub(crate) renewals: AtomicU64,
    /// Renewals that failed; growing means that timestamps are about to expire.
    pub(crate) renewal_failures: AtomicU64,
    /// Connections of clients that had too many.
    pub(crate) turned_away: AtomicU64,
    /// Handlers that panicked.
    pub(crate) panics: AtomicU64,
}

#[derive(Debug, Default)]
struct Operations {
    requests: BTreeMap<(&'static str, u16, &'static str), u64>,
    totals: BTreeMap<&'static str, Totals>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    count: u64,
    microseconds: u64,
    request_bytes: u64,
    response_bytes: u64,
}

/// Picks one of the sums.
type Sum = fn(&Totals) -> u64;

/// One finished request.
pub(crate) struct Finished {
    pub(crate) operation: &'static str,
    pub(crate) method: &'static str,
    pub(crate) status: u16,
    pub(crate) duration: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl Metrics {
    pub(crate) fn record(&self, finished: &Finished) {
        let mut operations = self.lock();
        *operations.requests.entry((finished.operation, finished.status, finished.method)).or_default() += 1;
        let totals = operations.totals.entry(finished.operation).or_default();
        totals.count += 1;
        totals.microseconds += u64::try_from(finished.duration.as_micros()).unwrap_or(u64::MAX);
        totals.request_bytes += finished.request_bytes;
        totals.response_bytes += finished.response_bytes;
    }

    /// Writes everything as text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        self.write_requests(&mut text);
        for (name, kind, help, value) in [
            ("countersign_connections", "gauge", "Open connections.", &self.connections),
            ("countersign_renewals_total", "counter", "Timestamps and snapshots signed anew.", &self.renewals),
            ("countersign_renewal_failures_total", "counter", "Renewals that failed.", &self.renewal_failures),
            (
                "countersign_connections_turned_away_total",
                "counter",
                "Connections of clients that had too many.",
                &self.turned_away,
            ),
            ("countersign_panics_total", "counter", "Requests whose handler panicked.", &self.panics),
        ] {
            let value = value.load(Ordering::Relaxed);
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }

    fn write_requests(&self, text: &mut String) {
        let operations = self.lock();
        let name = "notary_server_http_requests_total";
        let _ = writeln!(text, "# HELP {name} Total number of HTTP requests made.\n# TYPE {name} counter");
        for ((operation, code, method), count) in &operations.requests {
            let _ = writeln!(text, "{name}{{code=\"{code}\",method=\"{method}\",operation=\"{operation}\"}} {count}");
        }
        let sums: [(&str, &str, Sum); 3] = [
            ("duration_microseconds", "The HTTP request latencies in microseconds.", |totals| totals.microseconds),
            ("size_bytes", "The HTTP request sizes in bytes.", |totals| totals.request_bytes),
            ("response_size_bytes", "The HTTP response sizes in bytes.", |totals| totals.response_bytes),
        ];
        for (what, help, sum) in sums {
            let name = match what {
                "response_size_bytes" => "notary_server_http_response_size_bytes".to_owned(),
                _ => format!("notary_server_http_request_{what}"),
            };
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} summary");
            for (operation, totals) in &operations.totals {
                let _ = writeln!(text, "{name}_sum{{operation=\"{operation}\"}} {}", sum(totals));
                let _ = writeln!(text, "{name}_count{{operation=\"{operation}\"}} {}", totals.count);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Operations> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts something for as long as it lives.
pub(crate) struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    pub(crate) fn raise(value: &'a AtomicU64) -> Self {
        value.fetch_add(1, Ordering::Relaxed);
        Self(value)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_operation_code_and_method() {
        let metrics = Metrics::default();
        for status in [200, 200, 404] {
            metrics.record(&Finished {
                operation: "GetRole",
                method: "get",
                status,
                duration: Duration::from_micros(5),
                request_bytes: 0,
                response_bytes: 7,
            });
        }
        let text = metrics.text();
        assert!(
            text.contains("notary_server_http_requests_total{code=\"200\",method=\"get\",operation=\"GetRole\"} 2\n")
        );
        assert!(
            text.contains("notary_server_http_requests_total{code=\"404\",method=\"get\",operation=\"GetRole\"} 1\n")
        );
        assert!(text.contains("notary_server_http_request_duration_microseconds_sum{operation=\"GetRole\"} 15\n"));
        assert!(text.contains("notary_server_http_response_size_bytes_count{operation=\"GetRole\"} 3\n"));
    }

    #[test]
    fn a_gauge_falls_when_its_reason_is_gone() {
        let metrics = Metrics::default();
        let up = Gauge::raise(&metrics.connections);
        assert!(metrics.text().contains("countersign_connections 1\n"));
        drop(up);
        assert!(metrics.text().contains("countersign_connections 0\n"));
    }
}
