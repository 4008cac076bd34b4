//! Key blocks as this store uses them.

use countersign_crypto::{PrivateKey, SystemRandom};
use countersign_keyfile::{KeyBlock, KeyFile, KeyFileError, Label, Protection};
use countersign_tuf::Gun;

use super::{KeyLabel, KeyProtection, KeyStoreError};
use crate::passphrase::Passphrase;

/// Why a block was not opened.
#[derive(Debug)]
pub(super) enum OpenError {
    /// The passphrase is wrong, or the block was damaged: the format cannot tell.
    Passphrase,
    /// No passphrase will do.
    Malformed(String),
}

/// Reads a file that holds one private key.
pub(super) fn parse_one(bytes: &[u8]) -> Result<KeyBlock, String> {
    KeyFile::parse_one(bytes).map_err(|error| error.to_string()).and_then(private)
}

/// Refuses a block that is no private key.
pub(super) fn private(block: KeyBlock) -> Result<KeyBlock, String> {
    match block.label() {
        Label::Other(found) => Err(format!("expected a private key, found {found:?}")),
        _ => Ok(block),
    }
}

/// Opens a block, with a passphrase if it is encrypted.
pub(super) fn open(block: &KeyBlock, passphrase: Option<&Passphrase>) -> Result<PrivateKey, OpenError> {
    let opened = match passphrase {
        Some(passphrase) => block.decrypt(passphrase.bytes()),
        None => block.decode(),
    };
    opened.map_err(|error| match error {
        KeyFileError::WrongPassphrase => OpenError::Passphrase,
        error => OpenError::Malformed(error.to_string()),
    })
}

/// Encrypts a key and says in the block what it is for.
pub(super) fn seal(
    key: &PrivateKey,
    passphrase: &Passphrase,
    protection: KeyProtection,
    label: &KeyLabel,
) -> Result<KeyBlock, KeyStoreError> {
    let protection = match protection {
        KeyProtection::Compatible => Protection::Compatible(passphrase.bytes()),
        KeyProtection::Pbkdf2Sha256 => Protection::Pbkdf2Sha256(passphrase.bytes()),
        KeyProtection::Scrypt => Protection::Scrypt(passphrase.bytes()),
    };
    let failed = |error: KeyFileError| KeyStoreError::Encryption { reason: error.to_string() };
    let mut block = KeyBlock::seal(key, protection, &mut SystemRandom).map_err(failed)?;
    describe(&mut block, label.role(), label.gun().map(Gun::as_str)).map_err(failed)?;
    Ok(block)
}

/// Sets role and collection, and removes the path that only bundles have.
pub(super) fn describe(block: &mut KeyBlock, role: &str, gun: Option<&str>) -> Result<(), KeyFileError> {
    block.set_role(Some(role).filter(|role| !role.is_empty()))?;
    block.set_gun(gun)?;
    block.set_path(None)
}
