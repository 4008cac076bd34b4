//! Retention: which old versions a collection no longer needs, and taking them away.
//!
//! For ever stay: every root (clients walk from the root they know to the newest), the current files, and what the current
//! timestamp leads to. Beside these stays what a [`Retention`] says, and the versions that any of those are stored as
//! differences from.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::metadata::{MetadataError, Snapshot, Timestamp as TimestampFile};
use countersign_tuf::{Gun, RoleName, Unverified, Version};
use jiff::{SignedDuration, Timestamp};

use crate::{MetadataStore, PageSize, State, StoreError};

/// Versions that one transaction takes away; others of the collection wait that long.
const BATCH: usize = 200;
/// How often a collection is looked at again that was published to meanwhile.
const ATTEMPTS: u32 = 5;

/// What stays beside what always stays. A version stays when either says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// So many newest versions of every role, the current one included.
    Versions(NonZeroU32),
    /// Versions that were current within this time.
    Age(SignedDuration),
    /// So many newest versions, and those that were current within this time.
    VersionsAndAge(NonZeroU32, SignedDuration),
}

impl Retention {
    /// Returns what stays by one or both rules; none when there is no rule, and everything stays.
    #[must_use]
    pub fn of(versions: Option<NonZeroU32>, age: Option<SignedDuration>) -> Option<Self> {
        match (versions, age) {
            (Some(versions), Some(age)) => Some(Self::VersionsAndAge(versions, age)),
            (Some(versions), None) => Some(Self::Versions(versions)),
            (None, Some(age)) => Some(Self::Age(age)),
            (None, None) => None,
        }
    }

    /// Returns the same rules, beside which everything stays that was current within this time.
    #[must_use]
    pub fn and_at_least(self, recent: SignedDuration) -> Self {
        match self {
            Self::Versions(versions) => Self::VersionsAndAge(versions, recent),
            Self::Age(age) => Self::Age(age.max(recent)),
            Self::VersionsAndAge(versions, age) => Self::VersionsAndAge(versions, age.max(recent)),
        }
    }

    /// Tells whether a version stays that has so many newer ones and was current until then.
    fn keeps(self, newer: usize, until: Timestamp, now: Timestamp) -> bool {
        let among = |versions: NonZeroU32| usize::try_from(versions.get()).is_ok_and(|versions| newer < versions);
        let within = |age: SignedDuration| now.saturating_sub(age).is_ok_and(|oldest| until >= oldest);
        match self {
            Self::Versions(versions) => among(versions),
            Self::Age(age) => within(age),
            Self::VersionsAndAge(versions, age) => among(versions) || within(age),
        }
    }
}

/// A stored version and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The role.
    pub role: RoleName,
    /// The version.
    pub version: Version,
    /// The digest of the file.
    pub sha256: Sha256Digest,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Bytes that the row and its pieces hold.
    pub bytes: u64,
    /// The version that this one is stored as a difference from.
    pub base: Option<Version>,
}

/// Whether anything is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything stays; the figures say what would go.
    DryRun,
    /// What the rules do not keep goes.
    Apply,
}

/// What a removal found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pruning {
    /// The versions are gone, but for those that must not go.
    Done,
    /// The collection was published to or deleted since; nothing was taken away.
    Superseded,
}

/// The part of a store that retention works on.
///
/// What every implementation promises beside what [`MetadataStore`] says: a version that goes, goes whole; whatever else is
/// stored reads back byte for byte, before, during and after, and after a crash at any moment.
#[async_trait]
pub trait RetentionStore: MetadataStore {
    /// Returns collections that have files, in byte order after `after`.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn collections(&self, after: Option<&Gun>, limit: PageSize) -> Result<Vec<Gun>, StoreError>;

    /// Returns every stored version of every role of a collection, each role's versions from the newest to the oldest.
    ///
    /// # Errors
    /// Fails when the database does.
    async fn history(&self, gun: &Gun) -> Result<Vec<Held>, StoreError>;

    /// Takes versions away in one transaction, if the current timestamp still has this digest. Roots, current files and
    /// versions that others are stored as differences from stay, whatever is asked.
    ///
    /// # Errors
    /// Fails when the database does; then nothing is taken away.
    async fn prune(
        &self,
        gun: &Gun,
        timestamp: Option<Sha256Digest>,
        files: &[(RoleName, Version)],
    ) -> Result<Pruning, StoreError>;
}

/// Says why nothing more of a collection was taken away.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The current timestamp or snapshot cannot be read, so that nobody knows what they lead to.
    #[error("the current files cannot be read")]
    Unreadable(#[from] MetadataError),
    /// Publications came all the time.
    #[error("the collection was published to {ATTEMPTS} times meanwhile")]
    Busy,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Numbers of versions, and the bytes that they take in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many versions.
    pub versions: u64,
    /// How many bytes.
    pub bytes: u64,
}

impl Amount {
    fn count(&mut self, held: &Held) {
        self.versions += 1;
        self.bytes += held.bytes;
    }

    fn add(&mut self, other: Self) {
        self.versions += other.versions;
        self.bytes += other.bytes;
    }
}

/// What is stored of roles of one kind, and what goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Everything that was stored.
    pub stored: Amount,
    /// What goes, or went.
    pub going: Amount,
    /// What only stays because others are stored as differences from it.
    pub referred_to: Amount,
}

/// Figures by the kind of role: the names of the base roles, and `delegations` for all others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account(pub BTreeMap<&'static str, Figures>);

impl Account {
    /// Adds another account to this one.
    pub fn add(&mut self, other: &Self) {
        for (kind, figures) in &other.0 {
            let sum = self.0.entry(kind).or_default();
            sum.stored.add(figures.stored);
            sum.going.add(figures.going);
            sum.referred_to.add(figures.referred_to);
        }
    }

    /// Returns what goes of all roles.
    #[must_use]
    pub fn going(&self) -> Amount {
        let mut sum = Amount::default();
        self.0.values().for_each(|figures| sum.add(figures.going));
        sum
    }

    fn of(&mut self, role: &RoleName) -> &mut Figures {
        let kind = match role {
            RoleName::Root => "root",
            RoleName::Targets => "targets",
            RoleName::Snapshot => "snapshot",
            RoleName::Timestamp => "timestamp",
            RoleName::Delegation(_) => "delegations",
        };
        self.0.entry(kind).or_default()
    }
}

/// Applies a retention to one collection, and returns what it found.
///
/// # Errors
/// Fails when the current files cannot be read, when the collection is published to all the time, or when the store does;
/// what is gone then is nothing that stays by the rules.
pub async fn retain(
    store: &dyn RetentionStore,
    gun: &Gun,
    retention: Retention,
    now: Timestamp,
    mode: Mode,
) -> Result<Account, RetentionError> {
    for _ in 0..ATTEMPTS {
        let roles = BTreeSet::from([RoleName::Timestamp, RoleName::Snapshot]);
        let state = store.state(gun, &roles).await?;
        let mut kept: BTreeSet<Sha256Digest> =
            store.pointers(gun).await?.into_iter().map(|found| found.sha256).collect();
        kept.extend(reached(&state)?);
        let (account, going) = plan(&store.history(gun).await?, &kept, retention, now);
        if mode == Mode::DryRun || remove(store, gun, state.timestamp, &going).await? == Pruning::Done {
            return Ok(account);
        }
    }
    Err(RetentionError::Busy)
}

async fn remove(
    store: &dyn RetentionStore,
    gun: &Gun,
    timestamp: Option<Sha256Digest>,
    going: &[(RoleName, Version)],
) -> Result<Pruning, StoreError> {
    for batch in going.chunks(BATCH) {
        if store.prune(gun, timestamp, batch).await? == Pruning::Superseded {
            return Ok(Pruning::Superseded);
        }
    }
    Ok(Pruning::Done)
}

/// Returns the digests of what the current timestamp leads to.
fn reached(state: &State) -> Result<Vec<Sha256Digest>, MetadataError> {
    let mut reached = Vec::new();
    if let Some(timestamp) = state.files.get(&RoleName::Timestamp) {
        let named = Unverified::<TimestampFile>::read(&RoleName::Timestamp, timestamp.bytes.clone())?;
        reached.extend(named.untrusted().snapshot.sha256);
    }
    if let Some(snapshot) = state.files.get(&RoleName::Snapshot) {
        let listed = Unverified::<Snapshot>::read(&RoleName::Snapshot, snapshot.bytes.clone())?;
        reached.extend(listed.untrusted().meta.values().filter_map(|meta| meta.sha256));
    }
    Ok(reached)
}

/// Decides what goes: differences before the versions they are differences from, so that nothing is ever without.
fn plan(
    history: &[Held],
    kept: &BTreeSet<Sha256Digest>,
    retention: Retention,
    now: Timestamp,
) -> (Account, Vec<(RoleName, Version)>) {
    let mut account = Account::default();
    let (mut differences, mut whole) = (Vec::new(), Vec::new());
    let mut rest = history;
    while let Some(first) = rest.first() {
        let length = rest.iter().take_while(|held| held.role == first.role).count();
        let (of_role, others) = rest.split_at(length);
        rest = others;
        let mut stays = vec![true; of_role.len()];
        let mut until = Timestamp::MAX;
        for ((newer, held), stays) in of_role.iter().enumerate().zip(&mut stays) {
            *stays = held.role == RoleName::Root
                || newer == 0
                || kept.contains(&held.sha256)
                || retention.keeps(newer, until, now);
            until = held.stored_at;
        }
        let pairs = || of_role.iter().zip(&stays);
        let needed: BTreeSet<Version> =
            pairs().filter(|(_, stays)| **stays).filter_map(|(held, _)| held.base).collect();
        let figures = account.of(&first.role);
        for (held, stays) in pairs() {
            figures.stored.count(held);
            match (*stays, needed.contains(&held.version)) {
                (true, _) => {}
                (false, true) => figures.referred_to.count(held),
                (false, false) => {
                    figures.going.count(held);
                    let list = if held.base.is_some() { &mut differences } else { &mut whole };
                    list.push((held.role.clone(), held.version));
                }
            }
        }
    }
    differences.append(&mut whole);
    (account, differences)
}

#[cfg(test)]
mod tests {
    use countersign_crypto::digest::sha256;

    use super::*;

    const DAY: i64 = 86_400;

    fn version(number: u64) -> Version {
        Version::new(number).unwrap()
    }

    fn held(role: &RoleName, number: u64, base: Option<u64>) -> Held {
        let day = i64::try_from(number).unwrap() * DAY;
        Held {
            role: role.clone(),
            version: version(number),
            sha256: sha256(format!("{role} {number}").as_bytes()),
            stored_at: Timestamp::from_second(day).unwrap(),
            bytes: 10,
            base: base.map(version),
        }
    }

    /// Versions 1 to 10, one a day, from the newest to the oldest.
    fn history(role: &RoleName) -> Vec<Held> {
        (1..=10).rev().map(|number| held(role, number, None)).collect()
    }

    fn going(history: &[Held], kept: &[Sha256Digest], retention: Retention) -> Vec<u64> {
        let now = Timestamp::from_second(12 * DAY).unwrap();
        let (account, going) = plan(history, &kept.iter().copied().collect(), retention, now);
        let going: Vec<u64> = going.iter().map(|(_, version)| version.get()).collect();
        assert_eq!(account.going(), Amount { versions: going.len() as u64, bytes: 10 * going.len() as u64 });
        going
    }

    fn versions(number: u32) -> Retention {
        Retention::Versions(NonZeroU32::new(number).unwrap())
    }

    fn days(number: i64) -> Retention {
        Retention::Age(SignedDuration::from_secs(number * DAY))
    }

    #[test]
    fn so_many_versions_stay_and_the_current_one_is_one_of_them() {
        assert_eq!(going(&history(&RoleName::Targets), &[], versions(1)), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!(going(&history(&RoleName::Targets), &[], versions(8)), [2, 1]);
        assert!(going(&history(&RoleName::Targets), &[], versions(10)).is_empty());
    }

    #[test]
    fn a_version_stays_for_as_long_after_it_was_current() {
        // Version 7 was current until version 8 was stored, four days ago.
        assert_eq!(going(&history(&RoleName::Targets), &[], days(4)), [6, 5, 4, 3, 2, 1]);
        assert_eq!(going(&history(&RoleName::Targets), &[], days(0)), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert!(going(&history(&RoleName::Targets), &[], days(1_000_000_000)).is_empty());
    }

    #[test]
    fn with_both_rules_a_version_stays_by_either() {
        let both =
            |number, age| Retention::of(NonZeroU32::new(number), Some(SignedDuration::from_secs(age * DAY))).unwrap();
        assert_eq!(going(&history(&RoleName::Snapshot), &[], both(2, 4)), [6, 5, 4, 3, 2, 1]);
        assert_eq!(going(&history(&RoleName::Snapshot), &[], both(7, 1)), [3, 2, 1]);
        assert_eq!(Retention::of(None, None), None);
    }

    #[test]
    fn what_was_current_lately_stays_whatever_the_rules_are() {
        // Version 9 was current until two days ago, version 8 until three.
        let recent = SignedDuration::from_secs(2 * DAY);
        for rules in [versions(1), days(0), Retention::VersionsAndAge(NonZeroU32::MIN, SignedDuration::ZERO)] {
            assert_eq!(
                going(&history(&RoleName::Timestamp), &[], rules.and_at_least(recent)),
                [8, 7, 6, 5, 4, 3, 2, 1]
            );
        }
        assert_eq!(days(4).and_at_least(recent), days(4));
        assert_eq!(going(&history(&RoleName::Targets), &[], versions(8).and_at_least(recent)), [2, 1]);
    }

    #[test]
    fn roots_stay_for_ever() {
        assert!(going(&history(&RoleName::Root), &[], versions(1)).is_empty());
    }

    #[test]
    fn what_the_timestamp_leads_to_stays_however_old() {
        let reached = [sha256(b"targets 3")];
        assert_eq!(going(&history(&RoleName::Targets), &reached, versions(2)), [8, 7, 6, 5, 4, 2, 1]);
    }

    #[test]
    fn what_others_are_differences_from_stays_with_them_and_goes_after_them() {
        let role = RoleName::Targets;
        let bases = [None, None, Some(2), Some(2), None, Some(5)];
        let history: Vec<Held> =
            (1..=6).rev().zip(bases.into_iter().rev()).map(|(number, base)| held(&role, number, base)).collect();
        let now = Timestamp::from_second(12 * DAY).unwrap();
        let (account, _) = plan(&history, &BTreeSet::new(), versions(1), now);
        assert_eq!(account.0.get("targets").unwrap().referred_to, Amount { versions: 1, bytes: 10 });
        assert_eq!(going(&history, &[], versions(1)), [4, 3, 2, 1]);
        assert_eq!(going(&history, &[], versions(3)), [3, 1]);
    }

    #[test]
    fn every_role_is_counted_by_itself() {
        let mut all: Vec<Held> = history(&RoleName::Targets);
        all.extend(history(&RoleName::parse("targets/a").unwrap()));
        all.extend(history(&RoleName::parse("targets/b").unwrap()));
        assert_eq!(going(&all, &[], versions(9)), [1, 1, 1]);
    }
}
