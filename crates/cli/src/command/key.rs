//! `countersign key`: make, load, list, back up, restore, rotate and recover private keys.

mod archive;
mod backup;
mod decisions;
mod encryption;
pub(crate) mod known_uses;
mod list;
mod passwd;
mod recover;
mod restore;
mod rotate;

pub(crate) use archive::known_backups;

use crate::context::{Context, GlobalOptions};
use crate::error::{CliError, Kind};
use crate::output::{data, harmless, message};
use clap::{Args, Subcommand};
use countersign_crypto::{Algorithm, PrivateKey};
use countersign_vault::{ImportDefaults, KeyLabel, KeyProtection, KeyStore};
use fs_err::os::unix::fs::OpenOptionsExt;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Manage private keys
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    Generate(Generate),
    Load(Load),
    List(list::List),
    Passwd(passwd::Passwd),
    Backup(backup::Backup),
    Restore(restore::Restore),
    Rotate(Box<rotate::Rotate>),
    Recover(recover::Recover),
}

/// Make a signer's key: the private half goes into the trust directory, the public half into NAME.pub
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The signer
    name: String,
    /// Where to write NAME.pub
    #[arg(long, default_value = ".")]
    dir: PathBuf,
    /// How to encrypt the file: compatible, pbkdf2-sha256 or scrypt [default: the settings', else compatible]
    #[arg(long, value_name = "FORM")]
    encryption: Option<KeyProtection>,
}

/// Load private keys from a PEM file into the trust directory
#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The file; nobody else may be able to read it
    file: PathBuf,
    /// The signer that the keys are for, where the file does not say
    #[arg(long, default_value = "signer")]
    name: String,
    /// How to encrypt keys that are encrypted here: compatible, pbkdf2-sha256 or scrypt [default: the settings', else compatible]
    #[arg(long, value_name = "FORM")]
    encryption: Option<KeyProtection>,
}

impl Key {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let context = Context::new(options)?;
        match self {
            Self::Generate(generate) => generate.run(&context),
            Self::Load(load) => load.run(&context),
            Self::List(list) => list.run(&context),
            Self::Passwd(passwd) => passwd.run(&context),
            Self::Backup(backup) => backup.run(&context),
            Self::Restore(restore) => restore.run(&context),
            Self::Recover(recover) => recover.run(&context).await,
            Self::Rotate(rotate) => rotate.run(&context).await,
        }
    }
}

fn check_name(name: &str) -> Result<(), CliError> {
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

impl Generate {
    fn run(&self, context: &Context) -> Result<(), CliError> {
        check_name(&self.name)?;
        if !self.dir.is_dir() {
            return Err(CliError::user(format!(
                "public key path does not exist: {:?}",
                self.dir.display().to_string()
            )));
        }
        let path = self.dir.join(format!("{}.pub", self.name));
        if path.symlink_metadata().is_ok() {
            return Err(exists(&path));
        }
        let store = encryption::store(context, self.encryption);
        encryption::remark(store.protection());
        make_pair(context, &store, &self.name, &path)?;
        data(format_args!(
            "Successfully generated and loaded private key. Corresponding public key available: {}",
            path.display()
        ))
    }
}

/// Makes a key for a name: the private half goes into the key store, the public one into a new file.
///
/// The file comes last: whoever ends the question for a passphrase leaves neither half behind.
pub(crate) fn make_pair(context: &Context, store: &KeyStore, name: &str, path: &Path) -> Result<(), CliError> {
    let label = KeyLabel::new(name, None).map_err(CliError::user)?;
    let key = PrivateKey::generate(Algorithm::EcdsaP256).map_err(|error| CliError::internal(&error))?;
    let pem = public_pem(&key, name)?;
    store.add(&key, &label, &context.passphrases)?;
    write_new(path, pem.as_bytes()).inspect_err(|_| {
        // Nobody could make its owner a signer.
        let _ = store.remove(&key.public_key().canonical_id());
    })
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let file = fs_err::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(path),
        _ => CliError::new(Kind::Local, error),
    })?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = fs_err::remove_file(path);
        CliError::new(Kind::Local, error)
    })
}

/// Says that a public key is never written over another file.
pub(crate) fn exists(path: &Path) -> CliError {
    CliError::user(format!("public key file already exists: {:?}", path.display().to_string()))
}

/// Writes a public key as `docker trust signer add` reads it, the signer's name in a header.
pub(crate) fn public_pem(key: &PrivateKey, name: &str) -> Result<String, CliError> {
    let mut block = pem::Pem::new("PUBLIC KEY", key.public_key().bytes());
    block.headers_mut().add("role", name).map_err(|error| CliError::internal(&error))?;
    Ok(pem::encode_config(&block, pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF)))
}

impl Load {
    fn run(&self, context: &Context) -> Result<(), CliError> {
        check_name(&self.name)?;
        let shown = harmless(&self.file.display().to_string());
        let refuse =
            |error: &dyn std::fmt::Display| CliError::user(format!("refusing to load key from {shown}: {error}"));
        let metadata = fs_err::metadata(&self.file).map_err(|error| refuse(&error))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
            return Err(refuse(&format!("private key file {shown} must not be readable or writable by others"))
                .hint(format!("chmod 600 {shown}")));
        }
        let bytes = zeroize::Zeroizing::new(read_bounded(&self.file).map_err(|error| refuse(&error))?);
        let defaults = ImportDefaults { role: Some(self.name.clone()), gun: None };
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
