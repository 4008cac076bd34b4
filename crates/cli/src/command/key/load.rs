//! `countersign key load`: private keys from a file, into the trust directory or onto a token.

use super::{check_name, encryption, read_bounded};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{data, harmless, message};
use clap::Args;
use countersign_tuf::Gun;
use countersign_vault::{ImportDefaults, KeyProtection, NewKeyPlace};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Load private keys from a PEM file into the trust directory, or one onto a token
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The file; nobody else may be able to read it
    file: PathBuf,
    /// The signer that the keys are for, where the file does not say
    #[arg(long, default_value = "signer")]
    name: String,
    /// Instead of a signer the role that the keys are for, where the file does not say
    #[arg(long, conflicts_with = "name")]
    role: Option<String>,
    /// The collection that the keys are for, where the file does not say
    #[arg(long)]
    gun: Option<Gun>,
    /// Put the one key of the file on this token: a name from the settings, or a pkcs11: URI
    #[arg(long, value_name = "TOKEN", conflicts_with = "encryption")]
    token: Option<String>,
    /// How to encrypt keys that are encrypted here: compatible, pbkdf2-sha256 or scrypt [default: the settings', else compatible]
    #[arg(long, value_name = "FORM")]
    encryption: Option<KeyProtection>,
}

impl Load {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        if self.role.is_none() {
            check_name(&self.name)?;
        }
        let shown = harmless(&self.file.display().to_string());
        let refuse =
            |error: &dyn std::fmt::Display| CliError::user(format!("refusing to load key from {shown}: {error}"));
        let metadata = fs_err::metadata(&self.file).map_err(|error| refuse(&error))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
            return Err(refuse(&format!("private key file {shown} must not be readable or writable by others"))
                .hint(format!("chmod 600 {shown}")));
        }
        let bytes = zeroize::Zeroizing::new(read_bounded(&self.file).map_err(|error| refuse(&error))?);
        let role = self.role.clone().unwrap_or_else(|| self.name.clone());
        let defaults = ImportDefaults { role: Some(role), gun: self.gun.clone() };
        if let Some(token) = &self.token {
            let store = context.keys_on(token)?;
            let NewKeyPlace::Token(name) = store.new_key_place() else { return Ok(()) };
            let key = store.import_to_token(name, &bytes, &defaults, &context.passphrases)?;
            message(format_args!("{shown} is still there: once the token has proven itself, remove it and every copy"));
            return data(format_args!(
                "Successfully put {} key {} on the token {}",
                harmless(key.label.role()),
                key.id,
                harmless(name)
            ));
        }
        let store = encryption::store(context, self.encryption);
        encryption::remark(store.protection());
        let report = store.import(&bytes, &defaults, &context.passphrases)?;
        for skipped in &report.skipped {
            message(format_args!("skipped key {}: {}", skipped.index, harmless(&skipped.reason.to_string())));
        }
        if report.imported.is_empty() || !report.skipped.is_empty() {
            return Err(CliError::user(format!("not all keys of {shown} were loaded")));
        }
        for key in &report.imported {
            data(format_args!("Successfully imported {} key {}", harmless(key.label.role()), key.id))?;
        }
        Ok(())
    }
}
