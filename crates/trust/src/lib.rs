//! What a person does with a collection: look up, sign, publish, revoke, inspect.
//!
//! [`CollectionClient`] joins the trust directory, the trust service and the rules of `countersign-tuf`. Reading commits to
//! the cache only what a whole update has verified; writing re-bases on what others published meanwhile, and reports
//! success only after the service's answer has been read back and verified.

pub mod archive;
mod assessment;
mod attempts;
mod client;
mod compromise;
pub mod condition;
mod connection;
mod delegations;
mod deletion;
mod docker_signers;
mod error;
mod initial;
mod moving;
mod new_chain;
mod publish;
mod readers;
mod recovery;
pub mod report;
mod request_error;
mod revoke;
mod rotation;
mod signers;
mod signing;
mod staging;
mod targets;
mod upload_note;
mod witness;

pub use assessment::{Age, Assessment, AtService, Known, RoleKeys, Served, Situation, Until};
pub use client::{CollectionClient, FirstUseConsent};
pub use compromise::{
    Confirmed, ExposedName, ExposedRole, Exposure, Purged, Signatures, keys_named, no_longer_released,
};
pub use connection::{Connection, ConnectionError, Credentials, Destination, Greeting, TlsFiles};
pub use delegations::{Delegation, DelegationRemoval, MAX_PUBLIC_KEY_FILE, PathEdit, delegations, read_public_key};
pub use docker_signers::{Consequence, DockerSigner, SignerAdded, SignerName, SignerRemoval, SignerRemoved, signers};
pub use error::TrustError;
pub use initial::{Beginning, read_root_certificate};
pub use moving::{MovePlan, Standing};
pub use new_chain::{Stage, carried_over};
pub use publish::{Changes, Published};
pub use readers::{Reader, Readers, Stuck, certificates_end, released_names};
pub use recovery::GivenUp;
pub use request_error::RequestError;
pub use revoke::Revoked;
pub use rotation::{Former, Holder, LegacyRoots, NewKeys, PinsAfter, Rotated, Rotation};
pub use signing::{News, ReleasedTag, SignRequest, Signed, Source, check_releasing, is_releasing, releases};
pub use staging::{PublishedStaged, Staged, StagedEntry, Unstage};
pub use targets::canonical_custom;
pub use witness::{Decision, Difference, Review, WitnessSubject};
