//! Blobs on their way up: streamed, hashed on the way, taken up again where a connection broke.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use countersign_image::{ContentError, Descriptor, Digest, HasContent, Repository};
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use http::{Method, StatusCode};
use tokio::sync::{mpsc, watch};
use url::Url;

use super::connect::{RegistryClient, pull, push};
use super::documents::CONTENT_DIGEST;
use super::error::RegistryError;
use crate::foreign_text;
use crate::http::{ByteStream, HttpError, Origin, Patience, Request, Response, Scheme};
use crate::progress::{Arrival, Progress, Step};

/// How much is read from the source at a time, in bytes.
const PIECE: usize = 64 * 1024;
/// How many pieces wait between the reader and the network.
const PIECES_WAITING: usize = 4;
/// Most repositories that a blob is looked for in.
const MAX_MOUNTS: usize = 3;
/// Longest address of an upload in bytes; some registries keep the whole state in it.
const MAX_LOCATION: usize = 16 * 1024;
/// How long the reader may take to notice that nobody listens any more.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// Content that can be read from its beginning as often as needed.
pub trait BlobContent: Send + Sync {
    /// Opens the content for reading.
    ///
    /// # Errors
    /// Fails if it is not there or cannot be opened.
    fn open(&self) -> Result<Box<dyn io::Read + Send>, ContentError>;
}

impl<F> BlobContent for F
where
    F: Fn() -> Result<Box<dyn io::Read + Send>, ContentError> + Send + Sync,
{
    fn open(&self) -> Result<Box<dyn io::Read + Send>, ContentError> {
        self()
    }
}

/// An upload that the registry has opened.
struct Upload<'a> {
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    content: &'a Arc<dyn BlobContent>,
    progress: &'a dyn Progress,
}

/// Where an upload goes on.
struct Place {
    address: Url,
    offset: u64,
}

impl RegistryClient {
    /// Uploads a blob unless it is there already, or mounts it from another repository on the same registry.
    ///
    /// # Errors
    /// Fails if the content is not what the descriptor says, or the registry does not take it in spite of several attempts.
    pub async fn upload_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        content: &Arc<dyn BlobContent>,
        mount_from: &[Repository],
        progress: &dyn Progress,
    ) -> Result<Arrival, RegistryError> {
        let digest = &descriptor.digest;
        progress.report(digest, Step::Begin { total: descriptor.size });
        let arrival = if self.has_blob(repository, descriptor).await? == HasContent::Present {
            Arrival::AlreadyThere
        } else {
            self.mount_or_send(&Upload { repository, descriptor, content, progress }, mount_from).await?
        };
        progress.report(digest, Step::Done(arrival));
        Ok(arrival)
    }

    async fn mount_or_send(&self, upload: &Upload<'_>, mount_from: &[Repository]) -> Result<Arrival, RegistryError> {
        let others =
            mount_from.iter().filter(|other| other.registry() == self.registry() && *other != upload.repository);
        let mut place = None;
        for other in others.take(MAX_MOUNTS) {
            match self.retries.run(async || self.open(upload, Some(other)).await).await {
                Ok(Opened::Mounted) => return Ok(Arrival::Mounted),
                Ok(Opened::At(opened)) => place = Some(opened),
                // Not being allowed to look into the other repository is no reason not to upload.
                Err(error) => tracing::debug!(%error, "cannot mount from {other}"),
            }
            if place.is_some() {
                break;
            }
        }
        self.send_all(upload, place).await?;
        Ok(Arrival::Travelled)
    }

    /// Sends the content, going on where the registry says it stopped after each failure.
    async fn send_all(&self, upload: &Upload<'_>, mut place: Option<Place>) -> Result<(), RegistryError> {
        let mut attempts = self.retries.begin();
        let mut furthest = 0;
        loop {
            let Err(error) = self.attempt(upload, &mut place).await else { return Ok(()) };
            let reason = match error.status() {
                // The registry forgot the upload, or disagrees on how far it is: begin anew.
                Some(StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE) if place.take().is_some() => {
                    attempts.insist(error).await?
                }
                // A token that ran out during the upload; the session has forgotten it.
                Some(StatusCode::UNAUTHORIZED) if place.is_some() => attempts.insist(error).await?,
                _ => attempts.again(error).await?,
            };
            upload.progress.report(&upload.descriptor.digest, Step::Again { reason: &reason });
            if let Some(reached) = place.take() {
                place = self.status(upload, reached.address).await;
                let offset = place.as_ref().map_or(0, |place| place.offset);
                if offset > furthest {
                    furthest = offset;
                    attempts.progressed();
                }
            }
        }
    }

    async fn attempt(&self, upload: &Upload<'_>, place: &mut Option<Place>) -> Result<(), RegistryError> {
        let at = match place.take() {
            Some(at) => at,
            None => match self.open(upload, None).await? {
                Opened::At(at) => at,
                Opened::Mounted => return Ok(()),
            },
        };
        *place = Some(Place { address: at.address.clone(), offset: at.offset });
        let address = if at.offset < upload.descriptor.size { self.send_rest(upload, at).await? } else { at.address };
        *place = Some(Place { address: address.clone(), offset: upload.descriptor.size });
        self.close(upload, address).await
    }

    /// Opens an upload; with another repository named, the registry may take the blob from there instead.
    async fn open(&self, upload: &Upload<'_>, from: Option<&Repository>) -> Result<Opened, RegistryError> {
        let mut address = self.address(upload.repository, "blobs/uploads/")?;
        let mut scopes = vec![push(upload.repository)];
        if let Some(from) = from {
            address
                .query_pairs_mut()
                .append_pair("mount", &upload.descriptor.digest.to_string())
                .append_pair("from", from.path());
            scopes.push(pull(from));
        }
        let request = Request::new(Method::POST, address).header(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let response = self.send(request, &scopes).await?;
        match response.status() {
            StatusCode::CREATED if from.is_some() => Ok(Opened::Mounted),
            StatusCode::ACCEPTED => Ok(Opened::At(Place { address: location(&response)?, offset: 0 })),
            _ => Err(unexpected(response).await),
        }
    }

    /// Sends everything from an offset on and returns where to close the upload.
    async fn send_rest(&self, upload: &Upload<'_>, at: Place) -> Result<Url, RegistryError> {
        let Upload { repository, descriptor, progress, .. } = *upload;
        let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
        let reader =
            Reader { content: Arc::clone(upload.content), descriptor: descriptor.clone(), skip: at.offset, pieces };
        let reading = tokio::task::spawn_blocking(move || reader.run());
        let (done, mut moved) = watch::channel(at.offset);
        let mut request = Request::new(Method::PATCH, at.address)
            .patience(Patience::BLOB)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .header(CONTENT_LENGTH, HeaderValue::from(descriptor.size - at.offset));
        if at.offset > 0 {
            request = request.header(CONTENT_RANGE, header_text(&format!("{}-{}", at.offset, descriptor.size - 1))?);
        }
        let scopes = [push(repository)];
        let sending = async { next_address(self.send(request.stream(body(waiting, done)), &scopes).await?).await };
        tokio::pin!(sending);
        let answer = loop {
            tokio::select! {
                answer = &mut sending => break answer,
                Ok(()) = moved.changed() => {
                    let done = *moved.borrow_and_update();
                    progress.report(&descriptor.digest, Step::Moved { done });
                }
            }
        };
        match tokio::time::timeout(READER_PATIENCE, reading).await {
            // Whatever the network made of it, content that cannot be read or is something else is the cause.
            Ok(Ok(Err(error))) => {
                if let Ok(address) = answer {
                    self.cancel(repository, address).await;
                }
                Err(error.into())
            }
            Ok(Ok(Ok(Read::Whole))) => answer,
            Ok(Ok(Ok(Read::Partly))) => answer.and_then(|address| {
                Err(HttpError::protocol(&address, "the upload was acknowledged before it was complete").into())
            }),
            Ok(Err(_)) | Err(_) => answer.and(Err(RegistryError::Interrupted)),
        }
    }

    /// Closes an upload: only now the blob exists, under the digest computed here.
    async fn close(&self, upload: &Upload<'_>, mut address: Url) -> Result<(), RegistryError> {
        let digest = &upload.descriptor.digest;
        address.query_pairs_mut().append_pair("digest", &digest.to_string());
        let request = Request::new(Method::PUT, address)
            .patience(Patience::BLOB)
            .header(CONTENT_LENGTH, HeaderValue::from_static("0"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        let response = self.send(request, &[push(upload.repository)]).await?;
        if response.status() != StatusCode::CREATED {
            return Err(unexpected(response).await);
        }
        match response.headers().get(CONTENT_DIGEST).map(|value| foreign_text(value.as_bytes(), 200)) {
            Some(claimed) if Digest::parse(&claimed).is_ok_and(|claimed| claimed.algorithm() != digest.algorithm()) => {
                Ok(())
            }
            Some(claimed) if claimed != digest.to_string() => {
                Err(RegistryError::Disagreement { sent: digest.clone(), claimed })
            }
            _ => Ok(()),
        }
    }

    /// Asks how far an upload is; nothing if the registry does not know it any more.
    async fn status(&self, upload: &Upload<'_>, address: Url) -> Option<Place> {
        let scopes = [push(upload.repository)];
        let response = self.send(Request::get(address.clone()), &scopes).await.ok()?;
        if response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let offset = match response.header(&RANGE) {
            None => 0,
            Some(range) => next_offset(range)?,
        };
        let address = if response.headers().contains_key(LOCATION) { location(&response).ok()? } else { address };
        (offset <= upload.descriptor.size).then_some(Place { address, offset })
    }

    /// Tells the registry to forget an upload; if it does not listen, it will forget by itself.
    async fn cancel(&self, repository: &Repository, address: Url) {
        let request = Request::new(Method::DELETE, address).patience(Patience::PING);
        let _ = self.send(request, &[push(repository)]).await;
    }
}

/// What became of a request to open an upload.
enum Opened {
    /// The registry has the blob from the other repository.
    Mounted,
    /// The blob is to be sent here.
    At(Place),
}

/// How much of the content was read.
enum Read {
    /// All of it, and it is what the descriptor says.
    Whole,
    /// The network lost interest.
    Partly,
}

/// Reads and hashes content on a thread of its own.
struct Reader {
    content: Arc<dyn BlobContent>,
    descriptor: Descriptor,
    skip: u64,
    pieces: mpsc::Sender<io::Result<Bytes>>,
}

impl Reader {
    fn run(self) -> Result<Read, ContentError> {
        let result = self.read_all();
        if let Err(error) = &result {
            // An error in the body makes the request fail rather than end.
            let _ = self.pieces.blocking_send(Err(io::Error::other(error.to_string())));
        }
        result
    }

    fn read_all(&self) -> Result<Read, ContentError> {
        let mut content = self.content.open()?;
        let mut hasher = self.descriptor.digest.algorithm().hasher();
        let mut held: Option<Bytes> = None;
        let (mut total, mut skip) = (0_u64, self.skip);
        loop {
            let mut buffer = vec![0; PIECE];
            let count = content.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            buffer.truncate(count);
            hasher.update(&buffer);
            total = total.saturating_add(count as u64);
            if total > self.descriptor.size {
                return Err(self.wrong_size(total));
            }
            let leave_out = usize::try_from(skip).unwrap_or(usize::MAX).min(count);
            skip -= leave_out as u64;
            let piece = Bytes::from(buffer).split_off(leave_out);
            // One piece is held back until the next one is read, so that the last goes out only when all is proven.
            if let Some(ready) = held.replace(piece).filter(|ready| !ready.is_empty())
                && self.pieces.blocking_send(Ok(ready)).is_err()
            {
                return Ok(Read::Partly);
            }
        }
        if total != self.descriptor.size {
            return Err(self.wrong_size(total));
        }
        self.descriptor.digest.compare(hasher.finish())?;
        let heard = held.filter(|last| !last.is_empty()).is_none_or(|last| self.pieces.blocking_send(Ok(last)).is_ok());
        Ok(if heard { Read::Whole } else { Read::Partly })
    }

    fn wrong_size(&self, found: u64) -> ContentError {
        ContentError::Size { digest: self.descriptor.digest.clone(), wanted: self.descriptor.size, found }
    }
}

/// Turns waiting pieces into a request's body and tells how much has gone out.
fn body(waiting: mpsc::Receiver<io::Result<Bytes>>, done: watch::Sender<u64>) -> ByteStream {
    Box::pin(stream::unfold((waiting, done), async |(mut waiting, done)| {
        let piece = waiting.recv().await?;
        if let Ok(piece) = &piece {
            done.send_modify(|done| *done = done.saturating_add(piece.len() as u64));
        }
        Some((piece, (waiting, done)))
    }))
}

async fn next_address(response: Response) -> Result<Url, RegistryError> {
    match response.status() {
        StatusCode::ACCEPTED | StatusCode::NO_CONTENT | StatusCode::CREATED => location(&response),
        _ => Err(unexpected(response).await),
    }
}

async fn unexpected(response: Response) -> RegistryError {
    if response.status().is_success() || response.status().is_redirection() {
        return HttpError::protocol(response.url(), format!("{} is no answer to this", response.status())).into();
    }
    response.into_status_error().await.into()
}

/// Reads where an upload goes on. From https it never leads to http; the session keeps credentials from other hosts.
fn location(response: &Response) -> Result<Url, RegistryError> {
    let malformed = || HttpError::protocol(response.url(), "the address of the upload is missing or malformed");
    let text =
        response.header(&LOCATION).filter(|text| (1..=MAX_LOCATION).contains(&text.len())).ok_or_else(malformed)?;
    let address = response.url().join(text).map_err(|_| malformed())?;
    let origin = Origin::of(&address).map_err(|_| malformed())?;
    if response.origin().scheme() == Scheme::Https && origin.scheme() == Scheme::Http {
        return Err(HttpError::protocol(response.url(), "the address of the upload leads from https to http").into());
    }
    Ok(address)
}

/// Reads `0-N`, the range that has arrived, and returns what comes next.
fn next_offset(range: &str) -> Option<u64> {
    let range = range.trim();
    let (first, last) = range.strip_prefix("bytes=").unwrap_or(range).split_once('-')?;
    let last = last.parse::<u64>().ok()?;
    // A registry that has nothing yet says 0-0, as one that has a single byte does; sending it again is refused there.
    if first != "0" {
        None
    } else if last == 0 {
        Some(0)
    } else {
        last.checked_add(1)
    }
}

fn header_text(text: &str) -> Result<HeaderValue, RegistryError> {
    HeaderValue::from_str(text).map_err(|_| RegistryError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_that_arrived_says_where_to_go_on() {
        for (range, expected) in [
            ("0-99", Some(100)),
            ("bytes=0-99", Some(100)),
            ("0-0", Some(0)),
            ("5-9", None),
            ("x", None),
            ("0-", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(next_offset(range), expected, "{range}");
        }
    }
}
