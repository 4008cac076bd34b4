//! Backups of private keys: OpenPGP archives that gpg and tar read and write, and shares of their passphrase.
//!
//! An archive is one OpenPGP message, encrypted with a passphrase, of a `tar.gz` with `trust/private/<id>.key` for every key
//! and a [`Manifest`]. `gpg --decrypt FILE | tar xz -C ~/.docker` restores it where there is no Countersign. Archives made by
//! hand are read as well: any prefix, plain or encrypted.
//!
//! - [`Backup`] writes an archive and proves it: read back, decrypted, every key compared and checked.
//! - [`Container`] and [`Contents`] read one: what is in it is judged as a whole before anything is written, and paths in it
//!   are looked at but never written to.
//! - [`Shares`] splits the passphrase of an archive among several people.
//! - [`KnownBackups`] remembers which key is in which archive.
//!
//! Keys stay in their own encrypted form inside. Nothing secret is in a message, in `Debug` or in a temporary file.

mod archive;
mod backup;
mod contents;
mod gpg;
mod known;
pub mod limits;
mod manifest;
mod openpgp;
mod shares;

pub use archive::{ArchiveError, LeftOut};
pub use backup::{Backup, BackupError, Existing, Proven, Written};
pub use contents::{BrokenKey, Contents};
pub use gpg::{GpgError, decrypt as decrypt_with_gpg};
pub use known::{KnownBackup, KnownBackups, RecordError};
pub use manifest::{Manifest, ManifestError, ManifestKey};
pub use openpgp::{Container, Locked, OpenError, SealError, seal};
pub use shares::{SHARE_WORDS, Scheme, SchemeError, Share, ShareError, Shares};
