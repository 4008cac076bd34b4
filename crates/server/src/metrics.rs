//! What is counted, and how it is written for Prometheus.
//!
//! Counting takes a few additions and no lock. No collection is named, but for those that expire first, where an operator has
//! asked for it and the metrics have an address of their own.

mod text;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use countersign_telemetry::{Counter, Histogram, Summary, Window};

use crate::error::Code;

pub(crate) use text::{Reader, write};

/// What requests do, under the reference's names (Notary protocol, metrics).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    UpdateTuf,
    GetRoleByHash,
    GetRoleByVersion,
    GetRole,
    GetKey,
    RotateKey,
    DeleteTuf,
    Changefeed,
}

impl Operation {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 8] = [
        Self::UpdateTuf,
        Self::GetRoleByHash,
        Self::GetRoleByVersion,
        Self::GetRole,
        Self::GetKey,
        Self::RotateKey,
        Self::DeleteTuf,
        Self::Changefeed,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::UpdateTuf => "UpdateTUF",
            Self::GetRoleByHash => "GetRoleByHash",
            Self::GetRoleByVersion => "GetRoleByVersion",
            Self::GetRole => "GetRole",
            Self::GetKey => "GetKey",
            Self::RotateKey => "RotateKey",
            Self::DeleteTuf => "DeleteTUF",
            Self::Changefeed => "Changefeed",
        }
    }

    /// Each has one method.
    fn method(self) -> &'static str {
        match self {
            Self::UpdateTuf | Self::RotateKey => "post",
            Self::DeleteTuf => "delete",
            Self::GetRoleByHash | Self::GetRoleByVersion | Self::GetRole | Self::GetKey | Self::Changefeed => "get",
        }
    }
}

/// What became of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Accepted,
    /// Somebody else was first.
    Conflict,
    /// The upload is not valid, or not whole.
    Refused,
    /// The client may not.
    Unauthorized,
    /// The service could not at the moment: it is busy, or the keyserver or the database is away.
    Unavailable,
    /// The service failed.
    Failed,
}

impl Outcome {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Accepted, "accepted"),
        (Self::Conflict, "conflict"),
        (Self::Refused, "refused"),
        (Self::Unauthorized, "unauthorized"),
        (Self::Unavailable, "unavailable"),
        (Self::Failed, "failed"),
    ];

    fn of(status: u16, code: Option<Code>) -> Self {
        match (code, status) {
            (Some(Code::Version), _) => Self::Conflict,
            (_, 200..=299) => Self::Accepted,
            (_, 401 | 403) => Self::Unauthorized,
            (_, 429 | 503) => Self::Unavailable,
            (_, 400..=499) => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// Numbers of statuses that are told apart.
const STATUSES: usize = 600;

/// Which form of an answer was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// The answer, by the operation's own method.
    Whole,
    /// Its header alone.
    Head,
}

/// What is counted of one operation.
#[derive(Debug)]
pub(crate) struct Requests {
    statuses: Box<[Counter]>,
    head_statuses: Box<[Counter]>,
    microseconds: Summary,
    request_bytes: Summary,
    response_bytes: Summary,
    seconds: Histogram,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            statuses: (0..STATUSES).map(|_| Counter::default()).collect(),
            head_statuses: (0..STATUSES).map(|_| Counter::default()).collect(),
            microseconds: Summary::default(),
            request_bytes: Summary::default(),
            response_bytes: Summary::default(),
            seconds: Histogram::default(),
        }
    }
}

/// What is counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    operations: [Requests; Operation::ALL.len()],
    /// Scrapes of the metrics themselves.
    pub(crate) scrapes: Requests,
    /// Looks into memory.
    pub(crate) looks: Looks,
    publications: [Counter; Outcome::ALL.len()],
    refusals: [Counter; Code::ALL.len()],
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

impl Default for Metrics {
    fn default() -> Self {
        Self {
            operations: Default::default(),
            scrapes: Requests::default(),
            looks: Looks::default(),
            publications: Default::default(),
            refusals: std::array::from_fn(|_| Counter::default()),
            connections: AtomicU64::default(),
            renewals: AtomicU64::default(),
            renewal_failures: AtomicU64::default(),
            turned_away: AtomicU64::default(),
            panics: AtomicU64::default(),
        }
    }
}

/// How often something was found in memory, and how often not.
#[derive(Debug, Default)]
pub(crate) struct Looks {
    /// Current states.
    pub(crate) current: Found,
    /// Files by their digest.
    pub(crate) files: Found,
}

#[derive(Debug, Default)]
pub(crate) struct Found {
    hits: Counter,
    misses: Counter,
}

impl Found {
    /// Counts what became of a look.
    pub(crate) fn look<T>(&self, found: Option<T>) -> Option<T> {
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.count();
        found
    }
}

/// One finished request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) form: Form,
    pub(crate) status: u16,
    pub(crate) code: Option<Code>,
    pub(crate) duration: Duration,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
}

impl Requests {
    pub(crate) fn record(&self, finished: &Finished) {
        let statuses = match finished.form {
            Form::Whole => &self.statuses,
            Form::Head => &self.head_statuses,
        };
        if let Some(counter) = statuses.get(usize::from(finished.status)) {
            counter.count();
        }
        let window = Window::now();
        self.microseconds.record(window, u64::try_from(finished.duration.as_micros()).unwrap_or(u64::MAX));
        self.request_bytes.record(window, finished.request_bytes);
        self.response_bytes.record(window, finished.response_bytes);
        self.seconds.record(finished.duration);
    }
}

impl Metrics {
    /// Counts a request; one without an operation counts only when it was refused.
    pub(crate) fn record(&self, operation: Option<Operation>, finished: &Finished) {
        if let Some(code) = finished.code
            && let Some(counter) = self.refusals.get(code as usize)
        {
            counter.count();
        }
        let Some(operation) = operation else { return };
        if let Some(requests) = self.operations.get(operation as usize) {
            requests.record(finished);
        }
        if operation == Operation::UpdateTuf {
            let outcome = Outcome::of(finished.status, finished.code);
            if let Some(counter) = self.publications.get(outcome as usize) {
                counter.count();
            }
        }
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
    fn numbers_are_places_in_the_lists() {
        assert!(Operation::ALL.iter().enumerate().all(|(place, operation)| *operation as usize == place));
        assert!(Outcome::ALL.iter().enumerate().all(|(place, (outcome, _))| *outcome as usize == place));
        assert!(Code::ALL.iter().enumerate().all(|(place, code)| *code as usize == place));
    }

    #[test]
    fn an_upload_has_one_outcome() {
        for (status, code, outcome) in [
            (200, None, Outcome::Accepted),
            (400, Some(Code::Version), Outcome::Conflict),
            (400, Some(Code::InvalidUpdate), Outcome::Refused),
            (413, Some(Code::MalformedUpload), Outcome::Refused),
            (401, Some(Code::Unauthorized), Outcome::Unauthorized),
            (503, Some(Code::CannotSign), Outcome::Unavailable),
            (500, Some(Code::Updating), Outcome::Failed),
        ] {
            assert_eq!(Outcome::of(status, code), outcome, "{status}");
        }
    }

    #[test]
    fn a_gauge_falls_when_its_reason_is_gone() {
        let metrics = Metrics::default();
        let up = Gauge::raise(&metrics.connections);
        assert_eq!(metrics.connections.load(Ordering::Relaxed), 1);
        drop(up);
        assert_eq!(metrics.connections.load(Ordering::Relaxed), 0);
    }
}
