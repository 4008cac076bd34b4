//! What the client's commands write down in the audit log.

use super::context::Session;
use super::failure::Failure;
use crate::audit::Action;
use countersign_crypto::KeyId;
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::{Change, Collection, Found, RoleName};

/// Writes down that a name was verified.
pub(super) fn verified(session: &Session, collection: &Collection, name: &str, found: &Found) -> Result<(), Failure> {
    let gun = session.gun().as_str();
    let (digest, keys) = (digest(&found.meta), keys(collection, &found.role));
    Ok(session.shared().audit.entry(Action::Verify, gun, name, digest, &keys, "was verified")?)
}

/// Writes down why a name was not verified, and hands the failure on.
pub(super) fn not_verified(session: &Session, name: &str, failure: Failure) -> Failure {
    failure.map(|error| session.shared().audit.refused(Action::Verify, session.gun().as_str(), name, error))
}

/// Writes down why nothing was published, and hands the failure on.
pub(super) fn not_published(session: &Session, failure: Failure) -> Failure {
    failure.map(|error| session.shared().audit.refused(Action::Sign, session.gun().as_str(), "", error))
}

/// Writes down each change that was published; a change of no name is written down under its role's.
pub(super) fn published(session: &Session, collection: &Collection, changes: &[Change]) -> Result<(), Failure> {
    let (audit, gun) = (&session.shared().audit, session.gun().as_str());
    for change in changes {
        match change {
            Change::AddTarget { role, name, meta } => {
                audit.entry(Action::Sign, gun, name, digest(meta), &keys(collection, role), "was signed")?;
            }
            Change::RemoveTarget { role, name } => {
                audit.entry(Action::Revoke, gun, name, None, &keys(collection, role), "was removed")?;
            }
            Change::CreateDelegation { role, .. }
            | Change::UpdateDelegation { role, .. }
            | Change::PurgeKeys { below: role, .. }
            | Change::DeleteDelegation { role }
            | Change::Witness { role }
            | Change::ReplaceKeys { role, .. } => rotated(session, collection, role)?,
        }
    }
    Ok(())
}

/// Writes down that a role was changed.
pub(super) fn rotated(session: &Session, collection: &Collection, role: &RoleName) -> Result<(), Failure> {
    let gun = session.gun().as_str();
    let keys = keys(collection, role);
    Ok(session.shared().audit.entry(Action::Sign, gun, role.as_str(), None, &keys, "was changed")?)
}

fn digest(meta: &FileMeta) -> Option<String> {
    let sha256 = meta.sha256.map(|hash| format!("sha256:{}", hash.hex()));
    sha256.or_else(|| meta.sha512.map(|hash| format!("sha512:{}", hash.hex())))
}

/// Returns the keys that signed a role's file.
fn keys(collection: &Collection, role: &RoleName) -> Vec<KeyId> {
    match role {
        RoleName::Root => collection.root().signers().collect(),
        role => collection.targets(role).map(|file| file.signers().collect()).unwrap_or_default(),
    }
}
