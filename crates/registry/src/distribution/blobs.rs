//! Blobs on their way down: streamed, hashed, counted, and resumed where a connection broke.

use std::io;

use bytes::Bytes;
use countersign_image::{ContentError, Descriptor, HasContent, Hasher, Repository};
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, HeaderValue, RANGE};
use http::{Method, StatusCode};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::connect::{RegistryClient, pull};
use super::documents::found;
use super::error::RegistryError;
use crate::http::{HttpError, Patience, Request, Response};
use crate::progress::{Arrival, Progress, Silent, Step};

/// Largest blob that is ever held in memory, such as an image's configuration, in bytes.
pub const MAX_BLOB_IN_MEMORY: u64 = 8 * 1024 * 1024;

/// Takes the bytes of a blob in order.
trait BlobSink: Send {
    fn accept(&mut self, piece: Bytes) -> impl Future<Output = io::Result<()>> + Send;
}

struct ToWriter<'a, W>(&'a mut W);

impl<W: AsyncWrite + Unpin + Send> BlobSink for ToWriter<'_, W> {
    async fn accept(&mut self, piece: Bytes) -> io::Result<()> {
        self.0.write_all(&piece).await
    }
}

struct ToChannel(mpsc::Sender<io::Result<Bytes>>);

impl BlobSink for ToChannel {
    async fn accept(&mut self, piece: Bytes) -> io::Result<()> {
        self.0.send(Ok(piece)).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

/// How far a download is.
struct Download<'a> {
    descriptor: &'a Descriptor,
    hasher: Hasher,
    done: u64,
    progress: &'a dyn Progress,
}

impl RegistryClient {
    /// Asks whether a blob is in a repository.
    ///
    /// # Errors
    /// Fails if the registry does not answer or forbids the question.
    pub async fn has_blob(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
    ) -> Result<HasContent, RegistryError> {
        self.retries
            .run(async || {
                let address = self.address(repository, &format!("blobs/{}", descriptor.digest))?;
                let response = self.send(Request::new(Method::HEAD, address), &[pull(repository)]).await?;
                Ok(found(response).await?.map_or(HasContent::Absent, |_| HasContent::Present))
            })
            .await
    }

    /// Downloads a blob. What was written is the blob only if this succeeds; on failure throw it away.
    ///
    /// A broken connection is taken up where it broke. No more than the descriptor's size is ever written.
    ///
    /// # Errors
    /// Fails if the blob is not there, has another digest or size, or does not come in spite of several attempts.
    pub async fn download_blob<W>(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        to: &mut W,
        progress: &dyn Progress,
    ) -> Result<(), RegistryError>
    where
        W: AsyncWrite + Unpin + Send,
    {
        self.download(repository, descriptor, &mut ToWriter(to), progress).await?;
        to.flush().await.map_err(ContentError::Io)?;
        Ok(())
    }

    /// Downloads a small blob into memory.
    ///
    /// # Errors
    /// As [`Self::download_blob`]; also if the blob is larger than [`MAX_BLOB_IN_MEMORY`].
    pub async fn small_blob(&self, repository: &Repository, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        if descriptor.size > MAX_BLOB_IN_MEMORY {
            return Err(RegistryError::Size {
                digest: descriptor.digest.clone(),
                wanted: MAX_BLOB_IN_MEMORY,
                found: descriptor.size,
            });
        }
        let mut bytes = Vec::new();
        self.download(repository, descriptor, &mut ToWriter(&mut bytes), &Silent).await?;
        Ok(bytes)
    }

    /// Downloads a blob into a channel, and a failure too, so that the receiver does not take it for the end.
    pub(crate) async fn download_to_channel(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        to: mpsc::Sender<io::Result<Bytes>>,
        progress: &dyn Progress,
    ) -> Result<(), RegistryError> {
        let result = self.download(repository, descriptor, &mut ToChannel(to.clone()), progress).await;
        if let Err(error) = &result {
            let _ = to.send(Err(io::Error::other(error.to_string()))).await;
        }
        result
    }

    async fn download<S: BlobSink>(
        &self,
        repository: &Repository,
        descriptor: &Descriptor,
        sink: &mut S,
        progress: &dyn Progress,
    ) -> Result<(), RegistryError> {
        let digest = &descriptor.digest;
        let mut download = Download { descriptor, hasher: digest.algorithm().hasher(), done: 0, progress };
        progress.report(digest, Step::Begin { total: descriptor.size });
        let mut attempts = self.retries.begin();
        loop {
            let before = download.done;
            match self.download_once(repository, &mut download, sink).await {
                Ok(()) => break,
                Err(error) => {
                    // A server that hands out a few bytes each time must not keep this going for ever.
                    if download.done > before.saturating_add(descriptor.size / 100) {
                        attempts.progressed();
                    }
                    let reason = attempts.again(error).await?;
                    progress.report(digest, Step::Again { reason: &reason });
                }
            }
        }
        digest.compare(download.hasher.finish())?;
        progress.report(digest, Step::Done(Arrival::Travelled));
        Ok(())
    }

    async fn download_once<S: BlobSink>(
        &self,
        repository: &Repository,
        download: &mut Download<'_>,
        sink: &mut S,
    ) -> Result<(), RegistryError> {
        let digest = &download.descriptor.digest;
        let address = self.address(repository, &format!("blobs/{digest}"))?;
        let mut request = Request::get(address)
            .patience(Patience::BLOB)
            .header(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if download.done > 0
            && let Ok(range) = HeaderValue::from_str(&format!("bytes={}-", download.done))
        {
            request = request.header(RANGE, range);
        }
        let mut response = self.send(request, &[pull(repository)]).await?;
        let skip = match response.status() {
            StatusCode::OK => download.done,
            StatusCode::PARTIAL_CONTENT if download.done > 0 && continues_at(&response, download.done) => 0,
            StatusCode::NOT_FOUND => return Err(RegistryError::NotFound(format!("{repository}@{digest}"))),
            status if status.is_success() || status.is_redirection() => {
                return Err(HttpError::protocol(response.url(), format!("{status} is no answer to this")).into());
            }
            _ => return Err(response.into_status_error().await.into()),
        };
        let expected = download.descriptor.size - download.done + skip;
        if let Some(announced) = response.announced_length().filter(|announced| *announced != expected) {
            let found = download.done - skip + announced;
            return Err(RegistryError::Size { digest: digest.clone(), wanted: download.descriptor.size, found });
        }
        download.receive(&mut response, skip, sink).await
    }
}

impl Download<'_> {
    /// Reads an answer to its end, leaving out the first `skip` bytes, which have been received before.
    async fn receive<S: BlobSink>(
        &mut self,
        response: &mut Response,
        mut skip: u64,
        sink: &mut S,
    ) -> Result<(), RegistryError> {
        let digest = &self.descriptor.digest;
        let size = self.descriptor.size;
        while let Some(mut piece) = response.chunk().await? {
            let leave_out = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= leave_out as u64;
            let piece = piece.split_off(leave_out);
            let done = self.done.saturating_add(piece.len() as u64);
            if done > size {
                return Err(RegistryError::Size { digest: digest.clone(), wanted: size, found: done });
            }
            self.hasher.update(&piece);
            sink.accept(piece).await.map_err(ContentError::Io)?;
            self.done = done;
            self.progress.report(digest, Step::Moved { done });
        }
        if self.done == size {
            Ok(())
        } else {
            Err(RegistryError::Size { digest: digest.clone(), wanted: size, found: self.done })
        }
    }
}

/// Tells whether a partial answer begins where the last one broke off.
fn continues_at(response: &Response, offset: u64) -> bool {
    let range = response.header(&CONTENT_RANGE).and_then(|text| text.strip_prefix("bytes "));
    range.and_then(|range| range.split_once('-')).is_some_and(|(first, _)| first.trim().parse() == Ok(offset))
}
