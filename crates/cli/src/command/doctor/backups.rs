//! Backups: never made, or older than what they should hold.

use super::finding::{Finding, Report};
use super::{Bench, kind, repair};
use crate::command::key::known_backups;
use countersign_backup::KnownBackup;
use countersign_vault::{KeyEntry, TrustDirectory};
use jiff::SignedDuration;

/// Clocks of file systems count in coarser steps.
const LEEWAY: SignedDuration = SignedDuration::from_secs(2);

pub(super) fn check(bench: &Bench, directory: &TrustDirectory, report: &mut Report) {
    let Some(known) = known_backups() else {
        return report.not_made("backups", "there is no home directory, where they would be remembered");
    };
    let backups = match known.list() {
        Ok(backups) => backups,
        Err(error) => {
            let place = known.path();
            let finding = Finding::new(&kind::BACKUP_RECORD_UNUSABLE, place.display(), error);
            let advice = "then make a backup again: countersign key backup FILE";
            return report.add(finding.command(repair::on_file(&["rm"], &place)).advice(advice));
        }
    };
    let keys = directory.keys().list().unwrap_or_default().keys;
    // What a token holds does not come out of it.
    let wanted = |key: &&KeyEntry| key.has_file() && key.gun.as_ref().is_none_or(|gun| bench.is_wanted(gun));
    let (roots, others): (Vec<&KeyEntry>, Vec<&KeyEntry>) =
        keys.iter().filter(wanted).partition(|key| key.role == "root");
    for (keys, words, what) in [
        (roots, ["key", "backup", "--role", "root", "root-keys.gpg"].as_slice(), "root key"),
        (others, ["key", "backup", "keys.gpg"].as_slice(), "key"),
    ] {
        let command = || bench.commands.ours(words);
        let place = bench.trust_dir.join("private");
        let say = |kind, ids: Vec<String>, how: &str| {
            let message = format!("{} {what}(s) {how}: {}", ids.len(), ids.join(", "));
            Finding::new(kind, place.display(), message).about(format!("{what}s")).command(command()).advice(
                "keep the archive, and its passphrase, where neither this machine nor its thief is (docs/guides/backing-up-keys.md)",
            )
        };
        let (never, old) = sort(&keys, &backups);
        if !never.is_empty() {
            report.add(say(&kind::BACKUP_NEVER, never, "in no backup that is known here"));
        }
        if !old.is_empty() {
            report.add(say(&kind::BACKUP_OLD, old, "written since the last backup"));
        }
    }
}

/// Returns the ids of the keys that were never backed up, and of those that were written since.
fn sort(keys: &[&KeyEntry], backups: &[KnownBackup]) -> (Vec<String>, Vec<String>) {
    let (mut never, mut old) = (Vec::new(), Vec::new());
    for key in keys {
        let id = key.id.to_string();
        let latest = backups.iter().filter(|backup| backup.keys.contains(&id)).map(|backup| backup.date).max();
        match (latest, key.modified) {
            (None, _) => never.push(id),
            (Some(latest), Some(written)) if written > latest.saturating_add(LEEWAY).unwrap_or(latest) => old.push(id),
            _ => {}
        }
    }
    (never, old)
}
