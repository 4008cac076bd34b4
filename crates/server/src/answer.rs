//! Answers: status, headers and body, as the reference writes them where clients could notice.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LAST_MODIFIED, LOCATION,
    PRAGMA, RETRY_AFTER, VARY, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use jiff::Timestamp;

use crate::coding::{Accepted, Coding};
use crate::config::CacheAges;
use crate::content::Content;
use crate::error::Failure;

/// A finished answer; every body is in memory.
pub(crate) type Answer = Response<Bytes>;

/// The label of successful bodies: the reference's, which nobody reads (Notary protocol, general).
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const BY_CODING: HeaderValue = HeaderValue::from_static("Accept-Encoding");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// Room for the headers of any answer, so that none is moved when one more comes.
const HEADERS: usize = 10;

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
    *answer.headers_mut() = HeaderMap::with_capacity(HEADERS);
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
    if let Some(seconds) = failure.retry_after() {
        answer.headers_mut().insert(RETRY_AFTER, seconds.into());
    }
    answer
}

/// What somebody gets at the desk, and nobody else may keep.
pub(crate) fn private_json(body: impl Into<Bytes>) -> Answer {
    let mut answer = json(StatusCode::OK, body);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
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

/// How long answers may be cached, as headers.
#[derive(Debug)]
pub(crate) struct Policies {
    pub(crate) current: Policy,
    pub(crate) consistent: Policy,
}

/// How long one kind of answers may be cached.
#[derive(Debug)]
pub(crate) struct Policy {
    control: HeaderValue,
    /// Whether nothing may be cached, also by caches that only know the header of HTTP/1.0.
    never: bool,
}

impl Policies {
    pub(crate) fn new(ages: CacheAges) -> Self {
        // What is named by version or checksum never changes while it is there.
        Self {
            current: Policy::new(ages.current(), "must-revalidate"),
            consistent: Policy::new(ages.consistent(), "immutable"),
        }
    }
}

impl Policy {
    fn new(age: u32, directive: &str) -> Self {
        let control = match age {
            0 => "max-age=0, no-cache, no-store".to_owned(),
            age => format!("public, max-age={age}, s-maxage={age}, {directive}"),
        };
        let control = HeaderValue::from_str(&control).unwrap_or(HeaderValue::from_static("no-store"));
        Self { control, never: age == 0 }
    }
}

/// What a request says about the form of the answer, beside what it asks for.
#[derive(Debug, Default)]
pub(crate) struct Wished {
    pub(crate) codings: Accepted,
    /// The entity tags of what the client has.
    known: Vec<HeaderValue>,
}

impl Wished {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let known = headers.get_all(IF_NONE_MATCH).iter().cloned().collect();
        Self { codings: Accepted::of(headers), known }
    }

    /// Returns the tag of a form of the file that the client has already and takes.
    fn known<'a>(&self, file: &'a Content) -> Option<&'a HeaderValue> {
        let lines = || self.known.iter().filter_map(|line| line.to_str().ok());
        let members = || lines().flat_map(|line| line.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
        if self.known.is_empty() {
            return None;
        }
        let forms = self.codings.iter().map(Some).chain([None]);
        let mut tags = forms.map(|coding| file.tag(coding));
        let any = members().any(|tag| tag == "*");
        tags.find(|tag| any || members().any(|known| known.as_bytes() == tag.as_bytes()))
    }
}

/// A metadata file in the form that the client wishes.
pub(crate) fn metadata(file: &Content, body: Body, policy: &Policy, wished: &Wished) -> Answer {
    let known = wished.known(file);
    let mut answer = match known {
        Some(_) => empty(StatusCode::NOT_MODIFIED),
        None => text(body.bytes),
    };
    let headers = answer.headers_mut();
    if let (Some(coding), None) = (body.coding, known) {
        headers.insert(CONTENT_ENCODING, coding.header());
    }
    headers.insert(ETAG, known.unwrap_or_else(|| file.tag(body.coding)).clone());
    headers.insert(CACHE_CONTROL, policy.control.clone());
    if policy.never {
        headers.insert(PRAGMA, NO_CACHE);
    }
    headers.insert(LAST_MODIFIED, file.last_modified().clone());
    headers.insert(VARY, BY_CODING);
    answer
}

/// A body in the coding that it has.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) bytes: Bytes,
    pub(crate) coding: Option<Coding>,
}

/// Leaves out the body of an answer to `HEAD`, but not its length.
pub(crate) fn headers_only(answer: &mut Answer) {
    let length = HeaderValue::from(answer.body().len());
    *answer.body_mut() = Bytes::new();
    answer.headers_mut().insert(CONTENT_LENGTH, length);
}

/// Writes a time the way HTTP wants it (RFC 9110, IMF-fixdate).
pub(crate) fn http_date(time: Timestamp) -> String {
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
