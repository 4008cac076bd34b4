//! What can go wrong, told apart by whose fault it is.

use crate::connection::ConnectionError;
use crate::request_error::RequestError;
use countersign_notary::ServiceError;
use countersign_tuf::editor::{EditError, PublicationError};
use countersign_tuf::update::UpdateError;
use countersign_tuf::{Gun, LookupError, RoleName, SeenError, SigningError};
use countersign_vault::{CollectionError, FileError, KeyStoreError, LockError, SkippedKeyReason};
use std::path::PathBuf;

/// Says why something could not be done with a collection.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The collection could not be verified.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// The name is not signed, or its signer cannot be verified.
    #[error(transparent)]
    Lookup(#[from] LookupError),
    /// The name is signed without the hash that images are found by.
    #[error("{name} is signed without a sha256 digest, so no image can be found by it")]
    NoDigest {
        /// The name.
        name: String,
    },
    /// The trust service did not do what was asked.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The trust service cannot be reached as configured.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// A change cannot be made.
    #[error(transparent)]
    Edit(#[from] EditError),
    /// New metadata could not be signed.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// None of the delegations' keys is here.
    #[error("no valid signing keys for delegation roles: {gun} is signed by {}", roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NoDelegationKey {
        /// The collection.
        gun: Gun,
        /// The delegations that could sign.
        roles: Vec<RoleName>,
    },
    /// Delegations' keys are here, but none of these delegations may sign the name.
    #[error("{name} may not be signed by {}: the name is outside of what {gun} lets them sign", roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    OutsidePaths {
        /// The collection.
        gun: Gun,
        /// The name.
        name: String,
        /// The delegations whose keys are here.
        roles: Vec<RoleName>,
    },
    /// A name would stay released by roles whose keys are not here.
    #[error("{name} is also signed by {role}, whose key is not here: it would stay valid")]
    StaysReleased {
        /// The name.
        name: String,
        /// The role.
        role: RoleName,
    },
    /// Signers have signed, but none of those who release.
    #[error(
        "{name} was signed by {}, but is not released with this digest: whoever signs for targets/releases has to sign it too",
        roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    NotReleased {
        /// The name.
        name: String,
        /// The roles that have signed it.
        roles: Vec<RoleName>,
    },
    /// There is nothing that could be revoked.
    #[error("no signed tags to remove from {0}")]
    NothingSigned(Gun),
    /// The service lost a collection that was published.
    #[error(
        "the trust service has no data for {0}, although this machine has seen it published: it was deleted, or this is another service"
    )]
    Vanished(Gun),
    /// Somebody else published first.
    #[error("{0} was published by somebody else at the same moment: try again to sign in their collection")]
    TakenOver(Gun),
    /// Others kept publishing.
    #[error("{gun} was changed by others {attempts} times in a row while this change was prepared: try again")]
    Busy {
        /// The collection.
        gun: Gun,
        /// How often it was tried.
        attempts: u32,
    },
    /// The service said yes, but serves something else.
    #[error("the trust service confirmed the publication of {0}, but does not serve it: do not rely on the signature")]
    NotStored(Gun),
    /// The service said yes; what it serves could not be looked at.
    #[error(
        "the trust service confirmed the publication of {gun}, but it could not be read back and verified: {error}"
    )]
    NotReadBack {
        /// The collection.
        gun: Gun,
        /// Why.
        error: Box<TrustError>,
    },
    /// The root that a new collection would get does not satisfy the pins of this machine.
    #[error("a new collection {gun} would not satisfy the pins: {error}")]
    Unpinned {
        /// The collection.
        gun: Gun,
        /// What the pins ask for.
        error: UpdateError,
    },
    /// The record of versions seen is damaged.
    #[error("the record of versions seen of {gun} is damaged ({error}): remove {path} only if you know why")]
    Seen {
        /// The collection.
        gun: Gun,
        /// What is wrong.
        error: SeenError,
        /// The file.
        path: String,
    },
    /// The trust directory cannot be used.
    #[error(transparent)]
    Collection(#[from] CollectionError),
    /// A private key cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// It cannot be done as it was asked for.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// A key is wanted, none is there that can be read, and a file that cannot be read may be it.
    #[error("{} may be the key that is wanted, but {reason}: repair or remove it", path.display())]
    UnusableKeyFile {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        reason: SkippedKeyReason,
    },
    /// The service speaks of a newer state again and again, and has none.
    #[error(
        "the trust service refuses the publication of {0} because it has something newer, but does not serve anything newer"
    )]
    ConflictWithNothing(Gun),
    /// The service was asked for a new key and gave the one that it has.
    #[error("the trust service answers with the {role} key that {gun} has already: nothing was rotated")]
    SameKey {
        /// The collection.
        gun: Gun,
        /// The role.
        role: RoleName,
    },
    /// A certificate or key could not be made.
    #[error("cannot make a key: {0}")]
    Making(String),
}

impl From<PublicationError> for TrustError {
    fn from(error: PublicationError) -> Self {
        match error {
            PublicationError::Edit(edit) => edit.into(),
            PublicationError::Signing(signing) => signing.into(),
        }
    }
}

impl From<FileError> for TrustError {
    fn from(error: FileError) -> Self {
        Self::Collection(error.into())
    }
}

impl From<LockError> for TrustError {
    fn from(error: LockError) -> Self {
        Self::Collection(error.into())
    }
}
