//! Taking signatures back.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::publish::Published;
use crate::signing::ReleasedTag;
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::{Change, Collection, LookupError, RoleName};
use std::collections::BTreeSet;

/// What became of a revocation.
#[derive(Debug)]
pub struct Revoked {
    /// The names that are released no more.
    pub names: BTreeSet<String>,
    /// The verified view that proves it.
    pub collection: Collection,
}

impl CollectionClient<'_> {
    /// Removes a tag, or with none every released tag, wherever it is released.
    ///
    /// Docker removes from the roles it would sign with and may leave a tag valid in `targets`. Here a tag that would stay
    /// valid is an error, and nothing is published.
    ///
    /// # Errors
    /// There is nothing to remove, or a role that releases a tag cannot be signed here.
    pub async fn revoke(&self, name: Option<&str>) -> Result<Revoked, TrustError> {
        let names = std::cell::RefCell::new(BTreeSet::new());
        let published = self
            .publish(&|base| {
                let collection = base.ok_or_else(|| TrustError::NothingSigned(self.gun().clone()))?;
                let wanted = wanted(collection, name)?;
                let changes = self.removals(collection, &wanted)?;
                *names.borrow_mut() = wanted;
                Ok(changes)
            })
            .await?;
        let collection = match published {
            Published::Stored { collection, .. } | Published::Unchanged(collection) => *collection,
        };
        let names = names.into_inner();
        for name in &names {
            if let Ok(tag) = ReleasedTag::find(&collection, name) {
                return Err(TrustError::StaysReleased { name: name.clone(), role: tag.role });
            }
        }
        Ok(Revoked { names, collection })
    }

    fn removals(&self, collection: &Collection, names: &BTreeSet<String>) -> Result<Vec<Change>, TrustError> {
        let mut changes = Vec::new();
        for (role, file) in collection.all_targets() {
            let held: Vec<&String> = names.iter().filter(|name| file.entries.get(name).is_some()).collect();
            let Some(name) = held.first() else { continue };
            if self.can_sign(collection, role)? {
                let remove = |name: &String| Change::RemoveTarget { role: role.clone(), name: name.clone() };
                changes.extend(held.into_iter().map(remove));
            } else if releases_itself(role) {
                return Err(TrustError::StaysReleased { name: (*name).clone(), role: role.clone() });
            }
        }
        Ok(changes)
    }

    fn can_sign(&self, collection: &Collection, role: &RoleName) -> Result<bool, TrustError> {
        let keys: Vec<&PublicKey> = match role.parent().and_then(|parent| collection.targets(&parent)) {
            Some(parent) => {
                let described =
                    parent.delegations.get(role).map(|role| role.keys.key_ids.as_slice()).unwrap_or_default();
                described.iter().filter_map(|id| parent.delegations.keys.get(id)).collect()
            }
            None => {
                let root = collection.root();
                let ids = root.trusted(role).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
                ids.iter().filter_map(|id| root.keys.get(id)).collect()
            }
        };
        let ids: Vec<KeyId> = keys.into_iter().map(PublicKey::canonical_id).collect();
        self.has_any_key(&ids)
    }
}

/// Tells whether a role by itself makes a tag valid for those who pull.
fn releases_itself(role: &RoleName) -> bool {
    *role == RoleName::Targets || role.as_str() == "targets/releases" || role.as_str().starts_with("targets/releases/")
}

fn wanted(collection: &Collection, name: Option<&str>) -> Result<BTreeSet<String>, TrustError> {
    if let Some(name) = name {
        ReleasedTag::find(collection, name)?;
        return Ok(BTreeSet::from([name.to_owned()]));
    }
    let released = collection.all_targets().filter(|(role, _)| releases_itself(role));
    let names: BTreeSet<String> = released
        .flat_map(|(_, file)| file.entries.iter().map(|(name, _)| name.into_owned()).collect::<Vec<_>>())
        .collect();
    if names.is_empty() {
        return Err(TrustError::NothingSigned(collection.gun().clone()));
    }
    names.iter().try_for_each(|name| match ReleasedTag::find(collection, name) {
        Err(error @ TrustError::Lookup(LookupError::Broken { .. })) => Err(error),
        _ => Ok(()),
    })?;
    Ok(names)
}
