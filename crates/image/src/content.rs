//! Where images come from and go to: traits that registries, folders and archives have in common.

use std::io::Read;

use crate::descriptor::Descriptor;
use crate::digest::{Digest, DigestMismatch};
use crate::document::DocumentError;

/// Says why content cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// The content is not there.
    #[error("{0} is not in the image")]
    Missing(Digest),
    /// The content is not what its digest promises.
    #[error(transparent)]
    Digest(#[from] DigestMismatch),
    /// The content has another size than promised.
    #[error("{digest} has {found} bytes, announced are {wanted}")]
    Size {
        /// The content's digest.
        digest: Digest,
        /// The size announced in bytes.
        wanted: u64,
        /// The size found in bytes.
        found: u64,
    },
    /// The medium failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The medium's own reason.
    #[error(transparent)]
    Medium(Box<dyn std::error::Error + Send + Sync>),
}

/// Says why bytes were not opened as a document.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The bytes have another digest.
    #[error(transparent)]
    Digest(#[from] DigestMismatch),
    /// The bytes are not an acceptable document.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Something that images are read from.
pub trait ImageSource: Send + Sync {
    /// Reads a manifest or index whole. The caller hashes the bytes.
    ///
    /// # Errors
    /// Fails if the document is not there, too large, or cannot be read.
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ContentError>;

    /// Opens a blob for reading. The caller hashes the bytes and counts them.
    ///
    /// # Errors
    /// Fails if the blob is not there or cannot be opened.
    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ContentError>;
}

/// Something that images are written to.
pub trait ImageSink: Send + Sync {
    /// Tells whether the content is there already.
    ///
    /// # Errors
    /// Fails if the medium cannot say.
    fn has(&self, descriptor: &Descriptor) -> Result<HasContent, ContentError>;

    /// Stores a manifest or index.
    ///
    /// # Errors
    /// Fails if the bytes do not fit the descriptor or the medium refuses them; nothing is stored then.
    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), ContentError>;

    /// Stores a blob, reading `content` to its end. The sink hashes and counts.
    ///
    /// # Errors
    /// Fails if the bytes do not fit the descriptor or the medium refuses them; nothing is stored then.
    fn put_blob(&self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<(), ContentError>;
}

/// Whether a sink has some content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HasContent {
    /// It is there and need not be sent.
    Present,
    /// It is not there.
    Absent,
}
