//! `[keys]` of the settings file: how private keys are kept and opened.

use super::document::Reader;
use super::error::SettingsError;
use crate::period::Period;
use countersign_vault::{KeyProtection, NewKeyPlace, PassphraseCommand, TokenConfig, TokenSelector};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ffi::OsString;
use toml::Spanned;

/// The variable that names the passphrase command, before the settings.
pub(crate) const PASSPHRASE_COMMAND: &str = "COUNTERSIGN_PASSPHRASE_COMMAND";

/// Most tokens of one file.
const MAX_TOKENS: usize = 64;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KeysTable {
    passphrase_command: Option<Spanned<Words>>,
    encryption: Option<Spanned<String>>,
    rotate_every: Option<Period>,
    new_keys_on: Option<Spanned<String>>,
}

/// A token: a URI, or what it would say.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TokenTable {
    uri: Option<Spanned<String>>,
    module: Option<Spanned<String>>,
    label: Option<String>,
    serial: Option<String>,
    pin_file: Option<Spanned<String>>,
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
    new_keys_on: Option<String>,
    tokens: Vec<TokenConfig>,
}

impl KeyCare {
    pub(super) fn of(
        table: KeysTable,
        tokens: BTreeMap<Spanned<String>, TokenTable>,
        reader: &Reader<'_>,
    ) -> Result<Self, SettingsError> {
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
        if let (Some((name, _)), true) = (tokens.first_key_value(), tokens.len() > MAX_TOKENS) {
            return Err(reader.refuse(name, "tokens", format!("more than {MAX_TOKENS} tokens")));
        }
        let tokens = tokens.into_iter().map(|(name, table)| token(&name, &table, reader));
        Ok(Self {
            passphrase_command: command.transpose()?,
            encryption: encryption.transpose()?,
            rotate_every: table.rotate_every,
            new_keys_on: table.new_keys_on.map(Spanned::into_inner),
            tokens: tokens.collect::<Result<_, _>>()?,
        })
    }

    /// Fills in from a less important file what is open.
    pub(super) fn complete(&mut self, other: Self) {
        let Self { passphrase_command, encryption, rotate_every, new_keys_on, tokens } = other;
        self.passphrase_command = self.passphrase_command.take().or(passphrase_command);
        self.encryption = self.encryption.or(encryption);
        self.rotate_every = self.rotate_every.or(rotate_every);
        self.new_keys_on = self.new_keys_on.take().or(new_keys_on);
        for token in tokens {
            if !self.tokens.iter().any(|known| known.name() == token.name()) {
                self.tokens.push(token);
            }
        }
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

    /// Returns the tokens that keys can be on.
    pub(crate) fn tokens(&self) -> &[TokenConfig] {
        &self.tokens
    }

    /// Returns where new keys are made.
    pub(crate) fn new_keys(&self) -> NewKeyPlace {
        self.new_keys_on.clone().map_or(NewKeyPlace::Directory, NewKeyPlace::Token)
    }
}

fn token(name: &Spanned<String>, table: &TokenTable, reader: &Reader<'_>) -> Result<TokenConfig, SettingsError> {
    let path = |value: &Option<Spanned<String>>, key| -> Result<_, SettingsError> {
        Ok(value.as_ref().map(|value| reader.path(value, key)).transpose()?.map(|path| path.value))
    };
    let (module, pin_file) = (path(&table.module, "module")?, path(&table.pin_file, "pin-file")?);
    if let Some(uri) = &table.uri {
        if table.label.is_some() || table.serial.is_some() || pin_file.is_some() {
            return Err(reader.refuse(uri, "uri", "uri excludes label, serial and pin-file, which can stand in it"));
        }
        return TokenConfig::of_uri(Some(name.get_ref()), uri.get_ref(), module.as_deref())
            .map_err(|error| reader.refuse(uri, "uri", error));
    }
    let module = module.ok_or_else(|| reader.refuse(name, "module", "a token needs its module, or a uri"))?;
    if table.label.is_none() && table.serial.is_none() {
        return Err(reader.refuse(name, "label", "a token needs its label or serial number, or a uri"));
    }
    let selector =
        TokenSelector { label: table.label.clone(), serial: table.serial.clone(), ..TokenSelector::default() };
    Ok(TokenConfig::new(name.get_ref(), module, selector, pin_file))
}
