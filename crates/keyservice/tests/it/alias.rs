use countersign_crypto::{Algorithm, PrivateKey};
use countersign_keyservice::{AliasError, Arrival, Arrived, Intake, IntakeError, RotationError, StartError, rotate};
use countersign_storage::{Alias, ServiceRole};
use jiff::Timestamp;

use crate::house::{House, gun, key, timestamp};

fn alias(name: &str) -> Alias {
    Alias::parse(name).unwrap()
}

#[tokio::test]
async fn keys_are_sealed_under_another_alias_while_the_service_runs_and_the_old_passphrase_can_go() {
    let house = House::new();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    let client = house.client(&service, "server");
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        keys.push((gun(name), key(&client, name, "timestamp").await));
    }
    client.sign(&keys[0].1, &keys[0].0, &timestamp(1)).await.unwrap();
    client.delete_key(&keys[2].1.canonical_id()).await.unwrap();
    let done = rotate(&house.data_dir(), &house.passphrases(), &alias("new")).await.unwrap();
    assert_eq!((done.sealed, done.left.len()), (3, 0));
    // The running service finds the passphrase that was made, also for a key it has not opened yet.
    for (gun, key) in keys.iter().take(2) {
        client.sign(key, gun, &timestamp(2)).await.unwrap();
    }
    service.shut_down().await;
    house.unset("NOTARY_SIGNER_OLD");
    let service = house.start("new").await;
    let client = house.client(&service, "server");
    for (gun, key) in keys.iter().take(2) {
        client.sign(key, gun, &timestamp(3)).await.unwrap();
    }
    let again = rotate(&house.data_dir(), &house.passphrases(), &alias("new")).await.unwrap();
    assert_eq!((again.sealed, again.left.len()), (0, 0));
}

#[tokio::test]
async fn a_key_that_cannot_be_opened_keeps_its_alias_and_is_named() {
    let house = House::new();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    let mine = key(&house.client(&service, "server"), "a", "timestamp").await;
    service.shut_down().await;
    for value in ["another passphrase", ""] {
        house.set("NOTARY_SIGNER_OLD", value);
        let done = rotate(&house.data_dir(), &house.passphrases(), &alias("new")).await.unwrap();
        assert_eq!((done.sealed, done.left.len()), (0, 1));
        assert_eq!(done.left[0].0, mine.canonical_id());
    }
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let done = rotate(&house.data_dir(), &house.passphrases(), &alias("new")).await.unwrap();
    assert_eq!((done.sealed, done.left.len()), (1, 0));
    let nowhere = rotate(house.folder.path(), &house.passphrases(), &alias("new")).await;
    assert!(matches!(nowhere, Err(RotationError::NoDatabase(_))));
}

#[tokio::test]
async fn a_missing_or_wrong_passphrase_is_told_at_the_start_and_never_replaced() {
    let house = House::new();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    let mine = key(&house.client(&service, "server"), "a", "timestamp").await;
    service.shut_down().await;
    house.unset("NOTARY_SIGNER_OLD");
    for alias in ["old", "new"] {
        let refused = house.try_start(alias).await.unwrap_err();
        assert!(matches!(refused, StartError::Keys { .. }), "{refused}");
        assert!(!house.data_dir().join("passphrases").exists(), "no other passphrase is made");
    }
    house.set("NOTARY_SIGNER_OLD", "another passphrase");
    assert!(matches!(house.try_start("old").await, Err(StartError::Keys { .. })));
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    assert_eq!(key(&house.client(&service, "server"), "a", "timestamp").await, mine);
}

/// The file of one passphrase is nobody else's, whatever their names are.
#[tokio::test]
async fn a_passphrase_that_is_made_takes_the_place_of_no_other() {
    let house = House::new();
    let service = house.start("default.new").await;
    let mine = key(&house.client(&service, "server"), "a", "timestamp").await;
    service.shut_down().await;
    for to in ["default", "default.new.new", "default.new"] {
        let done = rotate(&house.data_dir(), &house.passphrases(), &alias(to)).await.unwrap();
        assert_eq!((done.sealed, done.left.len()), (1, 0), "{to}");
    }
    let service = house.start("default.new").await;
    house.client(&service, "server").sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
}

#[tokio::test]
async fn nothing_is_sealed_under_an_alias_with_another_passphrase_than_its_keys_have() {
    let house = House::new();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    house.set("NOTARY_SIGNER_NEW", "the new passphrase of it");
    for (name, of) in [("old", "a"), ("new", "b")] {
        let service = house.start(name).await;
        key(&house.client(&service, "server"), of, "timestamp").await;
        service.shut_down().await;
    }
    house.set("NOTARY_SIGNER_NEW", "the passphrase of somebody else");
    let refused = rotate(&house.data_dir(), &house.passphrases(), &alias("new")).await;
    assert!(matches!(refused, Err(RotationError::Alias(AliasError::AnotherPassphrase { .. }))), "{refused:?}");
    let refused = Intake::open(&house.data_dir(), &house.passphrases(), &alias("new")).await;
    assert!(matches!(refused, Err(IntakeError::Alias(AliasError::AnotherPassphrase { .. }))), "{refused:?}");
    house.set("NOTARY_SIGNER_NEW", "the new passphrase of it");
    let done = rotate(&house.data_dir(), &house.passphrases(), &alias("new")).await.unwrap();
    assert_eq!((done.sealed, done.left.len()), (1, 0));
}

/// A service that runs opens with its own passphrase what came in, or the keys are lost to it.
#[tokio::test]
async fn keys_come_in_under_the_passphrase_that_the_running_service_has() {
    let house = House::new();
    house.set("COUNTERSIGN_KEYSERVER_PASSPHRASE_FIRST", "the passphrase in its environment");
    let service = house.start("first").await;
    let environment = house.passphrases();
    house.unset("COUNTERSIGN_KEYSERVER_PASSPHRASE_FIRST");
    let refused = Intake::open(&house.data_dir(), &house.passphrases(), &alias("first")).await;
    assert!(matches!(refused, Err(IntakeError::Alias(AliasError::ServiceHasIt(_)))), "{refused:?}");
    assert!(!house.data_dir().join("passphrases").exists());
    house.set("COUNTERSIGN_KEYSERVER_PASSPHRASE_FIRST", "the passphrase in its environment");
    let intake = Intake::open(&house.data_dir(), &environment, &alias("first")).await.unwrap();
    let private = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let public = private.public_key().clone();
    let (created_at, role) = (Timestamp::UNIX_EPOCH, ServiceRole::Timestamp);
    let arrival = Arrival { key: private, gun: gun("a"), role, created_at, last_used: None };
    assert_eq!(intake.take(arrival).await.unwrap(), Arrived::Now);
    // A second one that waits does not come in, and is not written down.
    let second = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let arrival = Arrival { key: second, gun: gun("a"), role, created_at, last_used: None };
    assert_eq!(intake.take(arrival).await.unwrap(), Arrived::AnotherWaits);
    assert_eq!(house.audit().matches(r#""event":"import""#).count(), 1, "{}", house.audit());
    intake.close().await;
    house.client(&service, "server").sign(&public, &gun("a"), &timestamp(1)).await.unwrap();
}
