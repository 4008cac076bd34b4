//! Renewal: timestamps and snapshots are signed anew long before they expire, whether or not anybody reads them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use countersign_storage::PageSize;
use countersign_telemetry::{Request, within};
use countersign_tuf::accept::{RenewBefore, Renewal};
use jiff::{SignedDuration, Timestamp};

use crate::app::App;
use crate::publish::{self, Stored};

/// Collections looked at before the next are asked for.
const PAGE: i64 = 100;

/// Pause after a round that was broken off because nothing could be signed.
const EARLY_PAUSE: Duration = Duration::from_mins(1);

/// A timestamp stored later than this from now was signed by a clock that was wrong, and expires too late.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(10);

/// Looks at all collections again and again, until dropped.
pub(crate) async fn run(app: Arc<App>) {
    if app.renewal.restored {
        within(Some(Request::begin("renewal", None, None)), move_ahead(&app)).await;
    }
    loop {
        // Lines and spans of one round belong together.
        let request = Request::begin("renewal", None, None);
        let (_, ended) = within(Some(request), look(&app)).await;
        let pause = match ended {
            Ended::Whole => app.renewal.interval,
            Ended::Early => app.renewal.interval.min(EARLY_PAUSE),
        };
        tokio::time::sleep(pause).await;
    }
}

/// Signs all that the service signs anew, ahead of what was given out before the database was set back: readers refuse
/// versions below those that they have seen. What cannot be signed at the moment is waited for.
async fn move_ahead(app: &Arc<App>) {
    // Nothing is stored at the end of time: all timestamps are outside of this range.
    let nothing = Timestamp::MAX..=Timestamp::MAX;
    let (mut moved, mut failed) = (0_u64, 0_u64);
    let mut after = None;
    loop {
        let page = match app.metadata.stale(nothing.clone(), after.as_ref(), PageSize::wished(PAGE)).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "collections cannot be listed");
                tokio::time::sleep(EARLY_PAUSE).await;
                continue;
            }
        };
        let Some(last) = page.last().cloned() else { break };
        for gun in page {
            loop {
                let Err(failure) = publish::renew(app, gun.clone(), Renewal::Restored).await else {
                    moved += 1;
                    break;
                };
                let cause = failure.chain().unwrap_or_default();
                if !failure.cannot_sign() && !failure.is_busy() {
                    failed += 1;
                    tracing::warn!(gun = gun.as_str(), cause, "a collection cannot be moved ahead");
                    break;
                }
                tracing::error!(moved, cause, "nothing can be moved ahead at the moment");
                tokio::time::sleep(EARLY_PAUSE).await;
            }
        }
        after = Some(last);
    }
    tracing::warn!(
        moved,
        failed,
        "every collection's timestamp, and snapshot where its key is the service's, was moved ahead: start the service \
         without --restored from now on"
    );
}

/// Says whether a round came to its end.
enum Ended {
    Whole,
    /// Nothing can be signed at the moment, whatever the collection.
    Early,
}

/// Looks once at every collection whose timestamp has reached the age; returns how many were signed anew.
pub(crate) async fn round(app: &Arc<App>) -> u64 {
    look(app).await.0
}

async fn look(app: &Arc<App>) -> (u64, Ended) {
    let before =
        RenewBefore { timestamp: RenewBefore::WELL_AHEAD.timestamp, snapshot: app.renewal.snapshot_rest.as_secs() };
    if let Err(error) = app.signing.compare(&*app.metadata).await {
        tracing::error!(%error, "the clock cannot be held against what was signed");
    }
    let now = match app.signing.now() {
        Ok(now) => now,
        Err(implausible) => {
            tracing::error!("{implausible}");
            return (0, failed_whole(app));
        }
    };
    let oldest = now.saturating_sub(app.renewal.timestamp_age).unwrap_or(Timestamp::MIN);
    let fresh = oldest..=now.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
    let (mut renewed, mut failed) = (0, 0_u64);
    let mut after = None;
    loop {
        let page = match app.metadata.stale(fresh.clone(), after.as_ref(), PageSize::wished(PAGE)).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "collections due for renewal cannot be found");
                return (renewed, failed_whole(app));
            }
        };
        let Some(last) = page.last().cloned() else { break };
        for gun in page {
            match publish::renew(app, gun.clone(), before.into()).await {
                Ok(Stored::Yes) => renewed += 1,
                Ok(Stored::No) => {}
                Err(failure) => {
                    failed += 1;
                    let cause = failure.chain().unwrap_or_default();
                    if failure.cannot_sign() {
                        tracing::error!(renewed, cause, "nothing can be signed anew at the moment");
                        return (renewed, Ended::Early);
                    }
                    tracing::warn!(gun = gun.as_str(), cause, "a collection cannot be renewed");
                }
            }
        }
        after = Some(last);
    }
    if renewed > 0 || failed > 0 {
        tracing::info!(renewed, failed, "timestamps and snapshots were signed anew");
    }
    (renewed, Ended::Whole)
}

/// Counts a round in which nothing could be looked for, so that operators hear of it long before anything expires.
fn failed_whole(app: &App) -> Ended {
    app.metrics.renewal_failures.fetch_add(1, Ordering::Relaxed);
    Ended::Early
}
