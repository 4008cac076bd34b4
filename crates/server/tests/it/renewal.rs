//! Timestamps and snapshots that come of age.

use countersign_server::ClockCheck;
use futures_util::future::join_all;
use jiff::SignedDuration;

use crate::owner::{Key, Owner, public};
use crate::service::{TestService, Time};

const GUN: &str = "example.com/renewal";

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

async fn published() -> TestService {
    let service = TestService::start().await;
    Owner::of(&service, GUN).await.publish_first(&service).await;
    service
}

async fn version(service: &TestService, role: &str) -> u64 {
    service.file(GUN, &format!("{role}.json")).await.ok().json()["signed"]["version"].as_u64().unwrap()
}

#[tokio::test]
async fn nothing_is_renewed_in_the_first_half_of_a_timestamps_life() {
    let service = published().await;
    let before = service.file(GUN, "timestamp.json").await.ok().body;
    service.time.pass(days(6));
    assert_eq!(service.running.renew_now().await, 0);
    assert_eq!(service.file(GUN, "timestamp.json").await.ok().body, before);
}

#[tokio::test]
async fn timestamps_are_renewed_in_the_second_half_of_their_life() {
    let service = published().await;
    Owner::of(&service, "another").await.publish_first(&service).await;
    let snapshot = service.file(GUN, "snapshot.json").await.ok().body;
    service.time.pass(days(7) + SignedDuration::from_secs(1));
    assert_eq!(service.running.renew_now().await, 2);
    assert_eq!(version(&service, "timestamp").await, 2);
    let timestamp = service.file(GUN, "timestamp.json").await.ok().json();
    assert_eq!(timestamp["signed"]["expires"], "2026-12-13T12:00:01Z");
    assert_eq!(service.file(GUN, "snapshot.json").await.ok().body, snapshot, "the snapshot is far from its end");
    assert_eq!(service.running.renew_now().await, 0);
    let changes = service.get(&format!("/v2/{GUN}/_trust/changefeed?records=10")).await.ok().json();
    assert_eq!(changes["count"], 2, "a renewal is a change");
}

#[tokio::test]
async fn snapshots_are_renewed_a_month_before_their_end() {
    let service = published().await;
    service.time.pass(days(1095 - 29));
    assert_eq!(service.running.renew_now().await, 1);
    assert_eq!((version(&service, "timestamp").await, version(&service, "snapshot").await), (2, 2));
}

#[tokio::test]
async fn an_expired_timestamp_is_renewed_once_by_a_hundred_readers() {
    let service = published().await;
    service.time.pass(days(15));
    let answers = join_all((0..100).map(|_| service.file(GUN, "timestamp.json"))).await;
    for answer in answers {
        assert_eq!(answer.ok().json()["signed"]["version"], 2);
    }
    assert_eq!(service.file(GUN, "3.timestamp.json").await.status, 404);
}

#[tokio::test]
async fn an_expired_snapshot_is_renewed_by_its_reader() {
    let service = published().await;
    service.time.pass(days(1096));
    assert_eq!(version(&service, "snapshot").await, 2);
    assert_eq!(version(&service, "timestamp").await, 2);
    assert_eq!(version(&service, "targets").await, 1);
}

#[tokio::test]
async fn what_cannot_be_renewed_is_an_error_without_explanation() {
    let service = published().await;
    service.time.pass(days(3651));
    for role in ["timestamp", "snapshot"] {
        let answer = service.file(GUN, &format!("{role}.json")).await;
        assert_eq!(answer.error(), "500 UNKNOWN");
        assert_eq!(answer.json()["errors"][0].get("detail"), None);
    }
    service.file(GUN, "root.json").await.ok();
    assert_eq!(service.running.renew_now().await, 0);
    let metrics = service.get("/metrics").await.ok().text();
    assert!(metrics.contains("countersign_renewal_failures_total 2\n"), "{metrics}");
}

#[tokio::test]
async fn a_snapshot_whose_key_the_publisher_holds_is_left_to_him_and_the_timestamp_renewed() {
    let service = TestService::start().await;
    let mut owner = Owner::of(&service, GUN).await;
    let key = Key::bare();
    owner.snapshot_key = public(&key.public);
    let (root, targets) = (owner.root(1), owner.targets(1, &[]));
    let payload = serde_json::json!({
        "_type": "Snapshot", "expires": owner.expires(20), "version": 1,
        "meta": {"root": crate::owner::file_meta(&root), "targets": crate::owner::file_meta(&targets)},
    });
    let snapshot = crate::owner::signed(&payload, &[&key]);
    service.upload(GUN, &[("root", root), ("targets", targets), ("snapshot", snapshot.clone())]).await.ok();
    service.time.pass(days(8));
    assert_eq!(service.running.renew_now().await, 1);
    assert_eq!(version(&service, "timestamp").await, 2);
    assert_eq!(service.file(GUN, "snapshot.json").await.ok().body, snapshot);
}

/// Starts the service again on the operator's word that the clock is right.
async fn restart_on_the_operators_word(service: TestService) -> TestService {
    let TestService { running, folder, time, .. } = service;
    running.shut_down().await;
    let clock = time.clock();
    let again = TestService::in_folder(folder, |config| {
        config.clock = clock;
        config.clock_check = ClockCheck::OperatorsWord;
    });
    TestService { time, ..again.await }
}

#[tokio::test]
async fn what_a_clock_that_ran_ahead_has_signed_is_signed_anew_on_the_operators_word() {
    let service = published().await;
    service.time.pass(days(500));
    assert_eq!(service.running.renew_now().await, 1);
    service.time.pass(days(-500));
    assert_eq!(service.running.renew_now().await, 0, "which of the two times is right cannot be known");
    let service = restart_on_the_operators_word(service).await;
    // A service that was just started looks around by itself: which of the two looks renews is open.
    service.running.renew_now().await;
    let timestamp = service.file(GUN, "timestamp.json").await.ok().json();
    assert_eq!(timestamp["signed"]["expires"], "2026-12-06T12:00:00Z");
    assert_eq!(timestamp["signed"]["version"], 3);
    service.running.renew_now().await;
    assert_eq!(version(&service, "timestamp").await, 3, "once is enough");
    let service = service.restart().await;
    service.time.pass(days(8));
    service.running.renew_now().await;
    assert_eq!(version(&service, "timestamp").await, 4, "from then on no word is needed");
}

#[tokio::test]
async fn a_snapshot_that_a_clock_ahead_has_signed_is_signed_anew_like_the_timestamp() {
    let service = published().await;
    service.time.pass(days(1095 - 20));
    assert_eq!(service.running.renew_now().await, 1);
    assert_eq!((version(&service, "timestamp").await, version(&service, "snapshot").await), (2, 2));
    service.time.pass(days(20 - 1095));
    let service = restart_on_the_operators_word(service).await;
    service.running.renew_now().await;
    for (role, expires) in [("timestamp", "2026-12-06T12:00:00Z"), ("snapshot", "2029-11-21T12:00:00Z")] {
        let file = service.file(GUN, &format!("{role}.json")).await.ok().json();
        assert_eq!(file["signed"]["expires"], expires, "{role}");
        assert_eq!(file["signed"]["version"], 3, "{role}");
    }
}

/// What the metrics say of renewals that failed.
async fn failures(service: &TestService) -> u64 {
    let metrics = service.get("/metrics").await.ok().text();
    let line = metrics.lines().find_map(|line| line.strip_prefix("countersign_renewal_failures_total "));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_clock_that_is_behind_signs_nothing_and_what_is_stored_is_served() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let before = service.file(GUN, "timestamp.json").await.ok().body;
    for back in [days(2), days(10), days(3650)] {
        let log = crate::faults::Log::default();
        let guard = log.listen();
        service.time.pass(-back);
        let refused = service.upload(GUN, &[("targets", owner.targets(2, &["second"]))]).await;
        assert_eq!(refused.error(), "503 UNAVAILABLE", "{back}");
        assert!(!refused.header("Retry-After").is_empty());
        assert!(!refused.text().contains("clock"), "clients cannot mend it: {}", refused.text());
        let another = Owner::of(&service, "example.com/another").await;
        let (root, targets) = (another.root(1), another.targets(1, &[]));
        let refused = service.upload("example.com/another", &[("root", root), ("targets", targets)]).await;
        assert_eq!(refused.error(), "503 UNAVAILABLE", "{back}: a collection that is not there yet");
        let counted = failures(&service).await;
        assert_eq!(service.running.renew_now().await, 0);
        assert_eq!(failures(&service).await, counted + 1, "operators hear of it");
        assert_eq!(service.file(GUN, "timestamp.json").await.ok().body, before);
        service.file(GUN, "targets.json").await.ok();
        service.time.pass(back);
        drop(guard);
        assert!(log.text().contains("set the clock") || log.text().contains("set it"), "{}", log.text());
    }
    service.upload(GUN, &[("targets", owner.targets(2, &["second"]))]).await.ok();
}

#[tokio::test]
async fn a_clock_that_is_behind_at_the_start_signs_nothing() {
    let service = published().await;
    let (base, now) = (Time::new(), service.time.now());
    base.pass(days(-3));
    let TestService { running, folder, .. } = service;
    running.shut_down().await;
    let service = TestService::in_folder(folder, |config| config.clock = base.clock()).await;
    service.running.renew_now().await;
    let another = Owner::of(&service, "another").await;
    let parts = [("root", another.root(1)), ("targets", another.targets(1, &[]))];
    assert_eq!(service.upload("another", &parts).await.error(), "503 UNAVAILABLE");
    base.pass(days(3));
    assert_eq!(base.now(), now);
    service.upload("another", &parts).await.ok();
}
