//! The compromise drill: keys that somebody else may have go everywhere at once, and nothing that only they have signed
//! stays signed unless the owner confirms it.
//!
//! A role's file is signed as a whole. So what counts as signed by a compromised key alone is
//! - a name in a file that is left with too few signatures when the key goes, unless a role that keeps its signatures has
//!   signed the same name with the same content, and
//! - a released tag that signers have signed, all of whom lose their signatures (docker's convention: the signers of a tag
//!   are the roles besides `targets/releases` that say the same).

use crate::client::CollectionClient;
use crate::delegations::{Delegation, delegations};
use crate::error::TrustError;
use crate::readers::released_names;
use crate::request_error::RequestError;
use crate::rotation::{Holder, LegacyRoots, NewKeys, Rotated, Rotation, canonical_ids};
use crate::signing::{ReleasedTag, is_releasing};
use countersign_crypto::digest::Sha256Digest;
use countersign_crypto::{KeyId, PublicKey};
use countersign_tuf::metadata::{FileMeta, Targets};
use countersign_tuf::update::UpdateError;
use countersign_tuf::{Change, Collection, RoleName, Verified};
use std::collections::{BTreeMap, BTreeSet};

/// What the loss of keys means for a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposure {
    /// The keys (canonical ids).
    pub keys: BTreeSet<KeyId>,
    /// The base roles that have one of them, and who holds their keys.
    pub base: Vec<(RoleName, Holder)>,
    /// The delegations that lose keys.
    pub delegations: Vec<ExposedRole>,
    /// What only these keys have signed, by name.
    pub names: BTreeMap<String, ExposedName>,
    /// Who may sign besides, where the key that says so is among the keys: whoever had it could have let others in.
    pub described: Vec<Delegation>,
}

/// A delegation that loses keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedRole {
    /// The role.
    pub role: RoleName,
    /// The keys that go.
    pub going: Vec<KeyId>,
    /// The keys that stay.
    pub left: Vec<KeyId>,
    /// How many have to sign.
    pub threshold: u64,
    /// Whether what it has signed stays signed.
    pub signatures: Signatures,
}

/// Whether a file stays signed when keys go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// Enough other keys have signed it, or there is no file.
    Stay,
    /// It has to be signed anew, or counts no more.
    Go,
}

/// A name that only compromised keys have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExposedName {
    /// What it stands for; none if the roles say different things of it, so that nobody can confirm it as it is.
    pub meta: Option<FileMeta>,
    /// The roles that have it.
    pub roles: Vec<RoleName>,
}

impl ExposedRole {
    /// Tells whether too few keys are left for the role ever to sign again.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        (self.left.len() as u64) < self.threshold
    }
}

impl ExposedName {
    /// Returns the digest that can be confirmed.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.meta.as_ref()?.sha256
    }
}

/// What the owner has confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confirmed {
    /// The names to be signed anew, each with the digest that was looked at.
    pub names: BTreeMap<String, Sha256Digest>,
    /// The delegations to be kept of those that a compromised targets key has described, with the keys that were looked at.
    pub described: BTreeMap<RoleName, Vec<KeyId>>,
}

/// What became of a drill.
#[derive(Debug)]
pub struct Purged {
    /// The base roles' new keys, and the collection before and after.
    pub rotated: Rotated,
    /// What the drill was about, as it was found in the end.
    pub exposure: Exposure,
    /// Names that were signed anew.
    pub signed: BTreeSet<String>,
    /// Names that are released no more.
    pub dropped: BTreeSet<String>,
    /// Delegations that are gone.
    pub gone: Vec<RoleName>,
    /// Roles that nobody can read until one of their remaining signers signs again.
    pub unreadable: Vec<RoleName>,
    /// Roles that still list the keys: nobody here can sign what describes them.
    pub unpurged: BTreeSet<RoleName>,
}

impl Exposure {
    /// Works out what the loss of keys (canonical ids) means.
    #[must_use]
    pub fn of(collection: &Collection, keys: BTreeSet<KeyId>, holders: &dyn Fn(&RoleName) -> Holder) -> Self {
        let listed = |role: &&RoleName| canonical_ids(collection, role).iter().any(|id| keys.contains(id));
        let base: Vec<_> = RoleName::BASE.iter().filter(listed).map(|role| (role.clone(), holders(role))).collect();
        let exposed = delegations(collection).into_iter().filter_map(|role| exposed(collection, &role, &keys));
        let exposed: Vec<ExposedRole> = exposed.collect();
        let repository = base.iter().any(|(role, _)| *role == RoleName::Targets);
        let mut going: BTreeSet<RoleName> =
            exposed.iter().filter(|role| role.signatures == Signatures::Go).map(|role| role.role.clone()).collect();
        let mut described = Vec::new();
        if repository {
            going.insert(RoleName::Targets);
            described = delegations(collection);
            described.retain(|role| role.role.parent() == Some(RoleName::Targets));
        }
        let emptied = exposed.iter().filter(|role| role.is_finished()).map(|role| role.role.clone()).collect();
        let names = exposed_names(collection, &going, &emptied);
        Self { keys, base, delegations: exposed, names, described }
    }

    /// Tells whether the collection has none of the keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.base.is_empty() && self.delegations.is_empty()
    }

    fn loses(&self, role: &RoleName) -> bool {
        let base = self.base.iter().any(|(base, _)| base == role);
        base || self.delegations.iter().any(|exposed| exposed.role == *role && exposed.signatures == Signatures::Go)
    }
}

fn exposed(collection: &Collection, role: &Delegation, keys: &BTreeSet<KeyId>) -> Option<ExposedRole> {
    let (going, left): (Vec<KeyId>, Vec<KeyId>) = role.keys.iter().partition(|id| keys.contains(id));
    if going.is_empty() {
        return None;
    }
    let signatures = match collection.targets(&role.role) {
        Some(file) => {
            let signers = signers(collection, &role.role, file);
            let remaining = signers.iter().filter(|id| left.contains(id)).count() as u64;
            if remaining >= role.threshold.max(1) { Signatures::Stay } else { Signatures::Go }
        }
        None => Signatures::Stay,
    };
    Some(ExposedRole { role: role.role.clone(), going, left, threshold: role.threshold.max(1), signatures })
}

/// Returns who signed a delegation's file (canonical ids).
fn signers(collection: &Collection, role: &RoleName, file: &Verified<Targets>) -> BTreeSet<KeyId> {
    let parent = role.parent().and_then(|parent| collection.targets(&parent));
    let canonical = |id: KeyId| parent.and_then(|parent| parent.delegations.keys.get(&id)).map(PublicKey::canonical_id);
    file.signers().filter_map(canonical).collect()
}

fn exposed_names(
    collection: &Collection,
    going: &BTreeSet<RoleName>,
    emptied: &BTreeSet<RoleName>,
) -> BTreeMap<String, ExposedName> {
    let mut names: BTreeMap<String, ExposedName> = BTreeMap::new();
    for (role, file) in collection.all_targets() {
        let loses = going.contains(role) || emptied.contains(role);
        if !loses && !is_releasing(role) {
            continue;
        }
        for (name, meta) in file.entries.iter() {
            let said = Said::of(collection, going, role, &name, &meta);
            let exposed = match (loses, is_releasing(role) && emptied.contains(role)) {
                // Nobody is left who would pass on what the signers say.
                (_, true) => !said.by_owner,
                (true, false) => !said.by_others && !said.by_owner,
                (false, false) => said.by_going && !said.by_others && !said.by_owner,
            };
            if !exposed {
                continue;
            }
            let new = || ExposedName { meta: Some(meta.clone()), roles: Vec::new() };
            let entry = names.entry(name.into_owned()).or_insert_with(new);
            if entry.meta.as_ref() != Some(&meta) {
                entry.meta = None;
            }
            entry.roles.push(role.clone());
        }
    }
    names
}

/// Who else says the same of a name.
#[derive(Default)]
struct Said {
    /// The repository key, which keeps its signature.
    by_owner: bool,
    /// Signers who keep theirs, and whom a key has let in that is not compromised.
    by_others: bool,
    /// Signers who lose theirs.
    by_going: bool,
}

impl Said {
    fn of(collection: &Collection, going: &BTreeSet<RoleName>, of: &RoleName, name: &str, meta: &FileMeta) -> Self {
        let mut said = Self::default();
        for (role, file) in collection.all_targets() {
            let may = || collection.effective_paths(role).is_some_and(|paths| paths.allow(name));
            if role == of || file.entries.get(name).as_ref() != Some(meta) || !may() {
                continue;
            }
            match (role, going.contains(role)) {
                (RoleName::Targets, keeps) => said.by_owner |= !keeps,
                // It only passes on what signers say.
                (role, _) if is_releasing(role) => {}
                (_, true) => said.by_going = true,
                // Whom a compromised targets key could have let in vouches for nothing.
                (_, false) => said.by_others |= !going.contains(&RoleName::Targets),
            }
        }
        said
    }
}

/// Finds the keys (canonical ids) that are meant by a key's id, or by a signer's or delegation's name.
///
/// # Errors
/// The collection has neither.
pub fn keys_named(collection: &Collection, who: &str) -> Result<BTreeSet<KeyId>, RequestError> {
    let missing = || RequestError::NotListed { gun: collection.gun().clone(), who: who.to_owned() };
    let all = delegations(collection);
    if let Ok(id) = who.parse::<KeyId>() {
        let listed = RoleName::BASE.iter().flat_map(|role| canonical_ids(collection, role));
        let mut listed: BTreeSet<KeyId> = listed.collect();
        listed.extend(all.iter().flat_map(|role| role.keys.iter().copied()));
        let certified = collection.root().keys.iter();
        let certified = certified.filter(|(listed, _)| **listed == id).map(|(_, key)| key.canonical_id());
        let found = certified.chain([id]).find(|id| listed.contains(id));
        return found.map(|id| BTreeSet::from([id])).ok_or_else(missing);
    }
    let name = if who.starts_with("targets/") { who.to_owned() } else { format!("targets/{who}") };
    let role = RoleName::parse(&name).map_err(|_| missing())?;
    let found = all.into_iter().find(|found| found.role == role && !is_releasing(&role));
    Ok(found.ok_or_else(missing)?.keys.into_iter().collect())
}

impl CollectionClient<'_> {
    /// Works out what the loss of keys (canonical ids) means for a collection.
    ///
    /// # Errors
    /// The key store cannot be read.
    pub fn exposure(&self, collection: &Collection, keys: &BTreeSet<KeyId>) -> Result<Exposure, TrustError> {
        let mut here = BTreeSet::new();
        for role in &RoleName::BASE {
            let ids: Vec<KeyId> = canonical_ids(collection, role).into_iter().collect();
            if self.has_any_key(&ids)? {
                here.insert(role.clone());
            }
        }
        Ok(Exposure::of(collection, keys.clone(), &|role| match role {
            RoleName::Timestamp => Holder::Service,
            RoleName::Snapshot if !here.contains(role) => Holder::Service,
            _ => Holder::Client,
        }))
    }

    /// Takes keys out of everything, in one publication: base roles get new ones, delegations lose theirs, and what only
    /// these keys have signed is signed anew where that was confirmed, and removed where it was not.
    ///
    /// # Errors
    /// Nothing was published, or it is not certain that it was.
    pub async fn purge(&self, exposure: &Exposure, confirmed: &Confirmed) -> Result<Purged, TrustError> {
        let rotations: Vec<Rotation> = exposure.base.iter().map(rotation).collect();
        let planned = std::cell::RefCell::new(None);
        let changes = |base: Option<&Collection>| {
            let base = base.ok_or_else(|| UpdateError::NoTrustData(self.gun().clone()))?;
            let found = self.exposure(base, &exposure.keys)?;
            let plan = self.plan(base, &found, confirmed)?;
            let changes = plan.changes.clone();
            *planned.borrow_mut() = Some((found, plan));
            Ok(changes)
        };
        let (rotated, unpurged) = Box::pin(self.rotate_with(&rotations, &changes)).await?;
        let (exposure, plan) = planned.into_inner().ok_or_else(|| UpdateError::NoTrustData(self.gun().clone()))?;
        for name in plan.dropped.iter().filter(|_| plan.unreadable.is_empty()) {
            let was = exposure.names.get(name).and_then(ExposedName::sha256);
            match ReleasedTag::find(&rotated.collection, name) {
                Ok(tag) if was == Some(tag.sha256) => {
                    return Err(TrustError::StaysReleased { name: name.clone(), role: tag.role });
                }
                _ => {}
            }
        }
        let Plan { signed, mut dropped, gone, unreadable, .. } = plan;
        if let Some(base) = rotated.base.as_deref().filter(|_| unreadable.is_empty()) {
            dropped.extend(no_longer_released(base, &rotated.collection));
        }
        Ok(Purged { rotated, exposure, signed, dropped, gone, unreadable, unpurged })
    }

    fn plan(&self, base: &Collection, exposure: &Exposure, confirmed: &Confirmed) -> Result<Plan, TrustError> {
        let mut plan = Plan::default();
        let direct = |role: &ExposedRole| role.role.parent() == Some(RoleName::Targets);
        if !exposure.delegations.is_empty() {
            if exposure.delegations.iter().any(direct)
                && !self.can_still_sign(base, &RoleName::Targets, &exposure.keys)?
            {
                return Err(RequestError::NobodyLeft { role: RoleName::Targets }.into());
            }
            let keys = exposure.keys.iter().copied().collect();
            plan.changes.push(Change::PurgeKeys { below: RoleName::Targets, keys });
        }
        let agreed = |role: &&Delegation| confirmed.described.get(&role.role) == Some(&role.keys);
        let refused = exposure.described.iter().filter(|role| !agreed(role)).map(|role| role.role.clone());
        let empty = exposure.delegations.iter().filter(|role| direct(role) && role.is_finished());
        let gone: BTreeSet<RoleName> = empty.map(|role| role.role.clone()).chain(refused).collect();
        plan.changes.extend(gone.iter().map(|role| Change::DeleteDelegation { role: role.clone() }));
        plan.gone = gone.into_iter().collect();
        for (name, exposed) in &exposure.names {
            let digest = exposed.sha256();
            let keeps = digest.is_some() && confirmed.names.get(name) == digest.as_ref();
            if keeps { &mut plan.signed } else { &mut plan.dropped }.insert(name.clone());
        }
        self.remake(base, exposure, &mut plan)?;
        self.sign_confirmed(base, exposure, &mut plan)?;
        Ok(plan)
    }

    /// Has the files signed anew that lose their signatures, and takes out of all files what was not confirmed.
    fn remake(&self, base: &Collection, exposure: &Exposure, plan: &mut Plan) -> Result<(), TrustError> {
        let goes =
            |role: &RoleName| plan.gone.contains(role) || role.ancestors().iter().any(|role| plan.gone.contains(role));
        let (mut changes, mut unreadable) = (Vec::new(), Vec::new());
        for (role, _) in base.all_targets().filter(|(role, _)| !goes(role)) {
            let holds = |name: &&String| exposure.names.get(*name).is_some_and(|exposed| exposed.roles.contains(role));
            let removed: Vec<&String> = plan.dropped.iter().filter(holds).collect();
            let loses = exposure.loses(role);
            let Some(first) = removed.first().map(|name| (*name).clone()).or(loses.then(String::new)) else { continue };
            if self.can_still_sign(base, role, &exposure.keys)? {
                let remove = |name: &String| Change::RemoveTarget { role: role.clone(), name: name.clone() };
                changes.extend(removed.into_iter().map(remove));
                changes.push(Change::Witness { role: role.clone() });
            } else if loses {
                unreadable.push(role.clone());
            } else {
                return Err(TrustError::StaysReleased { name: first, role: role.clone() });
            }
        }
        plan.changes.extend(changes);
        plan.unreadable = unreadable;
        Ok(())
    }

    /// Has the signers whose keys are here sign what was confirmed; where nobody is left to release anything, the
    /// repository key.
    fn sign_confirmed(&self, base: &Collection, exposure: &Exposure, plan: &mut Plan) -> Result<(), TrustError> {
        let mut left = delegations(base);
        left.retain(|role| role.role.parent() == Some(RoleName::Targets) && !plan.gone.contains(&role.role));
        let releases = left.iter().find(|role| is_releasing(&role.role)).map(|role| role.role.clone());
        let mut able = Vec::new();
        for role in left {
            if !plan.unreadable.contains(&role.role) && self.can_still_sign(base, &role.role, &exposure.keys)? {
                able.push(role.role);
            }
        }
        let mut additions = Vec::new();
        for name in &plan.signed {
            let Some(meta) = exposure.names.get(name).and_then(|exposed| exposed.meta.as_ref()) else { continue };
            let allowed = |role: &&RoleName| base.effective_paths(role).is_some_and(|paths| paths.allow(name));
            let mut roles: Vec<RoleName> = able.iter().filter(allowed).cloned().collect();
            match &releases {
                None => roles.push(RoleName::Targets),
                Some(role) if !roles.contains(role) => {
                    return Err(RequestError::NobodyLeft { role: role.clone() }.into());
                }
                Some(_) => {}
            }
            let add = |role| Change::AddTarget { role, name: name.clone(), meta: meta.clone() };
            additions.extend(roles.into_iter().map(add));
        }
        plan.changes.extend(additions);
        Ok(())
    }

    /// Tells whether a key that is not compromised is here for a role; base roles get new ones.
    fn can_still_sign(&self, base: &Collection, role: &RoleName, gone: &BTreeSet<KeyId>) -> Result<bool, TrustError> {
        if RoleName::BASE.contains(role) {
            let ids = canonical_ids(base, role);
            let ids: Vec<KeyId> = ids.into_iter().collect();
            return Ok(ids.iter().any(|id| gone.contains(id)) || self.has_any_key(&ids)?);
        }
        let Some(found) = delegations(base).into_iter().find(|found| found.role == *role) else { return Ok(false) };
        let mut here = 0;
        for id in found.keys.iter().filter(|id| !gone.contains(id)) {
            here += u64::from(self.keys.find(id)?.is_some());
        }
        Ok(here >= found.threshold.max(1))
    }
}

/// What is to be done.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    signed: BTreeSet<String>,
    dropped: BTreeSet<String>,
    gone: Vec<RoleName>,
    unreadable: Vec<RoleName>,
}

fn rotation((role, holder): &(RoleName, Holder)) -> Rotation {
    let keys = match holder {
        Holder::Client => NewKeys::Generate,
        Holder::Service => NewKeys::OfService,
    };
    Rotation { role: role.clone(), keys, legacy: LegacyRoots::None }
}

/// Returns the names that were released before and are not any more.
#[must_use]
pub fn no_longer_released(before: &Collection, after: &Collection) -> BTreeSet<String> {
    let after = released_names(after);
    released_names(before).into_keys().filter(|name| !after.contains_key(name)).collect()
}
