//! The metrics as text.

use std::sync::atomic::{AtomicU64, Ordering};

use countersign_storage::PoolUse;
use countersign_telemetry::{Exposition, Kind, Summary, write_certificates, write_process};
use jiff::Timestamp;

use super::{Metrics, Operation, Outcome, Requests};
use crate::app::App;
use crate::error::Code;

/// The label of the counts of scrapes, as Prometheus' client of the reference has it.
const SCRAPES: [(&str, &str); 1] = [("handler", "prometheus")];

/// Who reads the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Whoever reaches the service.
    Anybody,
    /// Whoever reaches the metrics' own address.
    Operator,
}

/// Writes everything.
pub(crate) fn write(app: &App, reader: Reader) -> String {
    let mut text = Exposition::default();
    let help = "The release that is running.";
    text.family("countersign_build_info", Kind::Gauge, help);
    text.sample("countersign_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    app.metrics.write(&mut text);
    connections(app, &mut text);
    certificates(app, &mut text);
    pools(app, &mut text);
    looks(app, &mut text);
    if let Some(remote) = app.keys.remote() {
        remote.calls().write(&mut text);
    }
    app.audit.metrics(&mut text);
    app.survey.write(app.clock.now(), reader, &mut text);
    write_process(&mut text);
    text.into_text()
}

fn connections(app: &App, text: &mut Exposition) {
    let draining = u8::from(app.is_draining());
    text.single("countersign_draining", Kind::Gauge, "1 while the service is about to end.", draining);
    let metrics = &app.metrics;
    let load = |value: &AtomicU64| value.load(Ordering::Relaxed);
    let gauge = [("countersign_connections", "Open connections.", &metrics.connections)];
    for (name, help, value) in gauge {
        text.single(name, Kind::Gauge, help, load(value));
    }
    for (name, help, value) in [
        ("countersign_renewals_total", "Timestamps and snapshots signed anew.", &metrics.renewals),
        ("countersign_renewal_failures_total", "Renewals that failed.", &metrics.renewal_failures),
        (
            "countersign_connections_turned_away_total",
            "Connections of clients that had too many.",
            &metrics.turned_away,
        ),
        ("countersign_panics_total", "Requests whose handler panicked.", &metrics.panics),
    ] {
        text.single(name, Kind::Counter, help, load(value));
    }
}

/// Of the machine's clock, which clients and the keyserver look at, whatever clock metadata follows.
fn certificates(app: &App, text: &mut Exposition) {
    let service = app.certificates.as_ref().map(|certificates| ("service", certificates.until()));
    let keyserver = app.keys.remote().map(|remote| ("keyserver-client", remote.certificate_until()));
    write_certificates(service.into_iter().chain(keyserver), Timestamp::now(), text);
}

fn looks(app: &App, text: &mut Exposition) {
    let name = "countersign_cache_requests_total";
    text.family(name, Kind::Counter, "Looks into memory, by what was looked for and whether it was there.");
    let looks = &app.metrics.looks;
    for (cache, found) in [("current", &looks.current), ("files", &looks.files)] {
        for (result, counter) in [("hit", &found.hits), ("miss", &found.misses)] {
            text.sample(name, &[("cache", cache), ("result", result)], counter.get());
        }
    }
    let name = "countersign_cache_bytes";
    text.family(name, Kind::Gauge, "Bytes of metadata in memory.");
    for (cache, bytes) in app.caches.bytes() {
        text.sample(name, &[("cache", cache)], bytes);
    }
}

/// Picks a figure of a pool.
type Figure = fn(&PoolUse) -> u32;

fn pools(app: &App, text: &mut Exposition) {
    let pools = (app.pools)();
    let samples: [(&str, &str, Figure); 3] = [
        ("countersign_database_connections", "Open connections to the database.", |pool| pool.open),
        ("countersign_database_connections_idle", "Those that nobody uses.", |pool| pool.idle),
        ("countersign_database_connections_max", "As many as there may be.", |pool| pool.most),
    ];
    for (name, help, value) in samples {
        text.family(name, Kind::Gauge, help);
        for (pool, used) in &pools {
            text.sample(name, &[("pool", pool)], value(used));
        }
    }
}

impl Metrics {
    fn write(&self, text: &mut Exposition) {
        let labelled: Vec<_> = Operation::ALL
            .iter()
            .zip(&self.operations)
            .map(|(operation, requests)| ([("operation", operation.name())], operation.method(), requests))
            .collect();
        write_requests(text, "notary_server_http", &labelled);
        write_requests(text, "http", &[(SCRAPES, "get", &self.scrapes)]);
        let name = "countersign_request_duration_seconds";
        text.family(name, Kind::Histogram, "How long requests took.");
        for (labels, _, requests) in &labelled {
            requests.seconds.write(text, name, labels);
        }
        let name = "countersign_publications_total";
        text.family(name, Kind::Counter, "Uploads by what became of them.");
        for ((_, outcome), counter) in Outcome::ALL.iter().zip(&self.publications) {
            text.sample(name, &[("outcome", outcome)], counter.get());
        }
        let name = "countersign_refusals_total";
        text.family(name, Kind::Counter, "Requests that were answered with an error, by its code.");
        for (code, counter) in Code::ALL.iter().zip(&self.refusals) {
            text.sample(name, &[("code", code.label())], counter.get());
        }
    }
}

type Labelled<'a> = ([(&'static str, &'static str); 1], &'static str, &'a Requests);

/// Picks one of the summaries.
type Pick = fn(&Requests) -> &Summary;

/// Writes the families that the reference's client library makes of instrumented handlers.
fn write_requests(text: &mut Exposition, prefix: &str, all: &[Labelled<'_>]) {
    let name = format!("{prefix}_requests_total");
    text.family(&name, Kind::Counter, "Total number of HTTP requests made.");
    for (labels, method, requests) in all {
        for (method, statuses) in [(*method, &requests.statuses), ("head", &requests.head_statuses)] {
            for (status, counter) in statuses.iter().enumerate().filter(|(_, counter)| counter.get() > 0) {
                let [label] = *labels;
                text.sample(&name, &[("code", &status.to_string()), ("method", method), label], counter.get());
            }
        }
    }
    let summaries: [(&str, &str, Pick); 3] = [
        ("request_duration_microseconds", "The HTTP request latencies in microseconds.", |requests| {
            &requests.microseconds
        }),
        ("request_size_bytes", "The HTTP request sizes in bytes.", |requests| &requests.request_bytes),
        ("response_size_bytes", "The HTTP response sizes in bytes.", |requests| &requests.response_bytes),
    ];
    for (what, help, pick) in summaries {
        let name = format!("{prefix}_{what}");
        text.family(&name, Kind::Summary, help);
        for (labels, _, requests) in all {
            pick(requests).write(text, &name, labels);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Finished, Form};

    #[test]
    fn requests_are_counted_by_operation_code_and_method() {
        let metrics = Metrics::default();
        for (status, code) in [(200, None), (200, None), (404, Some(Code::MetadataNotFound))] {
            let duration = Duration::from_micros(5);
            let finished = Finished { form: Form::Whole, status, code, duration, request_bytes: 0, response_bytes: 7 };
            metrics.record(Some(Operation::GetRole), &finished);
        }
        let finished = Finished {
            form: Form::Head,
            status: 200,
            code: None,
            duration: Duration::ZERO,
            request_bytes: 9,
            response_bytes: 0,
        };
        metrics.record(Some(Operation::GetRoleByHash), &finished);
        let mut text = Exposition::default();
        metrics.write(&mut text);
        let text = text.into_text();
        for line in [
            "notary_server_http_requests_total{code=\"200\",method=\"get\",operation=\"GetRole\"} 2\n",
            "notary_server_http_requests_total{code=\"404\",method=\"get\",operation=\"GetRole\"} 1\n",
            "notary_server_http_requests_total{code=\"200\",method=\"head\",operation=\"GetRoleByHash\"} 1\n",
            "notary_server_http_request_duration_microseconds{operation=\"GetRole\",quantile=\"0.99\"} 5\n",
            "notary_server_http_request_duration_microseconds{operation=\"GetKey\",quantile=\"0.5\"} NaN\n",
            "notary_server_http_request_duration_microseconds_sum{operation=\"GetRole\"} 15\n",
            "notary_server_http_response_size_bytes_count{operation=\"GetRole\"} 3\n",
            "countersign_request_duration_seconds_bucket{operation=\"GetRole\",le=\"0.0005\"} 3\n",
            "countersign_publications_total{outcome=\"accepted\"} 0\n",
            "countersign_refusals_total{code=\"METADATA_NOT_FOUND\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
