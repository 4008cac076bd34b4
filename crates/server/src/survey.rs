//! The survey: from time to time all collections are looked at, slowly, for what expires next and what has expired.
//!
//! Its figures are gauges, and as old as the last survey; times until an expiry are of now all the same.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use countersign_storage::{PageSize, StoreError};
use countersign_telemetry::{Exposition, Kind};
use countersign_tuf::{Gun, RoleName};
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::metrics::Reader;
use crate::read;

/// Collections that are asked for at once.
const PAGE: i64 = 100;
/// After each page the survey rests so many times as long as it worked.
const REST: u32 = 19;
/// Longest rest after a page.
const LONGEST_REST: Duration = Duration::from_secs(10);
/// Roles whose expiry is watched, with their labels: the service renews the first two, owners the root.
const ROLES: [(RoleName, &str); 3] =
    [(RoleName::Timestamp, "timestamp"), (RoleName::Snapshot, "snapshot"), (RoleName::Root, "root")];
/// A timestamp that is so much older than the age at which it is due has been waiting too long.
const OVERDUE: SignedDuration = SignedDuration::from_hours(24);

/// What the last survey found.
#[derive(Debug)]
pub(crate) struct Survey {
    last: Mutex<Option<Found>>,
    /// How many collections are named.
    named: usize,
}

#[derive(Debug, Clone)]
struct Found {
    ended: Timestamp,
    took: Duration,
    collections: u64,
    stale: u64,
    roles: [OfRole; ROLES.len()],
    /// Those that expire first.
    first: BTreeSet<(Timestamp, &'static str, Gun)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct OfRole {
    earliest: Option<Timestamp>,
    expired: u64,
}

impl Survey {
    /// Names at most so many collections.
    pub(crate) fn new(named: usize) -> Self {
        Self { last: Mutex::default(), named }
    }

    /// Writes what was found; before the first survey has ended, the families have no samples.
    pub(crate) fn write(&self, now: Timestamp, reader: Reader, text: &mut Exposition) {
        let last = self.lock().clone();
        let seconds = |until: Timestamp| until.duration_since(now).as_secs();
        let name = "countersign_earliest_expiry_seconds";
        text.family(name, Kind::Gauge, "Seconds until the first current file of a role expires; below 0 it has.");
        for (earliest, role) in last.iter().flat_map(Found::by_role).map(|(found, role)| (found.earliest, role)) {
            if let Some(earliest) = earliest {
                text.sample(name, &[("role", role)], seconds(earliest));
            }
        }
        let name = "countersign_expired_collections";
        text.family(name, Kind::Gauge, "Collections whose current file of a role had expired.");
        for (found, role) in last.iter().flat_map(Found::by_role) {
            text.sample(name, &[("role", role)], found.expired);
        }
        let singles: [(&str, &str, Figure); 4] = [
            ("countersign_collections", "Collections at the last survey.", |found| number(found.collections)),
            (
                "countersign_stale_timestamps",
                "Timestamps that should have been signed anew a day before the last survey, and were not.",
                |found| number(found.stale),
            ),
            ("countersign_survey_timestamp_seconds", "When the last survey ended, as Unix time.", |found| {
                found.ended.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
            }),
            ("countersign_survey_duration_seconds", "How long the last survey took.", |found| found.took.as_secs_f64()),
        ];
        for (name, help, value) in singles {
            text.family(name, Kind::Gauge, help);
            if let Some(found) = &last {
                text.sample(name, &[], value(found));
            }
        }
        if reader == Reader::Operator && self.named > 0 {
            let name = "countersign_collection_expiry_seconds";
            text.family(name, Kind::Gauge, "Seconds until a file expires, for the collections where that is first.");
            for (expires, role, gun) in last.iter().flat_map(|found| &found.first) {
                text.sample(name, &[("gun", gun.as_str()), ("role", role)], seconds(*expires));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Found>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Picks a figure of a survey.
type Figure = fn(&Found) -> f64;

#[expect(clippy::cast_precision_loss, reason = "numbers of collections are far below 2^52")]
fn number(count: u64) -> f64 {
    count as f64
}

impl Found {
    fn by_role(&self) -> impl Iterator<Item = (OfRole, &'static str)> {
        self.roles.into_iter().zip(ROLES.map(|(_, label)| label))
    }
}

/// Surveys again and again, until dropped.
pub(crate) async fn run(app: Arc<App>, pause: Duration) {
    loop {
        round(&app).await;
        tokio::time::sleep(pause).await;
    }
}

/// Looks once at every collection.
pub(crate) async fn round(app: &App) {
    match look(app).await {
        Ok(found) => *app.survey.lock() = Some(found),
        Err(error) => {
            tracing::warn!(%error, source = ?std::error::Error::source(&error), "the survey of collections was broken off");
        }
    }
}

async fn look(app: &App) -> Result<Found, StoreError> {
    let begun = Instant::now();
    let now = app.clock.now();
    let mut found = Found {
        ended: now,
        took: Duration::ZERO,
        collections: 0,
        stale: 0,
        roles: Default::default(),
        first: BTreeSet::new(),
    };
    let due = app.renewal.timestamp_age.saturating_add(OVERDUE);
    let stale_before = now.saturating_sub(due).unwrap_or(Timestamp::MIN);
    let roles: BTreeSet<RoleName> = ROLES.map(|(role, _)| role).into();
    // Nothing is stored at the end of time: all timestamps are outside of this range.
    let nothing = Timestamp::MAX..=Timestamp::MAX;
    let mut after = None;
    loop {
        let page_begun = Instant::now();
        let page = app.metadata.stale(nothing.clone(), after.as_ref(), PageSize::wished(PAGE)).await?;
        let Some(last) = page.last().cloned() else { break };
        let is_last = i64::try_from(page.len()).is_ok_and(|length| length < PAGE);
        for gun in page {
            found.collections += 1;
            let state = match app.metadata.state(&gun, &roles).await {
                // One collection that is damaged must not hide when all others expire.
                Err(error @ StoreError::Damaged { .. }) => {
                    tracing::error!(gun = gun.as_str(), %error, "a collection cannot be surveyed");
                    continue;
                }
                state => state?,
            };
            if state.files.get(&RoleName::Timestamp).is_some_and(|file| file.stored_at < stale_before) {
                found.stale += 1;
            }
            for ((role, label), of_role) in ROLES.iter().zip(&mut found.roles) {
                let Some(file) = state.files.get(role) else { continue };
                let expires = read::expires(file);
                of_role.earliest = Some(of_role.earliest.map_or(expires, |earliest| earliest.min(expires)));
                of_role.expired += u64::from(expires < now);
                if app.survey.named > 0 {
                    found.first.insert((expires, label, gun.clone()));
                    if found.first.len() > app.survey.named {
                        found.first.pop_last();
                    }
                }
            }
        }
        if is_last {
            break;
        }
        after = Some(last);
        tokio::time::sleep((page_begun.elapsed() * REST).min(LONGEST_REST)).await;
    }
    found.ended = app.clock.now();
    found.took = begun.elapsed();
    Ok(found)
}
