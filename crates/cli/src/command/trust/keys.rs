//! Which keys of this machine would sign, as far as the cached metadata tells.

use crate::error::CliError;
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::RoleName;
use countersign_tuf::metadata::{DelegatedRole, Root, Targets};
use countersign_vault::{KeyEntry, KeyStore};
use serde_json::{Value, json};

/// The keys that would sign.
#[derive(Debug)]
pub(super) struct SigningKeys {
    /// Each role with its keys that are here.
    roles: Vec<(String, Vec<String>)>,
    /// What is to be said where that is not the whole answer.
    remark: Option<String>,
}

impl SigningKeys {
    /// Finds the keys, by docker's convention: with delegations their signers' keys, otherwise the repository key; for a
    /// collection that is not known the root key that a new one would get.
    pub(super) fn find(
        store: &KeyStore,
        root: Option<&Root>,
        targets: Option<&Targets>,
        tag: Option<&str>,
    ) -> Result<Self, CliError> {
        let keys = store.list()?.keys;
        let Some(root) = root else { return Ok(Self::of_new(&keys)) };
        let here = |ids: &mut dyn Iterator<Item = &PublicKey>| -> Vec<String> {
            let ids: Vec<KeyId> = ids.map(PublicKey::canonical_id).collect();
            let mut found: Vec<String> =
                ids.iter().filter(|id| keys.iter().any(|key| key.id == **id)).map(ToString::to_string).collect();
            found.dedup();
            found
        };
        let delegations: Vec<&DelegatedRole> = targets.into_iter().flat_map(|file| file.delegations.iter()).collect();
        if delegations.is_empty() {
            let ids = root.trusted(&RoleName::Targets).map(|role| role.key_ids.as_slice()).unwrap_or_default();
            let found = here(&mut ids.iter().filter_map(|id| root.keys.get(id)));
            let remark = found.is_empty().then(|| "the repository key (targets) is not here".to_owned());
            let roles = if found.is_empty() { Vec::new() } else { vec![("targets".to_owned(), found)] };
            return Ok(Self { roles, remark });
        }
        let covers =
            |role: &&&DelegatedRole| tag.is_none_or(|tag| role.paths.iter().any(|path| tag.starts_with(&**path)));
        let mut roles = Vec::new();
        for role in delegations.iter().filter(covers) {
            let all = targets.map(|file| &file.delegations.keys);
            let found = here(&mut role.keys.key_ids.iter().filter_map(|id| all?.get(id)));
            if !found.is_empty() {
                roles.push((role.name.to_string(), found));
            }
        }
        let names: Vec<String> = delegations.iter().map(|role| role.name.to_string()).collect();
        let remark = roles.is_empty().then(|| format!("no key here may sign this; signers are {}", names.join(", ")));
        Ok(Self { roles, remark })
    }

    fn of_new(keys: &[KeyEntry]) -> Self {
        let first = keys.iter().filter(|key| key.role == "root").map(|key| key.id).min();
        let root_key = match first {
            Some(id) => format!("the root key {id}"),
            None => "a new root key".to_owned(),
        };
        let remark = format!("signing would make the collection, with {root_key} and a new repository key");
        Self { roles: Vec::new(), remark: Some(remark) }
    }

    /// Describes the keys for people.
    pub(super) fn lines(&self) -> Vec<String> {
        let roles = self.roles.iter().map(|(role, keys)| format!("{role} with key {}", keys.join(", ")));
        roles.chain(self.remark.clone()).collect()
    }

    /// Describes the keys for programs.
    pub(super) fn json(&self) -> Value {
        Value::from(self.roles.iter().map(|(role, keys)| json!({ "role": role, "keys": keys })).collect::<Vec<_>>())
    }
}
