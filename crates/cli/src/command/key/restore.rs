//! `countersign key restore`: keys from an archive into the trust directory, all of them or none.

use super::archive::ArchivePassphrases;
use super::backup::hex;
use crate::command::Format;
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::output::{data, harmless, message};
use crate::prompt::Voice;
use clap::Args;
use countersign_backup::limits::MAX_FILE_BYTES;
use countersign_backup::{Container, Contents, Locked, OpenError, Share, ShareError, Shares, decrypt_with_gpg};
use countersign_vault::{CarriedKey, Differing, KeyStoreError, Presence};
use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Lines about files that are left out, before only their number is told.
const MOST_LINES: usize = 20;
/// Times that a share that cannot be read is asked for again.
const ATTEMPTS: u32 = 4;

/// Put the private keys of an archive into the trust directory: all of them or none
///
/// Reads archives of countersign key backup, and those made by hand with tar and gpg, from whatever directory. No key that is
/// there is ever replaced.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one for each flag of the command line")]
pub(crate) struct Restore {
    /// The archive
    file: PathBuf,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask for the shares of the passphrase, or read them from standard input, one a line
    #[arg(long)]
    shares: bool,
    /// Open each key with its passphrase to check that it is the one that its file's name says
    #[arg(long)]
    check: bool,
    /// Restore what can be restored: leave out broken key files, and keep what is there where it differs
    #[arg(long)]
    partial: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Restore {
    pub(super) fn run(&self, context: &Context) -> Result<(), CliError> {
        let contents = Contents::read(&self.archive()?)?;
        report(&contents);
        if !contents.broken.is_empty() && !self.partial {
            let count = contents.broken.len();
            return Err(CliError::new(
                Kind::Local,
                format!("{count} key file(s) of the archive cannot be used, and nothing was restored"),
            )
            .hint("restore the others with --partial"));
        }
        if self.check {
            for key in &contents.keys {
                key.open(&context.passphrases).map_err(not_that_key)?;
            }
        }
        let store = context.directory.keys();
        let differing = if self.partial { Differing::KeepOurs } else { Differing::Refuse };
        let found = if self.dry_run { store.compare(&contents.keys) } else { store.take_in(&contents.keys, differing) };
        let refused = match found {
            Ok(found) => {
                self.print(context, &contents, &found)?;
                let differs = found.contains(&Presence::Differs);
                if !(self.dry_run && differs && !self.partial) {
                    return Ok(());
                }
                let of = |(_, presence): &(&CarriedKey, &Presence)| **presence == Presence::Differs;
                let ids = contents.keys.iter().zip(&found).filter(of).map(|(key, _)| key.id()).collect();
                KeyStoreError::Differs { ids }
            }
            Err(error) => error,
        };
        Err(of_store(refused))
    }

    /// Reads the file and decrypts it, if it is encrypted.
    fn archive(&self) -> Result<Zeroizing<Vec<u8>>, CliError> {
        let file = self.read()?;
        match Container::read(&file)? {
            Container::Locked(locked) if self.shares => open_with_shares(&locked),
            Container::Locked(locked) => ArchivePassphrases::new().open(|passphrase| locked.open(passphrase)),
            _ if self.shares => Err(CliError::user("the archive is not encrypted with a passphrase that has shares")),
            Container::Plain(archive) => {
                message("WARNING: the archive is not encrypted: anybody who has it can try to open the keys in it");
                Ok(archive)
            }
            Container::NeedsGpg(reason) => {
                message(format_args!("gpg decrypts the archive: {reason}"));
                Ok(decrypt_with_gpg(&file)?)
            }
        }
    }

    fn read(&self) -> Result<Vec<u8>, CliError> {
        let limit = MAX_FILE_BYTES as u64;
        let mut bytes = Vec::new();
        let file = fs_err::File::open(&self.file).map_err(CliError::user)?;
        file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| CliError::new(Kind::Local, error))?;
        Ok(bytes)
    }

    fn print(&self, context: &Context, contents: &Contents, found: &[Presence]) -> Result<(), CliError> {
        let rows: Vec<(&CarriedKey, &'static str)> =
            contents.keys.iter().zip(found).map(|(key, presence)| (key, self.fate(*presence))).collect();
        let directory = context.directory.path().display().to_string();
        if self.format == Format::Json {
            let key = |(key, fate): &(&CarriedKey, &str)| {
                serde_json::json!({
                    "id": key.id().to_string(), "role": key.role(), "gun": key.gun().map(ToString::to_string), "action": fate,
                })
            };
            let left = contents.left_out.iter().map(|left| (&left.path, left.reason.clone()));
            let broken = contents.broken.iter().map(|key| (&key.path, key.reason.to_string()));
            let left = left.chain(broken).map(|(path, why)| serde_json::json!({ "path": path, "reason": why }));
            return data(serde_json::json!({
                "file": self.file.display().to_string(),
                "directory": directory,
                "dry_run": self.dry_run,
                "keys": rows.iter().map(key).collect::<Vec<_>>(),
                "left_out": left.collect::<Vec<_>>(),
            }));
        }
        for (key, fate) in &rows {
            let gun = key.gun().map(|gun| format!(" of {gun}")).unwrap_or_default();
            data(format_args!("{fate}: {} key {}{gun}", harmless(key.role()), key.id()))?;
        }
        let added = found.iter().filter(|presence| **presence == Presence::Absent).count();
        let verb = if self.dry_run { "would be restored" } else { "restored" };
        data(format_args!("{added} of {} key(s) {verb} to {}", rows.len(), harmless(&directory)))
    }

    fn fate(&self, presence: Presence) -> &'static str {
        match (presence, self.dry_run) {
            (Presence::Absent, false) => "restored",
            (Presence::Absent, true) => "to be restored",
            (Presence::Same, _) => "already there",
            (Presence::Differs, _) => "kept as it is here",
        }
    }
}

/// Tells what of an archive is not restored, and what its manifest says that is not so.
fn report(contents: &Contents) {
    let left = contents.left_out.iter().map(|left| format!("left out: {}: {}", left.path, left.reason));
    let broken = contents.broken.iter().map(|key| format!("not usable: {}: {}", key.path, key.reason));
    let total = contents.left_out.len() + contents.broken.len();
    // What matters more comes first.
    for line in broken.chain(left).take(MOST_LINES) {
        message(harmless(&line));
    }
    if total > MOST_LINES {
        message(format_args!("left out: {} more", total - MOST_LINES));
    }
    for key in contents.keys.iter().filter(|key| !key.is_encrypted()) {
        message(format_args!("WARNING: the key {} is not encrypted", key.id()));
    }
    for id in contents.manifest.iter().flat_map(|manifest| manifest.missing_from(&contents.keys)) {
        message(format_args!("WARNING: the archive's manifest lists the key {id}, which is not in the archive"));
    }
}

fn not_that_key(error: KeyStoreError) -> CliError {
    match error {
        KeyStoreError::OtherKey { .. } => CliError::new(Kind::Trust, error).hint("nothing was restored"),
        other => CliError::from(other).hint("nothing was restored"),
    }
}

fn of_store(error: KeyStoreError) -> CliError {
    let KeyStoreError::Differs { ids } = &error else { return error.into() };
    let mut refused = CliError::new(Kind::Local, &error);
    for id in ids.iter().take(MOST_LINES) {
        refused = refused.hint(format!("{id} is there with other content: another passphrase, or damaged"));
    }
    refused.hint("restore the other keys with --partial, or move these files away first")
}

/// Reads shares until there are enough, and opens the archive with them.
fn open_with_shares(locked: &Locked) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut shares: Vec<Share> = Vec::new();
    loop {
        let needed = shares.first().map_or(2, |share| usize::from(share.needed()));
        if shares.len() >= needed && !shares.is_empty() {
            break;
        }
        let share = next_share(&shares, needed)?;
        if share.fingerprint() != locked.fingerprint() {
            let (number, of, this) = (share.number(), hex(share.fingerprint()), hex(locked.fingerprint()));
            let message = format!("share {number} is for the archive {of}, and this is {this}");
            return Err(CliError::user(message)
                .hint("use the archive that was made with these shares, or another copy of it: this one's first bytes may be damaged"));
        }
        shares.push(share);
    }
    let passphrase = Shares::combine(&shares)?.passphrase()?;
    // The shares have a check of their own: whatever is wrong now is wrong with the archive.
    locked.open(&passphrase).map_err(|error| match error {
        OpenError::WrongPassphrase => OpenError::Damaged("the shares are right, and do not open it").into(),
        other => other.into(),
    })
}

fn next_share(given: &[Share], needed: usize) -> Result<Share, CliError> {
    let number = given.len() + 1;
    for attempt in 1..=ATTEMPTS {
        let Some(line) = next_line(number) else {
            return Err(ShareError::TooFew { given: given.len(), needed }.into());
        };
        let read = Share::read(&line).and_then(|share| {
            let twice = given.iter().any(|known| known.number() == share.number());
            if twice { Err(ShareError::Repeated { number: share.number() }) } else { Ok(share) }
        });
        match read {
            Ok(share) => return Ok(share),
            Err(error) if std::io::stdin().is_terminal() && attempt < ATTEMPTS => {
                message(format_args!("{error}. Please retry."));
            }
            Err(error) => return Err(CliError::from(error).hint(format!("it is the share given as number {number}"))),
        }
    }
    Err(ShareError::TooFew { given: given.len(), needed }.into())
}

/// Reads the next line that is no comment; what a person types is not shown.
fn next_line(number: usize) -> Option<Zeroizing<String>> {
    loop {
        let line = Voice::Native.hears_secret(format_args!("Enter share {number}: "))?;
        let text = line.trim();
        if !text.starts_with('#') && (!text.is_empty() || std::io::stdin().is_terminal()) {
            return Some(line);
        }
    }
}
