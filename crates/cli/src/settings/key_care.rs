//! `[keys]` of the settings file: how private keys are kept and opened.

use super::document::Reader;
use super::error::SettingsError;
use crate::period::Period;
use countersign_vault::{KeyProtection, PassphraseCommand};
use serde::Deserialize;
use std::ffi::OsString;
use toml::Spanned;

/// The variable that names the passphrase command, before the settings.
pub(crate) const PASSPHRASE_COMMAND: &str = "COUNTERSIGN_PASSPHRASE_COMMAND";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KeysTable {
    passphrase_command: Option<Spanned<Words>>,
    encryption: Option<Spanned<String>>,
    rotate_every: Option<Period>,
}

/// A program alone, or with its arguments.
#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    Program(String),
    WithArguments(Vec<String>),
}

/// How private keys are kept and opened; what is none is left to defaults.
#[derive(Debug, Default)]
pub(crate) struct KeyCare {
    passphrase_command: Option<PassphraseCommand>,
    encryption: Option<KeyProtection>,
    rotate_every: Option<Period>,
}

impl KeyCare {
    pub(super) fn of(table: KeysTable, reader: &Reader<'_>) -> Result<Self, SettingsError> {
        let command = table.passphrase_command.map(|words| {
            let list = match words.get_ref() {
                Words::Program(program) => vec![OsString::from(program)],
                Words::WithArguments(words) => words.iter().map(OsString::from).collect(),
            };
            PassphraseCommand::new(list).map_err(|error| reader.refuse(&words, "passphrase-command", error))
        });
        let encryption = table.encryption.map(|form| {
            form.get_ref().parse::<KeyProtection>().map_err(|error| reader.refuse(&form, "encryption", error))
        });
        let rotate_every = table.rotate_every;
        Ok(Self { passphrase_command: command.transpose()?, encryption: encryption.transpose()?, rotate_every })
    }

    /// Fills in from a less important file what is open.
    pub(super) fn complete(&mut self, other: Self) {
        let Self { passphrase_command, encryption, rotate_every } = other;
        self.passphrase_command = self.passphrase_command.take().or(passphrase_command);
        self.encryption = self.encryption.or(encryption);
        self.rotate_every = self.rotate_every.or(rotate_every);
    }

    /// Returns the program that is asked for passphrases.
    pub(crate) fn passphrase_command(&self) -> Option<&PassphraseCommand> {
        self.passphrase_command.as_ref()
    }

    /// Returns how old a key may become before it is to be rotated.
    pub(crate) fn rotate_every(&self) -> Option<Period> {
        self.rotate_every
    }

    /// Returns how key files are encrypted.
    pub(crate) fn encryption(&self) -> KeyProtection {
        self.encryption.unwrap_or_default()
    }
}
