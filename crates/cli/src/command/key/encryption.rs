//! How key files are encrypted, and who can then still read them.

use crate::context::Context;
use crate::output::message;
use countersign_vault::{KeyProtection, KeyStore};

/// Opens the key store; keys are written in the chosen form, else in the settings'.
pub(super) fn store(context: &Context, chosen: Option<KeyProtection>) -> KeyStore {
    let store = context.directory.keys();
    match chosen {
        Some(protection) => store.with_protection(protection),
        None => store,
    }
}

/// Says who can read what is about to be written, where that is not everybody.
pub(crate) fn remark(protection: KeyProtection) {
    let form = match protection {
        KeyProtection::Compatible => return,
        KeyProtection::Pbkdf2Sha256 => "PBKDF2-SHA256 with 600,000 rounds",
        KeyProtection::Scrypt => "scrypt",
    };
    message(format_args!(
        "NOTE: encrypted with {form}: Countersign and openssl can read this key, docker and notary cannot. The way back: \
         countersign key passwd KEY-ID --keep-passphrase --encryption compatible"
    ));
}
