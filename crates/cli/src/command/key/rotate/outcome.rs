//! What became of a rotation: each key's fate, and who can verify.

use super::{hint, unreadable};
use crate::command::Format;
use crate::command::key::archive::known_backups;
use crate::command::key::known_uses::KnownUses;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{data, harmless, message};
use countersign_backup::KnownBackup;
use countersign_crypto::KeyId;
use countersign_trust::{NewKeys, PinsAfter, Readers, Rotated, Rotation, Stuck};
use countersign_tuf::{Gun, RoleName};
use serde_json::{Value, json};

/// What is told about a rotation.
pub(in crate::command::key) struct Outcome {
    gun: Gun,
    roles: Vec<RoleName>,
    root_version: u64,
    fates: Vec<Fate>,
    /// What others have to pin, if the root's keys or certificates changed.
    to_pin: Vec<KeyId>,
    pins: PinsAfter,
    readers: Readers,
    had_base: bool,
}

/// What becomes of one key.
struct Fate {
    role: RoleName,
    id: KeyId,
    what: What,
    /// The file, while there is one.
    path: Option<String>,
    backup: Option<KnownBackup>,
    /// Other collections here whose root key it is.
    root_of: Vec<Gun>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Signs from now on, and is here.
    NewHere,
    /// Goes on signing, with a new certificate.
    Recertified,
    /// Signs from now on, at the trust service.
    NewAtService,
    /// Has signed until now, and was removed.
    Removed,
    /// Has signed until now; its file is still here.
    OldHere,
    /// Has signed until now; its private half was never here.
    OldElsewhere,
    /// Never signed: left by a rotation that was interrupted, or older than the present key.
    Leftover,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            Self::NewHere => "new",
            Self::Recertified => "kept, with a new certificate",
            Self::NewAtService => "new, at the trust service",
            Self::Removed => "old, removed",
            Self::OldHere => "old, kept",
            Self::OldElsewhere => "old, not here",
            Self::Leftover => "left over",
        }
    }

    fn json(self) -> &'static str {
        match self {
            Self::NewHere => "new",
            Self::Recertified => "recertified",
            Self::NewAtService => "new-at-service",
            Self::Removed => "removed",
            Self::OldHere => "kept",
            Self::OldElsewhere => "not-here",
            Self::Leftover => "left-over",
        }
    }
}

impl Outcome {
    pub(in crate::command::key) fn of(
        context: &Context,
        gun: &Gun,
        rotations: &[Rotation],
        rotated: &Rotated,
        readers: Readers,
    ) -> Result<Self, CliError> {
        let store = context.directory.keys();
        let uses = KnownUses::read(context)?;
        let root_of = |id: &KeyId| -> Vec<Gun> {
            let uses = uses.of(id).map(|known| known.uses.as_slice()).unwrap_or_default();
            let others = uses.iter().filter(|used| used.role == RoleName::Root && used.gun != *gun);
            others.map(|used| used.gun.clone()).collect()
        };
        let mut fates = Vec::new();
        let mut enter = |role: &RoleName, id: KeyId, what: What| -> Result<(), CliError> {
            let path = store.find(&id)?.map(|entry| entry.path.display().to_string());
            let backup = known_backups().and_then(|known| known.latest_with(&id).ok().flatten());
            fates.push(Fate { role: role.clone(), id, what, path, backup, root_of: root_of(&id) });
            Ok(())
        };
        let collection = &rotated.collection;
        for rotation in rotations {
            let role = &rotation.role;
            let what = if rotation.keys == NewKeys::OfService { What::NewAtService } else { What::NewHere };
            let present = super::keys_of(collection, role);
            let former = rotated.former.iter().filter(|former| former.role == *role).flat_map(|former| &former.keys);
            let former: Vec<KeyId> = former.copied().collect();
            let before = rotated.base.as_deref().map(|base| super::keys_of(base, role)).unwrap_or_default();
            for id in &present {
                enter(role, *id, if before.contains(id) { What::Recertified } else { what })?;
            }
            for id in &former {
                let what = match (rotated.removed.contains(id), store.find(id)?) {
                    (true, _) => What::Removed,
                    (false, Some(_)) => What::OldHere,
                    (false, None) => What::OldElsewhere,
                };
                enter(role, *id, what)?;
            }
            for entry in store.list()?.keys {
                let ours = entry.role == role.as_str() && entry.gun.as_ref() == Some(gun);
                if ours && !present.contains(&entry.id) && !former.contains(&entry.id) {
                    enter(role, entry.id, What::Leftover)?;
                }
            }
        }
        let of_root = rotations.iter().any(|rotation| rotation.role == RoleName::Root);
        let ids = collection.root().trusted(&RoleName::Root).map(|keys| keys.key_ids.clone()).unwrap_or_default();
        Ok(Self {
            gun: gun.clone(),
            roles: rotations.iter().map(|rotation| rotation.role.clone()).collect(),
            root_version: collection.root().version.get(),
            fates,
            to_pin: if of_root { ids } else { Vec::new() },
            pins: rotated.pins,
            readers,
            had_base: rotated.base.is_some(),
        })
    }

    /// Prints everything; an error if somebody cannot verify what is there now.
    pub(in crate::command::key) fn tell(self, format: Format) -> Result<(), CliError> {
        match format {
            Format::Json => data(self.json())?,
            Format::Text => self.print()?,
        }
        self.hints();
        self.conclude()
    }

    /// Returns the error if somebody cannot verify.
    pub(in crate::command::key) fn conclude(self) -> Result<(), CliError> {
        let Self { gun, readers, .. } = self;
        match (readers.fresh, readers.old) {
            (Err(error), _) => Err(unreadable("a client that has never seen it", &gun, error)),
            (_, Some(Err(error))) => Err(unreadable("a client that knows its former state", &gun, error)),
            _ => Ok(()),
        }
    }

    pub(in crate::command::key) fn print(&self) -> Result<(), CliError> {
        let roles: Vec<&str> = self.roles.iter().map(RoleName::as_str).collect();
        data(format_args!("Successfully rotated {} key for repository {}", roles.join(", "), self.gun))?;
        for fate in &self.fates {
            let place = fate.path.as_deref().map(|path| format!(" {}", harmless(path))).unwrap_or_default();
            data(format_args!("  {} key {}: {}{place}", fate.role, fate.id, fate.what.word()))?;
        }
        for id in &self.to_pin {
            data(format_args!("  to be pinned from now on: {id}"))?;
        }
        let old = if self.had_base { ", and as one does that knows the former state" } else { "" };
        if self.readers.all_verify() {
            data(format_args!("Verified as a client does that has never seen it{old}"))?;
        }
        Ok(())
    }

    pub(in crate::command::key) fn hints(&self) {
        for fate in &self.fates {
            self.hint_of(fate);
        }
        if !self.to_pin.is_empty() {
            let pins: Vec<String> = self.to_pin.iter().map(|id| format!("--root-key {id}")).collect();
            hint(format_args!(
                "whoever has pinned the root of {0} pins the new one: countersign pin {0} {1} --replace",
                self.gun,
                pins.join(" ")
            ));
        }
        if self.pins == PinsAfter::MustChange {
            message(format_args!(
                "warning: this machine's own pin does not allow the new root: until it does, {} is refused here",
                self.gun
            ));
        }
        if self.readers.stuck == Stuck::UntilCacheIsRemoved {
            hint(format_args!(
                "docker and notary refuse {0} where they have seen it before, because the root certificate in their caches has expired: \
                 there, remove tuf/{0}/metadata in the trust directory (~/.docker/trust, ~/.notary); for notary, notary delete {0}",
                self.gun
            ));
        }
    }

    fn hint_of(&self, fate: &Fate) {
        let backup = fate.backup.as_ref().map(|backup| backup.file.display().to_string());
        match (fate.what, &backup) {
            (What::NewHere, None) if fate.path.is_some() => hint(format_args!(
                "the {} key {:.7} is in no known backup: countersign key backup FILE --key {}",
                fate.role, fate.id, fate.id
            )),
            (What::Removed, Some(file)) => hint(format_args!(
                "the old {} key {:.7} is still in the backup {file}: it signs nothing any more, and may be destroyed with it",
                fate.role, fate.id
            )),
            (What::OldHere, _) if !fate.root_of.is_empty() => {
                let others: Vec<String> = fate.root_of.iter().map(ToString::to_string).collect();
                hint(format_args!(
                    "the old {} key {:.7} is still the root key of {}: keep it",
                    fate.role,
                    fate.id,
                    others.join(", ")
                ));
            }
            (What::OldHere, _) => hint(format_args!(
                "the old {} key {:.7} signs nothing of {} any more, and no other collection that is known here has it: once it is \
                 certain that no other machine needs it, countersign key remove {} takes it away",
                fate.role, fate.id, self.gun, fate.id
            )),
            (What::Leftover, _) => hint(format_args!(
                "the {} key {:.7} signs nothing, it was left here by an earlier rotation: countersign key remove {} takes it away",
                fate.role, fate.id, fate.id
            )),
            _ => {}
        }
    }

    pub(in crate::command::key) fn json(&self) -> Value {
        let said = |result: &Result<(), countersign_trust::TrustError>| match result {
            Ok(()) => json!({ "verifies": true }),
            Err(error) => json!({ "verifies": false, "reason": error.to_string() }),
        };
        let fate = |fate: &Fate| {
            json!({
                "role": fate.role.as_str(), "id": fate.id.to_string(), "fate": fate.what.json(), "path": fate.path,
                "backup": fate.backup.as_ref().map(|backup| json!({
                    "file": backup.file.display().to_string(), "date": backup.date.to_string(),
                })),
                "rootKeyOf": fate.root_of.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        };
        json!({
            "gun": self.gun.to_string(),
            "roles": self.roles.iter().map(RoleName::as_str).collect::<Vec<_>>(),
            "rootVersion": self.root_version,
            "keys": self.fates.iter().map(fate).collect::<Vec<_>>(),
            "pin": self.to_pin.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ownPinsFit": self.pins == PinsAfter::Fit,
            "newClient": said(&self.readers.fresh),
            "oldClient": self.readers.old.as_ref().map(said),
            "dockerAndNotaryNeedTheirCacheRemoved": self.readers.stuck == Stuck::UntilCacheIsRemoved,
        })
    }
}
