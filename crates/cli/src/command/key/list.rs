//! `countersign key list`: the private keys that are here, how old they are, and whether they are in a backup.

use super::archive::known_backups;
use super::known_uses::{Known, KnownUses, algorithm};
use crate::command::Format;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Listing, harmless, message};
use clap::Args;
use countersign_backup::KnownBackup;
use countersign_tuf::RoleName;
use countersign_vault::KeyEntry;
use jiff::Timestamp;
use serde_json::{Value, json};

/// List the private keys of the trust directory: what they are for, how old they are, and whether they are in a backup
///
/// The age is that of the key's file. The algorithm, and until when a root key's certificates count, come from the cached
/// metadata of the collections that the keys sign.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Open the keys whose algorithm nothing else tells, with their passphrases
    #[arg(long)]
    open: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Seconds of a day.
const DAY: i64 = 24 * 60 * 60;

/// What the table says of one key.
struct Row<'a> {
    key: &'a KeyEntry,
    known: Option<&'a Known>,
    algorithm: Option<String>,
    age_days: Option<i64>,
    backup: Option<&'a KnownBackup>,
}

impl List {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        let listing = context.directory.keys().list()?;
        for skipped in &listing.skipped {
            let (path, reason) = (skipped.path.display().to_string(), skipped.reason.to_string());
            message(format_args!("skipped {}: {}", harmless(&path), harmless(&reason)));
        }
        let mut keys = listing.keys;
        keys.sort_by_key(|key| {
            (key.role != "root", key.gun.as_ref().map(ToString::to_string), key.role.clone(), key.id)
        });
        let uses = KnownUses::read(context)?;
        let backups = backups();
        let header = &["ROLE", "KEY ID", "COLLECTION", "ALGORITHM", "AGE", "CERTIFICATE UNTIL", "KEPT", "BACKUP"];
        let mut rows = Listing::new(header, "No signing keys found.");
        for key in &keys {
            let known = uses.of(&key.id);
            let id = key.id.to_string();
            let row = Row {
                key,
                known,
                algorithm: self.algorithm(context, key, known)?,
                age_days: key.modified.map(|modified| days_between(modified, context.now)),
                backup: backups.iter().filter(|backup| backup.keys.contains(&id)).max_by_key(|backup| backup.date),
            };
            rows.row(&row.cells(), row.json());
        }
        rows.print(self.format)
    }

    /// A key that is not encrypted tells its algorithm itself; one that is, only with its passphrase.
    fn algorithm(&self, context: &Context, key: &KeyEntry, known: Option<&Known>) -> Result<Option<String>, CliError> {
        if let Some(known) = known {
            return Ok(Some(known.algorithm.clone()));
        }
        let store = context.directory.keys();
        if let Some(public) = store.public_key_on_token(&key.id)? {
            return Ok(Some(algorithm(public.key_type())));
        }
        let plain = store.carry(&key.id).is_ok_and(|carried| !carried.is_encrypted());
        if !self.open && !plain {
            return Ok(None);
        }
        let opened = store.load(&key.id, &context.passphrases)?;
        Ok(Some(algorithm(countersign_crypto::Signer::public_key(&*opened).key_type())))
    }
}

/// Reads the record of backups; that it cannot be read is said, and then no key is known to be in one.
fn backups() -> Vec<KnownBackup> {
    let Some(known) = known_backups() else { return Vec::new() };
    known.list().unwrap_or_else(|error| {
        message(format_args!("WARNING: {}", harmless(&error.to_string())));
        Vec::new()
    })
}

/// Returns how many whole days lie between two instants; none are negative.
fn days_between(from: Timestamp, to: Timestamp) -> i64 {
    (to.as_second() - from.as_second()).max(0) / DAY
}

impl Row<'_> {
    /// The certificate that ends first.
    fn certificate(&self) -> Option<Timestamp> {
        let uses = self.known?.uses.iter();
        uses.filter(|used| used.role == RoleName::Root).filter_map(|used| used.certificate).min()
    }

    fn cells(&self) -> [String; 8] {
        let day = |instant: Timestamp| instant.strftime("%Y-%m-%d").to_string();
        let backup = self.backup.map(|backup| format!("{}, {}", day(backup.date), backup.file.display()));
        [
            self.key.role.clone(),
            self.key.id.to_string(),
            self.key.gun.as_ref().map(ToString::to_string).unwrap_or_default(),
            self.algorithm.clone().unwrap_or_else(|| "?".to_owned()),
            self.age_days.map_or_else(|| "?".to_owned(), |days| format!("{days}d")),
            self.certificate().map(day).unwrap_or_default(),
            self.key.kept(),
            backup.unwrap_or_else(|| "none known".to_owned()),
        ]
    }

    fn json(&self) -> Value {
        let uses = self.known.map(|known| known.uses.as_slice()).unwrap_or_default();
        let entry = |used: &super::known_uses::Use| {
            json!({
                "gun": used.gun.to_string(), "role": used.role.to_string(),
                "certificateUntil": used.certificate.map(|until| until.to_string()),
            })
        };
        json!({
            "id": self.key.id.to_string(),
            "role": self.key.role,
            "gun": self.key.gun.as_ref().map(ToString::to_string),
            "algorithm": self.algorithm,
            "modified": self.key.modified.map(|modified| modified.to_string()),
            "ageDays": self.age_days,
            "certificateUntil": self.certificate().map(|until| until.to_string()),
            "kept": self.key.kept(),
            "path": self.key.path.display().to_string(),
            "backup": self.backup.map(|backup| json!({
                "file": backup.file.display().to_string(), "date": backup.date.to_string(),
            })),
            "uses": uses.iter().map(entry).collect::<Vec<_>>(),
        })
    }
}
