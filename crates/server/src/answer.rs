//! Answers: status, headers and body, as the reference writes them where clients could notice.

use bytes::Bytes;
use countersign_storage::Stored;
use http::header::{
    CACHE_CONTROL, CONTENT_TYPE, LAST_MODIFIED, LOCATION, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use jiff::Timestamp;

use crate::error::Failure;

/// A finished answer; every body is in memory.
pub(crate) type Answer = Response<Bytes>;

/// The label of successful bodies: the reference's, which nobody reads (Notary protocol, general).
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// Seconds after which a busy service may be asked again.
const RETRY_SECONDS: HeaderValue = HeaderValue::from_static("5");

/// An answer without body.
pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

/// A successful answer.
pub(crate) fn text(body: impl Into<Bytes>) -> Answer {
    with_body(StatusCode::OK, TEXT, body)
}

/// An answer labelled as JSON.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    with_body(status, JSON, body)
}

/// An answer with a label of its own.
pub(crate) fn labelled(content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    with_body(StatusCode::OK, HeaderValue::from_static(content_type), body)
}

fn with_body(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(body.into());
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    answer
}

/// A failure, in the reference's words.
pub(crate) fn failure(failure: &Failure) -> Answer {
    let mut answer = json(failure.status_code(), failure.body());
    if let Some(challenge) = failure.asked() {
        answer.headers_mut().insert(WWW_AUTHENTICATE, challenge.clone());
    }
    if failure.is_busy() {
        answer.headers_mut().insert(RETRY_AFTER, RETRY_SECONDS);
    }
    answer
}

/// A redirect to a clean path, which must be fit for a header.
pub(crate) fn redirect(location: &str) -> Answer {
    let mut answer = empty(StatusCode::MOVED_PERMANENTLY);
    match HeaderValue::from_str(location) {
        Ok(value) => {
            answer.headers_mut().insert(LOCATION, value);
            answer
        }
        Err(_) => empty(StatusCode::BAD_REQUEST),
    }
}

/// A metadata file that may be cached for some seconds, or not at all when 0.
pub(crate) fn metadata(file: &Stored, max_age: u32, revalidate: Revalidate) -> Answer {
    let mut answer = text(file.bytes.clone());
    let headers = answer.headers_mut();
    let policy = match (max_age, revalidate) {
        (0, _) => {
            headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
            "max-age=0, no-cache, no-store".to_owned()
        }
        (age, Revalidate::Must) => format!("public, max-age={age}, s-maxage={age}, must-revalidate"),
        (age, Revalidate::Never) => format!("public, max-age={age}, s-maxage={age}"),
    };
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(CACHE_CONTROL, policy);
    }
    if let Ok(time) = HeaderValue::from_str(&http_date(file.stored_at)) {
        headers.insert(LAST_MODIFIED, time);
    }
    answer
}

/// Whether a stale copy must be checked with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revalidate {
    Must,
    Never,
}

/// Writes a time the way HTTP wants it (RFC 9110, IMF-fixdate).
fn http_date(time: Timestamp) -> String {
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_in_the_form_of_http() {
        let time: Timestamp = "2026-11-02T08:04:05.6Z".parse().unwrap();
        assert_eq!(http_date(time), "Mon, 02 Nov 2026 08:04:05 GMT");
    }

    #[test]
    fn a_location_that_breaks_a_header_is_not_sent() {
        assert_eq!(redirect("/a\r\nX: y").status(), StatusCode::BAD_REQUEST);
    }
}
