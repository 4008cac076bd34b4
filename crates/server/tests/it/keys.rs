//! The service's keys: few, bound, encrypted.

use std::collections::BTreeSet;

use countersign_server::{KeyAlgorithm, Service, StartError};

use crate::owner::{Owner, key_id};
use crate::service::TestService;

const GUN: &str = "example.com/keys";

#[tokio::test]
async fn a_collection_without_root_has_one_pending_key_for_each_role() {
    let service = TestService::start().await;
    let mut ids = BTreeSet::new();
    for _ in 0..5 {
        for name in ["snapshot.key", "timestamp.key"] {
            ids.insert(key_id(&service.file(GUN, name).await.ok().json()));
            let path = format!("/v2/{GUN}/_trust/tuf/{name}");
            ids.insert(key_id(&service.request("POST", &path).await.ok().json()));
        }
    }
    assert_eq!(ids.len(), 2);
}

#[tokio::test]
async fn fifty_at_once_get_the_same_key() {
    let service = TestService::start().await;
    let asked = (0..50).map(|_| service.file(GUN, "timestamp.key"));
    let ids: BTreeSet<String> =
        futures_util::future::join_all(asked).await.into_iter().map(|answer| key_id(&answer.ok().json())).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn asking_for_keys_of_invented_collections_is_bounded() {
    let service = TestService::with(|config| config.limits.pending_keys = 10).await;
    for n in 0..10 {
        service.file(&format!("invented/{n}"), "timestamp.key").await.ok();
    }
    let refused = service.file("invented/10", "timestamp.key").await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "5"));
    service.file("invented/3", "timestamp.key").await.ok();
    let week = jiff::SignedDuration::from_hours(7 * 24 + 1);
    service.time.pass(week);
    service.file("invented/10", "timestamp.key").await.ok();
}

#[tokio::test]
async fn sixty_rotations_while_publishing() {
    let service = TestService::start().await;
    let mut owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let path = format!("/v2/{GUN}/_trust/tuf/timestamp.key");
    let mut ids = BTreeSet::from([key_id(&owner.timestamp_key)]);
    for version in 2..62 {
        owner.timestamp_key = service.request("POST", &path).await.ok().json();
        assert!(ids.insert(key_id(&owner.timestamp_key)), "a new key for rotation {version}");
        service.upload(GUN, &[("root", owner.root(version)), ("targets", owner.targets(version, &[]))]).await.ok();
        let timestamp = service.file(GUN, "timestamp.json").await.ok().json();
        assert_eq!(timestamp["signatures"][0]["keyid"], key_id(&owner.timestamp_key));
    }
}

#[tokio::test]
async fn ed25519_when_configured() {
    let service = TestService::with(|config| config.key_algorithm = KeyAlgorithm::Ed25519).await;
    let owner = Owner::of(&service, GUN).await;
    assert_eq!(owner.timestamp_key["keytype"], "ed25519");
    owner.publish_first(&service).await;
    let timestamp = service.file(GUN, "timestamp.json").await.ok().json();
    assert_eq!(timestamp["signatures"][0]["method"], "eddsa");
}

#[tokio::test]
async fn keys_are_the_same_after_a_restart() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let service = service.restart().await;
    assert_eq!(service.file(GUN, "timestamp.key").await.ok().json(), owner.timestamp_key);
    service.upload(GUN, &[("targets", owner.targets(2, &[]))]).await.ok();
}

#[tokio::test]
async fn keys_at_rest_are_encrypted_and_the_secret_is_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let service = TestService::start().await;
    Owner::of(&service, GUN).await.publish_first(&service).await;
    let data = service.folder.path().join("data");
    for name in ["secret", "trust.db"] {
        assert_eq!(fs_err::metadata(data.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(data.join("trust.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let rows: Vec<(String,)> = sqlx::query_as("SELECT private FROM service_keys").fetch_all(&pool).await.unwrap();
    assert_eq!(rows.len(), 2);
    for (private,) in rows {
        assert_eq!(private.matches('.').count(), 4, "a compact JWE");
    }
}

#[tokio::test]
async fn another_secret_or_none_is_refused_at_the_start() {
    for damage in [Some("ff".repeat(32)), None] {
        let service = TestService::start().await;
        service.file(GUN, "timestamp.key").await.ok();
        let TestService { running, folder, .. } = service;
        running.shut_down().await;
        let secret = folder.path().join("data/secret");
        match &damage {
            Some(other) => fs_err::write(&secret, other).unwrap(),
            None => fs_err::remove_file(&secret).unwrap(),
        }
        let config = countersign_server::Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
        let refused = Service::start(config).await.unwrap_err();
        let expected = match damage {
            Some(_) => matches!(refused, StartError::WrongSecret(_)),
            None => matches!(refused, StartError::MissingSecret),
        };
        assert!(expected, "{refused:?}");
        assert_eq!(secret.exists(), damage.is_some(), "no new secret in place of the lost one");
    }
}

#[tokio::test]
async fn a_key_that_somebody_swapped_in_the_database_is_not_used() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    Owner::of(&service, "example.com/other").await.publish_first(&service).await;
    let database = service.folder.path().join("data/trust.db");
    let pool =
        sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(database)).await.unwrap();
    let swap = "UPDATE service_keys SET private = (SELECT private FROM service_keys WHERE gun = 'example.com/other' LIMIT 1) \
                WHERE gun = 'example.com/keys'";
    assert_eq!(sqlx::query(swap).execute(&pool).await.unwrap().rows_affected(), 2);
    let answer = service.upload(GUN, &[("root", owner.root(1)), ("targets", owner.targets(1, &[]))]).await;
    assert_eq!(answer.error(), "500 UPDATING");
    assert_eq!(service.file(GUN, "root.json").await.status, 404);
}

#[tokio::test]
async fn deleted_files_that_are_uploaded_again_are_not_vouched_for() {
    let service = TestService::start().await;
    let gun = "example.com/replayed";
    let owner = Owner::of(&service, gun).await;
    let first = [("root", owner.root(1)), ("targets", owner.targets(1, &["v1"]))];
    service.upload(gun, &first).await.ok();
    service.upload(gun, &[("targets", owner.targets(2, &["v2"]))]).await.ok();
    service.delete(gun).await.ok();
    let answer = service.upload(gun, &first).await;
    assert_eq!(answer.error(), "400 INVALID_UPDATE");
    assert_eq!(service.file(gun, "timestamp.json").await.status, 404);
    let service = service.restart().await;
    assert_eq!(service.upload(gun, &first).await.error(), "400 INVALID_UPDATE", "after a restart");
    let again = Owner::of(&service, gun).await;
    assert_ne!(again.timestamp_key, owner.timestamp_key);
    again.publish_first(&service).await;
    service.file(gun, "timestamp.json").await.ok();
}
