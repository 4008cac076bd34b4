use countersign_crypto::digest::sha256;
use countersign_crypto::{KeyId, KeyType};
use countersign_keyservice::Drained;
use countersign_signer_rpc::CallError;

use crate::house::{House, SNAPSHOT, gun, key, timestamp};

#[tokio::test]
async fn a_key_is_the_same_until_it_has_signed_and_stays_after_that_also_over_a_restart() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    for algorithm in [KeyType::Ecdsa, KeyType::Ed25519] {
        let first = client.create_key(&algorithm, &gun("a"), "timestamp").await.unwrap();
        assert_eq!(client.create_key(&algorithm, &gun("a"), "timestamp").await.unwrap(), first);
        assert_ne!(client.create_key(&algorithm, &gun("a"), "snapshot").await.unwrap(), first);
        assert_ne!(client.create_key(&algorithm, &gun("b"), "timestamp").await.unwrap(), first);
        client.sign(&first, &gun("a"), &timestamp(1)).await.unwrap();
        assert_ne!(client.create_key(&algorithm, &gun("a"), "timestamp").await.unwrap(), first);
        client.sign(&first, &gun("a"), &timestamp(2)).await.unwrap();
        assert_eq!(client.key_info(&first.canonical_id()).await.unwrap(), (first, "timestamp".to_owned()));
    }
    let kept = key(&client, "kept", "snapshot").await;
    client.sign(&kept, &gun("kept"), SNAPSHOT).await.unwrap();
    assert_eq!(service.shut_down().await, Drained::Completely);
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    client.sign(&kept, &gun("kept"), SNAPSHOT).await.unwrap();
    assert_ne!(key(&client, "kept", "snapshot").await, kept);
}

#[tokio::test]
async fn unknown_algorithms_and_roles_are_refused_in_the_references_words() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    for algorithm in [KeyType::Rsa, KeyType::EcdsaX509, KeyType::from("dsa"), KeyType::from("none")] {
        let refused = client.create_key(&algorithm, &gun("a"), "timestamp").await.unwrap_err();
        let told = format!("algorithm {} not supported for create key (Unknown)", algorithm.as_str());
        assert!(refused.to_string().contains(&told), "{refused}");
    }
    for role in ["root", "targets", "targets/releases", "x", ""] {
        let refused = client.create_key(&KeyType::Ecdsa, &gun("a"), role).await.unwrap_err();
        assert!(refused.to_string().contains("InvalidArgument"), "{role}: {refused}");
    }
}

#[tokio::test]
async fn a_key_signs_only_for_its_collection_and_role_and_another_collections_key_looks_like_none() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    for foreign in [SNAPSHOT, br#"{"_type":"Root","x":1}"#, br#"{"_type":"Targets","x":1}"#, b"", b"anything"] {
        let refused = client.sign(&mine, &gun("a"), foreign).await.unwrap_err();
        assert!(refused.to_string().contains("PermissionDenied"), "{refused}");
    }
    let others = client.sign(&mine, &gun("b"), &timestamp(1)).await.unwrap_err().to_string();
    let unknown_key = countersign_crypto::PrivateKey::generate(countersign_crypto::Algorithm::EcdsaP256).unwrap();
    let unknown = countersign_crypto::Signer::public_key(&unknown_key).clone();
    let none = client.sign(&unknown, &gun("b"), &timestamp(1)).await.unwrap_err().to_string();
    let without_ids =
        |text: String, key: &countersign_crypto::PublicKey| text.replace(&key.canonical_id().to_string(), "");
    assert_eq!(without_ids(others, &mine), without_ids(none, &unknown));
    // None of that has used the key up.
    assert_eq!(key(&client, "a", "timestamp").await, mine);
    client.sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
}

#[tokio::test]
async fn a_deleted_key_signs_no_more_and_deleting_nothing_is_no_error() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    client.sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
    for _ in 0..2 {
        client.delete_key(&mine.canonical_id()).await.unwrap();
    }
    client.delete_key(&KeyId::from(sha256(b"unknown"))).await.unwrap();
    assert!(matches!(client.sign(&mine, &gun("a"), &timestamp(2)).await, Err(CallError::NoKey(_))));
    let info = client.key_info(&mine.canonical_id()).await;
    assert!(matches!(&info, Err(CallError::NoKey(text)) if text.contains("not found")), "{info:?}");
}

#[tokio::test]
async fn keys_without_end_are_not_made() {
    let house = House { pending_keys: 2, ..House::new() };
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let first = key(&client, "a", "timestamp").await;
    key(&client, "b", "timestamp").await;
    let refused = client.create_key(&KeyType::Ecdsa, &gun("c"), "timestamp").await.unwrap_err();
    assert!(refused.is_away(), "{refused}");
    client.sign(&first, &gun("a"), &timestamp(1)).await.unwrap();
    key(&client, "a", "timestamp").await;
}

#[tokio::test]
async fn the_audit_log_says_who_did_what_and_has_no_secret_in_it() {
    let house = House::new();
    house.set("NOTARY_SIGNER_ONE", "the passphrase of this test");
    let service = house.start("one").await;
    let client = house.client(&service, "trust.example.com");
    let mine = key(&client, "a", "timestamp").await;
    client.sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
    client.sign(&mine, &gun("a"), SNAPSHOT).await.unwrap_err();
    client.delete_key(&mine.canonical_id()).await.unwrap();
    let audit = house.audit();
    let lines: Vec<_> = audit.lines().collect();
    let events = ["create", "sign", "refuse", "delete"];
    assert_eq!(lines.len(), events.len(), "{audit}");
    for (line, event) in lines.iter().zip(events) {
        assert!(line.contains(&format!(r#""event":"{event}","client":"trust.example.com""#)), "{line}");
        assert!(line.contains(&mine.canonical_id().to_string()), "{line}");
    }
    assert!(lines[1].contains(&sha256(&timestamp(1)).hex()) && lines[1].contains(r#""gun":"a","role":"timestamp""#));
    assert!(!audit.contains("passphrase"));
}

#[tokio::test]
async fn health_tells_whether_keys_can_be_used() {
    let house = House::new();
    house.set("NOTARY_SIGNER_ONE", "the passphrase of this test");
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    client.health().await.unwrap();
    house.unset("NOTARY_SIGNER_ONE");
    assert!(client.health().await.unwrap_err().is_away());
}

#[tokio::test]
async fn a_client_connects_again_by_itself() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    let address = service.address();
    service.shut_down().await;
    let away = client.sign(&mine, &gun("a"), &timestamp(1)).await.unwrap_err();
    assert!(away.is_away(), "{away}");
    let mut config = house.config("one");
    config.listen = address;
    let _service = countersign_keyservice::KeyService::start(config).await.unwrap();
    client.sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
}

#[tokio::test]
async fn without_its_audit_log_the_service_does_nothing_and_says_that_it_is_not_well() {
    let house = House::new();
    fs_err::create_dir(house.data_dir()).unwrap();
    let log = house.data_dir().join("audit.log");
    fs_err::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    client.health().await.unwrap();
    for _ in 0..2 {
        let refused = client.create_key(&KeyType::Ecdsa, &gun("a"), "timestamp").await.unwrap_err();
        assert!(refused.is_away(), "{refused:?}");
        assert!(client.health().await.is_err());
    }
}

/// Whoever asks for keys that there are not leaves a trace.
#[tokio::test]
async fn asking_for_a_key_that_there_is_not_is_written_down() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let unknown = KeyId::from(sha256(b"unknown"));
    assert!(matches!(client.key_info(&unknown).await, Err(CallError::NoKey(_))));
    let audit = house.audit();
    assert!(audit.contains(r#""event":"refuse""#) && audit.contains(&unknown.to_string()), "{audit}");
    // So does who asks for another collection's.
    let other = key(&client, "other", "timestamp").await;
    assert!(matches!(client.key_of(&other.canonical_id(), &gun("a")).await, Err(CallError::NoKey(_))));
    let audit = house.audit();
    assert_eq!(audit.matches(r#""event":"refuse""#).count(), 2, "{audit}");
}

/// A row that has given way while its key was in memory signs no more: nothing else is left of the key.
#[tokio::test]
async fn a_key_whose_row_is_gone_does_not_sign_from_memory() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    client.key_info(&mine.canonical_id()).await.unwrap();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(house.data_dir().join("keys.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("DELETE FROM private_keys").execute(&pool).await.unwrap();
    pool.close().await;
    assert!(matches!(client.sign(&mine, &gun("a"), &timestamp(1)).await, Err(CallError::NoKey(_))));
}
