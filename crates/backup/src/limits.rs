//! The named bounds on everything that is read from an archive.

/// Largest archive file in bytes: a trust directory with the metadata of many collections fits.
pub const MAX_FILE_BYTES: usize = 64 * 1024 * 1024;
/// Largest archive once it is decrypted and unpacked, in bytes.
pub const MAX_UNPACKED_BYTES: usize = 256 * 1024 * 1024;
/// How many times as large as its compressed form an archive may be; key files hardly shrink, so that archives of them
/// stay far below it.
pub const MAX_EXPANSION: usize = 200;
/// Unpacked bytes up to which the expansion does not matter: tar pads one small file to 10,240 bytes.
pub const EXPANSION_FREE_BYTES: usize = 1024 * 1024;
/// Most entries of an archive.
pub const MAX_ENTRIES: usize = 65_536;
/// Most keys of an archive.
pub const MAX_KEYS: usize = countersign_vault::limits::MAX_ARRIVALS;
/// Largest manifest in bytes.
pub const MAX_MANIFEST_BYTES: usize = 8 * 1024 * 1024;
/// Longest path of an entry in bytes.
pub const MAX_PATH_BYTES: usize = 4096;
/// Most OpenPGP packets of a message.
pub const MAX_PACKETS: usize = 64;
/// Most passphrases that one message may be encrypted to: each costs up to 62 MiB of hashing to try.
pub const MAX_PASSPHRASES: usize = 4;
/// Most layers of compression in a message.
pub const MAX_COMPRESSED_LAYERS: usize = 2;
/// Most shares of one passphrase.
pub const MAX_SHARES: u8 = 16;
/// Longest text that is read as a share, in bytes.
pub const MAX_SHARE_TEXT: usize = 4096;
/// Largest record of known backups in bytes.
pub const MAX_RECORD_BYTES: u64 = 16 * 1024 * 1024;
/// Most backups that the record keeps; the oldest go first.
pub const MAX_RECORDED: usize = 1024;
