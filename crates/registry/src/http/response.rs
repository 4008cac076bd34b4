//! Answers, read piece by piece within limits.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;
use url::Url;

use super::error::{HttpError, StatusError, WaitingFor};
use super::origin::{Origin, shown};
use super::request::Patience;

/// Most bytes of an error answer that are read.
pub const MAX_ERROR_BODY: usize = 8 * 1024;
/// How long an error answer's body is waited for.
const ERROR_BODY_PATIENCE: Duration = Duration::from_secs(5);
/// Fewest bytes that have to come in one window.
const SPEED_FLOOR: u64 = 32 * 1024;
/// Longest time a server may ask to wait.
const MAX_RETRY_AFTER: u64 = 300;

/// The answer to a request; its body has not been read yet.
#[derive(Debug)]
pub struct Response {
    inner: reqwest::Response,
    url: Url,
    origin: Origin,
    patience: Patience,
    deadline: Instant,
    window: Window,
}

#[derive(Debug)]
struct Window {
    until: Instant,
    bytes: u64,
}

impl Response {
    pub(crate) fn new(
        inner: reqwest::Response,
        url: Url,
        origin: Origin,
        patience: Patience,
        deadline: Instant,
    ) -> Result<Self, HttpError> {
        let encoded = inner
            .headers()
            .get(CONTENT_ENCODING)
            .is_some_and(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity"));
        if encoded {
            return Err(HttpError::protocol(&url, "the body is encoded although nobody asked for it"));
        }
        let window = Window { until: Instant::now() + patience.trickle, bytes: 0 };
        Ok(Self { inner, url, origin, patience, deadline, window })
    }

    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// Returns the headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Returns a header as text if it is there and is visible ASCII.
    #[must_use]
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers().get(name)?.to_str().ok()
    }

    /// Returns the address that answered; after redirects it is not the one asked.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the origin that answered.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns how long the body is announced to be, in bytes.
    #[must_use]
    pub fn announced_length(&self) -> Option<u64> {
        self.inner.content_length()
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// Fails if the body is longer than `limit` bytes, announces to be, is cut short, or takes too long.
    pub async fn bytes(mut self, limit: u64) -> Result<Bytes, HttpError> {
        if self.announced_length().is_some_and(|announced| announced > limit) {
            return Err(self.oversized(limit));
        }
        let mut body = BytesMut::new();
        while let Some(piece) = self.chunk().await? {
            if (body.len() + piece.len()) as u64 > limit {
                return Err(self.oversized(limit));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.freeze())
    }

    /// Reads the next piece of the body, or nothing at its end.
    ///
    /// # Errors
    /// Fails if the body is cut short, if nothing comes for the idle time, if it trickles, or if the total time is over.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        let now = Instant::now();
        let until = self.deadline.min(now + self.patience.idle);
        match tokio::time::timeout_at(until, self.inner.chunk()).await {
            Err(_) => Err(self.timeout(if until == self.deadline { self.patience.total } else { self.patience.idle })),
            Ok(Err(error)) => Err(HttpError::classify(&error, &self.url, &self.origin, self.patience.idle)),
            Ok(Ok(None)) => Ok(None),
            Ok(Ok(Some(piece))) => {
                self.judge_speed(piece.len())?;
                Ok(Some(piece))
            }
        }
    }

    /// Turns an answer with an unwanted status into an error that holds the beginning of its body.
    pub async fn into_status_error(mut self) -> HttpError {
        let status = self.status();
        let retry_after = self.header(&RETRY_AFTER).and_then(|text| text.trim().parse::<u64>().ok());
        let mut body = BytesMut::new();
        let deadline = Instant::now() + ERROR_BODY_PATIENCE;
        while body.len() < MAX_ERROR_BODY {
            let Ok(Ok(Some(piece))) = tokio::time::timeout_at(deadline, self.inner.chunk()).await else { break };
            let room = MAX_ERROR_BODY - body.len();
            body.extend_from_slice(piece.get(..room).unwrap_or(&piece));
        }
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
        HttpError::Status(Box::new(StatusError::new(&self.url, status, body.freeze(), retry_after)))
    }

    /// Passes successes (2xx) through and turns everything else into an error.
    ///
    /// # Errors
    /// Fails on every other status.
    pub async fn success(self) -> Result<Self, HttpError> {
        if self.status().is_success() { Ok(self) } else { Err(self.into_status_error().await) }
    }

    /// A peer that sends a byte now and then keeps the idle time from ending; a floor on the speed ends it.
    fn judge_speed(&mut self, bytes: usize) -> Result<(), HttpError> {
        let now = Instant::now();
        self.window.bytes = self.window.bytes.saturating_add(bytes as u64);
        if now < self.window.until {
            return Ok(());
        }
        let fast_enough = self.window.bytes >= SPEED_FLOOR;
        self.window = Window { until: now + self.patience.trickle, bytes: 0 };
        if fast_enough { Ok(()) } else { Err(self.timeout(self.patience.trickle)) }
    }

    fn timeout(&self, limit: Duration) -> HttpError {
        HttpError::Timeout { origin: self.origin.clone(), waiting_for: WaitingFor::Body, limit }
    }

    fn oversized(&self, limit: u64) -> HttpError {
        HttpError::Oversized { url: shown(&self.url), limit }
    }
}
