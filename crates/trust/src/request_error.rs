//! What cannot be done as it was asked for: the caller's mistakes.

use countersign_crypto::KeyId;
use countersign_crypto::certificate::CertificateError;
use countersign_tuf::json::JsonError;
use countersign_tuf::{ChangeError, Gun, RoleName, Version};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Says why something cannot be done as it was asked for. Nothing was changed, here or at the service.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The role holds no targets.
    #[error("tuf: invalid role {0}. cannot add targets to this role")]
    NoTargetsRole(RoleName),
    /// The role is no delegation.
    #[error("invalid delegation name {0}")]
    NoDelegation(RoleName),
    /// The role is neither `targets` nor a delegation.
    #[error("{0} cannot be witnessed: only targets and delegations can")]
    NotWitnessed(RoleName),
    /// The custom data of a target is not JSON, or not such as can be signed.
    #[error("the custom data cannot be published: {0}")]
    Custom(JsonError),
    /// A staged change cannot be read.
    #[error("the staged change {file} cannot be read: {error}")]
    StagedChange {
        /// The file's name.
        file: String,
        /// What is wrong with it.
        error: ChangeError,
    },
    /// A staged change would replace a base role's keys. Rotations are published at once and never staged.
    #[error(
        "the staged change {file} would replace the keys of {role}, which is never staged: reset it, and find out who put it there"
    )]
    StagedRotation {
        /// The file's name.
        file: String,
        /// The role.
        role: RoleName,
    },
    /// Something lies among the staged changes that is none.
    #[error(
        "{path:?} lies among the staged changes of {gun} and is none that can be read: remove it or reset all changes"
    )]
    StagedJunk {
        /// The collection.
        gun: Gun,
        /// The file.
        path: PathBuf,
    },
    /// The caller did not consent to sign what a file that cannot be verified holds.
    #[error("nothing was published: what {} holds now was not confirmed", roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    WitnessDeclined {
        /// The roles.
        roles: Vec<RoleName>,
    },
    /// No key could be purged from any delegation.
    #[error("no key was purged: {} cannot be signed here", roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    NothingPurged {
        /// The roles that list the keys.
        roles: BTreeSet<RoleName>,
    },
    /// The collection is there already.
    #[error("{0} is initialised already")]
    Initialised(Gun),
    /// A root key is not in the store, or not as a root key.
    #[error("unable to find root key: {0}")]
    NoRootKey(KeyId),
    /// A key is not in the store.
    #[error("unable to find key: {0}")]
    NoKey(KeyId),
    /// A key is in the store for another role, which it would lose.
    #[error("key with same ID already exists for different role: {id} is a key for {role:?}")]
    OtherRole {
        /// The key.
        id: KeyId,
        /// What it is for.
        role: String,
    },
    /// A root key must come encrypted.
    #[error("only encrypted root keys may be imported")]
    PlainRootKey,
    /// A file holds no key, more than one, or one that cannot be used.
    #[error("no valid private key found: {0}")]
    PrivateKey(String),
    /// A certificate cannot be a collection's root certificate.
    #[error("the root certificate cannot be used: {0}")]
    RootCertificate(CertificateError),
    /// A certificate is for something else.
    #[error("the root certificate is for {found:?}, not for {gun}")]
    CertificateName {
        /// The collection.
        gun: Gun,
        /// The common name of the certificate.
        found: String,
    },
    /// A certificate belongs to another key than the one given, or there are more certificates than keys.
    #[error("the root certificate does not belong to the root key {0}")]
    CertificateKey(KeyId),
    /// A file holds no public key that can be used.
    #[error("no valid public key found: {0}")]
    PublicKey(String),
    /// A file holds a private key where a public one is wanted.
    #[error("this is a private key, which must not be given away: use its public key or certificate")]
    PrivateForPublic,
    /// The service cannot have the key of this role.
    #[error("notary does not permit the server managing the {0} key")]
    NotByService(RoleName),
    /// The client cannot have the key of this role.
    #[error("notary does not permit the client managing the {0} key")]
    NotByClient(RoleName),
    /// The role's keys are not rotated.
    #[error("notary does not currently permit rotating the {0} key")]
    NotRotated(RoleName),
    /// Only root keys have certificates that can be made anew.
    #[error("{0} keys have no root certificate: only those of root have")]
    NotCertified(RoleName),
    /// The collection lists no such key, and no such signer.
    #[error("{gun} has neither a key nor a signer {who}")]
    NotListed {
        /// The collection.
        gun: Gun,
        /// What was named.
        who: String,
    },
    /// A role would get no key that can sign, and nobody can make one here.
    #[error("{role} cannot be signed here: none of the keys that would be left is in the trust directory")]
    NobodyLeft {
        /// The role.
        role: RoleName,
    },
    /// The name cannot be a signer's.
    #[error(
        "signer name \"{0}\" must start with lowercase alphanumeric characters and can include \"-\" or \"_\" after the first character"
    )]
    SignerName(String),
    /// The name means the role that releases.
    #[error("releases is a reserved keyword, use a different signer name")]
    Releases,
    /// A signer needs keys.
    #[error("path to a public key must be provided using the `--key` flag")]
    SignerWithoutKey,
    /// There is no such signer.
    #[error("no signer {name} for repository {gun}")]
    NoSigner {
        /// The collection.
        gun: Gun,
        /// The name.
        name: String,
    },
    /// An archive holds less than this machine has seen.
    #[error(
        "the archive of {gun} has version {archived} of {role}, and this machine has seen version {seen}: save the collection again before it moves"
    )]
    ArchiveBehind {
        /// The collection.
        gun: Gun,
        /// The role.
        role: RoleName,
        /// The version that this machine has seen.
        seen: Version,
        /// The version in the archive.
        archived: Version,
    },
    /// A service gives more of a collection than is taken in one run.
    #[error("the service gives more of {0} than is saved at once: do the same again, and it goes on where it was")]
    MoreThanOneRun(Gun),
    /// An archive has not the root that this machine knows.
    #[error("the archive of {0} has not the root that this machine knows: it is of another collection of that name")]
    OtherHistory(Gun),
    /// The service to which a collection should move has one of its name.
    #[error("the service has a collection {0} that does not go on from the archived one")]
    OtherThere(Gun),
}
