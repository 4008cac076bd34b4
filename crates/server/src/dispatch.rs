//! From a request to its answer: routing, panics, the log line and the metrics.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use countersign_telemetry::within;
use countersign_tuf::Gun;
use futures_util::FutureExt;
use http::header::{AUTHORIZATION, CONNECTION, HOST, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, Version};
use hyper::body::Body;
use serde_json::json;

use crate::access::{Asking, Needed, Peer};
use crate::answer::{self, Answer, Wished};
use crate::app::App;
use crate::audit::{By, Introduced, Refused};
use crate::error::{Code, Failure};
use crate::meters::Client;
use crate::metrics::{Finished, Form, Operation, Reader};
use crate::route::{NoRoute, Route};
use crate::{feed, health, keys, operators, publish, read, upload};

/// The header with the request's id: taken from the client when it is a plain word, and always answered.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header with the trace that a request belongs to (W3C Trace Context).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Where clients get tokens for their passwords, if that is here.
const DESK: &str = "/auth/token";
/// Longest text from a request in a log line, in characters.
const LOGGED: usize = 300;

/// Answers one request. Never fails and never panics.
pub(crate) async fn answer<B>(app: Arc<App>, peer: Peer, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let request_id = countersign_telemetry::Request::begin(
        "request",
        request.headers().get(REQUEST_ID).map(HeaderValue::as_bytes),
        request.headers().get(TRACEPARENT).map(HeaderValue::as_bytes),
    );
    let mut answer = within(Some(request_id.clone()), answered(app, peer, request)).await;
    if let Ok(id) = HeaderValue::from_str(request_id.id()) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

async fn answered<B>(app: Arc<App>, peer: Peer, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let begun = Instant::now();
    let line = Line::of(&request, peer.address);
    let close = request.headers().contains_key(TRANSFER_ENCODING) && request.version() <= Version::HTTP_11;
    let head = request.method() == Method::HEAD;
    let route = find(&app, &request);
    let operation = route.as_ref().ok().and_then(Route::operation);
    let handled = AssertUnwindSafe(handle(&app, &peer, route, request)).catch_unwind().await;
    let (request_bytes, result) = handled.unwrap_or_else(|_| {
        app.metrics.panics.fetch_add(1, Ordering::Relaxed);
        (0, Err(Failure::new(Code::Unknown).cause("the handler panicked")))
    });
    let (mut answer, cause, code) = match result {
        Ok(answer) => (answer, None, None),
        Err(failure) => (answer::failure(&failure), failure.chain(), Some(failure.code())),
    };
    if close {
        // A body whose end was negotiated: whatever a proxy thinks follows it is not read here.
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if head {
        answer::headers_only(&mut answer);
    }
    let response_bytes = answer.body().len() as u64;
    let duration = begun.elapsed();
    let status = answer.status().as_u16();
    let form = if head { Form::Head } else { Form::Whole };
    app.metrics.record(operation, &Finished { form, status, code, duration, request_bytes, response_bytes });
    line.trace(operation, status);
    line.write(status, duration, response_bytes, cause.as_deref());
    answer
}

fn find<B>(app: &App, request: &Request<B>) -> Result<Route, NoRoute> {
    if request.uri().path() == DESK && request.method() == Method::GET && app.gate.has_desk() {
        return Ok(Route::Token);
    }
    Route::find(request.method(), request.uri(), &app.prefixes)
}

async fn handle<B>(
    app: &Arc<App>,
    peer: &Peer,
    route: Result<Route, NoRoute>,
    request: Request<B>,
) -> (u64, Result<Answer, Failure>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    if request.version() == Version::HTTP_11 && request.headers().get_all(HOST).iter().count() != 1 {
        return (0, Ok(answer::empty(StatusCode::BAD_REQUEST)));
    }
    let address = peer.address.ip();
    let nobody = |failure: Failure, route: Result<&Route, &NoRoute>| {
        if app.audit.is_on() {
            Asked::of(route, &request).refused(app, &By::nobody(address), &failure);
        }
        (0, Err(failure))
    };
    let measured = !matches!(route, Ok(Route::Health | Route::Live | Route::Ready | Route::Metrics));
    if measured && let Err(failure) = app.meters.address(address) {
        return nobody(failure, route.as_ref());
    }
    let who = match app.gate.admit(&Needed::of(&route), Asking::of(peer, &request), app.clock.now()).await {
        Ok(who) => who,
        Err(failure) => return nobody(failure, route.as_ref()),
    };
    let client = Client::of(&who, peer);
    if let Err(failure) = app.meters.name(&client) {
        if app.audit.is_on() {
            Asked::of(route.as_ref(), &request).refused(app, &By::of(&who, address), &failure);
        }
        return (0, Err(failure));
    }
    let wished = &Wished::of(request.headers());
    let result = match route {
        Ok(Route::ByChecksum(gun, role, digest)) => read::by_checksum(app, gun, role, digest, wished).await,
        Ok(Route::ByVersion(gun, role, version)) => read::by_version(app, gun, role, version, wished).await,
        Ok(Route::Current(gun, role)) => read::current(app, gun, role, wished).await,
        // The rest on the heap: what every read carries along is not to be as large as what an upload takes.
        Ok(route @ (Route::Upload(_) | Route::Key(..) | Route::RotateKey(..) | Route::Delete(_))) => {
            return Box::pin(change(app, &client, route, request, By::of(&who, address))).await;
        }
        Ok(Route::Ping) => Ok(answer::text("{}")),
        Ok(Route::Changes(gun)) => Box::pin(feed::changes(app, gun, request.uri().query())).await,
        Ok(Route::Token) => Box::pin(app.gate.at_the_desk(Asking::of(peer, &request))).await.map(answer::private_json),
        Ok(Route::Health) => Ok(Box::pin(health::health(app)).await),
        Ok(Route::Live) => Ok(health::live(app)),
        Ok(Route::Ready) => Ok(Box::pin(health::ready(app, request.uri().query())).await),
        Ok(Route::Metrics) if !app.metrics_apart => Ok(operators::scrape(app, Reader::Anybody)),
        Err(NoRoute::Redirect(location)) => Ok(answer::redirect(&location)),
        Err(NoRoute::MethodNotAllowed) => Ok(answer::empty(StatusCode::METHOD_NOT_ALLOWED)),
        Ok(Route::Metrics) | Err(NoRoute::NotFound | NoRoute::NotServed) => Err(Failure::new(Code::MetadataNotFound)),
        Err(NoRoute::NothingStored(_)) => Err(read::nothing_stored()),
        Err(NoRoute::InvalidGun) => Err(invalid_gun(app)),
    };
    (0, result)
}

/// Changes something, which may be asked for.
async fn change<B>(
    app: &Arc<App>,
    client: &Client,
    route: Route,
    request: Request<B>,
    by: By,
) -> (u64, Result<Answer, Failure>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let asked = app.audit.is_on().then(|| Asked::of(Ok(&route), &request));
    let (received, result) = match route {
        Route::Upload(gun) => upload(app, client, gun, request, by.clone()).await,
        Route::Key(gun, role) => (0, keys::get(app, gun, role, &by).await),
        Route::RotateKey(gun, role) => (0, keys::rotate(app, gun, role, &by).await),
        Route::Delete(gun) => (0, publish::delete(app, gun, by.clone()).await.map(|()| answer::empty(StatusCode::OK))),
        _ => (0, Err(Failure::new(Code::MetadataNotFound))),
    };
    if let (Some(asked), Err(failure)) = (asked, &result) {
        asked.refused(app, &by, failure);
    }
    (received, result)
}

async fn upload<B>(
    app: &Arc<App>,
    client: &Client,
    gun: Gun,
    request: Request<B>,
    by: By,
) -> (u64, Result<Answer, Failure>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    if let Err(failure) = app.meters.may_upload(client) {
        return (0, Err(failure));
    }
    let (bytes, result) = upload::post(app, gun, request, by).await;
    app.meters.uploaded(client, bytes);
    (bytes, result)
}

/// What the audit log says of a request that is refused.
struct Asked {
    operation: Option<Operation>,
    gun: Option<String>,
    introduced: Introduced,
}

impl Asked {
    fn of<B>(route: Result<&Route, &NoRoute>, request: &Request<B>) -> Self {
        let gun = match Needed::of(&route.cloned().map_err(Clone::clone)) {
            Needed::Collection(gun, _) => Some(gun.as_str().to_owned()),
            Needed::Nothing | Needed::Ping | Needed::Catalog => None,
        };
        let introduced = if request.headers().contains_key(AUTHORIZATION) { Introduced::Yes } else { Introduced::No };
        Self { operation: route.ok().and_then(Route::operation), gun, introduced }
    }

    /// Takes note of a refusal: of access, and of changes that are not right.
    fn refused(self, app: &App, by: &By, failure: &Failure) {
        let changes =
            matches!(self.operation, Some(Operation::UpdateTuf | Operation::RotateKey | Operation::DeleteTuf));
        let status = failure.status_code();
        let of_access = matches!(status.as_u16(), 401 | 403 | 429);
        let of_change = changes && status.is_client_error();
        if !of_access && !of_change {
            return;
        }
        // Only a request that is asked for a name has none to be blamed for.
        let introduced = if status == StatusCode::UNAUTHORIZED { self.introduced } else { Introduced::Yes };
        let reason = failure.chain().unwrap_or_default();
        let operation = self.operation.map(Operation::name);
        app.audit.refused(by, &Refused { operation, gun: self.gun, status: status.as_u16(), reason, introduced });
    }
}

fn invalid_gun(app: &App) -> Failure {
    let failure = Failure::new(Code::InvalidGun);
    match app.prefixes.as_slice() {
        [] => failure,
        prefixes => failure.detail(json!(format!("Require GUNs with prefix: [{}]", prefixes.join(" ")))),
    }
}

/// What the log says about a request; put into words only where they are wanted.
struct Line {
    method: Method,
    uri: Uri,
    agent: Option<HeaderValue>,
    peer: std::net::SocketAddr,
}

impl Line {
    fn of<B>(request: &Request<B>, peer: std::net::SocketAddr) -> Self {
        let agent = request.headers().get(USER_AGENT).cloned();
        Self { method: request.method().clone(), uri: request.uri().clone(), agent, peer }
    }

    fn method(&self) -> Cow<'_, str> {
        escaped(self.method.as_str())
    }

    fn path(&self) -> Cow<'_, str> {
        escaped(self.uri.path())
    }

    fn agent(&self) -> String {
        let agent = self.agent.as_ref().map(HeaderValue::as_bytes).unwrap_or_default();
        escaped(&String::from_utf8_lossy(agent)).into_owned()
    }

    /// Tells the trace, if one is recorded, what the request was.
    fn trace(&self, operation: Option<Operation>, status: u16) {
        let request = countersign_telemetry::current();
        let Some(span) = request.as_ref().and_then(countersign_telemetry::Request::span) else { return };
        span.rename(operation.map_or("other", Operation::name));
        span.set("http.request.method", self.method().into_owned());
        span.set("url.path", self.path().into_owned());
        span.set("client.address", self.peer.ip().to_string());
        span.set("http.response.status_code", i64::from(status));
        if status >= 500 {
            span.fail(String::new());
        }
        span.end();
    }

    fn write(&self, status: u16, duration: std::time::Duration, bytes: u64, cause: Option<&str>) {
        let peer = self.peer;
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let cause = cause.map(escaped).unwrap_or_default();
        // What is not logged is not put together either.
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method = &*self.method(),
                    path = &*self.path(),
                    status,
                    microseconds,
                    bytes,
                    %peer,
                    agent = &*self.agent(),
                    cause = &*cause,
                    "request"
                )
            };
        }
        if status >= 500 { line!(error) } else { line!(info) }
    }
}

/// Makes a text fit for one log line, whatever is in it.
fn escaped(text: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\'' | b'\\');
    if text.len() <= LOGGED && text.bytes().all(is_plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().take(LOGGED).flat_map(char::escape_debug).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_stays_one_line() {
        let text = escaped("a\r\nforged entry\u{1b}[31m\u{202e}\u{2028}");
        assert!(text.chars().all(|c| !c.is_control() && c != '\u{2028}' && c != '\u{202e}'), "{text}");
        assert!(escaped(&"x".repeat(5000)).len() <= LOGGED);
        assert_eq!(escaped("/v2/example.com/a%20b/_trust/tuf/root.json"), "/v2/example.com/a%20b/_trust/tuf/root.json");
        assert_eq!(escaped(r#"a"b\c'd"#), r#"a\"b\\c\'d"#);
    }
}
