//! `countersign key`: make, load, list, back up, restore, rotate and recover private keys.

mod archive;
mod backup;
mod decisions;
mod encryption;
mod generate;
pub(crate) mod known_uses;
mod list;
mod load;
mod passwd;
mod recover;
mod remove;
mod restore;
mod rotate;
mod token;

pub(crate) use archive::known_backups;
pub(crate) use generate::{exists, make_pair};

use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use clap::Subcommand;
use countersign_crypto::PublicKey;
use std::path::Path;

/// Manage private keys
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    Generate(generate::Generate),
    Load(load::Load),
    Adopt(token::Adopt),
    List(list::List),
    Passwd(passwd::Passwd),
    Remove(remove::Remove),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Rotate(Box<rotate::Rotate>),
    Recover(recover::Recover),
}

impl Key {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let context = Context::new(options)?;
        match self {
            Self::Generate(generate) => generate.run(&context),
            Self::Load(load) => load.run(&context),
            Self::Adopt(adopt) => adopt.run(&context),
            Self::List(list) => list.run(&context),
            Self::Passwd(passwd) => passwd.run(&context),
            Self::Remove(remove) => remove.run(&context),
            Self::Backup(backup) => backup.run(&context),
            Self::Restore(restore) => restore.run(&context),
            Self::Recover(recover) => recover.run(&context).await,
            Self::Rotate(rotate) => rotate.run(&context).await,
        }
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), CliError> {
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let valid = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) && name.chars().all(rest);
    if !valid {
        let message = format!(
            "key name {name:?} must start with lowercase alphanumeric characters and can include \"-\" or \"_\" after the first character"
        );
        return Err(CliError::user(message));
    }
    if matches!(name, "root" | "targets" | "snapshot" | "timestamp" | "releases") {
        return Err(CliError::user(format!(
            "{name} is a role of the collection itself: choose another name for the signer"
        )));
    }
    Ok(())
}

/// Writes a public key as `docker trust signer add` reads it, the signer's name in a header.
pub(crate) fn public_pem(key: &PublicKey, name: &str) -> Result<String, CliError> {
    let mut block = pem::Pem::new("PUBLIC KEY", key.bytes());
    block.headers_mut().add("role", name).map_err(|error| CliError::internal(&error))?;
    Ok(pem::encode_config(&block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF)))
}

/// Largest key file in bytes.
const MAX_KEY_FILE: u64 = 1 << 20;

pub(crate) fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs_err::File::open(path)?.take(MAX_KEY_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_KEY_FILE {
        Err(std::io::Error::other("the file is too large for keys"))
    } else {
        Ok(bytes)
    }
}
