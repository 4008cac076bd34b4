//! `notary verify`: whether some data is what was signed.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::{Invocation, parse_gun};
use super::{input, print_bytes, record};
use crate::error::{CliError, Kind};
use crate::notes;
use countersign_notary::Access;
use countersign_tuf::Found;
use countersign_tuf::metadata::{FileMeta, Mismatch};
use std::io::Read;

/// Holds data against what was signed and hands it on.
pub(super) async fn run(invocation: &Invocation) -> Result<(), Failure> {
    let [gun, name] = invocation.first("Must specify a GUN and target")?;
    let session = Session::open(invocation, parse_gun(gun)?, Reach::Service)?;
    let mut payload = Vec::new();
    let read = match invocation.value("input") {
        Some(path) => input::open(path)?.read_to_end(&mut payload),
        None => std::io::stdin().lock().read_to_end(&mut payload),
    };
    read.map_err(|error| Failure::user(format!("error reading content: {error}")))?;
    let outcome = session.at_service(Access::Read, async |client| client.lookup(name, &[]).await).await;
    let (found, collection) = outcome.map_err(|failure| {
        record::not_verified(&session, name, failure)
            .context(&format!("error retrieving target by name:{name}, error:"))
    })?;
    notes::show(&collection);
    check(name, &found, &payload).map_err(|failure| record::not_verified(&session, name, failure))?;
    record::verified(&session, &collection, name, &found)?;
    if invocation.is_on("quiet") {
        return Ok(());
    }
    match invocation.value("output") {
        Some(path) => input::write(path, &payload),
        None => print_bytes(&payload),
    }
}

fn check(name: &str, found: &Found, payload: &[u8]) -> Result<(), Failure> {
    let Err(mismatch) = found.meta.check(payload) else { return Ok(()) };
    let (algorithm, expected) = match (&mismatch, &found.meta) {
        (Mismatch::Hash { algorithm, expected }, _) => (*algorithm, expected.clone()),
        (Mismatch::Length { .. }, FileMeta { sha256: Some(hash), .. }) => ("sha256", hash.hex()),
        (Mismatch::Length { .. }, meta) => ("sha512", meta.sha512.map(|hash| hash.hex()).unwrap_or_default()),
    };
    let text = format!(
        "data not present in the trusted collection, {algorithm} checksum for {name} did not match: expected {expected}"
    );
    Err(CliError::new(Kind::Trust, text).hint(mismatch.to_string()).into())
}
