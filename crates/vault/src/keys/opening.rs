//! Asking for passphrases until one opens the key, or until there is no point in going on.

use std::path::Path;

use countersign_crypto::{KeyId, PrivateKey};

use countersign_keyfile::KeyBlock;

use super::KeyStoreError;
use super::file::{self, OpenError};
use crate::limits::{EXISTING_PASSPHRASE_ATTEMPTS, NEW_PASSPHRASE_ATTEMPTS};
use crate::passphrase::{Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};

/// Opens a key; returns the passphrase that did it, none for a key that is not encrypted.
pub(super) fn open(
    block: &KeyBlock,
    path: &Path,
    role: &str,
    id: Option<KeyId>,
    passphrases: &dyn PassphraseSource,
) -> Result<(PrivateKey, Option<Passphrase>), KeyStoreError> {
    let malformed = |reason| KeyStoreError::Malformed { path: path.to_owned(), reason };
    if !block.is_encrypted() {
        return match file::open(block, None) {
            Ok(key) => Ok((key, None)),
            Err(OpenError::Malformed(reason)) => Err(malformed(reason)),
            Err(OpenError::Passphrase) => Err(malformed("it is encrypted in an unknown way".to_owned())),
        };
    }
    let mut request =
        PassphraseRequest { alias: role, key_id: id, purpose: Purpose::Existing, attempt: 0, refused: None };
    while request.attempt < EXISTING_PASSPHRASE_ATTEMPTS {
        request.attempt += 1;
        let (passphrase, origin) = match passphrases.passphrase(&request) {
            Reply::Passphrase(passphrase, origin) => (passphrase, origin),
            Reply::Again => continue,
            Reply::Unavailable => break,
        };
        match file::open(block, Some(&passphrase)) {
            Ok(key) => {
                passphrases.accepted(&request, &passphrase);
                return Ok((key, Some(passphrase)));
            }
            Err(OpenError::Passphrase) => request.refused = Some(origin),
            Err(OpenError::Malformed(reason)) => return Err(malformed(reason)),
        }
    }
    Err(KeyStoreError::PassphraseInvalid { id, role: role.to_owned(), refused: request.refused })
}

/// Obtains a passphrase for a new key and hands it to `protect`; the source hears of it once that succeeded.
pub(super) fn with_new_passphrase<T>(
    role: &str,
    id: KeyId,
    passphrases: &dyn PassphraseSource,
    protect: impl FnOnce(&Passphrase) -> Result<T, KeyStoreError>,
) -> Result<T, KeyStoreError> {
    let mut request =
        PassphraseRequest { alias: role, key_id: Some(id), purpose: Purpose::New, attempt: 0, refused: None };
    while request.attempt < NEW_PASSPHRASE_ATTEMPTS {
        request.attempt += 1;
        match passphrases.passphrase(&request) {
            Reply::Passphrase(passphrase, _) => {
                let protected = protect(&passphrase)?;
                passphrases.accepted(&request, &passphrase);
                return Ok(protected);
            }
            Reply::Again => {}
            Reply::Unavailable => break,
        }
    }
    Err(KeyStoreError::NoNewPassphrase { role: role.to_owned() })
}
