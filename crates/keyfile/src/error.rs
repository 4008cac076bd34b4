//! What can be wrong with a key file.

use countersign_crypto::{PrivateKeyError, RandomError};

/// Says why a key file gives no key, or a key no file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// The text, a block or a list is larger than any real one.
    #[error("the key file is too large: {0}")]
    TooLarge(&'static str),
    /// The text is not PEM.
    #[error("the key file is not PEM text: {0}")]
    NotPem(&'static str),
    /// There is no PEM block in the text.
    #[error("no key was found in the key file")]
    Empty,
    /// The block holds something other than a private key.
    #[error("expected a private key, found {0}")]
    NotAPrivateKey(String),
    /// The block is not encoded as its label says.
    #[error("the key is malformed: {0}")]
    Malformed(&'static str),
    /// The key is encrypted, and no passphrase was given.
    #[error("the key is encrypted; a passphrase is needed")]
    PassphraseNeeded,
    /// The passphrase does not fit. The format cannot tell a wrong passphrase from changed bytes.
    #[error("wrong passphrase or damaged key")]
    WrongPassphrase,
    /// The passphrase fits, but what it protects was changed.
    #[error("the encrypted key is damaged or was tampered with")]
    Damaged,
    /// An empty passphrase would protect nothing.
    #[error("the passphrase is empty; choose one, or store the key unencrypted on purpose")]
    EmptyPassphrase,
    /// The key is encrypted in a way that is not supported.
    #[error("the key is encrypted in an unsupported way: {0}")]
    UnsupportedEncryption(String),
    /// The file asks for no work or for far too much.
    #[error("the key asks for {found} rounds of PBKDF2; 1 to {limit} are accepted")]
    Iterations {
        /// What the file asks for.
        found: u64,
        /// The most that is done.
        limit: u32,
    },
    /// The file asks for more memory or work than is given, or for none.
    #[error(
        "the key asks for scrypt with N = {cost}, r = {block_size}, p = {parallelization}; at most {} MiB and {} blocks of \
         work are given",
        crate::MAX_SCRYPT_MEMORY / (1024 * 1024),
        crate::MAX_SCRYPT_WORK
    )]
    Scrypt {
        /// N, which has to be a power of two.
        cost: u64,
        /// r.
        block_size: u16,
        /// p.
        parallelization: u16,
    },
    /// A header would break the file.
    #[error("header {name} cannot hold {value:?}")]
    InvalidHeader {
        /// Name of the header.
        name: String,
        /// What it was to hold.
        value: String,
    },
    /// The file is fine, but the key in it is not usable.
    #[error(transparent)]
    Key(#[from] PrivateKeyError),
    /// There was no randomness for a salt.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The encoder or a cipher failed on data of our own.
    #[error("the key could not be written")]
    NotWritten,
}
