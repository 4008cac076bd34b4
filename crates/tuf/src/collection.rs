//! A verified view of a collection, and looking names up in it.

use crate::expires::Expires;
use crate::metadata::{FileMeta, Root, Snapshot, Targets, Timestamp};
use crate::name::{Gun, RoleName};
use crate::paths::Paths;
use crate::root_trust;
use crate::seen::Seen;
use crate::update::{Absence, Request};
use crate::verify::{Expired, ThresholdError, TrustedKeys, Unverified, Verified};
use bytes::Bytes;
use countersign_crypto::KeyId;
use jiff::{ToSpan, tz::TimeZone};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Something a person should know although the update succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Nothing was known and no pin spoke: this root (its key ids) has been taken on first use.
    FirstUse(Vec<KeyId>),
    /// The service is away; the cached timestamp was used.
    CachedTimestamp(Absence),
    /// The metadata of a role expires within six months.
    NearExpiry(RoleName, Expires),
    /// A certificate of the root ends within six months, or has ended.
    CertificateNearExpiry {
        /// Its common name.
        common_name: String,
        /// Its last instant of validity.
        not_after: jiff::Timestamp,
    },
    /// The metadata of a role expires absurdly late.
    FarExpiry(RoleName, Expires),
    /// The root's certificate is for a wildcard of names: a sibling's metadata cannot be told apart.
    WildcardRoot,
    /// A delegation could not be verified.
    Broken(RoleName, BrokenReason),
    /// The local clock is earlier than at the last verification: expired data could look fresh.
    ClockBehind,
}

/// Why a delegation is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenReason {
    /// It is not signed as its parent demands.
    #[error(transparent)]
    Threshold(ThresholdError),
    /// It has expired.
    #[error(transparent)]
    Expired(Expired),
}

/// A delegation that is listed but not verifiable; its content may be signed anew (witnessed).
#[derive(Debug, Clone)]
pub struct BrokenDelegation {
    /// Why.
    pub reason: BrokenReason,
    pub(crate) content: Unverified<Targets>,
}

impl BrokenDelegation {
    /// Returns the file, of whose content nothing is proven.
    #[must_use]
    pub fn content(&self) -> &Unverified<Targets> {
        &self.content
    }
}

/// A complete, verified, unexpired view of a collection.
#[derive(Debug)]
pub struct Collection {
    gun: Gun,
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: BTreeMap<RoleName, Verified<Targets>>,
    broken: BTreeMap<RoleName, BrokenDelegation>,
    notes: Vec<Note>,
    downloaded: BTreeMap<RoleName, Bytes>,
    seen: Seen,
}

/// A name that was found, and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The role in whose file it stands.
    pub role: RoleName,
    /// What it stands for.
    pub meta: FileMeta,
}

/// Why a name cannot be answered for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// No role that was asked has it.
    #[error("No valid trust data for {0}")]
    NotFound(String),
    /// A role that comes first and may have it cannot be verified; what others say of the name is no answer.
    #[error("{role} cannot be verified ({reason}), so it is unknown what it says of {name}")]
    Broken {
        /// The name.
        name: String,
        /// The role.
        role: RoleName,
        /// Why it cannot be verified.
        reason: BrokenReason,
    },
}

impl Collection {
    pub(crate) fn new(
        request: Request<'_>,
        root: Verified<Root>,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
        tree: crate::update::Tree,
        downloaded: BTreeMap<RoleName, Bytes>,
        mut notes: Vec<Note>,
    ) -> Self {
        let mut seen = request.seen;
        let now = u64::try_from(request.now.as_second()).unwrap_or(0);
        if now < seen.verified_at() {
            notes.push(Note::ClockBehind);
        }
        if let Some(keys) = root.keys_of(&RoleName::Timestamp) {
            seen.raise(&timestamp, &keys, None);
        }
        if let Some(keys) = root.keys_of(&RoleName::Snapshot) {
            seen.raise(&snapshot, &keys, timestamp.snapshot.sha256);
        }
        for (role, targets) in &tree.loaded {
            if let Some(keys) = tree.keys.get(role) {
                seen.raise(targets, keys, snapshot.meta.get(role).and_then(|listed| listed.sha256));
            }
        }
        seen.settle(|role| tree.may_exist(role), request.now);
        notes.extend(tree.broken.iter().map(|(role, broken)| Note::Broken(role.clone(), broken.reason.clone())));
        notes.extend(notable_expiry(request.now, &root, &timestamp, &snapshot, &tree.loaded));
        let ending = root_trust::certificates_ending_before(&root, &request.gun, six_months_after(request.now));
        notes.extend(
            ending.into_iter().map(|(common_name, not_after)| Note::CertificateNearExpiry { common_name, not_after }),
        );
        if root_trust::has_wildcard_name(&root, &request.gun) {
            notes.push(Note::WildcardRoot);
        }
        let (gun, targets, broken) = (request.gun, tree.loaded, tree.broken);
        Self { gun, root, timestamp, snapshot, targets, broken, notes, downloaded, seen }
    }

    /// Returns the collection's name.
    #[must_use]
    pub fn gun(&self) -> &Gun {
        &self.gun
    }

    /// Returns the root.
    #[must_use]
    pub fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// Returns the timestamp.
    #[must_use]
    pub fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// Returns the snapshot.
    #[must_use]
    pub fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// Returns the verified file of `targets` or a delegation.
    #[must_use]
    pub fn targets(&self, role: &RoleName) -> Option<&Verified<Targets>> {
        self.targets.get(role)
    }

    /// Resolves the keys that may sign for a role, as the root or the role's parent names them; none when neither does.
    #[must_use]
    pub fn keys_of(&self, role: &RoleName) -> Option<TrustedKeys> {
        match role.parent() {
            None => self.root.keys_of(role),
            Some(parent) => self.targets(&parent)?.delegations.keys_of(role),
        }
    }

    /// Iterates over all verified targets files, parents first.
    pub fn all_targets(&self) -> impl Iterator<Item = (&RoleName, &Verified<Targets>)> {
        self.targets.iter()
    }

    /// Returns the delegations that are listed but not verifiable.
    #[must_use]
    pub fn broken(&self) -> &BTreeMap<RoleName, BrokenDelegation> {
        &self.broken
    }

    /// Returns what a person should know.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Returns the files that the cache has to take over: what was downloaded and is part of this view.
    #[must_use]
    pub fn downloaded(&self) -> &BTreeMap<RoleName, Bytes> {
        &self.downloaded
    }

    /// Returns the floors as of this view.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }

    /// Looks a name up: the subtree of each role in turn, breadth first, descending only into roles that may sign the name;
    /// the first that has it wins.
    ///
    /// # Errors
    /// Nobody has it, or a role that would have been asked first cannot be verified.
    pub fn get(&self, name: &str, roles: &[RoleName]) -> Result<Found, LookupError> {
        for asked in roles {
            for (role, paths) in self.walk(asked, &others(roles, asked)) {
                if !paths.allow(name) {
                    continue;
                }
                if let Some(broken) = self.broken.get(&role) {
                    let (name, reason) = (name.to_owned(), broken.reason.clone());
                    return Err(LookupError::Broken { name, role, reason });
                }
                if let Some(meta) = self.targets.get(&role).and_then(|targets| targets.entries.get(name)) {
                    return Ok(Found { role, meta });
                }
            }
        }
        Err(LookupError::NotFound(name.to_owned()))
    }

    /// Lists every name of the roles' subtrees with the role that answers for it, by name.
    ///
    /// Exactly the names that [`Self::get`] finds: one that a role which comes first and cannot be verified may have is
    /// left out.
    #[must_use]
    pub fn list(&self, roles: &[RoleName]) -> BTreeMap<String, Found> {
        let mut all = BTreeMap::new();
        let mut unknown: Vec<Paths> = Vec::new();
        for asked in roles {
            for (role, paths) in self.walk(asked, &others(roles, asked)) {
                let Some(targets) = self.targets.get(&role) else {
                    unknown.extend(self.broken.contains_key(&role).then_some(paths));
                    continue;
                };
                for (name, meta) in targets.entries.iter().filter(|(name, _)| paths.allow(name)) {
                    if !unknown.iter().any(|paths| paths.allow(&name)) {
                        all.entry(name.into_owned()).or_insert_with(|| Found { role: role.clone(), meta });
                    }
                }
            }
        }
        all
    }

    /// Iterates over every role that may sign names, with the paths it may sign, from `targets`, breadth first.
    #[must_use]
    pub fn roles(&self) -> Vec<(RoleName, Paths)> {
        self.walk(&RoleName::Targets, &BTreeSet::new())
    }

    /// Walks the subtree of a role, leaving out the subtrees of others.
    ///
    /// Of a role below one that cannot be verified nothing is known but that it would answer for some of that one's names:
    /// the walk then is that one alone.
    fn walk(&self, start: &RoleName, without: &BTreeSet<&RoleName>) -> Vec<(RoleName, Paths)> {
        let broken = start.ancestors().into_iter().find(|ancestor| self.broken.contains_key(ancestor));
        if let Some(broken) = broken {
            return self.effective_paths(&broken).map(|paths| (broken, paths)).into_iter().collect();
        }
        let Some(paths) = self.effective_paths(start) else { return Vec::new() };
        let mut queue = VecDeque::from([(start.clone(), paths)]);
        let mut order = Vec::new();
        while let Some((role, paths)) = queue.pop_front() {
            if let Some(targets) = self.targets.get(&role) {
                for child in targets.delegations.iter().filter(|child| !without.contains(&child.name)) {
                    queue.push_back((child.name.clone(), paths.narrowed(&child.paths)));
                }
            }
            order.push((role, paths));
        }
        order
    }

    /// Computes what a role may sign by way of all its ancestors.
    #[must_use]
    pub fn effective_paths(&self, role: &RoleName) -> Option<Paths> {
        let mut paths = Paths::everything();
        let mut chain = role.ancestors();
        chain.push(role.clone());
        for role in chain.iter().filter(|role| **role != RoleName::Targets) {
            let parent = self.targets.get(&role.parent()?)?;
            paths = paths.narrowed(&parent.delegations.get(role)?.paths);
        }
        Some(paths)
    }
}

fn others<'a>(roles: &'a [RoleName], role: &RoleName) -> BTreeSet<&'a RoleName> {
    roles.iter().filter(|other| *other != role).collect()
}

/// Longest sensible life of a timestamp, in days; services write 14.
const LONG_TIMESTAMP: i64 = 60;
/// Longest sensible life of every other file, in days; the longest that is written is ten years.
const LONG_FILE: i64 = 20 * 365;

fn six_months_after(now: jiff::Timestamp) -> jiff::Timestamp {
    now.to_zoned(TimeZone::UTC).checked_add(6.months()).map_or(now, |later| later.timestamp())
}

/// Notes what expires within six calendar months, timestamps excepted, and what expires absurdly late: a signature that
/// hardly ever ends, or one made by a clock that ran ahead.
fn notable_expiry(
    now: jiff::Timestamp,
    root: &Verified<Root>,
    timestamp: &Verified<Timestamp>,
    snapshot: &Verified<Snapshot>,
    targets: &BTreeMap<RoleName, Verified<Targets>>,
) -> Vec<Note> {
    let soon = six_months_after(now);
    let after = |days: i64| now.checked_add((days * 24).hours()).unwrap_or(jiff::Timestamp::MAX);
    let far = |at: &Expires, days: i64| !at.is_before(after(days));
    let base = [(RoleName::Root, &root.expires), (RoleName::Snapshot, &snapshot.expires)];
    let files = base.into_iter().chain(targets.iter().map(|(role, file)| (role.clone(), &file.expires)));
    let mut notes: Vec<Note> = files
        .filter_map(|(role, at)| match at {
            at if at.is_before(soon) => Some(Note::NearExpiry(role, at.clone())),
            at if far(at, LONG_FILE) => Some(Note::FarExpiry(role, at.clone())),
            _ => None,
        })
        .collect();
    if far(&timestamp.expires, LONG_TIMESTAMP) {
        notes.push(Note::FarExpiry(RoleName::Timestamp, timestamp.expires.clone()));
    }
    notes
}
