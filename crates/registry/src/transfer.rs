//! Whole images between registries and folders or archives: several blobs at a time, manifests only when all is there.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use countersign_image::{
    ContentError, Descriptor, Digest, Document, HasContent, ImageSink, ImageSource, ImageTree, MAX_DOCUMENT_BYTES,
    Repository, Tag,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use crate::distribution::{BlobContent, DocumentName, RegistryClient, RegistryError, StoredDocument};
use crate::progress::{Arrival, Progress, Step};

/// How many blobs travel at a time.
pub const PARALLEL_BLOBS: usize = 3;
/// Most bytes of manifests and indexes below one tag.
pub const MAX_TREE_BYTES: usize = 64 * 1024 * 1024;
/// How many pieces wait between the network and the writer.
const PIECES_WAITING: usize = 8;

/// Where a pushed image goes.
#[derive(Debug, Clone, Copy)]
pub struct PushOptions<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The tag to point at the image; without one it is stored under its digest only.
    pub tag: Option<&'a Tag>,
    /// Repositories on the same registry that may hold some of the blobs.
    pub mount_from: &'a [Repository],
}

/// What became of a pushed image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Digest and size of the document under the tag: computed here, agreed to by the registry.
    pub stored: StoredDocument,
}

/// Everything that makes up an image, and the bytes of its documents.
struct Collected {
    tree: ImageTree,
    bytes: HashMap<Digest, Bytes>,
}

/// Pushes an image or an index with all its images. The tag is set last.
///
/// # Errors
/// Fails if the source is incomplete or not what it says, or if the registry does not take something.
pub async fn push_image(
    client: &RegistryClient,
    source: Arc<dyn ImageSource>,
    root: &Descriptor,
    to: PushOptions<'_>,
    progress: &dyn Progress,
) -> Result<Pushed, RegistryError> {
    let collected = collect(root, &FromSource(Arc::clone(&source))).await?;
    let uploads = collected.tree.blobs().iter().map(|blob| push_blob(client, &source, blob, to, progress).boxed());
    some_at_a_time(uploads.collect()).await?;
    for (descriptor, _) in collected.tree.documents() {
        if let Some(bytes) = collected.bytes.get(&descriptor.digest) {
            client.put_document(to.repository, DocumentName::Digest(&descriptor.digest), bytes).await?;
        }
    }
    let missing = || ContentError::Missing(root.digest.clone());
    let bytes = collected.bytes.get(&root.digest).ok_or_else(missing)?;
    let stored = match to.tag {
        Some(tag) => client.put_document(to.repository, DocumentName::Tag(tag), bytes).await?,
        None => StoredDocument { digest: root.digest.clone(), size: bytes.len() as u64 },
    };
    Ok(Pushed { stored })
}

async fn push_blob(
    client: &RegistryClient,
    source: &Arc<dyn ImageSource>,
    blob: &Descriptor,
    to: PushOptions<'_>,
    progress: &dyn Progress,
) -> Result<(), RegistryError> {
    if blob.is_foreign() {
        progress.report(&blob.digest, Step::Done(Arrival::Foreign));
        return Ok(());
    }
    let (source, wanted) = (Arc::clone(source), blob.clone());
    let content: Arc<dyn BlobContent> = Arc::new(move || source.blob(&wanted));
    client.upload_blob(to.repository, blob, &content, to.mount_from, progress).await?;
    Ok(())
}

/// Pulls an image or an index with all its images. Documents are stored last, so that what is there is complete.
///
/// `root` comes from a signature or from a document that was fetched and hashed.
///
/// # Errors
/// Fails if something is missing or is not what its digest says, or if the sink does not take it.
pub async fn pull_image(
    client: &RegistryClient,
    repository: &Repository,
    root: &Descriptor,
    sink: Arc<dyn ImageSink>,
    progress: &dyn Progress,
) -> Result<(), RegistryError> {
    let collected = collect(root, &FromRegistry { client, repository }).await?;
    let downloads =
        collected.tree.blobs().iter().map(|blob| pull_blob(client, repository, blob, &sink, progress).boxed());
    some_at_a_time(downloads.collect()).await?;
    for (descriptor, _) in collected.tree.documents() {
        let Some(bytes) = collected.bytes.get(&descriptor.digest).cloned() else { continue };
        let (sink, descriptor) = (Arc::clone(&sink), descriptor.clone());
        blocking(move || sink.put_document(&descriptor, &bytes)).await?;
    }
    Ok(())
}

async fn pull_blob(
    client: &RegistryClient,
    repository: &Repository,
    blob: &Descriptor,
    sink: &Arc<dyn ImageSink>,
    progress: &dyn Progress,
) -> Result<(), RegistryError> {
    let (asked, wanted) = (Arc::clone(sink), blob.clone());
    if blob.is_foreign() {
        progress.report(&blob.digest, Step::Done(Arrival::Foreign));
        return Ok(());
    }
    if blocking(move || asked.has(&wanted)).await? == HasContent::Present {
        progress.report(&blob.digest, Step::Done(Arrival::AlreadyThere));
        return Ok(());
    }
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING);
    let (taking, descriptor) = (Arc::clone(sink), blob.clone());
    let writer = tokio::task::spawn_blocking(move || {
        taking.put_blob(&descriptor, &mut FromChannel { waiting, rest: Bytes::new() })
    });
    let downloaded = client.download_to_channel(repository, blob, pieces, progress).await;
    let written = writer.await.map_err(|_| RegistryError::Interrupted)?;
    match (downloaded, written) {
        // The writer stopped reading: its reason is the cause.
        (Err(RegistryError::Content(_)) | Ok(()), Err(error)) => Err(error.into()),
        (downloaded, _) => downloaded,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ContentError> + Send + 'static,
) -> Result<T, RegistryError> {
    Ok(tokio::task::spawn_blocking(work).await.map_err(|_| RegistryError::Interrupted)??)
}

/// Runs transfers, [`PARALLEL_BLOBS`] at a time; the first failure ends all.
async fn some_at_a_time(transfers: Vec<BoxFuture<'_, Result<(), RegistryError>>>) -> Result<(), RegistryError> {
    stream::iter(transfers).buffer_unordered(PARALLEL_BLOBS).try_collect().await
}

/// Where the documents of an image come from.
trait Documents: Sync {
    fn fetch(&self, wanted: &Descriptor) -> impl Future<Output = Result<(Bytes, Document), RegistryError>> + Send;
}

struct FromSource(Arc<dyn ImageSource>);

impl Documents for FromSource {
    async fn fetch(&self, wanted: &Descriptor) -> Result<(Bytes, Document), RegistryError> {
        let (source, descriptor) = (Arc::clone(&self.0), wanted.clone());
        let bytes = blocking(move || source.document(&descriptor)).await?;
        checked(wanted, bytes.into())
    }
}

struct FromRegistry<'a> {
    client: &'a RegistryClient,
    repository: &'a Repository,
}

impl Documents for FromRegistry<'_> {
    async fn fetch(&self, wanted: &Descriptor) -> Result<(Bytes, Document), RegistryError> {
        let fetched = self.client.described_document(self.repository, wanted).await?;
        Ok((fetched.bytes, fetched.document))
    }
}

/// Walks down from a document and keeps the bytes of all documents on the way.
async fn collect(root: &Descriptor, documents: &impl Documents) -> Result<Collected, RegistryError> {
    let mut tree = ImageTree::new(root.clone());
    let mut bytes = HashMap::new();
    let mut total = 0_usize;
    while let Some(wanted) = tree.wanted().cloned() {
        let (content, document) = documents.fetch(&wanted).await?;
        total = total.saturating_add(content.len());
        if total > MAX_TREE_BYTES {
            return Err(RegistryError::TreeBytes(MAX_TREE_BYTES));
        }
        bytes.insert(wanted.digest, content);
        tree.feed(document)?;
    }
    Ok(Collected { tree, bytes })
}

/// Checks a document from a local source as strictly as one from a registry.
fn checked(descriptor: &Descriptor, bytes: Bytes) -> Result<(Bytes, Document), RegistryError> {
    if bytes.len() as u64 != descriptor.size || bytes.len() > MAX_DOCUMENT_BYTES {
        let (wanted, found) = (descriptor.size, bytes.len() as u64);
        return Err(ContentError::Size { digest: descriptor.digest.clone(), wanted, found }.into());
    }
    descriptor.digest.verify(&bytes).map_err(ContentError::Digest)?;
    let document = Document::parse(&bytes, Some(&descriptor.media_type))?;
    Ok((bytes, document))
}

/// Reads what comes through a channel; an error in it is an error here, never an early end.
struct FromChannel {
    waiting: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for FromChannel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.waiting.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.rest = piece?,
            }
        }
        let count = self.rest.len().min(buffer.len());
        let taken = self.rest.split_to(count);
        if let Some(place) = buffer.get_mut(..count) {
            place.copy_from_slice(&taken);
        }
        Ok(count)
    }
}
