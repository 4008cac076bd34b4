//! Why an update fails, and whose mistake it is.

use crate::metadata::MetadataError;
use crate::metadata::Mismatch;
use crate::name::{Gun, RoleName, Version};
use crate::root_trust::RootError;
use crate::seen::Regression;
use crate::verify::{Expired, Rollback, ThresholdError};
use countersign_crypto::digest::Sha256Digest;

/// Why the trust service gave no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Absence {
    /// The service answered that there is none.
    #[error("the trust service has no timestamp")]
    NotFound,
    /// No connection, no answer in time, or the service reported a failure of its own.
    #[error("the trust service is away: {0}")]
    Unreachable(String),
    /// The connection was not the service's: TLS failed.
    #[error("the connection to the trust service is not trustworthy: {0}")]
    Tls(String),
    /// The service refused.
    #[error("the trust service refused: {0}")]
    Refused(String),
    /// The answer broke the protocol or a limit.
    #[error("the trust service returned a bad response: {0}")]
    Hostile(String),
}

impl Absence {
    /// Tells whether the service is merely away, so that an unexpired cached state may speak for it.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        matches!(self, Self::NotFound | Self::Unreachable(_))
    }
}

/// Why an update fails; nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError {
    /// The service does not know the collection.
    #[error("the trust service does not have trust data for {0}")]
    NoTrustData(Gun),
    /// The service gave no file.
    #[error("cannot get {role}: {absence}")]
    Away {
        /// The role wanted.
        role: RoleName,
        /// Why there is none.
        absence: Absence,
    },
    /// The cached root is damaged.
    #[error("the cached root cannot be used: {0}")]
    CachedRoot(MetadataError),
    /// The cached root is gone although the collection was known before.
    #[error("the root of {0} is missing from the trust directory although other files of the collection are there")]
    LostRoot(Gun),
    /// A root is not trusted.
    #[error(transparent)]
    Root(#[from] RootError),
    /// The service offers another root under the trusted root's version.
    #[error("the trust service has another root under the version {version} of the trusted one")]
    ForeignRoot {
        /// The version.
        version: Version,
    },
    /// The chain of roots has a gap at the service.
    #[error("version {version} of root, a link of the chain to the newest root, is missing at the trust service")]
    MissingRoot {
        /// The missing version.
        version: Version,
    },
    /// The newest root is too far ahead.
    #[error("the trust service announces root version {to}, too many rotations after version {from}")]
    TooManyRotations {
        /// The trusted version.
        from: Version,
        /// The announced version.
        to: Version,
    },
    /// A file is malformed.
    #[error("bad {role} metadata: {error}")]
    Metadata {
        /// The role.
        role: RoleName,
        /// What is wrong.
        error: MetadataError,
    },
    /// A file is not signed as its role demands.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
    /// A file contradicts what was seen before.
    #[error(transparent)]
    Regression(#[from] Regression),
    /// A file is older than a cached one.
    #[error(transparent)]
    Rollback(#[from] Rollback),
    /// A file has expired.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// A file is not the one that its referencing file lists.
    #[error("{role}: {mismatch}")]
    Mismatch {
        /// The role.
        role: RoleName,
        /// What differs.
        mismatch: Mismatch,
    },
    /// A listed file is missing at the service.
    #[error("{role} is listed but missing at the trust service")]
    MissingFile {
        /// The role.
        role: RoleName,
        /// The listed hash.
        sha256: Option<Sha256Digest>,
    },
    /// A delegation that exists and was seen before is listed no more.
    #[error("the snapshot no longer lists {0}, a delegation that exists and had signed before")]
    DelegationDropped(RoleName),
    /// The collection has more delegations than is sensible.
    #[error("more than {0} delegations")]
    TooManyDelegations(usize),
    /// The update was ended before it was complete.
    #[error("the update is not complete")]
    Incomplete,
}

impl UpdateError {
    /// Returns the role whose age is all that is wrong; for a root its certificates count too.
    #[must_use]
    pub fn expired(&self) -> Option<RoleName> {
        match self {
            Self::Expired(expired) => Some(expired.role.clone()),
            Self::Root(RootError::Expired(_) | RootError::NoLeafCertificates(_)) => Some(RoleName::Root),
            _ => None,
        }
    }

    /// Tells whether somebody may be tampering, as opposed to absence and plain age.
    #[must_use]
    pub fn is_suspicious(&self) -> bool {
        matches!(
            self,
            Self::Threshold(_)
                | Self::Regression(_)
                | Self::Rollback(_)
                | Self::Mismatch { .. }
                | Self::ForeignRoot { .. }
                | Self::DelegationDropped(_)
                | Self::TooManyRotations { .. }
        ) || matches!(self, Self::Root(RootError::NotRotated(_) | RootError::Pin(_) | RootError::NotSigned(_)))
    }
}
