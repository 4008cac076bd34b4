//! `countersign key recover --new-chain`: the collection is taken away and begun anew with another root.

use super::journal::Journal;
use super::notice::notice;
use super::{Recover, administering};
use crate::audit::Action;
use crate::command::Format;
use crate::command::key::decisions::Named;
use crate::command::key::rotate::{hint, record, short};
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::notes;
use crate::output::{data, harmless, message};
use crate::progress::showing;
use crate::prompt::Voice;
use countersign_crypto::KeyId;
use countersign_trust::{
    CollectionClient, Confirmed, Delegation, Holder, Reader, ReleasedTag, Situation, TrustError, carried_over,
    delegations, released_names,
};
use countersign_tuf::{Change, Collection, Gun, RoleName};
use serde_json::json;
use std::collections::BTreeMap;

pub(super) async fn run(command: &Recover, context: &Context, gun: &Gun) -> Result<(), CliError> {
    let pinning = context.pinning_of(gun);
    let client = administering(context, gun, &pinning)?;
    let journal = if let Some(journal) = Journal::find(context, gun)? {
        message(format_args!("a new beginning of {gun} was decided before and not finished: going on with it"));
        if !command.apply {
            return Err(CliError::user("nothing was changed: add --apply to go on"));
        }
        journal
    } else {
        let view = view(&client, gun).await?;
        notes::show(&view);
        let (released, signers) = (released_names(&view), signers(&view));
        let named: Vec<Named<'_>> = released.iter().map(|(name, (sha256, _))| (name.as_str(), Some(*sha256))).collect();
        command.decisions.check(&named, &signers, "that are signed")?;
        if !command.apply {
            return show(command, gun, &named, &signers);
        }
        if command.yes {
            command.decisions.check_said(&named, &signers)?;
        }
        let confirmed = command.decisions.confirm(&named, &signers);
        confirm(command, gun, &confirmed, named.len(), signers.len())?;
        let journal = decided(command, &client, &view, &confirmed)?;
        journal.write(context, gun)?;
        journal
    };
    let beginning = journal.beginning();
    let begun = Box::pin(client.begin_anew(&journal.old, &beginning, &journal.changes));
    let begun = showing("beginning anew", begun).await;
    let collection = begun.map_err(|error| {
        let again = format!("done again it goes on where it was: countersign key recover {gun} --new-chain --apply");
        context.audit.refused(Action::Sign, gun.as_str(), "", CliError::from(error).hint(again))
    })?;
    let fresh = client.as_read_by(Reader::Fresh).await.map(drop);
    log(context, &collection, &journal)?;
    // First the text for everybody: done again after a failure, the same is told.
    tell(command, context, &collection, &journal)?;
    Journal::remove(context, gun)?;
    fresh.map_err(|error| crate::command::key::rotate::unreadable("a client that has never seen it", gun, error))
}

/// The last view that this machine has verified, or verifies now.
async fn view(client: &CollectionClient<'_>, gun: &Gun) -> Result<Collection, CliError> {
    let assessment = Box::pin(client.assess()).await?;
    match (&assessment.situation, assessment.served) {
        (_, countersign_trust::Served::Current(view) | countersign_trust::Served::Expired(view, _)) => Ok(*view),
        (Situation::Vanished, _) => Ok(client.last_view()?),
        (_, countersign_trust::Served::Refused(error)) => Err(CliError::from(TrustError::from(error))
            .hint("only what this machine verifies can be taken over: nothing was changed")),
        _ => Err(CliError::new(Kind::User, format!("there is no collection {gun} to begin anew"))
            .hint(format!("countersign sign {gun}:TAG begins one"))),
    }
}

/// The signers that the owner has let in; what they have delegated themselves goes with their own files.
fn signers(view: &Collection) -> Vec<Delegation> {
    let mut all = delegations(view);
    all.retain(|role| role.role.parent() == Some(RoleName::Targets));
    all
}

fn show(command: &Recover, gun: &Gun, names: &[Named<'_>], signers: &[Delegation]) -> Result<(), CliError> {
    let digest = |named: &Named<'_>| named.1.map(|sha256| format!("sha256:{}", sha256.hex())).unwrap_or_default();
    if command.format == Format::Json {
        let name = |named: &Named<'_>| json!({ "name": named.0, "digest": digest(named) });
        let signer = |role: &Delegation| json!({ "role": role.role.as_str(), "keys": role.keys.iter().map(ToString::to_string).collect::<Vec<_>>() });
        return data(json!({
            "gun": gun.to_string(), "applied": false,
            "names": names.iter().map(name).collect::<Vec<_>>(),
            "signers": signers.iter().map(signer).collect::<Vec<_>>(),
        }));
    }
    data(format_args!("{gun} would be deleted at the trust service and begun anew. You would be asked about"))?;
    for named in names {
        data(format_args!("  {} {}", harmless(named.0), digest(named)))?;
    }
    for role in signers {
        data(format_args!("  the signer {}", harmless(short(&role.role))))?;
    }
    data("Nothing was changed: add --apply to do it")
}

fn confirm(command: &Recover, gun: &Gun, confirmed: &Confirmed, names: usize, signers: usize) -> Result<(), CliError> {
    let question = format!(
        "{gun} is about to be deleted at the trust service and begun anew with another root. {} of {names} tag(s) are signed anew, \
         {} of {signers} signer(s) stay.\nEverybody who has seen the old root refuses the image until they do what they are told. Go on?",
        confirmed.names.len(),
        confirmed.described.len()
    );
    if command.yes || Voice::Native.confirms(question) {
        return Ok(());
    }
    Err(CliError::user("nothing was changed: not confirmed"))
}

fn decided(
    command: &Recover,
    client: &CollectionClient<'_>,
    view: &Collection,
    confirmed: &Confirmed,
) -> Result<Journal, CliError> {
    let root_keys = match command.root_key {
        Some(id) => vec![id],
        None if command.new_root_key => vec![client.make_root_key()?],
        None => client.present_root_key()?.into_iter().collect(),
    };
    // A key that cannot be opened is noticed before anything is taken away.
    for id in &root_keys {
        client.check_root_key(id)?;
    }
    let root_keys = if root_keys.is_empty() { vec![client.make_root_key()?] } else { root_keys };
    let mut snapshot = Holder::Service;
    for id in crate::command::key::rotate::keys_of(view, &RoleName::Snapshot) {
        if client.keys().find(&id)?.is_some() {
            snapshot = Holder::Client;
        }
    }
    let old = view.root().trusted(&RoleName::Root).map(|keys| keys.key_ids.clone()).unwrap_or_default();
    let dropped = released_names(view).into_keys().filter(|name| !confirmed.names.contains_key(name)).collect();
    Ok(Journal { old, root_keys, snapshot, changes: carried_over(view, confirmed), dropped })
}

fn signed_anew(journal: &Journal) -> Vec<&str> {
    let names = journal.changes.iter().filter(|change| matches!(change, Change::AddTarget { .. }));
    names.map(Change::path).collect()
}

fn log(context: &Context, collection: &Collection, journal: &Journal) -> Result<(), CliError> {
    record(context, collection, &RoleName::Root)?;
    for name in signed_anew(journal) {
        if let Ok(tag) = ReleasedTag::find(collection, name) {
            context.audit.done(Action::Sign, collection.gun().as_str(), &tag, "was signed anew")?;
        }
    }
    for name in &journal.dropped {
        context.audit.revoked(collection.gun().as_str(), name)?;
    }
    Ok(())
}

fn tell(command: &Recover, context: &Context, collection: &Collection, journal: &Journal) -> Result<(), CliError> {
    let gun = collection.gun();
    let new: Vec<KeyId> =
        collection.root().trusted(&RoleName::Root).map(|keys| keys.key_ids.clone()).unwrap_or_default();
    let text = notice(gun, &journal.old, &new, context.now);
    if let Some(file) = &command.notice {
        fs_err::write(file, &text).map_err(|error| CliError::new(Kind::Local, error))?;
    }
    let known = crate::command::key::archive::known_backups();
    for role in [RoleName::Root, RoleName::Targets] {
        for id in crate::command::key::rotate::keys_of(collection, &role) {
            let backed_up = known.as_ref().is_some_and(|known| matches!(known.latest_with(&id), Ok(Some(_))));
            if !backed_up {
                hint(format_args!(
                    "the {role} key {id:.7} is in no known backup: countersign key backup FILE --key {id}"
                ));
            }
        }
    }
    let kept = signers(collection);
    if command.format == Format::Json {
        let ids = |ids: &[KeyId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        let members = BTreeMap::from([
            ("gun", json!(gun.to_string())),
            ("applied", json!(true)),
            ("oldRoot", json!(ids(&journal.old))),
            ("newRoot", json!(ids(&new))),
            ("signedAnew", json!(signed_anew(journal))),
            ("releasedNoMore", json!(journal.dropped)),
            ("signers", json!(kept.iter().map(|role| role.role.as_str()).collect::<Vec<_>>())),
            ("notice", json!(text)),
        ]);
        return data(json!(members));
    }
    data(format_args!("Began {gun} anew"))?;
    for id in &new {
        data(format_args!("  root key, to be pinned: {id}"))?;
    }
    for name in signed_anew(journal) {
        data(format_args!("  signed anew: {}", harmless(name)))?;
    }
    for name in &journal.dropped {
        data(format_args!("  released no more: {}", harmless(name)))?;
    }
    for role in &kept {
        data(format_args!("  signer: {}", harmless(short(&role.role))))?;
    }
    data("What everybody has to be told:\n")?;
    data(text.trim_end())
}
