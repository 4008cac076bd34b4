//! Requests and how patiently their answers are awaited.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use url::Url;

/// Bytes that are sent as they come.
pub(crate) type ByteStream = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// How long the parts of an exchange may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// From the request to the beginning of the answer.
    pub answer: Duration,
    /// Between two pieces of the answer, or of what is sent.
    pub idle: Duration,
    /// For everything together.
    pub total: Duration,
    /// How long an answer may trickle before its speed is judged: it has to bring 32 KiB in each such time.
    pub trickle: Duration,
}

impl Patience {
    /// For small documents: 30 s for an answer, 30 s between pieces, 2 minutes in all.
    pub const DOCUMENT: Self = Self::seconds(30, 30, 120);
    /// For asking whether a server is there: 5 s in all, as the reference does.
    pub const PING: Self = Self::seconds(5, 5, 5);
    /// For a token: 15 s in all, as the reference does.
    pub const TOKEN: Self = Self::seconds(15, 15, 15);
    /// For layers: a day in all, but never a minute without progress.
    pub const BLOB: Self = Self::seconds(120, 60, 24 * 60 * 60);

    /// Gives whole seconds for an answer, between pieces, and in all.
    #[must_use]
    pub const fn seconds(answer: u64, idle: u64, total: u64) -> Self {
        Self {
            answer: Duration::from_secs(answer),
            idle: Duration::from_secs(idle),
            total: Duration::from_secs(total),
            trickle: Duration::from_mins(1),
        }
    }
}

/// What to ask a server.
pub struct Request {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Body,
    pub(crate) patience: Patience,
}

/// What a request carries.
pub(crate) enum Body {
    None,
    Bytes(Bytes),
    /// Read once; a request with it cannot be repeated.
    Stream(ByteStream),
}

impl Request {
    /// Makes a request.
    #[must_use]
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::None, patience: Patience::DOCUMENT }
    }

    /// Makes a GET request.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self::new(Method::GET, url)
    }

    /// Adds or replaces a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sends bytes of a media type.
    #[must_use]
    pub fn bytes(mut self, content_type: HeaderValue, bytes: impl Into<Bytes>) -> Self {
        self.body = Body::Bytes(bytes.into());
        self.header(CONTENT_TYPE, content_type)
    }

    /// Sends a form.
    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let encoded = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.bytes(HeaderValue::from_static("application/x-www-form-urlencoded"), encoded)
    }

    pub(crate) fn stream(mut self, stream: ByteStream) -> Self {
        self.body = Body::Stream(stream);
        self
    }

    /// Sets how long the answer may take.
    #[must_use]
    pub fn patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Returns the address asked.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Copies the request, unless it carries a stream.
    pub(crate) fn repeat(&self) -> Option<Self> {
        let body = match &self.body {
            Body::None => Body::None,
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::Stream(_) => return None,
        };
        Some(Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body,
            patience: self.patience,
        })
    }
}
