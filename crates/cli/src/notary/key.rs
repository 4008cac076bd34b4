//! `notary key …`: private keys.

mod generate;
mod rotate;
mod transfer;

pub(super) use generate::generate;
pub(super) use rotate::rotate;
pub(super) use transfer::{export, import};

use super::context::Keys;
use super::failure::Failure;
use super::invocation::Invocation;
use super::print;
use super::table::table;
use crate::output::{harmless, message};
use crate::prompt::Voice;
use countersign_crypto::KeyId;
use countersign_vault::KeyStoreError;

/// Most characters of a collection's name that are shown.
const GUN_WIDTH: usize = 25;
/// Most characters of a place that are shown.
const LOCATION_WIDTH: usize = 40;
/// Length of a key id.
const ID_LENGTH: usize = 64;

/// Lists the keys: root keys first, then by collection, role and id.
pub(super) fn list(invocation: &Invocation) -> Result<(), Failure> {
    if !invocation.arguments().is_empty() {
        return Err(invocation.refuse(""));
    }
    let keys = Keys::open(invocation)?;
    let listing = keys.store().list()?;
    for skipped in &listing.skipped {
        let (path, reason) = (skipped.path.display().to_string(), skipped.reason.to_string());
        message(format_args!("skipped {}: {}", harmless(&path), harmless(&reason)));
    }
    if listing.keys.is_empty() {
        return print("\nNo signing keys found.\n\n");
    }
    let mut entries = listing.keys;
    entries
        .sort_by_key(|key| (key.role != "root", key.gun.as_ref().map(ToString::to_string), key.role.clone(), key.id));
    let location = shortened(&keys.location(), LOCATION_WIDTH);
    let row = |key: countersign_vault::KeyEntry| {
        let location = match key.token.as_ref().filter(|_| !key.has_file()) {
            Some(token) => harmless(&format!("token {}", token.label)),
            None => location.clone(),
        };
        let gun = key.gun.map(|gun| shortened(gun.as_str(), GUN_WIDTH)).unwrap_or_default();
        [key.role, gun, key.id.to_string(), location]
    };
    let rows: Vec<[String; 4]> = entries.into_iter().map(row).collect();
    print(format_args!("\n{}\n", table(["ROLE", "GUN", "KEY ID", "LOCATION"], &rows)))
}

/// Replaces the front of a long text by dots.
fn shortened(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let end: String = text.chars().skip(length - width + 3).collect();
    format!("...{end}")
}

/// Reads the key id that the first argument is.
fn id_of(invocation: &Invocation, wanted: &str) -> Result<(String, Option<KeyId>), Failure> {
    let [text] = invocation.first(wanted)?;
    if text.len() != ID_LENGTH {
        return Err(Failure::user(format!("invalid key ID provided: {text}")));
    }
    Ok((text.to_owned(), text.parse().ok()))
}

/// Removes a key, if the caller says yes.
pub(super) fn remove(invocation: &Invocation) -> Result<(), Failure> {
    let (text, id) = id_of(invocation, "must specify the key ID of the key to remove")?;
    let keys = Keys::open(invocation)?;
    print("\n")?;
    let found = id.map_or(Ok(None), |id| keys.store().find(&id))?;
    let Some(entry) = found else {
        print("\n")?;
        return Err(Failure::user(format!("No key with ID {text} found")));
    };
    let location = entry
        .token
        .as_ref()
        .filter(|_| !entry.has_file())
        .map_or_else(|| keys.location(), |token| format!("token {token}"));
    let (role, location) = (harmless(&entry.role), harmless(&location));
    let question = format!("Are you sure you want to remove {text} (role {role}) from {location}?  (yes/no)  ");
    if !Voice::Notary.confirms(question) {
        print("\nAborting action.\n\n")?;
        return Err(Failure::called_off());
    }
    if entry.has_file() {
        keys.store().remove(&entry.id)?;
    } else {
        keys.store().delete_on_token(&entry.id, keys.passphrases())?;
    }
    print(format_args!("\nDeleted {text} (role {role}) from {location}.\n\n"))
}

/// Changes a key's passphrase.
pub(super) fn passwd(invocation: &Invocation) -> Result<(), Failure> {
    let (text, id) = id_of(invocation, "must specify the key ID of the key to change the passphrase of")?;
    let keys = Keys::open(invocation)?;
    let missing = || Failure::local(format!("could not retrieve local key for key ID provided: {text}"));
    let id = id.ok_or_else(missing)?;
    keys.store().change_passphrase(&id, keys.passphrases(), &keys.new_passphrases()).map_err(|error| match &error {
        KeyStoreError::NotFound { .. } => missing(),
        KeyStoreError::PassphraseInvalid { .. } => missing().hint(error.to_string()),
        _ => error.into(),
    })?;
    print(format_args!("\nSuccessfully updated passphrase for key ID: {text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_lose_their_front() {
        assert_eq!(shortened("example.test/app", GUN_WIDTH), "example.test/app");
        let long = shortened("registry.example.com:5000/team/app", GUN_WIDTH);
        assert_eq!((long.as_str(), long.len()), ("...mple.com:5000/team/app", GUN_WIDTH));
    }
}
