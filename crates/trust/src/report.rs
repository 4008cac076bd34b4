//! Who signed what: the data that `inspect` prints, as docker orders it.

use crate::signing::{check_releasing, is_releasing};
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Collection, LookupError, RoleName};
use serde::Serialize;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// The report about one collection; the JSON members are docker's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// The name as it was asked for.
    pub name: String,
    /// The released tags in natural order.
    pub signed_tags: Vec<SignedTag>,
    /// The signers and their keys (canonical ids), names descending.
    pub signers: Vec<Owner>,
    /// The root and repository keys.
    pub administrative_keys: Vec<Owner>,
}

/// One released tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct SignedTag {
    /// The tag.
    pub signed_tag: String,
    /// The digest in hexadecimal.
    pub digest: String,
    /// Who signed it, in the order of the delegations.
    pub signers: Vec<Cow<'static, str>>,
}

/// Somebody and their keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Owner {
    /// Who.
    pub name: String,
    /// The keys.
    pub keys: Vec<Key>,
}

/// A key's id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// The id.
    #[serde(rename = "ID")]
    pub id: String,
}

/// What docker calls whoever holds the repository key.
pub const REPOSITORY_ADMINISTRATOR: &str = "Repo Admin";

impl Report {
    /// Makes the report about a collection, or about one tag of it.
    ///
    /// # Errors
    /// A role that releases tags cannot be verified: what the others release may be older.
    pub fn new(name: &str, collection: &Collection, tag: Option<&str>) -> Result<Self, LookupError> {
        check_releasing(collection, tag)?;
        Ok(Self {
            name: name.to_owned(),
            signed_tags: signed_tags(collection, tag),
            signers: signers(collection),
            administrative_keys: administrative_keys(collection),
        })
    }
}

/// One row per released pair of tag and digest; its signers are all other roles that say the same.
fn signed_tags(collection: &Collection, only: Option<&str>) -> Vec<SignedTag> {
    type Row = (bool, Vec<Cow<'static, str>>);
    let mut rows: BTreeMap<(String, Sha256Digest), Row> = BTreeMap::new();
    for (role, paths) in collection.roles() {
        let Some(file) = collection.targets(&role) else { continue };
        let mut enter = |name: &str, sha256: Option<Sha256Digest>| {
            let Some(sha256) = sha256.filter(|_| paths.allow(name)) else { return };
            let row = rows.entry((name.to_owned(), sha256)).or_default();
            if is_releasing(&role) {
                row.0 = true;
            } else {
                row.1.push(signer(&role).into());
            }
        };
        match only {
            Some(tag) => enter(tag, file.entries.get(tag).and_then(|meta| meta.sha256)),
            None => file.entries.iter().for_each(|(name, meta)| enter(&name, meta.sha256)),
        }
    }
    let released = rows.into_iter().filter(|(_, (released, _))| *released);
    let mut tags: Vec<SignedTag> = released
        .map(|((signed_tag, sha256), (_, mut signers))| {
            if signers.is_empty() {
                signers.push(REPOSITORY_ADMINISTRATOR.into());
            }
            SignedTag { signed_tag, digest: sha256.hex(), signers }
        })
        .collect();
    // The tags of one name are in the order of their digests already, and stay so.
    tags.sort_by_cached_key(|tag| natural_key(&tag.signed_tag));
    tags
}

/// Returns what docker calls the holder of a delegation: its name without the leading `targets/`.
fn signer(role: &RoleName) -> String {
    role.as_str().strip_prefix("targets/").unwrap_or(role.as_str()).to_owned()
}

fn signers(collection: &Collection) -> Vec<Owner> {
    let mut owners = Vec::new();
    for (_, file) in collection.all_targets() {
        for role in file.delegations.iter().filter(|role| !is_releasing(&role.name)) {
            let keys = role.keys.key_ids.iter().filter_map(|id| file.delegations.keys.get(id));
            let keys: BTreeSet<Key> = keys.map(|key| Key { id: key.canonical_id().to_string() }).collect();
            owners.push(Owner { name: signer(&role.name), keys: keys.into_iter().collect() });
        }
    }
    owners.sort_by(|a, b| b.name.cmp(&a.name));
    owners
}

fn administrative_keys(collection: &Collection) -> Vec<Owner> {
    [("Root", RoleName::Root), ("Repository", RoleName::Targets)]
        .into_iter()
        .map(|(name, role)| {
            let ids = collection.root().trusted(&role).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
            Owner { name: name.to_owned(), keys: ids.iter().map(|id| Key { id: id.to_string() }).collect() }
        })
        .collect()
}

/// Compares names so that numbers in them count as numbers: `1.9` before `1.10`, as docker sorts tags.
#[must_use]
pub fn natural(a: &str, b: &str) -> Ordering {
    natural_key(a).cmp(&natural_key(b))
}

/// Returns what sorts as its text does in natural order, byte by byte.
///
/// A number becomes a digit, for what is no number to be compared with, and then its length without leading zeros, its
/// digits, and how many digits it has with them.
fn natural_key(text: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(text.len() + 16);
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = leading_digits(rest);
        if digits == 0 {
            key.push(*first);
            rest = behind;
            continue;
        }
        let (number, behind) = rest.split_at(digits);
        let plain = without_zeros(number);
        key.push(b'0');
        key.extend(plain.len().to_be_bytes());
        key.extend(plain);
        key.extend(digits.to_be_bytes());
        rest = behind;
    }
    key
}

fn leading_digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn without_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|byte| **byte == b'0').count();
    digits.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_in_natural_order() {
        let mut tags = ["v10", "1.10", "a", "v2", "V3", "1.9", "1.9.0"];
        tags.sort_by(|a, b| natural(a, b));
        assert_eq!(tags, ["1.9", "1.9.0", "1.10", "V3", "a", "v2", "v10"]);
    }

    #[test]
    fn only_the_first_segment_of_a_role_is_left_out_of_the_signer() {
        for (role, name) in [("targets/bob", "bob"), ("targets/targets/bob", "targets/bob"), ("targets/a/b", "a/b")] {
            assert_eq!(signer(&RoleName::parse(role).unwrap()), name);
        }
    }

    #[test]
    fn numbers_of_any_length_have_an_order() {
        let long = "9".repeat(400);
        assert_eq!(natural(&format!("v{long}"), "v1"), Ordering::Greater);
        assert_eq!(natural("01", "1"), Ordering::Greater);
        assert_eq!(natural("", ""), Ordering::Equal);
    }
}
