//! `notary status` and `notary reset`: what waits for the next publication.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::Invocation;
use super::print;
use super::table::table;
use countersign_trust::Unstage;
use countersign_tuf::{Change, RoleName};

/// Lists the staged changes.
pub(super) fn status(invocation: &Invocation) -> Result<(), Failure> {
    let gun = invocation.gun()?;
    let session = Session::open(invocation, gun.clone(), Reach::Local)?;
    let staged = session.here()?.staged()?;
    for skipped in &staged.skipped {
        let path = skipped.path.display().to_string();
        crate::output::message(format_args!("warning: {} is no change", crate::output::harmless(&path)));
    }
    if staged.entries.is_empty() {
        return print(format_args!("No unpublished changes for {gun}\n"));
    }
    let row = |entry: &countersign_trust::StagedEntry| {
        let number = entry.number.to_string();
        match &entry.change {
            Ok(change) => {
                let (action, scope, kind, path) = described(change);
                [number, action.to_owned(), scope, kind.to_owned(), path]
            }
            Err(error) => [number, "?".to_owned(), "?".to_owned(), "?".to_owned(), format!("{}: {error}", entry.id)],
        }
    };
    let rows: Vec<[String; 5]> = staged.entries.iter().map(row).collect();
    print(format_args!("Unpublished changes for {gun}:\n\n{}", table(["#", "ACTION", "SCOPE", "TYPE", "PATH"], &rows)))
}

/// Returns a change's action, scope, type and path, in the words of its file.
fn described(change: &Change) -> (&'static str, String, &'static str, String) {
    let text = RoleName::to_string;
    match change {
        Change::AddTarget { role, name, .. } => ("create", text(role), "target", name.clone()),
        Change::RemoveTarget { role, name } => ("delete", text(role), "target", name.clone()),
        Change::CreateDelegation { role, .. } => ("create", text(role), "delegation", String::new()),
        Change::UpdateDelegation { role, .. } => ("update", text(role), "delegation", String::new()),
        Change::PurgeKeys { below, .. } => ("update", format!("{below}/*"), "delegation", String::new()),
        Change::DeleteDelegation { role } => ("delete", text(role), "delegation", String::new()),
        Change::Witness { role } => ("update", text(role), "witness", String::new()),
        Change::ReplaceKeys { role, .. } => ("create", "root".to_owned(), "role", text(role)),
    }
}

/// Takes changes out of the list; numbers that are not there are passed over, as by the reference.
pub(super) fn reset(invocation: &Invocation) -> Result<(), Failure> {
    let [gun] = invocation.first("Must specify a GUN")?;
    let numbers: Vec<usize> = invocation.values("number").iter().filter_map(|text| text.parse().ok()).collect();
    let which = match (invocation.is_on("all"), invocation.parsed.was_set("number")) {
        (true, _) => Unstage::All,
        (false, true) => Unstage::Numbers(&numbers),
        (false, false) => return Err(invocation.refuse("Must specify changes to reset with -n or the --all flag")),
    };
    let gun = super::invocation::parse_gun(gun)?;
    let session = Session::open(invocation, gun.clone(), Reach::Local)?;
    session.here()?.unstage(which)?;
    print(format_args!("Successfully reset specified changes for repository {gun}\n"))
}
