//! What can be wrong with images on a disk.

use std::io;
use std::path::PathBuf;

use countersign_image::{ContentError, DigestError, DocumentError, OpenError, ReferenceError};

/// Says why images on a disk cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The disk failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The path holds nothing that is understood.
    #[error("{} is neither an OCI layout, nor an OCI archive, nor a docker archive", .0.display())]
    Unknown(PathBuf),
    /// There is something where something is to be written.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The version of the layout is not known.
    #[error("OCI layouts of version {0:?} are not supported")]
    Version(String),
    /// A file that belongs there is missing.
    #[error("{0} is missing")]
    Missing(String),
    /// A file is not a regular file, or too large.
    #[error("{0} is not a file of at most {1} bytes")]
    NotAFile(String, u64),
    /// A file is not JSON of the right shape.
    #[error("malformed {file}: {error}")]
    Json {
        /// The file.
        file: String,
        /// What is wrong.
        error: serde_json::Error,
    },
    /// An archive is damaged, or made to mislead.
    #[error("the archive is refused at byte {offset}: {reason}")]
    Archive {
        /// Where in the archive, in bytes.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// An archive unpacks to more than any archive should.
    #[error("the archive unpacks to more than {0} bytes")]
    TooLarge(u64),
    /// A layer is not what the image's configuration says.
    #[error("layer {layer} is {found}, the configuration says {wanted}")]
    Layer {
        /// The layer's name in the archive.
        layer: String,
        /// What the configuration says.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// An index or manifest is not acceptable.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// An index or manifest has another digest.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A digest is malformed.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// A name is malformed.
    #[error("{name:?}: {error}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        error: ReferenceError,
    },
    /// No image fits the name asked for, or several do.
    #[error("{asked}; there is {there}")]
    Choice {
        /// What was asked for.
        asked: String,
        /// What is there.
        there: String,
    },
    /// The image cannot be put into a docker archive.
    #[error("a docker archive holds images of one platform: choose one of the index's")]
    NotOneImage,
}

impl From<OpenError> for LayoutError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Digest(mismatch) => Self::Content(mismatch.into()),
            OpenError::Document(error) => Self::Document(error),
        }
    }
}

impl From<LayoutError> for ContentError {
    fn from(error: LayoutError) -> Self {
        match error {
            LayoutError::Content(error) => error,
            LayoutError::Io(error) => Self::Io(error),
            other => Self::Medium(Box::new(other)),
        }
    }
}
