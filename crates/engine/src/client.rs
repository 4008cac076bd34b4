//! What can be asked of an engine.

use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use serde::Deserialize;
use url::form_urlencoded::byte_serialize;

use crate::transport::{Answer, Body, Transport, empty};
use crate::{ApiVersion, Endpoint, EngineError, Limits};

pub use archive::Bytestream;
pub use images::ImageFacts;
pub use progress::{Progress, pushed_manifest};
pub use transfer::PushTarget;

mod archive;
mod images;
mod info;
mod progress;
mod transfer;

const REGISTRY_AUTH: HeaderName = HeaderName::from_static("x-registry-auth");
const API_VERSION: &str = "api-version";
/// How long the text of an error may take to come.
const MESSAGE_TIME: Duration = Duration::from_secs(5);
/// The deepest nesting of an error.
const MESSAGE_DEPTH: usize = 8;
const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// An engine that has answered.
#[derive(Debug)]
pub struct Engine {
    transport: Transport,
    facts: EngineFacts,
}

/// What an engine says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineFacts {
    /// The version of the interface that is spoken with it.
    pub version: ApiVersion,
    /// The operating system of its containers, if it tells: `linux` or `windows`.
    pub os: Option<String>,
}

impl Engine {
    /// Asks the engine whether it is there, and agrees on a version.
    ///
    /// # Errors
    ///
    /// When nobody answers, the TLS settings cannot be used, or the engine is too old.
    pub async fn connect(endpoint: Endpoint, limits: Limits) -> Result<Self, EngineError> {
        let transport = Transport::new(endpoint, limits)?;
        let call = Call::new(Method::GET, "/_ping").unversioned();
        let answer = send(&transport, ApiVersion::OLDEST, call).await?;
        let text = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let theirs: ApiVersion = text(API_VERSION)
            .ok_or_else(|| EngineError::bad("it tells no version, so it is not an engine"))?
            .parse()
            .map_err(|error| EngineError::bad(format!("{error}: {:?}", text(API_VERSION))))?;
        let os = text("ostype").map(str::to_owned);
        let version = theirs.negotiated().ok_or(EngineError::TooOld { theirs, oldest: ApiVersion::OLDEST })?;
        tracing::debug!(%version, %theirs, "the engine answered");
        Ok(Self { transport, facts: EngineFacts { version, os } })
    }

    /// Returns what the engine said of itself.
    #[must_use]
    pub fn facts(&self) -> &EngineFacts {
        &self.facts
    }

    fn limits(&self) -> &Limits {
        self.transport.limits()
    }

    async fn send(&self, call: Call) -> Result<Answer, EngineError> {
        send(&self.transport, self.facts.version, call).await
    }
}

/// A request in the making.
struct Call {
    method: Method,
    path: String,
    versioned: bool,
    query: String,
    headers: HeaderMap,
    body: Body,
}

impl Call {
    fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, headers) = (String::new(), HeaderMap::new());
        Self { method, path: path.into(), versioned: true, query, headers, body: empty() }
    }

    /// Without a version in the path, for the question about versions.
    fn unversioned(mut self) -> Self {
        self.versioned = false;
        self
    }

    fn query(mut self, name: &str, value: &str) -> Self {
        let mark = if self.query.is_empty() { '?' } else { '&' };
        let value: String = byte_serialize(value.as_bytes()).collect();
        let _ = write!(self.query, "{mark}{name}={value}");
        self
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

async fn send(transport: &Transport, version: ApiVersion, call: Call) -> Result<Answer, EngineError> {
    let version = if call.versioned { format!("/v{version}") } else { String::new() };
    let uri = format!("{version}{}{}", call.path, call.query);
    let mut request = Request::builder().method(call.method).uri(uri);
    request = request.header(http::header::HOST, transport.host()).header(http::header::USER_AGENT, USER_AGENT);
    let mut request = request.body(call.body).map_err(|error| EngineError::bad(format!("request: {error}")))?;
    request.headers_mut().extend(call.headers);
    let limits = transport.limits();
    let limit = if version.is_empty() { limits.connect } else { limits.first_byte };
    let answer = transport.send(request, limit).await?;
    if answer.status.is_success() {
        return Ok(answer);
    }
    let status = answer.status;
    let body = answer.body.beginning(limits.message_bytes, MESSAGE_TIME).await;
    Err(EngineError::Api { status: Some(status.as_u16()), message: message(status, &body) })
}

/// The engine's words in an error: a JSON object with a message, or text.
fn message(status: http::StatusCode, body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Message {
        message: String,
    }
    let text = match crate::json::object::<Message>(body, MESSAGE_DEPTH) {
        Ok(object) => object.message,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    if text.trim().is_empty() { format!("the engine answered with status {status}") } else { text.trim().to_owned() }
}
