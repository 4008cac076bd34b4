//! `notary list` and `notary lookup`: what is signed.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::{Invocation, parse_gun};
use super::table::table;
use super::{print, record};
use crate::notes;
use countersign_notary::Access;
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::{Found, RoleName};

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
    let row = |(name, Found { role, meta }): (String, Found)| {
        let digest = meta.sha256.map(|hash| hash.hex()).unwrap_or_default();
        [name, digest, meta.length.to_string(), role.to_string()]
    };
    let rows: Vec<[String; 4]> = found.into_iter().map(row).collect();
    print(table(["NAME", "DIGEST", "SIZE (BYTES)", "ROLE"], &rows))
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
