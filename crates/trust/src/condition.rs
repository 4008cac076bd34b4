//! The condition of a collection: what ends soon or has ended, who could not sign any more, what is weak.
//!
//! Everything here is worked out from metadata that was read before; nothing is asked and nothing is kept.

use countersign_crypto::certificate::{Certificate, CertificateBundle};
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::metadata::{KeyMap, Payload, RoleKeys, Root, Snapshot, Targets};
use countersign_tuf::{BrokenReason, Collection, Expires, Gun, RoleName, Unverified};
use countersign_vault::LocalCollection;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// What is known of a collection's metadata.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    /// The root.
    pub root: Option<Root>,
    /// When the timestamp expires, where the service has said so: the one in the cache says nothing about the service's.
    pub timestamp: Option<Expires>,
    /// When the snapshot expires, likewise.
    pub snapshot: Option<Expires>,
    /// The files of `targets` and of the delegations.
    pub targets: BTreeMap<RoleName, Targets>,
    /// Delegations that are listed and cannot be verified.
    pub broken: BTreeMap<RoleName, BrokenReason>,
}

/// A cached file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The role.
    pub role: RoleName,
    /// What is wrong with it.
    pub reason: String,
}

/// Whether something has ended or is about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has ended.
    Over,
    /// It ends within the time that was asked about.
    Soon,
}

/// How far ahead to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// The present.
    pub now: Timestamp,
    /// What ends before this ends soon.
    pub soon: Timestamp,
    /// The same for timestamps, which the service renews by itself and which live for days.
    pub timestamp_soon: Timestamp,
}

/// Something that is not well with a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ailment {
    /// A role's metadata ends.
    Expiry {
        /// The role.
        role: RoleName,
        /// When.
        at: Expires,
        /// Whether it has ended.
        phase: Phase,
    },
    /// A certificate of the root ends.
    RootCertificate {
        /// The root key (TUF key id).
        key: KeyId,
        /// When.
        at: Timestamp,
        /// Whether it has ended.
        phase: Phase,
    },
    /// A certificate of a delegation's key ends.
    DelegationCertificate {
        /// The delegation.
        role: RoleName,
        /// The key (canonical id), by which delegations' keys are taken away.
        key: KeyId,
        /// When.
        at: Timestamp,
        /// Whether it has ended.
        phase: Phase,
    },
    /// A delegation has no key: nobody can sign for it.
    NoKeys(RoleName),
    /// More signatures are needed than there are keys that can make one.
    Unreachable {
        /// The role.
        role: RoleName,
        /// Signatures needed.
        threshold: u64,
        /// Keys that can sign.
        usable: u64,
    },
    /// A role of the collection itself has several keys, and one of them alone is enough.
    OneOfMany {
        /// The role.
        role: RoleName,
        /// How many keys.
        keys: u64,
    },
    /// A key's signatures are never accepted.
    UnusableKey {
        /// The role.
        role: RoleName,
        /// The key (canonical id).
        key: KeyId,
        /// Why.
        reason: String,
    },
    /// A delegation is not signed as its parent demands.
    Broken {
        /// The role.
        role: RoleName,
        /// Why.
        reason: String,
    },
}

impl Condition {
    /// Takes what a verified view has.
    #[must_use]
    pub fn of(collection: &Collection) -> Self {
        let targets = collection.all_targets().map(|(role, file)| (role.clone(), Targets::clone(file)));
        let broken = collection.broken().iter().map(|(role, broken)| (role.clone(), broken.reason.clone()));
        Self {
            root: Some(Root::clone(collection.root())),
            timestamp: Some(collection.timestamp().expires.clone()),
            snapshot: Some(collection.snapshot().expires.clone()),
            targets: targets.collect(),
            broken: broken.collect(),
        }
    }

    /// Reads what is cached, of which nothing is proven, and says what is damaged.
    #[must_use]
    pub fn cached(local: &LocalCollection) -> (Self, Vec<Damage>) {
        let mut damages = Vec::new();
        let root = cached(local, &RoleName::Root, &mut damages);
        let delegations = local.cached_delegations().unwrap_or_else(|error| {
            damages.push(Damage { role: RoleName::Targets, reason: error.to_string() });
            BTreeSet::new()
        });
        let roles = std::iter::once(RoleName::Targets).chain(delegations);
        let targets = roles.filter_map(|role| {
            let file = cached(local, &role, &mut damages)?;
            Some((role, file))
        });
        let targets = targets.collect();
        // Their content says nothing about the service's; that they can be read is all that counts.
        let _ = cached::<Snapshot>(local, &RoleName::Snapshot, &mut damages);
        let _ = cached::<countersign_tuf::metadata::Timestamp>(local, &RoleName::Timestamp, &mut damages);
        (Self { root, targets, ..Self::default() }, damages)
    }

    /// Tells whether everybody is known who can sign: the root, the tags, and all delegations.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.root.is_some() && self.targets.contains_key(&RoleName::Targets)
    }

    /// Returns every role that somebody can sign for, with its keys, in the order of the roles.
    #[must_use]
    pub fn keys(&self) -> Vec<(RoleName, Vec<PublicKey>)> {
        let mut all: Vec<(RoleName, Vec<PublicKey>)> = Vec::new();
        for (role, listed, map) in self.roles() {
            all.push((role, resolve(listed, map).map(|(_, key)| key.clone()).collect()));
        }
        all
    }

    /// Finds everything that is not well.
    #[must_use]
    pub fn ailments(&self, horizon: Horizon) -> Vec<Ailment> {
        let mut found = self.expiries(horizon);
        found.extend(self.broken.iter().map(|(role, reason)| match reason {
            BrokenReason::Expired(expired) => {
                Ailment::Expiry { role: role.clone(), at: expired.at.clone(), phase: Phase::Over }
            }
            BrokenReason::Threshold(error) => Ailment::Broken { role: role.clone(), reason: error.to_string() },
        }));
        for (role, listed, map) in self.roles() {
            found.extend(certificates(&role, listed, map, horizon));
            found.extend(strength(&role, listed, map));
        }
        found
    }

    fn expiries(&self, horizon: Horizon) -> Vec<Ailment> {
        let base = [
            (RoleName::Root, self.root.as_ref().map(|root| &root.expires), horizon.soon),
            (RoleName::Snapshot, self.snapshot.as_ref(), horizon.soon),
            (RoleName::Timestamp, self.timestamp.as_ref(), horizon.timestamp_soon),
        ];
        let base = base.into_iter().filter_map(|(role, at, soon)| Some((role, at?, soon)));
        let files = self.targets.iter().map(|(role, file)| (role.clone(), &file.expires, horizon.soon));
        let ending = base.chain(files).filter_map(|(role, at, soon)| {
            let phase = match () {
                () if at.is_before(horizon.now) => Phase::Over,
                () if at.is_before(soon) => Phase::Soon,
                () => return None,
            };
            Some(Ailment::Expiry { role, at: at.clone(), phase })
        });
        ending.collect()
    }

    /// Returns the roles with the keys that may sign for them, and where these keys are.
    fn roles(&self) -> Vec<(RoleName, &RoleKeys, &KeyMap)> {
        let base = self.root.iter().flat_map(|root| {
            let listed = move |role: RoleName| root.trusted(&role).map(|keys| (role, keys, &root.keys));
            RoleName::BASE.into_iter().filter_map(listed)
        });
        let delegated = self.targets.values().flat_map(|file| {
            file.delegations.iter().map(|role| (role.name.clone(), &role.keys, &file.delegations.keys))
        });
        base.chain(delegated).collect()
    }
}

/// Names the root's certificates that are for more collections than this one.
#[must_use]
pub fn wildcard_names(root: &Root, gun: &Gun) -> Vec<String> {
    let Some(listed) = root.trusted(&RoleName::Root) else { return Vec::new() };
    let names = resolve(listed, &root.keys).filter_map(|(_, key)| leaf(key)?.common_name().map(str::to_owned));
    names.filter(|name| name.ends_with('*') && name != gun.as_str()).collect()
}

fn resolve<'a>(listed: &'a RoleKeys, map: &'a KeyMap) -> impl Iterator<Item = (KeyId, &'a PublicKey)> {
    listed.key_ids.iter().filter_map(|id| Some((*id, map.get(id)?)))
}

fn leaf(key: &PublicKey) -> Option<Certificate> {
    if !key.key_type().is_certificate() {
        return None;
    }
    Some(CertificateBundle::parse(key.bytes()).ok()?.leaf().clone())
}

fn certificates(role: &RoleName, listed: &RoleKeys, map: &KeyMap, horizon: Horizon) -> Vec<Ailment> {
    let ending = resolve(listed, map).filter_map(|(key, public)| {
        let at = leaf(public)?.not_after();
        let phase = match () {
            () if at < horizon.now => Phase::Over,
            () if at < horizon.soon => Phase::Soon,
            () => return None,
        };
        Some(match role {
            RoleName::Root => Ailment::RootCertificate { key, at, phase },
            role => Ailment::DelegationCertificate { role: role.clone(), key: public.canonical_id(), at, phase },
        })
    });
    ending.collect()
}

fn strength(role: &RoleName, listed: &RoleKeys, map: &KeyMap) -> Vec<Ailment> {
    let mut found = Vec::new();
    let mut usable = BTreeSet::new();
    for (_, public) in resolve(listed, map) {
        match public.verifying_key() {
            Ok(verifying) => {
                usable.insert(verifying.identity());
            }
            Err(error) => {
                let key = public.canonical_id();
                found.push(Ailment::UnusableKey { role: role.clone(), key, reason: error.to_string() });
            }
        }
    }
    let (keys, threshold) = (usable.len() as u64, listed.threshold);
    let is_delegation = matches!(role, RoleName::Delegation(_));
    if listed.key_ids.is_empty() {
        found.push(Ailment::NoKeys(role.clone()));
    } else if keys < threshold {
        found.push(Ailment::Unreachable { role: role.clone(), threshold, usable: keys });
    } else if threshold == 1 && keys > 1 && !is_delegation {
        found.push(Ailment::OneOfMany { role: role.clone(), keys });
    }
    found
}

fn cached<T: Payload>(local: &LocalCollection, role: &RoleName, damages: &mut Vec<Damage>) -> Option<T> {
    let read = match local.read(role) {
        Ok(None) => return None,
        Ok(Some(bytes)) => Unverified::<T>::read(role, bytes.into()).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match read {
        Ok(file) => Some(file.into_untrusted()),
        Err(reason) => {
            damages.push(Damage { role: role.clone(), reason });
            None
        }
    }
}
