//! Taking signatures back.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::publish::Published;
use crate::signing::{ReleasedTag, check_releasing, is_releasing};
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::update::UpdateError;
use countersign_tuf::{Change, Collection, RoleName};
use std::collections::BTreeSet;

/// What became of a revocation.
#[derive(Debug)]
pub struct Revoked {
    /// The names that are released no more.
    pub names: BTreeSet<String>,
    /// The verified view from which they were removed; none if that had been done before.
    pub base: Option<Box<Collection>>,
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
                let collection = base.ok_or_else(|| UpdateError::NoTrustData(self.gun().clone()))?;
                let wanted = wanted(collection, name)?;
                let changes = self.removals(collection, &wanted)?;
                *names.borrow_mut() = wanted;
                Ok(changes)
            })
            .await?;
        let (collection, base) = match published {
            Published::Stored { collection, base, .. } => (*collection, base),
            Published::Unchanged(collection) => (*collection, None),
        };
        let names = names.into_inner();
        for name in &names {
            if let Ok(tag) = ReleasedTag::find(&collection, name) {
                return Err(TrustError::StaysReleased { name: name.clone(), role: tag.role });
            }
        }
        Ok(Revoked { names, base, collection })
    }

    fn removals(&self, collection: &Collection, names: &BTreeSet<String>) -> Result<Vec<Change>, TrustError> {
        let mut changes = Vec::new();
        for (role, file) in collection.all_targets() {
            let held: Vec<&String> = names.iter().filter(|name| file.entries.get(name).is_some()).collect();
            let Some(name) = held.first() else { continue };
            if self.can_sign(collection, role)? {
                let remove = |name: &String| Change::RemoveTarget { role: role.clone(), name: name.clone() };
                changes.extend(held.into_iter().map(remove));
            } else if is_releasing(role) {
                return Err(TrustError::StaysReleased { name: (*name).clone(), role: role.clone() });
            }
        }
        Ok(changes)
    }

    fn can_sign(&self, collection: &Collection, role: &RoleName) -> Result<bool, TrustError> {
        let parent = role.parent().and_then(|parent| collection.targets(&parent));
        let (trusted, keys) = parent.map_or_else(
            || (collection.root().trusted(role), &collection.root().keys),
            |parent| (parent.delegations.get(role).map(|role| &role.keys), &parent.delegations.keys),
        );
        let ids = trusted.map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
        let ids: Vec<KeyId> = ids.iter().filter_map(|id| keys.get(id)).map(PublicKey::canonical_id).collect();
        self.has_any_key(&ids)
    }
}

fn wanted(collection: &Collection, name: Option<&str>) -> Result<BTreeSet<String>, TrustError> {
    if let Some(name) = name {
        ReleasedTag::find(collection, name)?;
        return Ok(BTreeSet::from([name.to_owned()]));
    }
    check_releasing(collection, None)?;
    let released = collection.all_targets().filter(|(role, _)| is_releasing(role));
    let names: BTreeSet<String> = released
        .flat_map(|(_, file)| file.entries.iter().map(|(name, _)| name.into_owned()).collect::<Vec<_>>())
        .collect();
    if names.is_empty() {
        return Err(TrustError::NothingSigned(collection.gun().clone()));
    }
    Ok(names)
}
