//! Retention: old versions go from time to time, where the settings say which.

use std::sync::Arc;
use std::time::Duration;

use countersign_storage::{Account, Mode, PageSize, Retention, RetentionError, RetentionStore, StoreError, retain};
use countersign_tuf::Gun;
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::audit::{AuditError, By, Entry, Journal, Outcome};
use crate::config::{CacheAges, Config, Storage};
use crate::service::{Service, StartError};
use crate::stores::{self, Stores};

/// Collections looked at before the next are asked for.
const PAGE: i64 = 100;
/// Pause before the first round: a service that starts has better things to do.
const FIRST: Duration = Duration::from_mins(5);
/// Pause between two rounds.
const INTERVAL: Duration = Duration::from_hours(6);
/// What was current within this time stays: readers that hold the timestamp of that time are still on their way, and caches may
/// serve it.
const RECENT: SignedDuration = SignedDuration::from_hours(1);
/// Troubles that are named one by one.
const NAMED: usize = 100;

/// What retention found in all collections.
#[derive(Debug, Default)]
pub struct RetentionReport {
    /// Collections that were looked at.
    pub collections: u64,
    /// Their figures.
    pub account: Account,
    /// Collections that keep everything because something was wrong, with what was: the first hundred.
    pub troubles: Vec<(Gun, RetentionError)>,
    /// How many there were.
    pub failed: u64,
}

/// Says why retention could not begin or not go on.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// The database is of another release, or there is none.
    #[error("the database is not of this release: see `countersign serve migrate --check`")]
    AnotherRelease,
    /// The tables are the reference's, where every version stays.
    #[error("on the reference's tables every version stays")]
    ReferenceTables,
    /// The database could not be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It cannot be written down: a service that runs holds the file of the audit log, and takes old versions away itself
    /// where `[retention]` says which.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Service {
    /// Applies a retention to all collections, or says what it would do; services may be running meanwhile.
    ///
    /// # Errors
    /// Fails when the database is not of this release or fails.
    pub async fn retain(
        config: &Config,
        retention: Retention,
        now: Timestamp,
        mode: Mode,
    ) -> Result<RetentionReport, RetainError> {
        if matches!(config.storage, Storage::Reference { .. }) {
            return Err(RetainError::ReferenceTables);
        }
        let layout = Self::layout(config).await?;
        if !layout.pending.is_empty() || !layout.unknown.is_empty() || layout.unfinished.is_some() {
            return Err(RetainError::AnotherRelease);
        }
        let stores = Stores::open_at(config, &config.data_dir.join(stores::FILE)).await?;
        let metadata = stores.metadata();
        let journal = match mode {
            Mode::Apply => Journal::of_command(config, &metadata, "serve retention --apply").await,
            Mode::DryRun => Ok(Journal::off(config)),
        };
        let journal = match journal {
            Ok(journal) => journal,
            Err(error) => {
                stores.close().await;
                return Err(error.into());
            }
        };
        let report = match metadata.retention() {
            Some(store) => {
                let rules = rules(retention, config.cache_ages);
                all(store, rules, now, mode).await.map_err(RetainError::from)
            }
            None => Err(RetainError::ReferenceTables),
        };
        if let Ok(report) = &report {
            journal.later(told(Entry::new("retention", &By::operator()).outcome(Outcome::Done), report));
        }
        journal.end().await;
        stores.close().await;
        report
    }
}

/// Takes old versions away again and again, until dropped.
pub(crate) async fn run(app: Arc<App>, retention: Retention) {
    tokio::time::sleep(FIRST).await;
    loop {
        round(&app, retention).await;
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Takes old versions of all collections away once.
pub(crate) async fn round(app: &App, retention: Retention) -> RetentionReport {
    let Some(store) = app.metadata.retention() else {
        tracing::error!("this store keeps every version: [retention] has no effect");
        return RetentionReport::default();
    };
    let now = match app.signing.now() {
        Ok(now) => now,
        Err(implausible) => {
            tracing::error!("{implausible}");
            return RetentionReport::default();
        }
    };
    let ticket = match app.audit.begin(Entry::new("retention", &By::service())).await {
        Ok(ticket) => ticket,
        Err(failure) => {
            let cause = failure.chain().unwrap_or_default();
            tracing::error!(cause, "old versions are not taken away at the moment");
            return RetentionReport::default();
        }
    };
    let rules = rules(retention, app.cache_ages);
    let report = match all(store, rules, now, Mode::Apply).await {
        Ok(report) => report,
        Err(error) => {
            ticket.end(Outcome::Unknown);
            tracing::error!(%error, "old versions cannot be taken away at the moment");
            return RetentionReport::default();
        }
    };
    for (gun, trouble) in &report.troubles {
        tracing::warn!(gun = gun.as_str(), error = %trouble, "a collection keeps everything");
    }
    let going = report.account.going();
    ticket.end_with(Outcome::Done, |entry| told(entry, &report));
    if going.versions > 0 || report.failed > 0 {
        tracing::info!(versions = going.versions, bytes = going.bytes, failed = report.failed, "old versions are gone");
    }
    report
}

/// The rules as they count: what caches were allowed to serve leads to files that are there.
fn rules(retention: Retention, ages: CacheAges) -> Retention {
    retention.and_at_least(RECENT.max(SignedDuration::from_secs(i64::from(ages.current()))))
}

/// Adds the figures to an entry of the audit log.
fn told(entry: Entry, report: &RetentionReport) -> Entry {
    let going = report.account.going();
    entry.count(going.versions).reason(&format!("{} collections, {} bytes", report.collections, going.bytes))
}

async fn all(
    store: &dyn RetentionStore,
    retention: Retention,
    now: Timestamp,
    mode: Mode,
) -> Result<RetentionReport, StoreError> {
    let mut report = RetentionReport::default();
    let mut after = None;
    loop {
        let page = store.collections(after.as_ref(), PageSize::wished(PAGE)).await?;
        let Some(last) = page.last().cloned() else { return Ok(report) };
        for gun in page {
            report.collections += 1;
            match retain(store, &gun, retention, now, mode).await {
                Ok(account) => report.account.add(&account),
                // A damaged row keeps its collection whole; that the database is away ends the round.
                Err(RetentionError::Store(error)) if !matches!(error, StoreError::Damaged { .. }) => return Err(error),
                Err(trouble) => {
                    report.failed += 1;
                    if report.troubles.len() < NAMED {
                        report.troubles.push((gun, trouble));
                    }
                }
            }
        }
        after = Some(last);
    }
}
