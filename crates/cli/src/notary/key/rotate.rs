//! `notary key rotate`: new keys for a base role, published at once.

use crate::notary::context::{Reach, Session};
use crate::notary::failure::Failure;
use crate::notary::init::read_key;
use crate::notary::invocation::{Invocation, parse_gun};
use crate::notary::{print, record};
use crate::notes;
use crate::output::message;
use crate::prompt::Voice;
use countersign_notary::Access;
use countersign_trust::{Holder, LegacyRoots, NewKeys, PinsAfter, Rotated, Rotation};
use countersign_tuf::RoleName;

/// Rotates.
pub(in crate::notary) async fn rotate(invocation: &Invocation) -> Result<(), Failure> {
    let [gun, name] = invocation.first("Must specify a GUN and a key role to rotate")?;
    let session = Session::open(invocation, parse_gun(gun)?, Reach::Service)?;
    let by_service = invocation.is_on("server-managed");
    let holder = if by_service { Holder::Service } else { Holder::Client };
    let unknown = |_| Failure::user(format!("notary does not currently permit rotating the {name} key"));
    let role = RoleName::parse(name).map_err(unknown)?;
    Rotation::check(&role, holder).map_err(Failure::user)?;
    if role == RoleName::Root {
        confirm()?;
    }
    let keys = if by_service { NewKeys::OfService } else { given_keys(invocation, &session, &role)? };
    let rotation = Rotation { role, keys, legacy: legacy(invocation) };
    let outcome = session.at_service(Access::Administer, async |client| client.rotate(&rotation).await).await;
    let rotated = outcome.map_err(|failure| {
        let failure = record::not_published(&session, failure);
        if by_service && failure.is_of_network() { failure.context("unable to rotate remote key: ") } else { failure }
    })?;
    notes::show_published(rotated.base.as_deref(), &rotated.collection);
    show(&rotation.role, &rotated);
    record::rotated(&session, &rotated.collection, &rotation.role)?;
    print(format_args!("Successfully rotated {} key for repository {gun}\n", rotation.role))
}

/// Takes the keys of the files that the caller names into the store.
fn given_keys(invocation: &Invocation, session: &Session, role: &RoleName) -> Result<NewKeys, Failure> {
    let files = invocation.values("key");
    if files.is_empty() {
        return Ok(NewKeys::Generate);
    }
    let mut ids = Vec::new();
    for file in files {
        let pem = read_key(file)?;
        ids.push(session.here()?.import_key(role, &pem)?);
    }
    Ok(NewKeys::Stored(ids))
}

fn legacy(invocation: &Invocation) -> LegacyRoots {
    let number: i64 = invocation.value("legacy").and_then(|text| text.parse().ok()).unwrap_or_default();
    match u32::try_from(number) {
        Ok(0) => LegacyRoots::None,
        Ok(number) => LegacyRoots::Last(number),
        Err(_) => LegacyRoots::All,
    }
}

fn confirm() -> Result<(), Failure> {
    let question = "Warning: you are about to rotate your root key.\n\n\
         You must use your old key to sign this root rotation.\n\
         Are you sure you want to proceed?  (yes/no)  ";
    if Voice::Notary.confirms(question) {
        return Ok(());
    }
    print("\nAborting action.\n")?;
    Err(Failure::called_off())
}

fn show(role: &RoleName, rotated: &Rotated) {
    if *role == RoleName::Root {
        for key in &rotated.keys {
            message(format_args!("the new root key of {} is {}", rotated.collection.gun(), key.id()));
        }
    }
    for id in &rotated.removed {
        message(format_args!("the replaced private key {id} was removed"));
    }
    if rotated.pins == PinsAfter::MustChange {
        message(
            "warning: trust_pinning does not allow the new root key: until it does, this collection is refused here",
        );
    }
}
