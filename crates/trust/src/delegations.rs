//! Delegations: staging who else may sign, and listing who may.

use crate::client::CollectionClient;
use crate::error::TrustError;
use crate::request_error::RequestError;
use countersign_crypto::certificate::{Certificate, Expiry};
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::update::Purpose;
use countersign_tuf::{Change, Collection, DelegationEdit, RoleName};
use jiff::Timestamp;

/// Largest file in bytes that is read as a public key or certificate.
pub const MAX_PUBLIC_KEY_FILE: usize = 256 << 10;

/// The paths in a change of a delegation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PathEdit {
    /// None are added or removed.
    #[default]
    None,
    /// Every name: added, the path that all names begin with; removed, all paths there are.
    All,
    /// These prefixes.
    Prefixes(Vec<String>),
}

/// What goes from a delegation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DelegationRemoval {
    /// The whole role.
    Role,
    /// Keys, by canonical id, and paths.
    Parts {
        /// The keys.
        keys: Vec<KeyId>,
        /// The paths.
        paths: PathEdit,
    },
}

/// A delegation as its parent describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// The role.
    pub role: RoleName,
    /// The prefixes of the names that it may sign; `""` is every name.
    pub paths: Vec<String>,
    /// The keys that may sign (canonical ids), ascending.
    pub keys: Vec<KeyId>,
    /// How many of them must.
    pub threshold: u64,
}

/// Lists all delegations of a collection, by role, wherever in the tree they are described.
#[must_use]
pub fn delegations(collection: &Collection) -> Vec<Delegation> {
    let mut all: Vec<Delegation> = Vec::new();
    for (_, file) in collection.all_targets() {
        for role in file.delegations.iter() {
            let keys = role.keys.key_ids.iter().filter_map(|id| file.delegations.keys.get(id));
            let mut keys: Vec<KeyId> = keys.map(PublicKey::canonical_id).collect();
            keys.sort_unstable();
            keys.dedup();
            let paths = role.paths.iter().map(ToString::to_string).collect();
            all.push(Delegation { role: role.name.clone(), paths, keys, threshold: role.keys.threshold });
        }
    }
    all.sort_by(|a, b| a.role.as_str().cmp(b.role.as_str()));
    all
}

/// Reads one public key from a PEM file: a certificate that is valid now, or a bare public key.
///
/// # Errors
/// The file is too large, holds a private key, more than one thing, or a key or certificate that must not be used.
pub fn read_public_key(pem: &[u8], now: Timestamp) -> Result<PublicKey, RequestError> {
    let refused = |error: &dyn std::fmt::Display| RequestError::PublicKey(error.to_string());
    if pem.len() > MAX_PUBLIC_KEY_FILE {
        return Err(refused(&format!("the file is larger than {MAX_PUBLIC_KEY_FILE} bytes")));
    }
    let text = String::from_utf8_lossy(pem);
    let labels: Vec<&str> = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")).collect();
    let label = match labels.as_slice() {
        _ if labels.iter().any(|label| label.contains("PRIVATE KEY")) => return Err(RequestError::PrivateForPublic),
        [] => return Err(refused(&"the file has no PEM block")),
        [one] => one.trim_end_matches('-'),
        _ => return Err(refused(&"the file holds more than one key or certificate")),
    };
    let key = match label {
        "CERTIFICATE" => {
            let certificates = Certificate::list_from_pem(pem).map_err(|error| refused(&error))?;
            let [certificate] = certificates.as_slice() else { return Err(refused(&"not one certificate")) };
            certificate.check(now, Expiry::Enforced).map_err(|error| refused(&error))?;
            certificate.certified_key().map_err(|error| refused(&error))?
        }
        "PUBLIC KEY" => PublicKey::from_pem(pem).map_err(|error| refused(&error))?,
        other => {
            let text = format!("unsupported PEM block type {other:?}, expected CERTIFICATE or PUBLIC KEY");
            return Err(refused(&text));
        }
    };
    key.verifying_key().map_err(|error| refused(&error))?;
    Ok(key)
}

impl CollectionClient<'_> {
    /// Stages that a delegation is made, or gets more keys and paths: one change for the keys and one for the paths, as
    /// the reference does.
    ///
    /// # Errors
    /// The role is no delegation; the list cannot be written.
    pub fn stage_delegation(&self, role: &RoleName, keys: &[PublicKey], paths: &PathEdit) -> Result<(), TrustError> {
        self.stage(&delegation_changes(role, keys, paths)?)
    }

    /// Stages that a delegation loses keys and paths, or goes altogether.
    ///
    /// # Errors
    /// The role is no delegation; the list cannot be written.
    pub fn stage_delegation_removal(&self, role: &RoleName, removal: &DelegationRemoval) -> Result<(), TrustError> {
        check_delegation(role)?;
        let update = |edit| Change::UpdateDelegation { role: role.clone(), edit };
        let changes = match removal {
            DelegationRemoval::Role => vec![Change::DeleteDelegation { role: role.clone() }],
            DelegationRemoval::Parts { keys, paths } => {
                let of_paths = match paths {
                    PathEdit::None => None,
                    PathEdit::All => Some(DelegationEdit { clear_paths: true, ..DelegationEdit::default() }),
                    PathEdit::Prefixes(paths) => {
                        let remove_paths = paths.iter().map(|path| path.as_str().into()).collect();
                        Some(DelegationEdit { remove_paths, ..DelegationEdit::default() })
                    }
                };
                let of_keys = DelegationEdit { remove_keys: keys.clone(), ..DelegationEdit::default() };
                let of_keys = (!keys.is_empty()).then_some(of_keys);
                of_paths.into_iter().chain(of_keys).map(update).collect()
            }
        };
        self.stage(&changes)
    }

    /// Stages that keys (canonical ids) go from every delegation.
    ///
    /// # Errors
    /// The list cannot be written.
    pub fn stage_purge(&self, keys: &[KeyId]) -> Result<(), TrustError> {
        self.stage(&[Change::PurgeKeys { below: RoleName::Targets, keys: keys.to_vec() }])
    }

    /// Lists the delegations.
    ///
    /// # Errors
    /// The collection cannot be verified.
    pub async fn delegations(&self) -> Result<(Vec<Delegation>, Collection), TrustError> {
        let collection = self.update(Purpose::Read).await?;
        Ok((delegations(&collection), collection))
    }
}

/// The changes that make or extend a delegation, keys first.
pub(crate) fn delegation_changes(
    role: &RoleName,
    keys: &[PublicKey],
    paths: &PathEdit,
) -> Result<Vec<Change>, RequestError> {
    check_delegation(role)?;
    let create = |edit| Change::CreateDelegation { role: role.clone(), edit };
    let add_paths: Vec<Box<str>> = match paths {
        PathEdit::None => Vec::new(),
        PathEdit::All => vec!["".into()],
        PathEdit::Prefixes(paths) => paths.iter().map(|path| path.as_str().into()).collect(),
    };
    let mut changes = Vec::new();
    if !keys.is_empty() {
        let (threshold, add_keys) = (Some(1), keys.to_vec());
        changes.push(create(DelegationEdit { threshold, add_keys, ..DelegationEdit::default() }));
    }
    if !add_paths.is_empty() {
        changes.push(create(DelegationEdit { add_paths, ..DelegationEdit::default() }));
    }
    Ok(changes)
}

fn check_delegation(role: &RoleName) -> Result<(), RequestError> {
    if matches!(role, RoleName::Delegation(_)) { Ok(()) } else { Err(RequestError::NoDelegation(role.clone())) }
}
