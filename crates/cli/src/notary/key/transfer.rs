//! `notary key export` and `notary key import`: carrying keys from one trust directory to another.

use crate::notary::context::Keys;
use crate::notary::failure::Failure;
use crate::notary::invocation::{Invocation, parse_gun};
use crate::notary::{input, print_bytes};
use crate::output::{harmless, message};
use countersign_crypto::KeyId;
use countersign_tuf::Gun;
use countersign_vault::{ImportDefaults, KeySelection};
use std::collections::BTreeSet;

/// Writes keys as a bundle to stdout or a file.
pub(in crate::notary) fn export(invocation: &Invocation) -> Result<(), Failure> {
    if !invocation.arguments().is_empty() {
        return Err(invocation.refuse("export does not take any positional arguments"));
    }
    let (guns, ids) = (invocation.values("gun"), invocation.values("key"));
    let selection = match (guns.is_empty(), ids.is_empty()) {
        (true, true) => KeySelection::All,
        (false, true) => {
            KeySelection::Collections(guns.into_iter().map(parse_gun).collect::<Result<BTreeSet<Gun>, Failure>>()?)
        }
        (true, false) => KeySelection::Ids(ids.into_iter().map(key_id).collect::<Result<BTreeSet<KeyId>, Failure>>()?),
        (false, false) => {
            return Err(Failure::user("Only the --gun or --key flag may be provided, not a mix of the two flags"));
        }
    };
    let exported = Keys::open(invocation)?.store().export(&selection)?;
    for skipped in &exported.skipped {
        let (path, reason) = (skipped.path.display().to_string(), skipped.reason.to_string());
        message(format_args!("skipped {}: {}", harmless(&path), harmless(&reason)));
    }
    match invocation.value("output") {
        Some(path) => input::write(path, &exported.pem),
        None => print_bytes(&exported.pem),
    }
}

fn key_id(text: &str) -> Result<KeyId, Failure> {
    text.parse().map_err(|_| Failure::user(format!("invalid key ID provided: {text}")))
}

/// Takes the keys of bundles and single key files into the store.
pub(in crate::notary) fn import(invocation: &Invocation) -> Result<(), Failure> {
    let files = invocation.arguments();
    if files.is_empty() {
        return Err(invocation.refuse("must specify at least one input file to import keys from"));
    }
    let keys = Keys::open(invocation)?;
    let gun = invocation.value("gun").map(parse_gun).transpose()?;
    let defaults = ImportDefaults { role: invocation.value("role").map(str::to_owned), gun };
    let mut refused = Vec::new();
    for file in files {
        let bundle = input::read(file)?;
        let report = keys.store().import(&bundle, &defaults, keys.passphrases())?;
        for skipped in &report.skipped {
            let reason = skipped.reason.to_string();
            message(format_args!(
                "failed to import key {} of {}: {}",
                skipped.index,
                harmless(file),
                harmless(&reason)
            ));
            refused.push("invalid key pem block");
        }
    }
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::user(format!("failed to import all keys: {}", refused.join(", "))))
    }
}
