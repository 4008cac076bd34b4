//! `countersign key generate`: a new key, in a file or on a token.

use super::{check_name, encryption, public_pem};
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::output::data;
use clap::{Args, ValueEnum};
use countersign_crypto::Algorithm;
use countersign_tuf::{Gun, RoleName};
use countersign_vault::{KeyLabel, KeyProtection, KeyStore, NewKeyPlace};
use fs_err::os::unix::fs::OpenOptionsExt;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Make a key: a signer's, whose public half goes into NAME.pub, or with --role one of a collection
///
/// The private half goes into a file of the trust directory or, with --token, is made on a PKCS#11 token and never leaves it.
#[derive(Debug, Args)]
pub(crate) struct Generate {
    /// The signer
    #[arg(required_unless_present = "role", conflicts_with = "role")]
    name: Option<String>,
    /// Where to write NAME.pub
    #[arg(long, default_value = ".", conflicts_with = "role")]
    dir: PathBuf,
    /// Instead of a signer's key one for this role: root, targets, snapshot or a delegation; it signs once the role has it
    #[arg(long)]
    role: Option<RoleName>,
    /// The collection of a targets or snapshot key
    #[arg(long, requires = "role")]
    gun: Option<Gun>,
    /// The kind of key
    #[arg(long, value_enum, default_value = "p256")]
    algorithm: Kindred,
    /// Make it on this token: a name from the settings, or a pkcs11: URI
    #[arg(long, value_name = "TOKEN", conflicts_with = "encryption")]
    token: Option<String>,
    /// How to encrypt the file: compatible, pbkdf2-sha256 or scrypt [default: the settings', else compatible]
    #[arg(long, value_name = "FORM")]
    encryption: Option<KeyProtection>,
}

/// Kinds of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kindred {
    /// ECDSA on P-256, what docker and notary make
    P256,
    /// ECDSA on P-384
    P384,
    /// ECDSA on P-521
    P521,
    /// Ed25519, not for root keys and signers
    Ed25519,
    /// RSA with 2048 bits
    Rsa2048,
    /// RSA with 3072 bits
    Rsa3072,
    /// RSA with 4096 bits
    Rsa4096,
}

impl Kindred {
    fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::EcdsaP256,
            Self::P384 => Algorithm::EcdsaP384,
            Self::P521 => Algorithm::EcdsaP521,
            Self::Ed25519 => Algorithm::Ed25519,
            Self::Rsa2048 => Algorithm::Rsa { bits: 2048 },
            Self::Rsa3072 => Algorithm::Rsa { bits: 3072 },
            Self::Rsa4096 => Algorithm::Rsa { bits: 4096 },
        }
    }
}

impl Generate {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        let store = match &self.token {
            Some(token) => context.keys_on(token)?,
            None => encryption::store(context, self.encryption),
        };
        if *store.new_key_place() == NewKeyPlace::Directory {
            encryption::remark(store.protection());
        }
        match (&self.role, &self.name) {
            (Some(role), _) => self.of_role(role, &store, context),
            (None, name) => self.of_signer(name.as_deref().unwrap_or_default(), &store, context),
        }
    }

    fn of_role(&self, role: &RoleName, store: &KeyStore, context: &Context) -> Result<(), CliError> {
        if *role == RoleName::Root && self.algorithm == Kindred::Ed25519 {
            return Err(CliError::user("a root key needs a certificate, which an Ed25519 key cannot have"));
        }
        if *role == RoleName::Timestamp {
            return Err(CliError::user("the trust service makes and keeps the timestamp key"));
        }
        let label = KeyLabel::new(role.as_str(), self.gun.as_ref()).map_err(CliError::user)?;
        let key = store.make(self.algorithm.algorithm(), &label, &context.passphrases)?;
        data(format_args!("Made a {role} key: {}", key.public_key().canonical_id()))
    }

    fn of_signer(&self, name: &str, store: &KeyStore, context: &Context) -> Result<(), CliError> {
        check_name(name)?;
        if self.algorithm == Kindred::Ed25519 {
            return Err(CliError::user("docker reads no Ed25519 key of a signer: choose another algorithm"));
        }
        if !self.dir.is_dir() {
            return Err(CliError::user(format!(
                "public key path does not exist: {:?}",
                self.dir.display().to_string()
            )));
        }
        let path = self.dir.join(format!("{name}.pub"));
        if path.symlink_metadata().is_ok() {
            return Err(exists(&path));
        }
        make_pair(context, store, self.algorithm.algorithm(), name, &path)?;
        data(format_args!(
            "Successfully generated and loaded private key. Corresponding public key available: {}",
            path.display()
        ))
    }
}

/// Makes a key for a name: the private half goes into the key store, the public one into a new file.
///
/// The file comes last: whoever ends the question for a passphrase leaves neither half behind.
pub(crate) fn make_pair(
    context: &Context,
    store: &KeyStore,
    algorithm: Algorithm,
    name: &str,
    path: &Path,
) -> Result<(), CliError> {
    let label = KeyLabel::new(name, None).map_err(CliError::user)?;
    let key = store.make(algorithm, &label, &context.passphrases)?;
    let pem = public_pem(key.public_key(), name)?;
    write_new(path, pem.as_bytes()).inspect_err(|_| {
        // Nobody could make its owner a signer.
        let id = key.public_key().canonical_id();
        let _ = store.remove(&id);
        let _ = store.delete_on_token(&id, &context.passphrases);
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
