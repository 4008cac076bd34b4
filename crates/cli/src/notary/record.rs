//! What the client's commands write down in the audit log.

use super::context::Session;
use super::failure::Failure;
use crate::audit::{Action, Entry};
use countersign_crypto::KeyId;
use countersign_trust::Source;
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::{Change, Collection, Found, RoleName};

/// Writes down that a name was verified.
pub(super) fn verified(session: &Session, collection: &Collection, name: &str, found: &Found) -> Result<(), Failure> {
    let (digest, keys) = (digest(&found.meta), keys(collection, &found.role));
    let entry = Entry { action: Action::Verify, name, digest, keys, source: Source::of(collection) };
    Ok(session.shared().audit.entry(session.gun().as_str(), &entry, "was verified")?)
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
    let write = |action, name, digest, role: &RoleName, done| {
        let entry = Entry { action, name, digest, keys: keys(collection, role), source: Source::Service };
        session.shared().audit.entry(session.gun().as_str(), &entry, done)
    };
    for change in changes {
        match change {
            Change::AddTarget { role, name, meta } => write(Action::Sign, name, digest(meta), role, "was signed")?,
            Change::RemoveTarget { role, name } => write(Action::Revoke, name, None, role, "was removed")?,
            Change::CreateDelegation { role, .. }
            | Change::UpdateDelegation { role, .. }
            | Change::PurgeKeys { below: role, .. }
            | Change::DeleteDelegation { role }
            | Change::Witness { role }
            | Change::ReplaceKeys { role, .. } => write(Action::Sign, role.as_str(), None, role, "was changed")?,
        }
    }
    Ok(())
}

/// Writes down that a role's keys were replaced.
pub(super) fn rotated(session: &Session, collection: &Collection, role: &RoleName) -> Result<(), Failure> {
    published(session, collection, &[Change::ReplaceKeys { role: role.clone(), keys: Vec::new() }])
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
