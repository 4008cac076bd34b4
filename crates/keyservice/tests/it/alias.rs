use countersign_keyservice::{RotationError, StartError, rotate};
use countersign_storage::Alias;

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
