//! Target names: staging them, and finding out what they stand for.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::request_error::RequestError;
use bytes::Bytes;
use countersign_tuf::json::Canonical;
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::update::Purpose;
use countersign_tuf::{Change, Collection, Found, RoleName};
use std::collections::BTreeMap;

/// Brings custom data of a target into the canonical form in which it is signed.
///
/// The reference signs it as it came and then cannot publish it unless it happens to be canonical.
///
/// # Errors
/// The text is not JSON, or holds what canonical JSON has not: fractions for example.
pub fn canonical_custom(json: &[u8]) -> Result<Bytes, RequestError> {
    let canonical = Canonical::read(&Bytes::copy_from_slice(json)).map_err(RequestError::Custom)?;
    Ok(Bytes::copy_from_slice(canonical.as_bytes()))
}

impl CollectionClient<'_> {
    /// Stages that a name stands for something, in each of these roles; with none in `targets`.
    ///
    /// # Errors
    /// A role cannot hold targets; the list cannot be written.
    pub fn stage_target(&self, name: &str, meta: &FileMeta, roles: &[RoleName]) -> Result<(), TrustError> {
        let add = |role: &RoleName| Change::AddTarget { role: role.clone(), name: name.to_owned(), meta: meta.clone() };
        self.stage_in(roles, add)
    }

    /// Stages that a name is removed, from each of these roles; with none from `targets`.
    ///
    /// # Errors
    /// A role cannot hold targets; the list cannot be written.
    pub fn stage_target_removal(&self, name: &str, roles: &[RoleName]) -> Result<(), TrustError> {
        self.stage_in(roles, |role| Change::RemoveTarget { role: role.clone(), name: name.to_owned() })
    }

    fn stage_in(&self, roles: &[RoleName], change: impl Fn(&RoleName) -> Change) -> Result<(), TrustError> {
        let roles = or_targets(roles);
        if let Some(role) = roles.iter().find(|role| !role.lists_targets()) {
            return Err(RequestError::NoTargetsRole(role.clone()).into());
        }
        self.stage(&roles.iter().map(change).collect::<Vec<_>>())
    }

    /// Lists every name of the subtrees of these roles, with the role that answers for it; with no role from `targets`
    /// down. Of several that have a name the role asked first wins (Notary protocol, reading targets).
    ///
    /// Works from the cache when the service is away and the cached timestamp has not expired.
    ///
    /// # Errors
    /// The collection cannot be verified.
    pub async fn list(&self, roles: &[RoleName]) -> Result<(BTreeMap<String, Found>, Collection), TrustError> {
        let collection = self.update(Purpose::Read).await?;
        Ok((collection.list(&or_targets(roles)), collection))
    }

    /// Looks a name up in the subtrees of these roles, with no role from `targets` down; the first that has it wins.
    ///
    /// # Errors
    /// The collection cannot be verified, nobody has the name, or a role that comes first cannot be verified.
    pub async fn lookup(&self, name: &str, roles: &[RoleName]) -> Result<(Found, Collection), TrustError> {
        let collection = self.update(Purpose::Read).await?;
        Ok((collection.get(name, &or_targets(roles))?, collection))
    }
}

fn or_targets(roles: &[RoleName]) -> Vec<RoleName> {
    if roles.is_empty() { vec![RoleName::Targets] } else { roles.to_vec() }
}
