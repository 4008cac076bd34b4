//! Many at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_server::Storage;
use countersign_storage::SqliteStore;
use futures_util::future::join_all;
use serde_json::Value;

use crate::owner::{Key, Owner, file_meta};
use crate::service::{Answered, TestService};

const GUN: &str = "example.com/races";

/// Two services on one database, which lies in the first one's folder.
async fn two_services() -> [TestService; 2] {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let path = folders[0].path().join("shared.db");
    let mut services = Vec::new();
    for folder in folders {
        let store = Arc::new(SqliteStore::open(&path).await.unwrap());
        fs_err::create_dir(folder.path().join("data")).unwrap();
        fs_err::write(folder.path().join("data/secret"), "ab".repeat(32)).unwrap();
        let shared = Storage::Shared { metadata: store.clone(), keys: store };
        services.push(TestService::in_folder(folder, |config| config.storage = shared).await);
    }
    services.try_into().unwrap_or_else(|_| unreachable!("two services"))
}

fn statuses(answers: &[Answered]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status.as_u16()).or_default() += 1;
    }
    counts
}

/// Checks that timestamp, snapshot and all listed files fit together.
async fn assert_whole(service: &TestService, gun: &str) -> u64 {
    let timestamp = service.file(gun, "timestamp.json").await.ok().json();
    let digest = |meta: &Value| {
        use base64::Engine;
        let bytes =
            base64::engine::general_purpose::STANDARD.decode(meta["hashes"]["sha256"].as_str().unwrap()).unwrap();
        hex::encode(bytes)
    };
    let named = digest(&timestamp["signed"]["meta"]["snapshot"]);
    let snapshot = service.file(gun, &format!("snapshot.{named}.json")).await.ok();
    let snapshot = snapshot.json();
    for (role, meta) in snapshot["signed"]["meta"].as_object().unwrap() {
        let file = service.file(gun, &format!("{role}.{}.json", digest(meta))).await.ok();
        assert_eq!(meta["length"], file.body.len());
        assert_eq!(&file_meta(&file.body)["hashes"], &meta["hashes"], "{role}");
    }
    timestamp["signed"]["version"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_twenty_publishers_of_one_version_exactly_one_wins() {
    for services in [vec![TestService::start().await], two_services().await.into()] {
        let owner = Owner::of(&services[0], GUN).await;
        owner.publish_first(&services[0]).await;
        let tags: Vec<String> = (0..20).map(|n| format!("tag{n}")).collect();
        let uploads = tags.iter().enumerate().map(|(n, tag)| {
            let parts = [("targets", owner.targets(2, &[tag]))];
            let service = &services[n % services.len()];
            async move { service.upload(GUN, &parts).await }
        });
        let answers = join_all(uploads).await;
        assert_eq!(statuses(&answers), BTreeMap::from([(200, 1), (400, 19)]));
        assert!(answers.iter().filter(|a| a.status == 400).all(|a| a.error() == "400 VERSION"));
        assert_eq!(assert_whole(&services[0], GUN).await, 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_ten_first_publications_exactly_one_wins() {
    let service = TestService::start().await;
    let owners = join_all((0..10).map(|_| Owner::of(&service, GUN))).await;
    let uploads = owners.iter().map(|owner| async {
        service.upload(GUN, &[("root", owner.root(1)), ("targets", owner.targets(1, &[]))]).await
    });
    let answers = join_all(uploads).await;
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 1), (400, 9)]));
    assert_eq!(assert_whole(&service, GUN).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn delegates_at_once_all_find_their_files_in_the_snapshot() {
    for services in [vec![TestService::start().await], two_services().await.into()] {
        let roles: Vec<String> = (0..10).map(|n| format!("targets/d{n}")).collect();
        let names: Vec<&str> = roles.iter().map(String::as_str).collect();
        let owner = Owner::of(&services[0], GUN).await.delegating(&names);
        owner.publish_first(&services[0]).await;
        for round in 1..=3 {
            let uploads = roles.iter().enumerate().map(|(n, role)| {
                let parts = [(role.as_str(), owner.delegation(role, round, &["x"]))];
                let service = &services[n % services.len()];
                async move { service.upload(GUN, &parts).await }
            });
            let answers = join_all(uploads).await;
            assert_eq!(
                statuses(&answers),
                BTreeMap::from([(200, 10)]),
                "{:?}",
                answers.iter().map(Answered::text).collect::<Vec<_>>()
            );
            assert_eq!(assert_whole(&services[0], GUN).await, 1 + 10 * round);
            let snapshot = services[0].file(GUN, "snapshot.json").await.ok().json();
            for role in &roles {
                let file = services[0].file(GUN, &format!("{round}.{role}.json")).await.ok().body;
                assert_eq!(snapshot["signed"]["meta"][role], file_meta(&file), "{role} in round {round}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_chains_that_never_go_back_during_publications() {
    let service = Arc::new(TestService::start().await);
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (service, done) = (Arc::clone(&service), Arc::clone(&done));
            tokio::spawn(async move {
                let mut seen = 0;
                while !done.load(Ordering::Relaxed) {
                    let version = assert_whole(&service, GUN).await;
                    assert!(version >= seen, "went back from {seen} to {version}");
                    seen = version;
                }
            })
        })
        .collect();
    for version in 2..=26 {
        service.upload(GUN, &[("targets", owner.targets(version, &["v"]))]).await.ok();
        let timestamp = service.file(GUN, "timestamp.json").await.ok().json();
        assert_eq!(timestamp["signed"]["version"], version, "what was acknowledged is served");
    }
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn publishing_and_deleting_leave_a_whole_collection_or_none() {
    for services in [vec![TestService::start().await], two_services().await.into()] {
        for _ in 0..10 {
            // A deletion retires the service's keys.
            let owner = Owner::of(&services[0], GUN).await;
            owner.publish_first(&services[0]).await;
            let (one, other) = (&services[0], services.last().unwrap());
            let parts = [("targets", owner.targets(2, &["v2"]))];
            let (publication, deletion) = tokio::join!(one.upload(GUN, &parts), other.delete(GUN));
            deletion.ok();
            assert!(matches!(publication.status.as_u16(), 200 | 400), "{}", publication.text());
            for name in ["root.json", "targets.json", "snapshot.json", "timestamp.json"] {
                assert_eq!(one.file(GUN, name).await.status, 404, "{name}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_validated_against_an_old_root_is_not_stored_under_a_new_one() {
    let service = TestService::start().await;
    for round in 0..5 {
        let gun = format!("{GUN}/{round}");
        let mut owner = Owner::of(&service, &gun).await;
        owner.publish_first(&service).await;
        let old = ("targets", owner.targets(2, &["signed by the old key"]));
        owner.targets_key = Key::bare();
        let rotation = [("root", owner.root(2)), ("targets", owner.targets(3, &["new"]))];
        let (rotated, late) =
            tokio::join!(service.upload(&gun, &rotation), service.upload(&gun, std::slice::from_ref(&old)));
        rotated.ok();
        assert!(matches!(late.status.as_u16(), 200 | 400));
        assert_whole(&service, &gun).await;
        let targets = service.file(&gun, "targets.json").await.ok().json();
        assert_eq!(targets["signed"]["version"], 3, "the new key's file is current");
    }
}
