//! Private keys: damaged, open, lost, forgotten, or in use for too long.

use super::collections::Examined;
use super::finding::{Finding, Report};
use super::{Bench, kind, not_checked, repair};
use crate::command::key::known_backups;
use crate::context::Context;
use countersign_backup::KnownBackup;
use countersign_crypto::certificate::CertificateBundle;
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::{Gun, RoleName};
use countersign_vault::{KeyEntry, KeyPlace, SkippedKey, SkippedKeyReason, TrustDirectory};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Looks at the files, without opening any key.
pub(super) fn check_files(bench: &Bench, directory: &TrustDirectory, report: &mut Report) {
    let store = directory.keys();
    let listing = match store.list() {
        Ok(listing) => listing,
        Err(error) => return report.add(not_checked("private keys", error)),
    };
    report.extend(listing.skipped.iter().filter_map(|skipped| of_skipped(bench, skipped)));
    for key in listing.keys.iter().filter(|key| is_wanted(bench, key)) {
        let place = key.path.display();
        if store.carry(&key.id).is_ok_and(|carried| !carried.is_encrypted()) {
            let message = format!("the {} key {} has no passphrase: whoever reads the file signs", role(key), key.id);
            let protect = bench.commands.ours(&["key", "passwd", &key.id.to_string()]);
            report.add(Finding::new(&kind::KEY_UNENCRYPTED, &place, message).about(key.id).command(protect));
        }
        if key.place == KeyPlace::Legacy {
            let message = "it is read where it is, but docker does not look there";
            let target = bench.trust_dir.join(format!("private/{}.key", key.id));
            let moved = repair::line(["mv", &*key.path.to_string_lossy(), &*target.to_string_lossy()]);
            let advice = "its role is in the old name alone: countersign key list shows it";
            report.add(
                Finding::new(&kind::KEY_LEGACY_PLACE, &place, message).about(key.id).command(moved).advice(advice),
            );
        }
    }
}

fn of_skipped(bench: &Bench, skipped: &SkippedKey) -> Option<Finding> {
    let path = &skipped.path;
    let beside = path.with_extension("key.damaged");
    let aside = || repair::line(["mv", &*path.to_string_lossy(), &*beside.to_string_lossy()]);
    let finding = |kind| Finding::new(kind, path.display(), &skipped.reason);
    Some(match &skipped.reason {
        SkippedKeyReason::NotRegular(_) => return None,
        SkippedKeyReason::Name => finding(&kind::KEY_MISNAMED)
            .command(bench.commands.ours(&["key", "load", &path.to_string_lossy()]))
            .advice("then remove the file; or move it away if it is no key"),
        SkippedKeyReason::Duplicate => finding(&kind::KEY_DUPLICATE).command(aside()),
        _ => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let finding = finding(&kind::KEY_DAMAGED).command(aside());
            match stem.parse().ok().and_then(|id: KeyId| latest_backup(&id)) {
                Some(backup) => {
                    finding.command(bench.commands.ours(&["key", "restore", &backup.file.to_string_lossy()]))
                }
                None => finding
                    .command(bench.commands.ours(&["key", "restore", "ARCHIVE"]))
                    .advice("no backup of it is known here; without one: countersign key recover IMAGE"),
            }
        }
    })
}

/// Holds the keys against the collections that they are for.
pub(super) fn check_uses(bench: &Bench, context: &Context, examined: &[Examined], report: &mut Report) {
    let Ok(listing) = context.directory.keys().list() else { return };
    let uses = Uses::of(examined);
    // What a collection of which nothing is known needs, nobody can tell.
    let all_known = bench.named.is_empty() && examined.iter().all(|one| one.condition.is_complete());
    for key in listing.keys.iter().filter(|key| is_wanted(bench, key)) {
        match uses.of_key(&key.id) {
            Some(roles) => report.extend(too_old(bench, key, roles)),
            None if all_known => report.add(unused(bench, key)),
            None => {}
        }
    }
    for one in examined {
        report.extend(missing(bench, one, &listing.keys));
    }
}

/// What a key is for.
struct Use {
    gun: Gun,
    role: RoleName,
    /// When its certificate began, for root keys.
    began: Option<Timestamp>,
}

/// What all keys are for, by canonical id.
struct Uses(BTreeMap<KeyId, Vec<Use>>);

impl Uses {
    fn of(examined: &[Examined]) -> Self {
        let mut uses: BTreeMap<KeyId, Vec<Use>> = BTreeMap::new();
        for one in examined {
            for (role, keys) in one.condition.keys() {
                for key in keys {
                    let (gun, role, began) = (one.gun.clone(), role.clone(), began(&key));
                    uses.entry(key.canonical_id()).or_default().push(Use { gun, role, began });
                }
            }
            // Former root keys sign the next root, too, for those who know no newer one.
            for (_, key) in one.condition.root.iter().flat_map(|root| root.keys.iter()) {
                uses.entry(key.canonical_id()).or_default();
            }
        }
        Self(uses)
    }

    fn of_key(&self, id: &KeyId) -> Option<&[Use]> {
        self.0.get(id).map(Vec::as_slice)
    }
}

fn began(key: &PublicKey) -> Option<Timestamp> {
    let bundle = key.key_type().is_certificate().then(|| CertificateBundle::parse(key.bytes()).ok())??;
    Some(bundle.leaf().not_before())
}

fn too_old(bench: &Bench, key: &KeyEntry, used: &[Use]) -> Option<Finding> {
    let policy = bench.rotate_every?;
    let first = used.first()?;
    let began = used.iter().filter_map(|used| used.began).chain(key.modified).min()?;
    if began >= policy.before(bench.now) {
        return None;
    }
    let days = (bench.now.as_second() - began.as_second()) / (24 * 3600);
    let message = format!("the {} key {} is {days} days old; the policy is {policy}", first.role, key.id);
    let finding = Finding::new(&kind::KEY_TOO_OLD, key.path.display(), message).about(key.id);
    Some(match &first.role {
        RoleName::Delegation(_) => {
            finding.command(bench.commands.ours(&["key", "generate", "NEW_NAME"])).advice(format!(
                "then give NEW_NAME.pub to whoever holds the repository key of {}, who adds it and removes the old one",
                first.gun
            ))
        }
        _ => used.iter().fold(finding, |finding, used| {
            finding.command(bench.commands.ours(&["key", "rotate", used.gun.as_str(), used.role.as_str()]))
        }),
    })
}

fn unused(bench: &Bench, key: &KeyEntry) -> Finding {
    let message = match &key.gun {
        Some(gun) => format!(
            "the {} key {} of {gun} is none of the keys that count there now, or {gun} is not known here",
            role(key),
            key.id
        ),
        None => format!("the {} key {} signs no collection that is known here", role(key), key.id),
    };
    Finding::new(&kind::KEY_WITHOUT_COLLECTION, key.path.display(), message)
        .about(key.id)
        .command(bench.commands.notary(None, &["key", "remove", &key.id.to_string()]))
        .advice("keep it if it is for a collection that this machine has not seen yet, and in a backup in any case")
}

/// Says that somebody who made a collection could not sign in it: the root key, or a backup of the repository key, shows that
/// it is theirs.
fn missing(bench: &Bench, one: &Examined, here: &[KeyEntry]) -> Option<Finding> {
    let has = |id: &KeyId| here.iter().any(|key| key.id == *id);
    let (mut is_theirs, mut backup, mut ids) = (false, None, Vec::new());
    for (role, keys) in one.condition.keys() {
        for id in keys.iter().map(PublicKey::canonical_id) {
            match &role {
                RoleName::Root => is_theirs |= has(&id),
                RoleName::Targets | RoleName::Delegation(_) if has(&id) => return None,
                RoleName::Targets => {
                    backup = backup.or_else(|| latest_backup(&id));
                    ids.push(id.to_string());
                }
                RoleName::Delegation(_) | RoleName::Snapshot | RoleName::Timestamp => {}
            }
        }
    }
    if !is_theirs && backup.is_none() {
        return None;
    }
    let message = format!("the repository key {} is not here: nothing of {} can be signed", ids.join(", "), one.gun);
    let finding = Finding::new(&kind::KEY_MISSING, bench.trust_dir.join("private").display(), message).about(&one.gun);
    Some(match backup {
        Some(backup) => finding.command(bench.commands.ours(&["key", "restore", &backup.file.to_string_lossy()])),
        None => finding
            .command(bench.commands.ours(&["key", "restore", "ARCHIVE"]))
            .advice(format!("without a backup: {}", bench.commands.ours(&["key", "recover", one.gun.as_str()]))),
    })
}

fn is_wanted(bench: &Bench, key: &KeyEntry) -> bool {
    key.gun.as_ref().is_none_or(|gun| bench.is_wanted(gun))
}

fn role(key: &KeyEntry) -> &str {
    if key.role.is_empty() { "nameless" } else { &key.role }
}

fn latest_backup(id: &KeyId) -> Option<KnownBackup> {
    known_backups()?.latest_with(id).ok()?
}
