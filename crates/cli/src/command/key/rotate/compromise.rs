//! `countersign key rotate --compromised`: keys that somebody else may have go from everything.

use super::{BaseRole, Outcome, Rotate, hint, record};
use crate::audit::Action;
use crate::command::Format;
use crate::command::key::decisions::Named;
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::notes;
use crate::output::{data, harmless, message};
use crate::progress::showing;
use crate::prompt::Voice;
use countersign_crypto::KeyId;
use countersign_notary::Access;
use countersign_trust::{
    Confirmed, Delegation, ExposedName, Exposure, Holder, LegacyRoots, NewKeys, Purged, ReleasedTag, Rotation,
    Signatures, TrustError, keys_named,
};
use countersign_tuf::update::Purpose;
use countersign_tuf::{Gun, RoleName};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

pub(super) async fn run(command: &Rotate, context: &Context, gun: &Gun) -> Result<(), CliError> {
    if command.role != BaseRole::Targets {
        return Err(CliError::user("--compromised finds the role by itself: leave it out"));
    }
    let pinning = context.pinning_of(gun);
    let client = context.collection(gun, &pinning, Access::Write)?;
    let collection = client.update(Purpose::Publish).await?;
    notes::show(&collection);
    let mut keys = BTreeSet::new();
    for who in &command.compromised {
        keys.extend(keys_named(&collection, who).map_err(TrustError::from)?);
    }
    let exposure = client.exposure(&collection, &keys)?;
    let names: Vec<Named<'_>> =
        exposure.names.iter().map(|(name, exposed)| (name.as_str(), exposed.sha256())).collect();
    command.decisions.check(&names, &exposure.described, "that these keys alone have signed")?;
    show(gun, &exposure);
    if command.dry_run {
        return match command.format {
            Format::Json => data(with(exposure_json(gun, &exposure, None), &[("published", json!(false))])),
            Format::Text => data("Nothing was changed: this was a dry run"),
        };
    }
    if command.yes {
        command.decisions.check_said(&names, &exposure.described)?;
    }
    let confirmed = command.decisions.confirm(&names, &exposure.described);
    confirm_all(command, gun, &exposure, &confirmed)?;
    let served = exposure.base.iter().any(|(_, holder)| *holder == Holder::Service);
    let access = if served { Access::Administer } else { Access::Write };
    let client = context.collection(gun, &pinning, access)?;
    let purged = showing("signing and publishing", Box::pin(client.purge(&exposure, &confirmed))).await;
    let purged =
        purged.map_err(|error| context.audit.refused(Action::Sign, gun.as_str(), "", CliError::from(error)))?;
    notes::show_published(purged.rotated.base.as_deref(), &purged.rotated.collection);
    log(context, &purged)?;
    let readers = Box::pin(client.readers(purged.rotated.base.as_deref())).await;
    let rotations: Vec<Rotation> = purged.exposure.base.iter().map(rotation).collect();
    let outcome = Outcome::of(context, gun, &rotations, &purged.rotated, readers)?;
    tell(command, gun, &purged, &confirmed, &outcome)?;
    hints(context, gun, &purged)?;
    outcome.hints();
    outcome.conclude()?;
    if purged.unpurged.is_empty() {
        return Ok(());
    }
    let roles: Vec<&str> = purged.unpurged.iter().map(RoleName::as_str).collect();
    Err(CliError::new(
        Kind::Trust,
        format!(
            "the trust service has the changes, but {} of {gun} still lists the key: it can sign there",
            roles.join(", ")
        ),
    ))
}

/// The rotation that a compromised base role gets, for telling about it.
fn rotation((role, holder): &(RoleName, Holder)) -> Rotation {
    let keys = if *holder == Holder::Service { NewKeys::OfService } else { NewKeys::Generate };
    Rotation { role: role.clone(), keys, legacy: LegacyRoots::None }
}

fn confirm_all(command: &Rotate, gun: &Gun, exposure: &Exposure, confirmed: &Confirmed) -> Result<(), CliError> {
    if command.yes {
        return Ok(());
    }
    let going = exposure.names.len() - confirmed.names.len();
    let signers = exposure.described.len() - confirmed.described.len();
    let and = match signers {
        0 => String::new(),
        count => format!("; {count} signer(s) that were not confirmed go as well"),
    };
    let question = format!(
        "{} key(s) lose all rights in {gun}; {} tag(s) are signed anew, {going} are released no more",
        exposure.keys.len(),
        confirmed.names.len()
    );
    if Voice::Native.confirms(format!("{question}{and}. Publish that?")) {
        return Ok(());
    }
    Err(CliError::user("nothing was changed: not confirmed"))
}

/// Says what the loss of the keys means, before anything is asked.
fn show(gun: &Gun, exposure: &Exposure) {
    for (role, holder) in &exposure.base {
        let by =
            if *holder == Holder::Service { "the trust service makes a new one" } else { "a new one is made here" };
        message(format_args!("{gun}: the {role} key is compromised: {by}"));
    }
    for role in &exposure.delegations {
        let left = if role.is_finished() {
            "is left with too few keys, and goes".to_owned()
        } else {
            format!("keeps {} other key(s)", role.left.len())
        };
        let signed = if role.signatures == Signatures::Go {
            "what it has signed was signed by these keys alone"
        } else {
            "what it has signed stays signed"
        };
        message(format_args!("{gun}: {} {left}; {signed}", harmless(role.role.as_str())));
    }
    for (name, exposed) in &exposure.names {
        let digest =
            exposed.sha256().map_or_else(|| "different things".to_owned(), |sha256| format!("sha256:{}", sha256.hex()));
        let roles: Vec<&str> = exposed.roles.iter().map(RoleName::as_str).collect();
        message(format_args!(
            "  signed by these keys alone: {} {digest} ({})",
            harmless(name),
            harmless(&roles.join(", "))
        ));
    }
}

fn log(context: &Context, purged: &Purged) -> Result<(), CliError> {
    let collection = &purged.rotated.collection;
    let gun = collection.gun().as_str();
    for (role, _) in &purged.exposure.base {
        record(context, collection, role)?;
    }
    if !purged.exposure.delegations.is_empty() {
        record(context, collection, &RoleName::Targets)?;
    }
    for name in &purged.signed {
        if let Ok(tag) = ReleasedTag::find(collection, name) {
            context.audit.done(Action::Sign, gun, &tag, "was signed anew")?;
        }
    }
    for name in &purged.dropped {
        context.audit.revoked(gun, name)?;
    }
    Ok(())
}

fn tell(
    command: &Rotate,
    gun: &Gun,
    purged: &Purged,
    confirmed: &Confirmed,
    outcome: &Outcome,
) -> Result<(), CliError> {
    if command.format == Format::Json {
        let names = |set: &BTreeSet<String>| json!(set);
        let roles = |roles: &mut dyn Iterator<Item = &RoleName>| json!(roles.map(RoleName::as_str).collect::<Vec<_>>());
        return data(with(
            exposure_json(gun, &purged.exposure, Some(confirmed)),
            &[
                ("published", json!(true)),
                ("signedAnew", names(&purged.signed)),
                ("releasedNoMore", names(&purged.dropped)),
                ("rolesGone", roles(&mut purged.gone.iter())),
                ("rolesUnreadable", roles(&mut purged.unreadable.iter())),
                ("rolesStillListing", roles(&mut purged.unpurged.iter())),
                ("rotation", outcome.json()),
            ],
        ));
    }
    if !purged.exposure.base.is_empty() {
        outcome.print()?;
    }
    for id in purged.exposure.keys.iter().filter(|_| purged.unpurged.is_empty()) {
        data(format_args!("Key {id} has no rights in {gun} any more"))?;
    }
    for role in &purged.gone {
        data(format_args!("  {} is gone", harmless(role.as_str())))?;
    }
    for name in &purged.signed {
        data(format_args!("  signed anew: {}", harmless(name)))?;
    }
    for name in &purged.dropped {
        data(format_args!("  released no more: {}", harmless(name)))?;
    }
    Ok(())
}

fn hints(context: &Context, gun: &Gun, purged: &Purged) -> Result<(), CliError> {
    for role in &purged.unreadable {
        message(format_args!(
            "warning: {0} of {gun} cannot be verified now, for none of its remaining keys is here: nothing that it would release \
             is pulled until one of its signers signs again, with countersign sign",
            harmless(role.as_str())
        ));
    }
    for role in &purged.unpurged {
        message(format_args!(
            "warning: {} still lists the key: who describes its delegations has to purge it",
            harmless(role.as_str())
        ));
    }
    for id in &purged.exposure.keys {
        if context.directory.keys().find(id)?.is_some() {
            hint(format_args!(
                "the compromised key {id:.7} is still here: unless another collection needs it, countersign key remove {id}"
            ));
        }
    }
    if purged.exposure.base.iter().any(|(role, _)| *role == RoleName::Root) {
        others_with(context, gun, &purged.exposure.keys)?;
        hint(
            "whoever has the old root key can still deceive clients that have not seen the new root, if they can also answer for the \
             trust service: have everybody pin the new root key",
        );
    }
    Ok(())
}

/// Names the other collections that a compromised root key is the root key of.
fn others_with(context: &Context, gun: &Gun, keys: &BTreeSet<KeyId>) -> Result<(), CliError> {
    let uses = crate::command::key::known_uses::KnownUses::read(context)?;
    let known = keys.iter().filter_map(|id| uses.of(id)).flat_map(|known| known.uses.iter());
    let others: BTreeSet<String> = known.filter(|used| used.gun != *gun).map(|used| used.gun.to_string()).collect();
    for other in others {
        let ids: Vec<String> = keys.iter().map(|id| format!("--compromised {id}")).collect();
        hint(format_args!("the same key signs for {other}: countersign key rotate {other} {}", ids.join(" ")));
    }
    Ok(())
}

fn exposure_json(gun: &Gun, exposure: &Exposure, confirmed: Option<&Confirmed>) -> Value {
    let ids = |keys: &[KeyId]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let delegation = |role: &countersign_trust::ExposedRole| {
        json!({
            "role": role.role.as_str(), "going": ids(&role.going), "left": ids(&role.left),
            "signaturesStay": role.signatures == Signatures::Stay,
        })
    };
    let name = |(name, exposed): (&String, &ExposedName)| {
        json!({
            "name": name,
            "digest": exposed.sha256().map(|sha256| format!("sha256:{}", sha256.hex())),
            "roles": exposed.roles.iter().map(RoleName::as_str).collect::<Vec<_>>(),
            "confirmed": confirmed.map(|confirmed| confirmed.names.contains_key(name)),
        })
    };
    let signer = |role: &Delegation| {
        json!({
            "role": role.role.as_str(), "keys": ids(&role.keys),
            "kept": confirmed.map(|confirmed| confirmed.described.contains_key(&role.role)),
        })
    };
    json!({
        "gun": gun.to_string(),
        "compromised": exposure.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "baseRoles": exposure.base.iter().map(|(role, _)| role.as_str()).collect::<Vec<_>>(),
        "delegations": exposure.delegations.iter().map(delegation).collect::<Vec<_>>(),
        "names": exposure.names.iter().map(name).collect::<Vec<_>>(),
        "signers": exposure.described.iter().map(signer).collect::<Vec<_>>(),
    })
}

/// Adds members to an object.
fn with(mut object: Value, members: &[(&str, Value)]) -> Value {
    let members: BTreeMap<&str, &Value> = members.iter().map(|(name, value)| (*name, value)).collect();
    if let Value::Object(map) = &mut object {
        map.extend(members.into_iter().map(|(name, value)| (name.to_owned(), value.clone())));
    }
    object
}
