//! What can go wrong between a client and a registry.

use countersign_image::{ContentError, Digest, DigestMismatch, DocumentError, RegistryHost, Repository, TreeError};
use http::StatusCode;

use crate::auth::AuthError;
use crate::http::HttpError;

/// Says why something could not be had from a registry or given to it.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The network, the server, or the authorisation failed.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// Whatever answers is not a registry.
    #[error("{registry} is not a registry of version 2: it answers {status}")]
    NotARegistry {
        /// Where a registry was expected.
        registry: RegistryHost,
        /// The status of its answer.
        status: StatusCode,
    },
    /// The repository lives on another registry than the client is for.
    #[error("{repository} is not on {registry}")]
    OtherRegistry {
        /// The repository asked for.
        repository: Repository,
        /// The registry the client is for.
        registry: RegistryHost,
    },
    /// The registry does not have it, or does not show it to this user.
    #[error("{0} is not in the registry, or these credentials may not see it")]
    NotFound(String),
    /// The registry served other content than was asked for.
    #[error("the registry sent other content than asked for: {0}")]
    Digest(#[from] DigestMismatch),
    /// The registry served content of another size.
    #[error("the registry sent {found} bytes for {digest}, wanted are {wanted}")]
    Size {
        /// The content asked for.
        digest: Digest,
        /// The size wanted in bytes.
        wanted: u64,
        /// The size found in bytes.
        found: u64,
    },
    /// The registry says that it stored something else than was sent.
    #[error("the registry says it stored {claimed}, sent was {sent}")]
    Disagreement {
        /// The digest computed here.
        sent: Digest,
        /// What the registry says, fit for a terminal.
        claimed: String,
    },
    /// A manifest or index is not acceptable.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// A walk through indexes led nowhere.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The documents of one image are too large together.
    #[error("the manifests below one index have more than {0} bytes together")]
    TreeBytes(usize),
    /// The content on this side cannot be read or written.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// The registry lists more than any registry should.
    #[error("the registry lists more than {limit} {what}")]
    TooMany {
        /// What it lists.
        what: &'static str,
        /// The most that is accepted.
        limit: usize,
    },
    /// A background task of this program ended early.
    #[error("a task of this program ended early")]
    Interrupted,
}

impl From<HttpError> for RegistryError {
    fn from(error: HttpError) -> Self {
        Self::Auth(AuthError::Http(error))
    }
}

impl RegistryError {
    /// Returns the HTTP error behind this one, if there is one.
    #[must_use]
    pub fn http(&self) -> Option<&HttpError> {
        match self {
            Self::Auth(AuthError::Http(error)) => Some(error),
            _ => None,
        }
    }

    /// Tells whether another attempt may succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.http().is_some_and(HttpError::is_transient)
    }

    pub(crate) fn status(&self) -> Option<StatusCode> {
        self.http().and_then(HttpError::status)
    }
}
