//! Uploads: from a request's body to parts by role.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use countersign_tuf::accept::{Files, Former};
use countersign_tuf::{Gun, RoleName, Version};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::answer::{self, Answer};
use crate::app::App;
use crate::audit::By;
use crate::error::{Code, Failure};
use crate::multipart::{self, MultipartError};
use crate::publish;

/// Uploads above this many bytes are counted as large.
const LARGE: usize = 1024 * 1024;

/// Publishes what a request carries; returns the number of bytes received beside the answer.
pub(crate) async fn post<B>(app: &Arc<App>, gun: Gun, request: Request<B>, by: By) -> (u64, Result<Answer, Failure>)
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let boundary = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = match multipart::boundary(boundary) {
        Ok(boundary) => boundary,
        Err(error) => return (0, Err(Failure::new(Code::MalformedUpload).cause(error))),
    };
    let received = match receive(app, request).await {
        Ok(received) => received,
        Err(failure) => return (0, Err(failure)),
    };
    let length = received.body.len() as u64;
    let result = match parts(&received.body, &boundary) {
        Ok(upload) => {
            publish::publish(app, gun, upload, (received.memory, by)).await.map(|()| answer::empty(StatusCode::OK))
        }
        Err(failure) => Err(failure),
    };
    (length, result)
}

struct Received {
    body: Bytes,
    memory: Memory,
}

/// The permits for the memory of an upload; to be kept as long as any part of it.
#[derive(Debug)]
pub(crate) struct Memory {
    _small: OwnedSemaphorePermit,
    _large: Option<OwnedSemaphorePermit>,
}

/// Reads the body within the limits of size, time and memory.
async fn receive<B>(app: &App, request: Request<B>) -> Result<Received, Failure>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let announced: Option<usize> =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > app.limits.upload_bytes) {
        return Err(too_large());
    }
    let small = app.permit(&app.uploads).await?;
    let mut body = request.into_body();
    let mut received = BytesMut::new();
    let mut large = None;
    let begun = Instant::now();
    loop {
        let seconds = received.len() as u64 / u64::from(app.limits.body_rate.max(1));
        let allowed = app.limits.body.saturating_add(Duration::from_secs(seconds)).min(app.limits.body_total);
        let until = begun + allowed;
        let Ok(frame) = tokio::time::timeout_at(until, body.frame()).await else {
            return Err(Failure::new(Code::MalformedUpload)
                .status(StatusCode::REQUEST_TIMEOUT)
                .cause("the body is too slow"));
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| Failure::new(Code::MalformedUpload).cause(error))?;
        let Ok(data) = frame.into_data() else { continue };
        if received.len() + data.len() > app.limits.upload_bytes {
            return Err(too_large());
        }
        if large.is_none() && received.len() + data.len() > LARGE {
            large = Some(app.permit(&app.large_uploads).await?);
            // At once what is announced: growing step by step would take the memory several times over.
            received.reserve(announced.unwrap_or_default().saturating_sub(received.len()));
        }
        received.extend_from_slice(&data);
    }
    Ok(Received { body: received.freeze(), memory: Memory { _small: small, _large: large } })
}

fn too_large() -> Failure {
    Failure::new(Code::MalformedUpload).status(StatusCode::PAYLOAD_TOO_LARGE).cause("the body is too large")
}

/// What an upload carries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Upload {
    /// The files that become current, by role.
    pub(crate) parts: Files,
    /// Of a collection that moves here, what its former service had: parts named `VERSION.ROLE`. Services without this
    /// refuse such names.
    pub(crate) former: Former,
}

/// Takes a body apart; the parts share its memory.
fn parts(body: &Bytes, boundary: &str) -> Result<Upload, Failure> {
    let mut upload = Upload::default();
    for part in multipart::parts(body, boundary).map_err(malformed)? {
        let name = part.file_name.strip_suffix(".json").unwrap_or(&part.file_name);
        let twice = if let Some((version, role)) = former(name) {
            upload.former.insert((role, version), body.slice_ref(part.bytes)).is_some()
        } else {
            let role = RoleName::parse(name)
                .map_err(|error| Failure::new(Code::InvalidRole).detail(json!(shortened(name))).cause(error))?;
            upload.parts.insert(role, body.slice_ref(part.bytes)).is_some()
        };
        // The reference lets the last one win in silence; which one was meant cannot be known.
        if twice {
            return Err(Failure::new(Code::MalformedUpload).cause(format!("two parts for {name}")));
        }
    }
    Ok(upload)
}

/// Reads the name of a file of a former service.
fn former(name: &str) -> Option<(Version, RoleName)> {
    let (version, role) = name.split_once('.')?;
    let version = version.bytes().all(|byte| byte.is_ascii_digit()).then(|| version.parse().ok()).flatten()?;
    Some((Version::new(version)?, RoleName::parse(role).ok()?))
}

fn shortened(name: &str) -> String {
    name.chars().take(countersign_tuf::MAX_ROLE_LENGTH).collect()
}

fn malformed(error: MultipartError) -> Failure {
    let code = if error == MultipartError::NoFilename { Code::NoFilename } else { Code::MalformedUpload };
    Failure::new(code).cause(error)
}
