//! Whoever can write to the database.

use countersign_keyservice::StartError;
use countersign_signer_rpc::CallError;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::house::{House, SNAPSHOT, gun, key, timestamp};

async fn change(house: &House, statement: &'static str) {
    let options = SqliteConnectOptions::new().filename(house.data_dir().join("keys.db"));
    let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
    assert!(sqlx::query(statement).execute(&mut connection).await.unwrap().rows_affected() > 0, "{statement}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn a_key_given_to_another_collection_or_role_or_row_signs_nothing() {
    for statement in [
        "UPDATE private_keys SET gun = 'stolen' WHERE gun = 'a'",
        "UPDATE private_keys SET role = 'snapshot' WHERE gun = 'a'",
        "UPDATE private_keys SET private = (SELECT private FROM private_keys WHERE gun = 'b') WHERE gun = 'a'",
        "UPDATE private_keys SET (private, binding) = (SELECT private, binding FROM private_keys WHERE gun = 'b') \
         WHERE gun = 'a'",
        "UPDATE private_keys SET binding = zeroblob(32) WHERE gun = 'a'",
        "UPDATE private_keys SET public = (SELECT public FROM private_keys WHERE gun = 'b') WHERE gun = 'a'",
    ] {
        let house = House::new();
        let service = house.start("one").await;
        let client = house.client(&service, "server");
        let (a, b) = (key(&client, "a", "timestamp").await, key(&client, "b", "timestamp").await);
        change(&house, statement).await;
        for (name, content) in [("a", timestamp(1)), ("stolen", timestamp(1)), ("a", SNAPSHOT.to_vec())] {
            let refused = client.sign(&a, &gun(name), &content).await;
            assert!(matches!(refused, Err(CallError::NoKey(_))), "{statement}: {refused:?}");
        }
        assert!(client.key_info(&a.canonical_id()).await.is_err(), "{statement}");
        client.sign(&b, &gun("b"), &timestamp(1)).await.unwrap();
    }
}

#[tokio::test]
async fn a_pending_key_of_a_changed_row_is_not_handed_out_as_a_collections_own() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    key(&client, "a", "timestamp").await;
    change(&house, "UPDATE private_keys SET gun = 'victim' WHERE gun = 'a'").await;
    let refused = client.create_key(&countersign_crypto::KeyType::Ecdsa, &gun("victim"), "timestamp").await;
    assert!(refused.is_err(), "{refused:?}");
    service.shut_down().await;
    assert!(matches!(house.try_start("one").await, Err(StartError::Keys { .. })));
}

#[tokio::test]
async fn a_work_factor_that_would_take_for_ever_is_refused_at_once() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    // {"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":4000000000,"p2s":"AAAAAAAAAAAAAAAA"}
    change(
        &house,
        "UPDATE private_keys SET private = \
         'eyJhbGciOiJQQkVTMi1IUzI1NitBMTI4S1ciLCJlbmMiOiJBMjU2R0NNIiwicDJjIjo0MDAwMDAwMDAwLCJwMnMiOiJBQUFBQUFBQUFBQUFBQUFBIn0' \
         || substr(private, instr(private, '.'))",
    )
    .await;
    let begun = std::time::Instant::now();
    assert!(matches!(client.sign(&mine, &gun("a"), &timestamp(1)).await, Err(CallError::NoKey(_))));
    assert!(begun.elapsed() < std::time::Duration::from_secs(5));
}

#[tokio::test]
async fn the_database_shows_no_private_key_and_no_passphrase() {
    let house = House::new();
    house.set("NOTARY_SIGNER_ONE", "the passphrase of this test");
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    client.sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
    service.shut_down().await;
    let bytes = fs_err::read(house.data_dir().join("keys.db")).unwrap();
    let shows = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    assert!(!shows(b"the passphrase of this test"));
    assert!(shows(b"eyJ"), "the JWE is there");
    // The beginning of every P-256 key in SEC1 DER.
    assert!(!shows(&[0x02, 0x01, 0x01, 0x04, 0x20]));
}
