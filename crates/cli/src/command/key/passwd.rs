//! `countersign key passwd`: another passphrase for a key, or another encryption of its file.

use super::encryption;
use crate::context::Context;
use crate::error::CliError;
use crate::output::data;
use clap::Args;
use countersign_crypto::KeyId;
use countersign_vault::KeyProtection;

/// Change a key's passphrase, or how its file is encrypted
///
/// The new passphrase comes from `COUNTERSIGN_NEW_PASSPHRASE` (or …_FILE, …_FD), from the passphrase command, or is asked for;
/// never from the variables that open the key.
#[derive(Debug, Args)]
pub(crate) struct Passwd {
    /// The key
    #[arg(value_name = "KEY-ID")]
    id: KeyId,
    /// How to encrypt the file: compatible, pbkdf2-sha256 or scrypt [default: the settings', else compatible]
    #[arg(long, value_name = "FORM")]
    encryption: Option<KeyProtection>,
    /// Keep the passphrase, and only encrypt the file anew
    #[arg(long)]
    keep_passphrase: bool,
}

impl Passwd {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        let store = encryption::store(context, self.encryption);
        encryption::remark(store.protection());
        if self.keep_passphrase {
            store.encrypt_anew(&self.id, &context.passphrases)?;
            return data(format_args!("Encrypted {} anew: {}", self.id, store.protection().as_str()));
        }
        store.change_passphrase(&self.id, &context.passphrases, &context.new_passphrases())?;
        data(format_args!("Changed the passphrase of {}", self.id))
    }
}
