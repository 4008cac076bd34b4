//! Asking for passphrases until one opens the key, or until there is no point in going on.

use std::path::Path;

use countersign_crypto::{KeyId, PrivateKey};

use countersign_keyfile::KeyBlock;
use countersign_tuf::Gun;

use super::KeyStoreError;
use super::file::{self, OpenError};
use crate::limits::{EXISTING_PASSPHRASE_ATTEMPTS, NEW_PASSPHRASE_ATTEMPTS};
use crate::passphrase::{Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};

/// The key that a passphrase is asked for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) role: &'a str,
    pub(super) gun: Option<&'a Gun>,
    pub(super) id: Option<KeyId>,
}

/// Opens a key; returns the passphrase that did it, none for a key that is not encrypted.
pub(super) fn open(
    block: &KeyBlock,
    path: &Path,
    of: Asked<'_>,
    passphrases: &dyn PassphraseSource,
) -> Result<(PrivateKey, Option<Passphrase>), KeyStoreError> {
    let Asked { role, gun, id } = of;
    let malformed = |reason| KeyStoreError::Malformed { path: path.to_owned(), reason };
    if !block.is_encrypted() {
        return match file::open(block, None) {
            Ok(key) => Ok((key, None)),
            Err(OpenError::Malformed(reason)) => Err(malformed(reason)),
            Err(OpenError::Passphrase) => Err(malformed("it is encrypted in an unknown way".to_owned())),
        };
    }
    let mut request =
        PassphraseRequest { gun, key_id: id, attempt: 0, ..PassphraseRequest::new(role, Purpose::Existing) };
    while request.attempt < EXISTING_PASSPHRASE_ATTEMPTS {
        request.attempt += 1;
        let (passphrase, origin) = match passphrases.passphrase(&request) {
            Reply::Passphrase(passphrase, origin) => (passphrase, origin),
            Reply::Again => continue,
            Reply::Unavailable => break,
            Reply::Refused(reason) => return Err(KeyStoreError::PassphraseRefused { reason }),
        };
        match file::open(block, Some(&passphrase)) {
            Ok(key) => {
                passphrases.accepted(&request, &passphrase, &origin);
                return Ok((key, Some(passphrase)));
            }
            Err(OpenError::Passphrase) => request.tried.push(origin),
            Err(OpenError::Malformed(reason)) => return Err(malformed(reason)),
        }
    }
    Err(KeyStoreError::PassphraseInvalid { id, role: role.to_owned(), refused: request.tried.pop() })
}

/// Obtains a passphrase for a new key and hands it to `protect`; the source hears of it once that succeeded.
pub(super) fn with_new_passphrase<T>(
    role: &str,
    gun: Option<&Gun>,
    id: KeyId,
    passphrases: &dyn PassphraseSource,
    protect: impl FnOnce(&Passphrase) -> Result<T, KeyStoreError>,
) -> Result<T, KeyStoreError> {
    let mut request =
        PassphraseRequest { gun, key_id: Some(id), attempt: 0, ..PassphraseRequest::new(role, Purpose::New) };
    while request.attempt < NEW_PASSPHRASE_ATTEMPTS {
        request.attempt += 1;
        match passphrases.passphrase(&request) {
            Reply::Passphrase(passphrase, origin) => {
                let protected = protect(&passphrase)?;
                passphrases.accepted(&request, &passphrase, &origin);
                return Ok(protected);
            }
            Reply::Again => {}
            Reply::Unavailable => break,
            Reply::Refused(reason) => return Err(KeyStoreError::PassphraseRefused { reason }),
        }
    }
    Err(KeyStoreError::NoNewPassphrase { role: role.to_owned() })
}
