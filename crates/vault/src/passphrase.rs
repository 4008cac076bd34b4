//! Where passphrases come from.

mod command;
mod environment;
mod remembered;
mod secret_variables;
mod source_file;

use std::borrow::Cow;
use std::fmt;

use countersign_crypto::KeyId;
use countersign_tuf::Gun;
use secrecy::{ExposeSecret, SecretSlice};

use crate::limits::{MAX_PASSPHRASE_BYTES, MIN_NEW_PASSPHRASE_BYTES};

#[cfg(feature = "pkcs11")]
pub(crate) use source_file::read_secret as read_secret_file;

pub use command::{CommandPassphrases, PassphraseCommand, PassphraseCommandError};
pub use environment::{EnvironmentPassphrases, PassphraseRemark, gun_variable};
pub use remembered::{Remembered, Sequence};
pub use secret_variables::is_secret_variable;

/// A passphrase: any bytes, wiped from memory when dropped and never printed.
#[derive(Clone)]
pub struct Passphrase(SecretSlice<u8>);

/// Says why a text does not do as a passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseRefused {
    /// It is empty.
    #[error("the passphrase is empty")]
    Empty,
    /// It is longer than any that is processed.
    #[error("the passphrase is longer than {MAX_PASSPHRASE_BYTES} bytes")]
    TooLong,
    /// It is too short for a new key.
    #[error("the passphrase is too short: use at least {MIN_NEW_PASSPHRASE_BYTES} characters")]
    TooShort,
}

impl Passphrase {
    /// Takes exactly these bytes as a passphrase.
    ///
    /// # Errors
    /// Refuses an empty one and more than [`MAX_PASSPHRASE_BYTES`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, PassphraseRefused> {
        let secret = SecretSlice::from(bytes);
        match secret.expose_secret().len() {
            0 => Err(PassphraseRefused::Empty),
            length if length > MAX_PASSPHRASE_BYTES => Err(PassphraseRefused::TooLong),
            _ => Ok(Self(secret)),
        }
    }

    /// Checks what a person chose for a new key. Passphrases from the environment are exempt, as with the reference.
    ///
    /// # Errors
    /// [`PassphraseRefused::TooShort`] below [`MIN_NEW_PASSPHRASE_BYTES`].
    pub fn check_new(&self) -> Result<(), PassphraseRefused> {
        if self.bytes().len() < MIN_NEW_PASSPHRASE_BYTES { Err(PassphraseRefused::TooShort) } else { Ok(()) }
    }

    /// Returns the bytes; not to be kept or shown.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(…)")
    }
}

/// What a passphrase is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// To open a key that is there.
    Existing,
    /// To protect a key from now on; a person is asked twice.
    New,
    /// To log in to a token, which locks itself after a few wrong ones: a source is asked once, and whatever it gives is
    /// tried once.
    Pin,
}

/// Where a passphrase came from, so that a wrong one can be told by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// From the environment variable of this name, or from what it names.
    Environment(Cow<'static, str>),
    /// From the command that was chosen for it.
    Command,
    /// From a file that the configuration of a token names.
    File,
    /// From earlier in this process, given for the same alias.
    Remembered,
    /// From a person.
    Person,
}

/// A request for a passphrase.
#[derive(Debug, Clone)]
pub struct PassphraseRequest<'a> {
    /// The key's role text: a base role, a delegation, or free words; empty if unknown (Notary protocol, passphrases). For a
    /// PIN the token's name.
    pub alias: &'a str,
    /// The collection that the key belongs to, none for root keys and those of delegations.
    pub gun: Option<&'a Gun>,
    /// The key's canonical id, if known: an encrypted key that is imported hides it.
    pub key_id: Option<KeyId>,
    /// What it is wanted for.
    pub purpose: Purpose,
    /// Counts the requests for this key, beginning with 1.
    pub attempt: u32,
    /// Where the previous passphrases came from, which did not open the key. Empty at the first attempt and for new keys.
    pub tried: Vec<Origin>,
}

impl<'a> PassphraseRequest<'a> {
    /// Begins to ask for a key of no particular collection.
    #[must_use]
    pub fn new(alias: &'a str, purpose: Purpose) -> Self {
        Self { alias, gun: None, key_id: None, purpose, attempt: 1, tried: Vec::new() }
    }

    /// Returns where the previous passphrase came from, which did not open the key.
    #[must_use]
    pub fn refused(&self) -> Option<&Origin> {
        self.tried.last()
    }
}

/// The answer to a [`PassphraseRequest`].
#[derive(Debug, Clone)]
pub enum Reply {
    /// Try this one.
    Passphrase(Passphrase, Origin),
    /// What was typed did not do (too short, not the same twice, empty), and the person was told so: ask again.
    Again,
    /// There is no passphrase, or no further one.
    Unavailable,
    /// Whoever was asked refuses to give one, and says why: nobody else is asked.
    Refused(String),
}

/// Supplies passphrases: from the environment, a person, or a test.
pub trait PassphraseSource: Send + Sync {
    /// Answers a request. May block while a person types.
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply;

    /// Hears that a passphrase of this source opened or now protects the key asked for.
    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase, origin: &Origin) {
        let _ = (request, passphrase, origin);
    }
}

impl<T: PassphraseSource + ?Sized> PassphraseSource for &T {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        (**self).passphrase(request)
    }

    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase, origin: &Origin) {
        (**self).accepted(request, passphrase, origin);
    }
}

impl<T: PassphraseSource + ?Sized> PassphraseSource for Box<T> {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        (**self).passphrase(request)
    }

    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase, origin: &Origin) {
        (**self).accepted(request, passphrase, origin);
    }
}

impl<T: PassphraseSource + ?Sized> PassphraseSource for std::sync::Arc<T> {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        (**self).passphrase(request)
    }

    fn accepted(&self, request: &PassphraseRequest<'_>, passphrase: &Passphrase, origin: &Origin) {
        (**self).accepted(request, passphrase, origin);
    }
}

/// Supplies nothing, for commands that must not ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPassphrases;

impl PassphraseSource for NoPassphrases {
    fn passphrase(&self, _: &PassphraseRequest<'_>) -> Reply {
        Reply::Unavailable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_are_a_passphrase_within_bounds() {
        assert_eq!(Passphrase::new(vec![0, 0xff, b'\n']).unwrap().bytes(), [0, 0xff, b'\n']);
        assert_eq!(Passphrase::new(Vec::new()).unwrap_err(), PassphraseRefused::Empty);
        assert_eq!(Passphrase::new(vec![b'x'; 10_000_000]).unwrap_err(), PassphraseRefused::TooLong);
        assert_eq!(Passphrase::new(vec![b'x'; 7]).unwrap().check_new(), Err(PassphraseRefused::TooShort));
        assert_eq!(Passphrase::new(vec![b'x'; 8]).unwrap().check_new(), Ok(()));
    }

    #[test]
    fn a_passphrase_is_not_printed() {
        let request = Reply::Passphrase(Passphrase::new(b"hunter2hunter2".to_vec()).unwrap(), Origin::Person);
        assert!(!format!("{request:?}").contains("hunter2"));
    }
}
