//! `countersign key backup`: private keys in one encrypted archive that is proven before it gets its name.

use super::archive::{ArchivePassphrases, known_backups};
use crate::command::Format;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{data, harmless, message};
use clap::Args;
use countersign_backup::{Backup as Order, Existing, Scheme, Share, Shares, Written};
use countersign_crypto::{KeyId, SystemRandom};
use countersign_tuf::Gun;
use countersign_vault::{CarriedKey, KeyEntry, KeyStoreError, Passphrase};
use std::path::PathBuf;
use zeroize::Zeroizing;

const ROOT: &str = "root";

/// Write private keys into one encrypted archive, and prove that it can be restored
///
/// All keys of the trust directory but root keys, or those that the options choose. The archive is an OpenPGP message that
/// gpg reads: gpg --decrypt FILE | tar xz -C ~/.docker restores it where there is no Countersign.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The archive to write
    file: PathBuf,
    /// Only keys of this role, which is how root keys come along (repeatable)
    #[arg(long)]
    role: Vec<String>,
    /// Only keys of this collection (repeatable)
    #[arg(long)]
    gun: Vec<Gun>,
    /// This key, whatever its role (repeatable)
    #[arg(long, value_name = "ID")]
    key: Vec<KeyId>,
    /// Generate the passphrase and print it as shares, K of which are needed: 3/5
    #[arg(long, value_name = "K/N")]
    split: Option<Scheme>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Do not open the keys with their passphrases to check them
    #[arg(long)]
    unopened: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Backup {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        let keys = self.choose(context)?;
        let shares = self.split.map(|_| Shares::draw(&mut SystemRandom)).transpose();
        let shares = shares.map_err(|error| CliError::internal(&error))?;
        let existing = if self.force { Existing::Replace } else { Existing::Refuse };
        let order = |passphrase| Order { file: &self.file, existing, keys: &keys, passphrase, now: context.now };
        // What is in the way is told before anybody types anything.
        let nothing = Passphrase::new(vec![0]).map_err(CliError::user)?;
        order(&nothing).check_target()?;
        let passphrase = match &shares {
            Some(shares) => shares.passphrase()?,
            None => ArchivePassphrases::new().for_new()?,
        };
        let proven = order(&passphrase).prove(&mut SystemRandom, &|key| self.check(key, context))?;
        if let (Some(scheme), Some(shares)) = (self.split, &shares) {
            let split = shares.split(scheme, proven.written().fingerprint, &mut SystemRandom);
            let split = split.map_err(|error| CliError::internal(&error))?;
            // First the shares: without them the archive is worth nothing, and an older one may have its name.
            self.print(proven.written(), Some((scheme, &split)))?;
            self.remember(&proven.publish()?);
        } else {
            let written = proven.publish()?;
            self.remember(&written);
            self.print(&written, None)?;
        }
        let file = harmless(&self.file.display().to_string());
        if self.split.is_some() {
            message(format_args!("restore it with: countersign key restore --shares {file}"));
        } else {
            message(format_args!("restore it with: countersign key restore {file}"));
            message(format_args!("or, without Countersign, with: gpg --decrypt {file} | tar xz -C ~/.docker"));
        }
        Ok(())
    }

    /// Opens a key that was read back, so that its id is known to be the one that its name says.
    fn check(&self, key: &CarriedKey, context: &Context) -> Result<(), KeyStoreError> {
        if self.unopened { Ok(()) } else { key.open(&context.passphrases).map(drop) }
    }

    fn choose(&self, context: &Context) -> Result<Vec<CarriedKey>, CliError> {
        let store = context.directory.keys();
        let listing = store.list()?;
        for skipped in &listing.skipped {
            let (path, reason) = (skipped.path.display().to_string(), skipped.reason.to_string());
            message(format_args!("WARNING: not in the backup: {}: {}", harmless(&path), harmless(&reason)));
        }
        for id in &self.key {
            if !listing.keys.iter().any(|key| key.id == *id) {
                return Err(CliError::user(format!("there is no key {id} in the trust directory")));
            }
        }
        let (files, on_tokens): (Vec<&KeyEntry>, Vec<&KeyEntry>) = listing.keys.iter().partition(|key| key.has_file());
        let left_out = on_tokens.iter().filter(|key| self.chooses(key)).count();
        if left_out > 0 {
            message(format_args!(
                "{left_out} key(s) are on tokens, which do not hand them out: they are not in the backup"
            ));
        }
        let (chosen, left): (Vec<&KeyEntry>, Vec<&KeyEntry>) = files.into_iter().partition(|key| self.chooses(key));
        let roots = left.iter().filter(|key| key.role == ROOT).count();
        if roots > 0 && self.role.is_empty() && self.key.is_empty() {
            message(format_args!("{roots} root key(s) are not in the backup: name them with --role root"));
        }
        if chosen.is_empty() {
            return Err(CliError::user("no key of the trust directory is chosen: there is nothing to back up"));
        }
        Ok(chosen.iter().map(|key| store.carry(&key.id)).collect::<Result<_, _>>()?)
    }

    /// Chooses named keys, and all those of the named roles and collections; root keys belong to no collection and come
    /// along only when they are named.
    fn chooses(&self, key: &KeyEntry) -> bool {
        if self.key.contains(&key.id) {
            return true;
        }
        if !self.key.is_empty() && self.role.is_empty() && self.gun.is_empty() {
            return false;
        }
        let of_role = self.role.contains(&key.role);
        let of_gun = match &key.gun {
            Some(gun) => self.gun.is_empty() || self.gun.contains(gun),
            None => self.gun.is_empty() || of_role,
        };
        of_gun && (of_role || (self.role.is_empty() && key.role != ROOT))
    }

    /// Writes down that these keys are in a backup now; the backup is good without that.
    fn remember(&self, written: &Written) {
        let Some(known) = known_backups() else { return };
        if let Err(error) = known.add(&self.file, written) {
            message(format_args!("WARNING: the backup is good, but not remembered: {}", harmless(&error.to_string())));
        }
    }

    fn print(&self, written: &Written, shares: Option<(Scheme, &[Share])>) -> Result<(), CliError> {
        if self.format == Format::Json {
            return data(self.json(written, shares)?.as_str());
        }
        let file = harmless(&self.file.display().to_string());
        let how =
            if self.unopened { "compared with the trust directory" } else { "opened and found to be the right one" };
        let count = written.manifest.keys.len();
        if let Some((scheme, shares)) = shares {
            data(format_args!("# {file}: {} of these {} shares open it", scheme.needed(), scheme.shares()))?;
            for share in shares {
                data(format_args!(
                    "# share {} of {}, for {}",
                    share.number(),
                    scheme.shares(),
                    hex(share.fingerprint())
                ))?;
                data(share.words().as_str())?;
            }
            data(format_args!("# {count} key(s); read back, decrypted, each key {how}"))
        } else {
            data(format_args!("Backed up {count} key(s) to {file}: read back, decrypted, each key {how}"))
        }
    }

    fn json(&self, written: &Written, shares: Option<(Scheme, &[Share])>) -> Result<Zeroizing<String>, CliError> {
        let keys = written.manifest.keys.iter();
        let keys: Vec<_> =
            keys.map(|key| serde_json::json!({ "id": key.id, "role": key.role, "gun": key.gun })).collect();
        let words = |share: &Share| serde_json::json!({ "number": share.number(), "words": share.words().as_str() });
        let shares = shares.map(|(scheme, shares)| {
            serde_json::json!({ "needed": scheme.needed(), "shares": shares.iter().map(words).collect::<Vec<_>>() })
        });
        let object = serde_json::json!({
            "file": self.file.display().to_string(),
            "sha256": written.sha256.hex(),
            "size": written.size,
            "created": written.manifest.created.to_string(),
            "fingerprint": hex(written.fingerprint),
            "keys": keys,
            "checked": if self.unopened { "compared" } else { "opened" },
            "split": shares,
        });
        serde_json::to_string(&object).map(Zeroizing::new).map_err(|error| CliError::internal(&error))
    }
}

/// Four bytes as people compare them.
pub(super) fn hex(fingerprint: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(fingerprint))
}
