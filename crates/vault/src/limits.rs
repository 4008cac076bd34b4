//! The named bounds on everything that is read from or written to the trust directory.

use std::time::Duration;

/// Largest cached metadata file in bytes (Notary protocol, constants: maximum download without a known size).
pub const MAX_METADATA_BYTES: u64 = 100 * 1024 * 1024;
/// Largest record of rollback floors (`seen.json`) in bytes.
pub const MAX_SEEN_BYTES: u64 = 4 * 1024 * 1024;
/// Largest note of an upload in bytes: it names every change of a full list.
pub const MAX_UPLOAD_NOTE_BYTES: u64 = 8 * 1024 * 1024;
/// Largest private key file in bytes; an encrypted RSA key of 16384 bits needs about 13,000.
pub const MAX_KEY_BYTES: u64 = 64 * 1024;
/// Largest key bundle (export or import) in bytes.
pub const MAX_BUNDLE_BYTES: usize = countersign_keyfile::MAX_TEXT;
/// Largest staged change in bytes.
pub const MAX_CHANGE_BYTES: u64 = 1024 * 1024;
/// Most staged changes of one collection.
pub const MAX_CHANGES: usize = 65_536;
/// Largest sum of all staged changes of one collection in bytes.
pub const MAX_CHANGELIST_BYTES: u64 = 64 * 1024 * 1024;
/// Most entries that are read from one directory.
pub const MAX_DIRECTORY_ENTRIES: usize = 262_144;
/// Most levels of directories below `private` or `tuf`: a collection name of 255 bytes has at most 128 segments.
pub const MAX_DEPTH: usize = 130;
/// Most keys that are taken in at once.
pub const MAX_ARRIVALS: usize = 4096;
/// Longest wait for another process's lock unless [`crate::TrustDirectory::with_lock_wait`] says otherwise.
pub const DEFAULT_LOCK_WAIT: Duration = Duration::from_secs(30);
/// Longest passphrase in bytes.
pub const MAX_PASSPHRASE_BYTES: usize = 64 * 1024;
/// Longest wait for a passphrase from a file or descriptor that an environment variable names.
pub const PASSPHRASE_PATIENCE: Duration = Duration::from_secs(30);
/// Longest wait for the program that is asked for passphrases: a person may have to touch or unlock something.
pub const PASSPHRASE_COMMAND_PATIENCE: Duration = Duration::from_mins(2);
/// Shortest passphrase for a new key in bytes when a person types it (Notary protocol, constants).
pub const MIN_NEW_PASSPHRASE_BYTES: usize = 8;
/// Times a passphrase for an existing key is asked for (Notary protocol, passphrases).
pub const EXISTING_PASSPHRASE_ATTEMPTS: u32 = 4;
/// Times a passphrase for a new key is asked for (Notary protocol, passphrases).
pub const NEW_PASSPHRASE_ATTEMPTS: u32 = 12;
