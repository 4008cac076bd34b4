//! Old versions that go.

use std::num::NonZeroU32;

use countersign_server::Retention;
use jiff::SignedDuration;

use crate::owner::Owner;
use crate::service::TestService;

const GUN: &str = "example.com/retention";
/// Versions of the targets that are published.
const LAST: u64 = 6;

fn newest(number: u32) -> Retention {
    Retention::Versions(NonZeroU32::new(number).unwrap())
}

/// A collection with six versions, one a day, and its service anew, with nothing in memory.
async fn published() -> TestService {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    for version in 2..=LAST {
        service.time.pass(SignedDuration::from_hours(24));
        service.upload(GUN, &[("targets", owner.targets(version, &["latest"]))]).await.ok();
    }
    service.restart().await
}

async fn found(service: &TestService, role: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for version in 1..=LAST {
        let status = service.file(GUN, &format!("{version}.{role}.json")).await.status;
        assert!(status == 200 || status == 404, "{status}");
        if status == 200 {
            found.push(version);
        }
    }
    found
}

#[tokio::test]
async fn old_versions_go_and_whoever_reads_the_collection_notices_nothing() {
    let service = published().await;
    let report = service.running.retain_now(newest(2)).await;
    assert_eq!((report.collections, report.failed), (1, 0));
    assert_eq!(report.account.going().versions, 3 * (LAST - 2));
    for role in ["targets", "snapshot", "timestamp"] {
        assert_eq!(found(&service, role).await, [LAST - 1, LAST], "{role}");
    }
    assert_eq!(found(&service, "root").await, [1]);
    let timestamp = service.file(GUN, "timestamp.json").await.ok().json();
    assert_eq!(timestamp["signed"]["version"], LAST);
    assert_eq!(service.running.retain_now(newest(2)).await.account.going().versions, 0);
    let owner_reads = service.file(GUN, "snapshot.json").await.ok().json();
    assert_eq!(owner_reads["signed"]["version"], LAST);
}

#[tokio::test]
async fn versions_go_by_age_too() {
    let service = published().await;
    let report = service.running.retain_now(Retention::Age(SignedDuration::from_hours(2 * 24))).await;
    assert_eq!(report.failed, 0);
    // Version 3 was current until version 4 came, two days ago.
    assert_eq!(found(&service, "targets").await, [3, 4, 5, 6]);
}

/// Who holds the timestamp of a few minutes ago, or reads it in a cache, finds what it leads to.
#[tokio::test]
async fn what_was_current_within_the_last_hour_stays_whatever_the_rules_are() {
    let service = published().await;
    assert_eq!(service.running.retain_now(newest(1)).await.failed, 0);
    for role in ["targets", "snapshot", "timestamp"] {
        assert_eq!(found(&service, role).await, [LAST - 1, LAST], "{role}");
    }
    service.time.pass(SignedDuration::from_mins(61));
    // What has just been read is in memory for a while, so that the figures tell.
    assert_eq!(service.running.retain_now(newest(1)).await.account.going().versions, 3);
    let service = service.restart().await;
    for role in ["targets", "snapshot", "timestamp"] {
        assert_eq!(found(&service, role).await, [LAST], "{role}");
    }
}

#[tokio::test]
async fn a_collection_whose_current_files_cannot_be_read_keeps_everything() {
    let service = published().await;
    service
        .tamper("UPDATE tuf_files SET data = x'7b7d' WHERE id IN (SELECT file_id FROM current_files WHERE role = 'timestamp')")
        .await;
    let report = service.running.retain_now(newest(1)).await;
    assert_eq!((report.collections, report.failed), (1, 1));
    assert_eq!(found(&service, "targets").await, [1, 2, 3, 4, 5, 6]);
}
