//! The trust directory: keys, cache, change lists and locks.
//!
//! [`TrustDirectory`] is the directory that docker, notary and Countersign use in turns; the layout and the files are theirs
//! (Notary protocol, client on-disk state). It leads to
//! - [`LocalCollection`]: one collection's cached metadata and staged changes; [`LockedCollection`] writes them;
//! - [`KeyStore`]: the private keys, in files and on tokens.
//!
//! Promises:
//! - A write is whole or not at all, and durable: temporary file, flush, rename, flush of the directory.
//! - No symbolic link inside the directory is followed; pipes, devices and directories in a file's place are refused, not
//!   waited for; every read has a limit.
//! - What is not there reads as `None`; whatever else goes wrong is an error, so that a trust anchor that cannot be read is
//!   never taken for a first visit.
//! - Processes of ours exclude each other by advisory locks in `.countersign/locks`, where no other client looks.
//!
//! Metadata and changes are opaque bytes here; nothing in this crate decides about trust.

mod collection;
#[cfg(test)]
mod crash_tests;
mod directory;
mod error;
mod failpoint;
mod folder;
mod keys;
pub mod limits;
pub mod location;
mod lock;
mod passphrase;
mod token;

pub use collection::{
    CacheUpdate, ChangeId, Changes, CollectionError, LocalCollection, LockedCollection, SkippedChange, StagedChange,
};
pub use directory::{TrustDirectory, Warning};
pub use error::{FileError, FileKind, LockError};
pub use folder::Removal;
pub use keys::{
    Addition, CarriedKey, Differing, ExportedKeys, ImportDefaults, ImportReport, ImportedKey, KeptKey, KeyEntry,
    KeyLabel, KeyLabelError, KeyListing, KeyPlace, KeyProtection, KeySelection, KeyStore, KeyStoreError,
    MigrationReport, Presence, SkippedBlock, SkippedBlockReason, SkippedKey, SkippedKeyReason, UnknownProtection,
    is_key_file_name,
};
pub use passphrase::{
    CommandPassphrases, EnvironmentPassphrases, NoPassphrases, Origin, Passphrase, PassphraseCommand,
    PassphraseCommandError, PassphraseRefused, PassphraseRemark, PassphraseRequest, PassphraseSource, Purpose,
    Remembered, Reply, Sequence, gun_variable, is_secret_variable,
};
pub use token::{
    Adopted, NewKeyPlace, ServiceToken, ServiceTokenLimits, ServiceTokenState, TokenConfig, TokenError, TokenIdentity,
    TokenSelector, TokenUri, TokenUriError, Tokens,
};
