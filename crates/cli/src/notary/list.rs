//! `notary list` and `notary lookup`: what is signed.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::{Invocation, parse_gun};
use super::table::Columns;
use super::{print, record};
use crate::notes;
use countersign_notary::Access;
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::{Found, RoleName};
use std::collections::BTreeMap;

/// Lists every name.
pub(super) async fn list(invocation: &Invocation) -> Result<(), Failure> {
    let gun = invocation.gun()?;
    let session = Session::open(invocation, gun, Reach::Service)?;
    let asked = invocation.values("roles");
    let roles: Vec<RoleName> =
        asked.iter().filter_map(|text| RoleName::parse(text).ok()).filter(RoleName::lists_targets).collect();
    let (mut found, collection) = session.at_service(Access::Read, async |client| client.list(&roles).await).await?;
    notes::show(&collection);
    if !asked.is_empty() && roles.is_empty() {
        // Roles that cannot hold names have none.
        found.clear();
    }
    if found.is_empty() {
        return print("\nNo targets present in this repository.\n\n");
    }
    print(listing(&found))
}

/// Lays out what may be a hundred thousand names without a copy of each.
fn listing(found: &BTreeMap<String, Found>) -> String {
    let mut columns = Columns::headed(["NAME", "DIGEST", "SIZE (BYTES)", "ROLE"]);
    let digest = |found: &Found| found.meta.sha256.map(|hash| hash.hex()).unwrap_or_default();
    for (name, row) in found {
        columns.measure([name, &digest(row), &row.meta.length.to_string(), row.role.as_str()]);
    }
    let mut text = columns.head();
    for (name, row) in found {
        columns.line([name, &digest(row), &row.meta.length.to_string(), row.role.as_str()], &mut text);
    }
    text
}

/// Shows what one name stands for.
pub(super) async fn lookup(invocation: &Invocation) -> Result<(), Failure> {
    let [gun, name] = invocation.first("Must specify a GUN and target")?;
    let session = Session::open(invocation, parse_gun(gun)?, Reach::Service)?;
    let outcome = session.at_service(Access::Read, async |client| client.lookup(name, &[]).await).await;
    let (found, collection) = outcome.map_err(|failure| record::not_verified(&session, name, failure))?;
    notes::show(&collection);
    record::verified(&session, &collection, name, &found)?;
    let (digest, length) = (digest(&found.meta), found.meta.length);
    print(format_args!("{} {digest} {length}\n", crate::output::harmless(name)))
}

fn digest(meta: &FileMeta) -> String {
    match (meta.sha256, meta.sha512) {
        (Some(hash), _) => format!("sha256:{}", hash.hex()),
        (None, Some(hash)) => format!("sha512:{}", hash.hex()),
        (None, None) => String::new(),
    }
}
