//! Traces: spans of requests and their parts, sent to a collector by OTLP over HTTP.
//!
//! Unless [`Traces::start`] was called, no span is made and nothing is spent on any.

use std::fmt::Display;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError, Request as HttpRequest, Response as HttpResponse};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};
use tokio::runtime::Handle;

use crate::request::{current, within};

/// Time for one batch to be taken by the collector.
const EXPORT: Duration = Duration::from_secs(10);
/// Time for what is left to be sent at the end.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Largest answer of a collector that is read, in bytes.
const MAX_ANSWER: usize = 1 << 20;
/// The variable that says by which protocol a collector is spoken to.
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
/// Variables that name a collector.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// Says why no traces can be sent (the settings).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// A protocol that is not spoken.
    #[error("{PROTOCOL} is {0:?}: traces are sent by http/protobuf only")]
    Protocol(String),
    /// The collector cannot be asked.
    #[error("traces cannot be sent to the collector")]
    Exporter(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There are traces already.
    #[error("traces are being sent already")]
    Twice,
}

/// Traces that are being sent; [`Traces::end`] sends what is left.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins to send traces to a collector: the one of the variables (`OTEL_EXPORTER_OTLP_ENDPOINT`), else the one given;
    /// without either, nothing is begun. The other `OTEL_…` variables say what the specification says. To be called on a
    /// runtime.
    ///
    /// # Errors
    /// The variables ask for what is not there, or something else has begun traces before.
    pub fn start(service: &'static str, endpoint: Option<&str>) -> Result<Option<Self>, TraceError> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let named = ENDPOINTS.iter().any(|name| set(name).is_some());
        let disabled = set("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if disabled || (!named && endpoint.is_none()) {
            return Ok(None);
        }
        if let Some(protocol) = set(PROTOCOL).filter(|protocol| protocol != "http/protobuf") {
            return Err(TraceError::Protocol(protocol));
        }
        let client = reqwest::Client::builder().timeout(EXPORT).redirect(reqwest::redirect::Policy::none()).build();
        let client = client.map_err(|error| TraceError::Exporter(Box::new(error)))?;
        let mut exporter =
            SpanExporter::builder().with_http().with_http_client(Client { client, runtime: Handle::current() });
        if let (false, Some(endpoint)) = (named, endpoint) {
            exporter = exporter.with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')));
        }
        let exporter = exporter.build().map_err(|error| TraceError::Exporter(Box::new(error)))?;
        let mut resource = Resource::builder();
        if set("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(service);
        }
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build();
        let version = env!("CARGO_PKG_VERSION");
        let scope = opentelemetry::InstrumentationScope::builder("countersign").with_version(version).build();
        TRACER.set(provider.tracer_with_scope(scope)).map_err(|_| TraceError::Twice)?;
        Ok(Some(Self(provider)))
    }

    /// Sends what is left, within a short time.
    pub async fn end(self) {
        // The last batch is sent by a thread of its own through this runtime, which must not wait for it here.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST_WORDS)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last spans were not taken by the collector");
        }
    }
}

/// Sends batches with the HTTP client of the house, on the runtime of the service.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: HttpRequest<Bytes>) -> Result<HttpResponse<Bytes>, HttpError> {
        let client = self.client.clone();
        let sending = self.runtime.spawn(async move {
            let (parts, body) = request.into_parts();
            let sent = client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
            let mut answer = sent.send().await?;
            let mut received = Vec::new();
            while let Some(piece) = answer.chunk().await? {
                received.extend_from_slice(&piece);
                if received.len() > MAX_ANSWER {
                    return Err(HttpError::from("the collector's answer is too long"));
                }
            }
            let mut response = HttpResponse::new(Bytes::from(received));
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(response)
        });
        sending.await?
    }
}

/// A span that is being recorded; it ends when it is told to, or with its last copy.
#[derive(Clone)]
pub struct Span(Context);

impl Span {
    /// Begins the span of a request, in the trace that its client has begun, if there is one.
    pub(crate) fn server(name: &'static str, traceparent: Option<&str>) -> Option<Self> {
        let tracer = TRACER.get()?;
        let parent = traceparent
            .and_then(remote)
            .map_or_else(Context::new, |remote| Context::new().with_remote_span_context(remote));
        let span = tracer.span_builder(name).with_kind(SpanKind::Server).start_with_context(tracer, &parent);
        Some(Self(parent.with_span(span)))
    }

    /// Begins the span of a part.
    fn part(&self, name: &'static str, kind: SpanKind) -> Option<Self> {
        let tracer = TRACER.get()?;
        let span = tracer.span_builder(name).with_kind(kind).start_with_context(tracer, &self.0);
        Some(Self(self.0.with_span(span)))
    }

    /// Gives it another name, when more is known.
    pub fn rename(&self, name: &'static str) {
        self.0.span().update_name(name);
    }

    /// Adds what is known about it.
    pub fn set(&self, key: &'static str, value: impl Into<opentelemetry::Value>) {
        self.0.span().set_attribute(KeyValue::new(key, value));
    }

    /// Says that what it is of has failed.
    pub fn fail(&self, reason: String) {
        self.0.span().set_status(Status::error(reason));
    }

    /// Ends it.
    pub fn end(&self) {
        self.0.span().end();
    }

    /// Returns the id of its trace.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.0.span().span_context().trace_id().to_string()
    }

    /// Returns what tells another service that its part belongs below this span.
    pub(crate) fn traceparent(&self) -> String {
        let span = self.0.span();
        let context = span.span_context();
        format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8())
    }
}

impl std::fmt::Debug for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Span").field(&self.traceparent()).finish()
    }
}

/// Does a part of the current request, and records a span of it where a trace is recorded. What it returns is no larger than
/// the work itself.
pub fn traced<T, E: Display>(
    name: &'static str,
    work: impl Future<Output = Result<T, E>>,
) -> impl Future<Output = Result<T, E>> {
    let request = current();
    // Without a tracer there is no span to be part of.
    let span = request.as_ref().and_then(|request| request.span()?.part(name, SpanKind::Client));
    let request = match (request, &span) {
        (Some(request), Some(span)) => Some(request.in_part(span.clone())),
        (request, _) => request,
    };
    within(request, work).map(move |result| {
        if let Some(span) = span {
            if let Err(error) = &result {
                span.fail(error.to_string());
            }
            span.end();
        }
        result
    })
}

/// Reads a well-formed `traceparent`.
fn remote(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-').skip(1);
    let trace = TraceId::from_hex(parts.next()?).ok()?;
    let span = SpanId::from_hex(parts.next()?).ok()?;
    let flags = TraceFlags::new(u8::from_str_radix(parts.next()?, 16).ok()?);
    Some(SpanContext::new(trace, span, flags, true, TraceState::default()))
}

/// Returns a random number, for names that only have to differ.
pub(crate) fn random() -> u64 {
    u64::from_be_bytes(RandomIdGenerator::default().new_span_id().to_bytes())
}
