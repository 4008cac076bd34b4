//! What can go wrong on the way to a server and back, told apart by whose fault it is.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use url::Url;

use super::origin::{Origin, shown};
use super::proxy::ProxyError;
use super::tls::TlsFileError;
use crate::foreign::foreign_text;

/// Longest error text of a server that is repeated, in characters.
const TEXT_LIMIT: usize = 500;
/// Most error entries of one answer that are kept.
const MAX_ENTRIES: usize = 8;

/// Says why a request got no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The other side cannot prove who it is, or does not speak TLS: no absence, unless the connection was cut.
    #[error("{origin} cannot be trusted: {fault}")]
    Tls {
        /// Where the request went.
        origin: Origin,
        /// What is wrong.
        fault: TlsFault,
    },
    /// Nobody answers: no such name, no connection, or the connection broke.
    #[error("{origin} cannot be reached: {reason}")]
    Unreachable {
        /// Where the request went.
        origin: Origin,
        /// The network's reason.
        reason: String,
    },
    /// The other side took too long.
    #[error("{origin} took longer than {} s to {waiting_for}", .limit.as_secs_f32())]
    Timeout {
        /// Where the request went.
        origin: Origin,
        /// What was waited for.
        waiting_for: WaitingFor,
        /// How long was waited.
        limit: Duration,
    },
    /// The server refuses or fails.
    #[error(transparent)]
    Status(Box<StatusError>),
    /// The answer is larger than allowed.
    #[error("{url} sends more than {limit} bytes")]
    Oversized {
        /// What was asked for.
        url: String,
        /// The most that was allowed in bytes.
        limit: u64,
    },
    /// The answer makes no sense.
    #[error("{url} answers against the protocol: {reason}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// A redirect leads where none may lead.
    #[error("{from} redirects to {to}: refused, {reason}")]
    Redirect {
        /// What was asked for.
        from: String,
        /// Where the redirect leads.
        to: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// An address is not acceptable.
    #[error("the address {url} is refused: {reason}")]
    Address {
        /// The address.
        url: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// Certificates or keys on this machine cannot be used.
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    /// The proxy settings cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The content to be sent cannot be read.
    #[error("the content for {url} cannot be read: {reason}")]
    Sending {
        /// Where it was to go.
        url: String,
        /// Why it cannot be read.
        reason: String,
    },
    /// The client itself cannot be set up.
    #[error("the HTTP client cannot be set up: {0}")]
    Setup(String),
}

/// What is wrong with the other side's TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFault {
    /// The certificate comes from nobody known here.
    #[error("its certificate is signed by an unknown authority")]
    UnknownAuthority,
    /// The certificate is for another name.
    #[error("its certificate is for another name")]
    WrongName,
    /// The certificate has expired or is not valid yet.
    #[error("its certificate is expired or not valid yet")]
    Expired,
    /// Whatever answers does not speak TLS.
    #[error("it does not speak TLS (plain http on the port?)")]
    NotTls,
    /// The connection ended in the middle of the handshake.
    #[error("it ended the connection in the middle of the TLS handshake")]
    CutOff,
    /// The server refuses this client, for example for want of a client certificate.
    #[error("it refuses the TLS connection: {0}")]
    Refused(String),
    /// Something else, in the library's words.
    #[error("{0}")]
    Other(String),
}

/// What was waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitingFor {
    /// A connection.
    Connection,
    /// The beginning of an answer.
    Answer,
    /// More of the answer.
    Body,
    /// The server to take more of what is sent.
    Upload,
}

impl fmt::Display for WaitingFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "accept a connection",
            Self::Answer => "answer",
            Self::Body => "send its answer",
            Self::Upload => "take what was sent",
        })
    }
}

/// A status that is not a success, with what the server says about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusError {
    /// What was asked for, without query.
    pub url: String,
    /// The status.
    pub status: StatusCode,
    /// The entries of the error format that registries and trust services share.
    pub entries: Vec<ErrorEntry>,
    /// The beginning of the body, fit for a terminal; empty if the body could not be read.
    pub text: String,
    /// The unchanged beginning of the body, at most [`MAX_ERROR_BODY`](super::MAX_ERROR_BODY) bytes.
    pub body: bytes::Bytes,
    /// How long the server asks to wait before another attempt.
    pub retry_after: Option<Duration>,
}

/// One entry of an error answer, fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorEntry {
    /// The code, for example `MANIFEST_UNKNOWN`.
    pub code: String,
    /// The message.
    pub message: String,
}

impl StdError for StatusError {}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answers {}", self.url, self.status)?;
        match self.entries.first() {
            Some(entry) if entry.message.is_empty() => write!(f, ": {}", entry.code),
            Some(entry) => write!(f, ": {} ({})", entry.message, entry.code),
            None if self.text.is_empty() => Ok(()),
            None => write!(f, ": {}", self.text),
        }
    }
}

impl StatusError {
    pub(crate) fn new(url: &Url, status: StatusCode, body: bytes::Bytes, retry_after: Option<Duration>) -> Self {
        Self {
            url: shown(url),
            status,
            entries: entries(&body),
            text: foreign_text(&body, TEXT_LIMIT),
            body,
            retry_after,
        }
    }

    /// Tells whether an entry has this code.
    #[must_use]
    pub fn has_code(&self, code: &str) -> bool {
        self.entries.iter().any(|entry| entry.code == code)
    }
}

impl HttpError {
    /// Tells whether the other side is absent rather than hostile: only then may cached data stand in for it. A connection
    /// that ends before anybody has shown a certificate is what a balancer gives with nobody behind it: whoever can do that
    /// can as well let nothing through.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Tls { fault: TlsFault::CutOff, .. })
    }

    /// Tells whether another attempt may succeed: absence, overload and faults of the server.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Status(status) => {
                status.status == StatusCode::TOO_MANY_REQUESTS
                    || matches!(status.status.as_u16(), 500 | 502..=504)
                    || status.status == StatusCode::REQUEST_TIMEOUT
            }
            other => other.is_absence(),
        }
    }

    /// Returns the status if the server answered with one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Status(status) => Some(status.status),
            _ => None,
        }
    }

    pub(crate) fn protocol(url: &Url, reason: impl Into<String>) -> Self {
        Self::Protocol { url: shown(url), reason: reason.into() }
    }

    /// Sorts an error of the HTTP library.
    pub(crate) fn classify(error: &reqwest::Error, url: &Url, origin: &Origin, connect_limit: Duration) -> Self {
        let origin = origin.clone();
        if let Some(fault) = chain(error).find_map(tls_fault) {
            return Self::Tls { origin, fault };
        }
        if error.is_timeout() {
            return Self::Timeout { origin, waiting_for: WaitingFor::Connection, limit: connect_limit };
        }
        let parse = chain(error)
            .find_map(|cause| cause.downcast_ref::<hyper::Error>())
            .is_some_and(|e| e.is_parse() || e.is_parse_status());
        let reason = root_cause(error);
        if parse {
            return Self::Protocol { url: shown(url), reason };
        }
        if error.is_builder() {
            return Self::Setup(reason);
        }
        Self::Unreachable { origin, reason }
    }
}

/// Iterates over an error and its causes, looking into `io::Error`, which hides its content from `source`.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'a (dyn StdError + 'static)| {
        let error: &'a (dyn StdError + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(hidden) => Some(hidden as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map_or_else(String::new, |cause| foreign_text(cause.to_string().as_bytes(), TEXT_LIMIT))
}

fn tls_fault(cause: &(dyn StdError + 'static)) -> Option<TlsFault> {
    use rustls::{CertificateError, Error};
    if let Some(error) = cause.downcast_ref::<io::Error>() {
        let cut = error.kind() == io::ErrorKind::UnexpectedEof && error.to_string().contains("tls handshake");
        return cut.then_some(TlsFault::CutOff);
    }
    Some(match cause.downcast_ref::<Error>()? {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            TlsFault::UnknownAuthority
        }
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => TlsFault::WrongName,
        Error::InvalidCertificate(
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
        ) => TlsFault::Expired,
        Error::InvalidMessage(_) => TlsFault::NotTls,
        Error::AlertReceived(alert) => TlsFault::Refused(format!("{alert:?}")),
        other => TlsFault::Other(foreign_text(other.to_string().as_bytes(), TEXT_LIMIT)),
    })
}

/// Reads the error format of registries and trust services, as far as it is one.
fn entries(body: &[u8]) -> Vec<ErrorEntry> {
    #[derive(Deserialize)]
    struct Answer {
        errors: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        #[serde(default)]
        code: serde_json::Value,
        #[serde(default)]
        message: String,
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return Vec::new() };
    let code = |code: serde_json::Value| code.as_str().map_or_else(|| code.to_string(), str::to_owned);
    let shorten = |text: &str| foreign_text(text.as_bytes(), TEXT_LIMIT);
    let entry = |entry: Entry| ErrorEntry { code: shorten(&code(entry.code)), message: shorten(&entry.message) };
    answer.errors.into_iter().take(MAX_ENTRIES).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, body: &'static [u8]) -> StatusError {
        StatusError::new(
            &Url::parse("https://reg.test/v2/a?sig=secret").unwrap(),
            StatusCode::from_u16(code).unwrap(),
            body.into(),
            None,
        )
    }

    #[test]
    fn registry_errors_are_read_and_defused() {
        let error = status(404, br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"gone \u001b[2J","detail":{}}]}"#);
        assert!(error.has_code("MANIFEST_UNKNOWN"));
        assert_eq!(
            error.to_string(),
            "https://reg.test/v2/a answers 404 Not Found: gone \\u{1b}[2J (MANIFEST_UNKNOWN)"
        );
        assert_eq!(
            status(500, b"oops\x07").to_string(),
            "https://reg.test/v2/a answers 500 Internal Server Error: oops\\u{7}"
        );
        assert_eq!(status(403, b"").to_string(), "https://reg.test/v2/a answers 403 Forbidden");
    }

    #[test]
    fn only_absence_counts_as_absence() {
        let origin = Origin::of(&Url::parse("https://reg.test").unwrap()).unwrap();
        assert!(HttpError::Unreachable { origin: origin.clone(), reason: String::new() }.is_absence());
        assert!(!HttpError::Tls { origin: origin.clone(), fault: TlsFault::Expired }.is_absence());
        assert!(HttpError::Tls { origin, fault: TlsFault::CutOff }.is_absence());
        assert!(!HttpError::Status(Box::new(status(503, b""))).is_absence());
        assert!(HttpError::Status(Box::new(status(503, b""))).is_transient());
        assert!(!HttpError::Status(Box::new(status(401, b""))).is_transient());
    }
}
