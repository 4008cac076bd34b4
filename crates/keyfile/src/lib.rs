//! Private key files: PEM with headers, PKCS#8, legacy encryptions and JWE; bytes in, keys out.
//!
//! A [`KeyFile`] is a list of [`KeyBlock`]s; a block knows its role, GUN and path without any passphrase and gives its
//! [`PrivateKey`](countersign_crypto::PrivateKey) for the right one. What is written is, byte for byte, what the
//! reference writes, so that every client reads it; what is read is also what openssl and the oldest clients wrote.
//! [`jwe`] is the form the service keeps its keys in at rest. No files, no clock; randomness is handed in.

mod armor;
mod block;
mod cipher;
mod error;
mod legacy;
mod pbes2;
mod pkcs8;

pub mod jwe;

pub use block::{KeyBlock, KeyFile, Label, Protection};
pub use error::KeyFileError;

/// The longest text that is looked at, in bytes: a bundle of a thousand large keys fits.
pub const MAX_TEXT: usize = 4 * 1024 * 1024;
/// The most blocks one text may hold.
pub const MAX_BLOCKS: usize = 4096;
/// The most headers one block may have.
pub const MAX_HEADERS: usize = 32;
/// The longest body of one block, in bytes; an RSA key of 8192 bits has less than five thousand.
pub const MAX_BODY: usize = 64 * 1024;
/// The most rounds of PBKDF2 that a file may ask for: some seconds of work.
pub const MAX_ITERATIONS: u32 = 10_000_000;
/// The most memory that scrypt may ask for, in bytes: 128 · N · r.
pub const MAX_SCRYPT_MEMORY: u64 = 256 * 1024 * 1024;
/// The most work that scrypt may ask for, N · r · p: some seconds.
pub const MAX_SCRYPT_WORK: u64 = 1 << 23;
