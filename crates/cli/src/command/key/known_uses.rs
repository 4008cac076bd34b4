//! What the cached metadata says of keys: their algorithm, what they sign, and until when their certificates count.

use crate::context::Context;
use crate::error::CliError;
use countersign_crypto::certificate::CertificateBundle;
use countersign_crypto::{KeyId, KeyType, PublicKey};
use countersign_tuf::metadata::{Payload, Root, Targets};
use countersign_tuf::{Gun, RoleName, Unverified};
use countersign_vault::LocalCollection;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// The uses of all keys, by canonical id, in the collections whose metadata is cached. Nothing of it is verified: it tells
/// about keys, and decides nothing.
#[derive(Debug, Default)]
pub(crate) struct KnownUses {
    keys: BTreeMap<KeyId, Known>,
}

/// What is known of one key.
#[derive(Debug)]
pub(crate) struct Known {
    /// `ecdsa`, `rsa`, `ed25519` or what metadata calls it.
    pub(crate) algorithm: String,
    /// What it signs at present.
    pub(crate) uses: Vec<Use>,
}

/// A role that has a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) gun: Gun,
    pub(crate) role: RoleName,
    /// The last instant at which a certificate of the key counts.
    pub(crate) certificate: Option<Timestamp>,
}

impl KnownUses {
    /// Reads the cached root and delegations of every collection; what cannot be read says nothing.
    pub(crate) fn read(context: &Context) -> Result<Self, CliError> {
        let mut known = Self::default();
        for gun in context.directory.collections()? {
            let Ok(local) = context.directory.collection(&gun) else { continue };
            known.read_root(&gun, &local);
            known.read_delegations(&gun, &local);
        }
        Ok(known)
    }

    /// Returns what is known of a key.
    pub(crate) fn of(&self, id: &KeyId) -> Option<&Known> {
        self.keys.get(id)
    }

    fn read_root(&mut self, gun: &Gun, local: &LocalCollection) {
        let Some(root) = cached::<Root>(local, &RoleName::Root) else { return };
        for role in &RoleName::BASE {
            let ids = root.trusted(role).map(|keys| keys.key_ids.as_slice()).unwrap_or_default();
            for key in ids.iter().filter_map(|id| root.keys.get(id)) {
                self.enter(key, gun, role);
            }
        }
        // Former root keys sign nothing any more; that they are known is worth something all the same.
        for (_, key) in root.keys.iter() {
            self.known(key);
        }
    }

    fn read_delegations(&mut self, gun: &Gun, local: &LocalCollection) {
        let below = local.cached_delegations().unwrap_or_default();
        for role in std::iter::once(RoleName::Targets).chain(below) {
            let Some(file) = cached::<Targets>(local, &role) else { continue };
            for described in file.delegations.iter() {
                for key in described.keys.key_ids.iter().filter_map(|id| file.delegations.keys.get(id)) {
                    self.enter(key, gun, &described.name);
                }
            }
        }
    }

    fn enter(&mut self, key: &PublicKey, gun: &Gun, role: &RoleName) {
        let certificate = expiry(key);
        let entry = Use { gun: gun.clone(), role: role.clone(), certificate };
        self.known(key).uses.push(entry);
    }

    fn known(&mut self, key: &PublicKey) -> &mut Known {
        let new = || Known { algorithm: algorithm(key.key_type()), uses: Vec::new() };
        self.keys.entry(key.canonical_id()).or_insert_with(new)
    }
}

/// Returns when a key's certificate ends; none if it has none that can be read.
pub(crate) fn expiry(key: &PublicKey) -> Option<Timestamp> {
    if !key.key_type().is_certificate() {
        return None;
    }
    Some(CertificateBundle::parse(key.bytes()).ok()?.leaf().not_after())
}

/// Names a key's algorithm, whether or not it comes with a certificate.
pub(crate) fn algorithm(key_type: &KeyType) -> String {
    let name = key_type.as_str();
    name.strip_suffix("-x509").unwrap_or(name).to_owned()
}

fn cached<T: Payload>(local: &LocalCollection, role: &RoleName) -> Option<T> {
    let bytes = local.read(role).ok()??;
    Some(Unverified::<T>::read(role, bytes.into()).ok()?.into_untrusted())
}
