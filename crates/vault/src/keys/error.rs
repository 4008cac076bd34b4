//! What can go wrong with keys.

use std::path::PathBuf;

use countersign_crypto::KeyId;

use crate::error::{FileError, LockError};
use crate::keys::KeyLabelError;
use crate::passphrase::Origin;
use crate::token::{TokenError, TokenIdentity};

/// Says why a key could not be used or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// There is no such key.
    #[error("signing key not found: {id}")]
    NotFound {
        /// The id asked for.
        id: KeyId,
    },
    /// No passphrase opened the key, or there was none to try. A damaged or tampered file looks the same.
    #[error("password invalid, operation has failed.")]
    PassphraseInvalid {
        /// The key's id, unknown for an encrypted key that is being imported.
        id: Option<KeyId>,
        /// The key's role text.
        role: String,
        /// Where the last passphrase tried came from, none if there was none.
        refused: Option<Origin>,
    },
    /// Whoever was asked for a passphrase refused to give one.
    #[error("{reason}")]
    PassphraseRefused {
        /// Who refused, and why.
        reason: String,
    },
    /// No acceptable passphrase for a new key was given.
    #[error("maximum number of passphrase attempts exceeded")]
    NoNewPassphrase {
        /// The role text of the new key.
        role: String,
    },
    /// The key is there already, for another role.
    #[error("key with same ID already exists for role: {role}")]
    OtherRole {
        /// The key's id.
        id: KeyId,
        /// The role it is there for.
        role: String,
    },
    /// The key has no passphrase.
    #[error("the key {id} is not encrypted: give it a passphrase")]
    NotEncrypted {
        /// The key's id.
        id: KeyId,
    },
    /// The file holds another key than its name says.
    #[error("{} holds the key {actual}, not {expected}: the file was renamed or tampered with", .path.display())]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// The id in its name.
        expected: KeyId,
        /// The id of the key in it.
        actual: KeyId,
    },
    /// The file is no private key that can be used.
    #[error("{} is not a usable private key: {reason}", .path.display())]
    Malformed {
        /// The file, or the source of a bundle.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file was changed by someone else while this process worked on it; nothing was written.
    #[error("{} was changed meanwhile: try again", .path.display())]
    ChangedMeanwhile {
        /// The file.
        path: PathBuf,
    },
    /// The store has these keys in another form than those that were to be taken in; nothing was written.
    #[error("the trust directory has other files under the ids of {} of these keys; nothing was written", .ids.len())]
    Differs {
        /// The keys.
        ids: Vec<KeyId>,
    },
    /// More keys were to be taken in at once than are.
    #[error("more than {limit} keys at once")]
    TooManyAtOnce {
        /// The limit.
        limit: usize,
    },
    /// What was to be imported is larger than a bundle may be.
    #[error("the keys to import are larger than {limit} bytes")]
    BundleTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// What was to be imported holds no PEM block.
    #[error("there is no private key in what was to be imported")]
    NoKeys,
    /// The key could not be encrypted.
    #[error("the key could not be encrypted: {reason}")]
    Encryption {
        /// What the cryptographic library says.
        reason: String,
    },
    /// No such key could be made.
    #[error("the key could not be made: {reason}")]
    NotMade {
        /// What the cryptographic library says.
        reason: String,
    },
    /// The key is on a token, which does not hand it out.
    #[error("the key {id} is on the token {token}, which does not hand it out")]
    OnToken {
        /// The key.
        id: KeyId,
        /// The token.
        token: TokenIdentity,
    },
    /// A token did not do what was asked.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The key cannot be labelled so.
    #[error(transparent)]
    Label(#[from] KeyLabelError),
    /// The lock of the key store was not obtained.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file or directory could not be used.
    #[error(transparent)]
    File(#[from] FileError),
}
