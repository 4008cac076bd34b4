//! What belongs to one request: the id that is in every line about it, and its place in a trace.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::trace::{self, Span};

/// Longest id that is taken from a client, in bytes.
const MAX_ID: usize = 128;

tokio::task_local! {
    static CURRENT: Option<Request>;
}

/// One request, as its log lines and spans know it; copies are of the same request.
#[derive(Debug, Clone)]
pub struct Request(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    id: Box<str>,
    /// What is passed on when no trace is recorded here.
    came_with: Option<Box<str>>,
    span: Option<Span>,
}

impl Request {
    /// Begins a request with what its headers say: `X-Request-Id` is taken when it is one plain word, and `traceparent` when
    /// it is well-formed (W3C Trace Context). Otherwise the id is the trace's, or a new one.
    #[must_use]
    pub fn begin(name: &'static str, id: Option<&[u8]>, traceparent: Option<&[u8]>) -> Self {
        let traceparent = traceparent.and_then(|text| std::str::from_utf8(text).ok()).filter(|text| is_trace(text));
        let span = Span::server(name, traceparent);
        let given = id.and_then(plain).map(Into::into);
        let trace = || traceparent.and_then(|text| text.get(3..35)).map(Into::into);
        let recorded = || span.as_ref().map(Span::trace_id).map(Into::into);
        let id = given.or_else(trace).or_else(recorded).unwrap_or_else(made);
        let came_with = if span.is_some() { None } else { traceparent.map(Into::into) };
        Self(Arc::new(Parts { id, came_with, span }))
    }

    /// Returns the id: plain ASCII without blanks.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the span of the request itself or of the part of it that is being done, if a trace is recorded.
    #[must_use]
    pub fn span(&self) -> Option<&Span> {
        self.0.span.as_ref()
    }

    /// Returns what tells another service which trace its part belongs to (W3C Trace Context).
    #[must_use]
    pub fn traceparent(&self) -> Option<String> {
        match &self.0.span {
            Some(span) => Some(span.traceparent()),
            None => self.0.came_with.as_deref().map(str::to_owned),
        }
    }

    /// The same request, doing the part that this span is of.
    pub(crate) fn in_part(&self, span: Span) -> Self {
        Self(Arc::new(Parts { id: self.0.id.clone(), came_with: None, span: Some(span) }))
    }

    /// Does something on behalf of the request, on a thread that may block.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(Some(self), work)
    }
}

/// Returns the request on whose behalf the caller works.
#[must_use]
pub fn current() -> Option<Request> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

/// Does something on behalf of a request, or of nobody; also a task or thread that the request's own has begun needs this.
pub fn within<F: Future>(request: Option<Request>, work: F) -> impl Future<Output = F::Output> {
    CURRENT.scope(request, work)
}

/// Lets an id pass that cannot break a log line, a header, or anybody's idea of an id.
fn plain(id: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    let fits = !id.is_empty() && id.len() <= MAX_ID && id.iter().all(is_plain);
    fits.then(|| std::str::from_utf8(id).ok()).flatten()
}

/// Tells whether a text is `version-trace-span-flags`, of version 00 and not all zeros (W3C Trace Context, traceparent).
fn is_trace(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    match parts.as_slice() {
        ["00", trace, span, flags] => {
            (trace.len(), span.len(), flags.len()) == (32, 16, 2)
                && parts.iter().all(|part| is_hex(part))
                && !is_zero(trace)
                && !is_zero(span)
        }
        _ => false,
    }
}

/// Makes an id: unique among processes by chance, within this one by counting.
fn made() -> Box<str> {
    static PROCESS: OnceLock<u64> = OnceLock::new();
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(trace::random);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut id = String::with_capacity(33);
    let digits = |number: u64, count: u32| {
        (0..count).rev().filter_map(move |place| char::from_digit(u32::try_from(number >> (4 * place) & 15).ok()?, 16))
    };
    id.extend(digits(*process, 16));
    id.push('-');
    id.extend(digits(number, (u64::BITS - number.leading_zeros()).div_ceil(4).max(1)));
    id.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn begun(id: Option<&str>, traceparent: Option<&str>) -> Request {
        Request::begin("test", id.map(str::as_bytes), traceparent.map(str::as_bytes))
    }

    #[test]
    fn an_id_is_the_clients_if_it_is_plain_else_the_traces_else_a_new_one() {
        assert_eq!(begun(Some("abc-1.2:3"), Some(TRACE)).id(), "abc-1.2:3");
        assert_eq!(begun(None, Some(TRACE)).id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for hostile in ["", " ", "a b", "a\r\nb", "é", "\u{1b}[31m", "a\"b", &"x".repeat(MAX_ID + 1)] {
            let (one, two) = (begun(Some(hostile), None), begun(Some(hostile), None));
            assert_ne!(one.id(), two.id());
            assert!(plain(one.id().as_bytes()).is_some() && one.id() != hostile, "{hostile:?}");
        }
        assert_eq!(begun(Some(&"x".repeat(MAX_ID)), None).id().len(), MAX_ID);
    }

    #[test]
    fn a_trace_is_passed_on_only_when_it_is_well_formed() {
        assert_eq!(begun(None, Some(TRACE)).traceparent().as_deref(), Some(TRACE));
        for bad in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(begun(None, Some(bad)).traceparent(), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn work_knows_its_request_also_on_other_threads() {
        assert!(current().is_none());
        let request = begun(Some("r"), None);
        let seen = within(Some(request), async {
            let here = current().unwrap();
            let there = tokio::task::spawn_blocking(move || here.run(|| current().unwrap().id().to_owned()));
            (current().unwrap().id().to_owned(), there.await.unwrap())
        });
        assert_eq!(seen.await, ("r".to_owned(), "r".to_owned()));
        assert!(current().is_none());
    }
}
