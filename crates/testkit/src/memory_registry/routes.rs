//! The distribution API (OCI distribution specification 1.1).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LINK, LOCATION, RANGE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::json;

use super::faults::{Effect, SLOW_PIECE, strike};
use super::store::{MANIFEST_LIMIT, Manifest, Refusal, TOTAL_LIMIT};
use super::{Shared, lock};

pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
/// The most tags in one answer.
const TAG_PAGE: usize = 1_000;

/// How long a reply that is cut waits before the end.
const CUT_WAIT: Duration = Duration::from_millis(50);

type Answer = Result<Response, Refusal>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .fallback(answer)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), misbehave))
        .with_state(shared)
}

/// One request, taken apart.
struct Call {
    method: Method,
    repository: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Body,
}

impl Call {
    fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    async fn body(self, limit: usize) -> Result<Bytes, Refusal> {
        axum::body::to_bytes(self.body, limit).await.map_err(|_| Refusal::TooLarge(limit))
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let query = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    if path == "/v2/" || path == "/v2" {
        return ([(API_VERSION, "registry/2.0")], json_body(&json!({}))).into_response();
    }
    let Some((repository, kind, rest)) = split(path) else { return StatusCode::NOT_FOUND.into_response() };
    let call = Call { method: parts.method, repository: repository.to_owned(), query, headers: parts.headers, body };
    let outcome = match kind {
        Kind::Manifest => manifest(&shared, call, rest).await,
        Kind::Upload => upload(&shared, call, rest).await,
        Kind::Blob => blob(&shared, &call, rest),
        Kind::Tags => tags(&shared, &call),
    };
    outcome.unwrap_or_else(|refusal| refused(&refusal))
}

#[derive(Clone, Copy)]
enum Kind {
    Manifest,
    Upload,
    Blob,
    Tags,
}

/// Splits `/v2/NAME/KIND/REST`; names may contain slashes, so the last possible place counts.
fn split(path: &str) -> Option<(&str, Kind, &str)> {
    let path = path.strip_prefix("/v2/")?;
    if let Some(repository) = path.strip_suffix("/tags/list") {
        return Some((repository, Kind::Tags, ""));
    }
    let kinds = [("/manifests/", Kind::Manifest), ("/blobs/uploads/", Kind::Upload), ("/blobs/", Kind::Blob)];
    kinds.into_iter().find_map(|(mark, kind)| path.rsplit_once(mark).map(|(name, rest)| (name, kind, rest)))
}

async fn manifest(shared: &Shared, call: Call, reference: &str) -> Answer {
    match call.method {
        Method::GET | Method::HEAD => {
            let found = shared.store().resolve(&call.repository, reference);
            let (digest, manifest) = found.ok_or_else(|| Refusal::UnknownManifest(reference.to_owned()))?;
            let headers = [(CONTENT_TYPE, manifest.media_type), (CONTENT_DIGEST, digest)];
            Ok(content(&call.method, headers, manifest.bytes))
        }
        Method::PUT => {
            let media_type = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let media_type = media_type.unwrap_or("application/vnd.oci.image.manifest.v1+json").to_owned();
            let repository = call.repository.clone();
            let bytes = call.body(MANIFEST_LIMIT).await?;
            let digest = shared.store().put_manifest(&repository, reference, Manifest { media_type, bytes })?;
            Ok(created(&format!("/v2/{repository}/manifests/{digest}"), &digest))
        }
        Method::DELETE => {
            shared.store().remove(&call.repository, reference)?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
        _ => Ok(StatusCode::METHOD_NOT_ALLOWED.into_response()),
    }
}

fn blob(shared: &Shared, call: &Call, digest: &str) -> Answer {
    if call.method != Method::GET && call.method != Method::HEAD {
        return Ok(StatusCode::METHOD_NOT_ALLOWED.into_response());
    }
    let bytes = shared.store().blob(&call.repository, digest);
    let bytes = bytes.ok_or_else(|| Refusal::UnknownBlob(digest.to_owned()))?;
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DIGEST, digest.to_owned())];
    let range = call.headers.get(RANGE).and_then(|range| range.to_str().ok()).and_then(parse_range);
    let total = bytes.len();
    let Some((start, end)) = range else {
        let mut response = content(&call.method, headers, bytes);
        response.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        return Ok(response);
    };
    let end = end.map_or(total, |last| total.min(last.saturating_add(1)));
    if start >= end {
        let unsatisfied = [(CONTENT_RANGE, format!("bytes */{total}"))];
        return Ok((StatusCode::RANGE_NOT_SATISFIABLE, unsatisfied).into_response());
    }
    let mut response = content(&call.method, headers, bytes.slice(start..end));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    insert(&mut response, CONTENT_RANGE, &format!("bytes {start}-{}/{total}", end - 1));
    Ok(response)
}

/// One range of bytes with a start (RFC 9110, 14.1.2); anything else is ignored, as the RFC allows.
fn parse_range(range: &str) -> Option<(usize, Option<usize>)> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = if end.is_empty() { None } else { Some(end.parse().ok()?) };
    Some((start.parse().ok()?, end))
}

async fn upload(shared: &Shared, call: Call, id: &str) -> Answer {
    let repository = call.repository.clone();
    match call.method {
        Method::POST => start_upload(shared, call).await,
        Method::PATCH => {
            let offset = call.headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
            let offset = offset.and_then(|range| range.split('-').next()?.parse().ok());
            let bytes = call.body(TOTAL_LIMIT).await?;
            let received = shared.store().uploads.add(&repository, id, offset, &bytes)?;
            Ok(uploading(StatusCode::ACCEPTED, &repository, id, received))
        }
        Method::PUT => {
            let claimed = call.query("digest").unwrap_or_default().to_owned();
            let bytes = call.body(TOTAL_LIMIT).await?;
            let mut store = shared.store();
            store.uploads.add(&repository, id, None, &bytes)?;
            let bytes = store.uploads.finish(&repository, id)?;
            finish_blob(&mut store, &repository, &claimed, bytes)
        }
        Method::GET => {
            let received = shared.store().uploads.received(&repository, id)?;
            Ok(uploading(StatusCode::NO_CONTENT, &repository, id, received))
        }
        Method::DELETE => {
            shared.store().uploads.finish(&repository, id)?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        _ => Ok(StatusCode::METHOD_NOT_ALLOWED.into_response()),
    }
}

async fn start_upload(shared: &Shared, call: Call) -> Answer {
    let repository = call.repository.clone();
    if let (Some(digest), Some(from)) = (call.query("mount"), call.query("from"))
        && shared.store().mount(from, &repository, digest).is_ok()
    {
        return Ok(created(&format!("/v2/{repository}/blobs/{digest}"), digest));
    }
    if let Some(claimed) = call.query("digest").map(str::to_owned) {
        let bytes = call.body(TOTAL_LIMIT).await?;
        return finish_blob(&mut shared.store(), &repository, &claimed, bytes);
    }
    if !super::names::is_repository(&repository) {
        return Err(Refusal::RepositoryName(repository));
    }
    let id = shared.store().uploads.start(&repository);
    Ok(uploading(StatusCode::ACCEPTED, &repository, &id, 0))
}

fn finish_blob(store: &mut super::store::Store, repository: &str, claimed: &str, bytes: Bytes) -> Answer {
    let actual = crate::digest::oci_digest(&bytes);
    if actual != claimed {
        return Err(Refusal::Digest { claimed: claimed.to_owned(), actual });
    }
    let digest = store.put_blob(repository, bytes)?;
    Ok(created(&format!("/v2/{repository}/blobs/{digest}"), &digest))
}

fn tags(shared: &Shared, call: &Call) -> Answer {
    let tags = shared.store().tags(&call.repository);
    let tags = tags.ok_or_else(|| Refusal::UnknownRepository(call.repository.clone()))?;
    let count = call.query("n").and_then(|count| count.parse().ok()).unwrap_or(TAG_PAGE).min(TAG_PAGE);
    let last = call.query("last").unwrap_or_default();
    let mut page: Vec<&String> = tags.iter().filter(|tag| tag.as_str() > last).take(count.saturating_add(1)).collect();
    let more = page.len() > count;
    page.truncate(count);
    let next = page.last().filter(|_| more);
    let next = next.map(|last| format!("</v2/{}/tags/list?n={count}&last={last}>; rel=\"next\"", call.repository));
    let mut response = json_body(&json!({"name": call.repository, "tags": page})).into_response();
    if let Some(next) = next {
        insert(&mut response, LINK, &next);
    }
    Ok(response)
}

fn content(method: &Method, headers: [(HeaderName, String); 2], bytes: Bytes) -> Response {
    let length = [(CONTENT_LENGTH, bytes.len().to_string())];
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(bytes) };
    (headers, length, body).into_response()
}

fn created(location: &str, digest: &str) -> Response {
    let headers = [(LOCATION, location.to_owned()), (CONTENT_DIGEST, digest.to_owned())];
    (StatusCode::CREATED, headers).into_response()
}

fn uploading(status: StatusCode, repository: &str, id: &str, received: usize) -> Response {
    let headers = [
        (LOCATION, format!("/v2/{repository}/blobs/uploads/{id}")),
        (RANGE, format!("0-{}", received.saturating_sub(1))),
        (UPLOAD_ID, id.to_owned()),
    ];
    (status, headers).into_response()
}

fn json_body(value: &serde_json::Value) -> impl IntoResponse + use<> {
    ([(CONTENT_TYPE, "application/json")], value.to_string())
}

fn insert(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn refused(refusal: &Refusal) -> Response {
    let (status, code) = match refusal {
        Refusal::RepositoryName(_) => (StatusCode::BAD_REQUEST, "NAME_INVALID"),
        Refusal::Reference(_) => (StatusCode::BAD_REQUEST, "TAG_INVALID"),
        Refusal::Digest { .. } => (StatusCode::BAD_REQUEST, "DIGEST_INVALID"),
        Refusal::Manifest(_) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID"),
        Refusal::MissingPart(_) => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN"),
        Refusal::UnknownManifest(_) => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN"),
        Refusal::UnknownBlob(_) => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
        Refusal::UnknownRepository(_) => (StatusCode::NOT_FOUND, "NAME_UNKNOWN"),
        Refusal::UnknownUpload(_) => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
        Refusal::Range { .. } => (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
        Refusal::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"),
        Refusal::Full => (StatusCode::INSUFFICIENT_STORAGE, "TOOMANYREQUESTS"),
    };
    let body = json!({"errors": [{"code": code, "message": refusal.to_string()}]});
    (status, json_body(&body)).into_response()
}

/// Remembers the request and lets the first fault that applies strike.
async fn misbehave(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, uri) = (request.method().to_string(), request.uri().to_string());
    shared.remember(format!("{method} {uri}"));
    let effect = strike(&mut lock(&shared.faults), &method, request.uri().path());
    match effect {
        None => next.run(request).await,
        Some(Effect::Status(status)) => status.into_response(),
        Some(Effect::Delay(delay)) => {
            tokio::time::sleep(delay).await;
            next.run(request).await
        }
        Some(Effect::Slow(pause)) => next.run(request).await.map(|body| {
            let pieces = body.into_data_stream().map_ok(move |bytes| {
                let pieces = pieces_of(&bytes).into_iter().map(Ok::<_, axum::Error>);
                futures_util::stream::iter(pieces).then(move |piece| async move {
                    tokio::time::sleep(pause).await;
                    piece
                })
            });
            Body::from_stream(pieces.try_flatten())
        }),
        Some(Effect::Cut(limit)) => next.run(request).await.map(|body| cut(body, limit)),
        Some(Effect::Header(name, value)) => {
            let mut response = next.run(request).await;
            response.headers_mut().insert(name, value);
            response
        }
    }
}

fn pieces_of(bytes: &Bytes) -> Vec<Bytes> {
    (0..bytes.len()).step_by(SLOW_PIECE).map(|start| bytes.slice(start..bytes.len().min(start + SLOW_PIECE))).collect()
}

/// The first bytes of a body and then an error, upon which the connection is closed.
fn cut(body: Body, limit: usize) -> Body {
    let kept = body.into_data_stream().scan(limit, |left, piece| {
        let kept = piece.map(|piece| piece.slice(..piece.len().min(*left)));
        *left -= kept.as_ref().map_or(0, Bytes::len);
        std::future::ready(kept.as_ref().is_ok_and(|kept| !kept.is_empty()).then_some(kept))
    });
    let end = futures_util::stream::once(async {
        // Without the wait the error would overtake the bytes before it.
        tokio::time::sleep(CUT_WAIT).await;
        Err(axum::Error::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)))
    });
    Body::from_stream(kept.chain(end))
}
