//! Keys on PKCS#11 tokens. `SoftHSM` reads its settings from the environment, once in a process: every test is a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use countersign_crypto::{KeyType, Message, Method, PublicKey};
use countersign_keyservice::{KeyService, KeyTokens, PinPlaces, RotationError, StartError, Variables, rotate};
use countersign_storage::Alias;
use countersign_testkit::SoftHsm;
use countersign_vault::{ServiceTokenLimits, TokenConfig};

use crate::house::{House, gun, key, timestamp};

const PIN: &str = "the-pin-of-it";
const ALIAS: &str = "pkcs11:hsm";

/// The folder of the `SoftHSM` of this process; none in a process whose environment names none.
///
/// Then the test is run again in a process of its own with a token of its own, and has passed when that one has.
fn hsm(test: &str) -> Option<PathBuf> {
    if let Some(configuration) = std::env::var_os("SOFTHSM2_CONF") {
        return Some(Path::new(&configuration).parent().unwrap().to_owned());
    }
    let hsm = SoftHsm::new();
    hsm.set_up("keys", PIN);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([&format!("tokens::{test}"), "--exact", "--nocapture"]).env("SOFTHSM2_CONF", hsm.configuration());
    child.env("HANG_MODULE", SoftHsm::module()).env("HANG", hsm.configuration().with_file_name("hang"));
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
    None
}

/// A house whose token is a `SoftHSM`.
fn house() -> House {
    house_with(SoftHsm::module(), Duration::from_secs(10))
}

/// The same with another module.
fn house_with(module: &Path, patience: Duration) -> House {
    let mut house = House::new();
    let uri = format!("pkcs11:token=keys?module-path={}", module.display());
    let config = TokenConfig::of_uri(Some("hsm"), &uri, None).unwrap();
    let variables = std::sync::Arc::clone(&house.variables);
    let variables = Variables::new(move |name| variables.lock().unwrap().get(name).cloned());
    let limits = ServiceTokenLimits { sessions: 4, patience };
    house.tokens = KeyTokens::new(vec![config], &PinPlaces::new(variables), limits);
    house.set("COUNTERSIGN_KEYSERVER_PIN_HSM", PIN);
    house
}

fn verified(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let method = if *key.key_type() == KeyType::Ed25519 { Method::Eddsa } else { Method::Ecdsa };
    key.verifying_key().unwrap().verify(&method, &Message::new(message), signature).is_ok()
}

async fn change(house: &House, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(house.data_dir().join("keys.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    sqlx::query(statement).execute(&pool).await.unwrap();
    pool.close().await;
}

#[tokio::test]
async fn keys_are_made_on_the_token_and_those_under_passphrases_go_on() {
    let Some(_) = hsm("keys_are_made_on_the_token_and_those_under_passphrases_go_on") else { return };
    let house = house();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    let old = key(&house.client(&service, "server"), "old", "timestamp").await;
    service.shut_down().await;
    let service = house.start(ALIAS).await;
    let client = house.client(&service, "server");
    let mut made = vec![(gun("old"), old)];
    for (name, kind) in [("a", KeyType::Ecdsa), ("b", KeyType::Ed25519)] {
        made.push((gun(name), client.create_key(&kind, &gun(name), "timestamp").await.unwrap()));
    }
    // One that was not used yet is handed out again.
    assert_eq!(key(&client, "a", "timestamp").await, made[1].1);
    for (gun, key) in &made {
        let signature = client.sign(key, gun, &timestamp(1)).await.unwrap();
        assert!(verified(key, &timestamp(1), &signature.1), "{gun}");
        assert!(client.sign(key, gun, crate::house::SNAPSHOT).await.is_err(), "only files of its role");
        assert!(client.sign(key, &crate::house::gun("other"), &timestamp(1)).await.is_err());
    }
    service.shut_down().await;
    let database = fs_err::read(house.data_dir().join("keys.db")).unwrap();
    assert!(!database.windows(PIN.len()).any(|window| window == PIN.as_bytes()));
    // After a restart they are where they were, and the passphrase is rotated around them.
    let done = rotate(&house.data_dir(), &house.passphrases(), &Alias::parse("new").unwrap()).await.unwrap();
    assert_eq!((done.sealed, done.on_tokens, done.left.len()), (1, 2, 0));
    let refused = rotate(&house.data_dir(), &house.passphrases(), &Alias::parse(ALIAS).unwrap()).await;
    assert!(matches!(refused, Err(RotationError::ToToken(_))));
    let service = house.start("new").await;
    let client = house.client(&service, "server");
    for (gun, key) in &made {
        client.sign(key, gun, &timestamp(2)).await.unwrap();
    }
    // Deleted keys keep nothing from starting, also when the token has gone from the settings with the last of them.
    for (gun, key) in &made[1..] {
        client.delete_key(&key.canonical_id()).await.unwrap();
        assert!(client.sign(key, gun, &timestamp(3)).await.is_err());
    }
    service.shut_down().await;
    let mut config = house.config("new");
    config.tokens = KeyTokens::default();
    let service = KeyService::start(config).await.unwrap();
    house.client(&service, "server").sign(&made[0].1, &made[0].0, &timestamp(3)).await.unwrap();
}

/// Taken away with the token's own tools: nobody but its collection notices, and what waited is made anew.
#[tokio::test]
async fn a_key_that_somebody_took_from_the_token_stops_no_other() {
    let Some(folder) = hsm("a_key_that_somebody_took_from_the_token_stops_no_other") else { return };
    let house = house();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    let old = key(&house.client(&service, "server"), "old", "timestamp").await;
    service.shut_down().await;
    let service = house.start(ALIAS).await;
    let client = house.client(&service, "server");
    let used = key(&client, "used", "timestamp").await;
    client.sign(&used, &gun("used"), &timestamp(1)).await.unwrap();
    let waiting = key(&client, "waiting", "timestamp").await;
    service.shut_down().await;
    for token in fs_err::read_dir(folder.join("tokens")).unwrap() {
        for file in fs_err::read_dir(token.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            if path
                .file_name()
                .is_some_and(|name| name != "token.object" && name != "token.lock" && name != "generation")
            {
                fs_err::remove_file(path).unwrap();
            }
        }
    }
    let service = house.start("old").await;
    house.client(&service, "server").sign(&old, &gun("old"), &timestamp(1)).await.unwrap();
    service.shut_down().await;
    let service = house.start(ALIAS).await;
    let client = house.client(&service, "server");
    assert!(client.sign(&used, &gun("used"), &timestamp(2)).await.is_err());
    let another = key(&client, "waiting", "timestamp").await;
    assert_ne!(another, waiting);
    client.sign(&another, &gun("waiting"), &timestamp(1)).await.unwrap();
}

#[tokio::test]
async fn whoever_writes_to_the_database_gives_no_key_of_the_token_another_collection_or_role() {
    let Some(_) = hsm("whoever_writes_to_the_database_gives_no_key_of_the_token_another_collection_or_role") else {
        return;
    };
    let house = house();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let mut service = house.start(ALIAS).await;
    let mine = key(&house.client(&service, "server"), "a", "timestamp").await;
    for (statement, back) in [
        ("UPDATE private_keys SET gun = 'b'", "UPDATE private_keys SET gun = 'a'"),
        ("UPDATE private_keys SET role = 'snapshot'", "UPDATE private_keys SET role = 'timestamp'"),
        ("UPDATE private_keys SET algorithm = 'ed25519'", "UPDATE private_keys SET algorithm = 'ecdsa'"),
        ("UPDATE private_keys SET passphrase_alias = 'old'", "UPDATE private_keys SET passphrase_alias = 'pkcs11:hsm'"),
    ] {
        service.shut_down().await;
        change(&house, statement).await;
        let message = if statement.contains("snapshot") { crate::house::SNAPSHOT.to_vec() } else { timestamp(1) };
        // A row that was changed keeps the service from starting, or is refused when it is used.
        if let Ok(running) = house.try_start(ALIAS).await {
            let client = house.client(&running, "server");
            for name in ["a", "b"] {
                assert!(client.sign(&mine, &gun(name), &message).await.is_err(), "{statement}");
            }
            running.shut_down().await;
        }
        change(&house, back).await;
        service = house.start(ALIAS).await;
    }
    house.client(&service, "server").sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
}

#[tokio::test]
async fn a_token_that_is_away_is_waited_for_and_keys_under_passphrases_go_on() {
    let Some(folder) = hsm("a_token_that_is_away_is_waited_for_and_keys_under_passphrases_go_on") else { return };
    let house = house();
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    let old = key(&house.client(&service, "server"), "old", "timestamp").await;
    service.shut_down().await;
    let (tokens, drawer) = (folder.join("tokens"), folder.join("drawer"));
    fs_err::rename(&tokens, &drawer).unwrap();
    fs_err::create_dir(&tokens).unwrap();
    let service = house.start(ALIAS).await;
    let client = house.client(&service, "server");
    assert!(client.create_key(&KeyType::Ecdsa, &gun("a"), "timestamp").await.is_err());
    client.sign(&old, &gun("old"), &timestamp(1)).await.unwrap();
    fs_err::remove_dir(&tokens).unwrap();
    fs_err::rename(&drawer, &tokens).unwrap();
    let mine = soon(async || client.create_key(&KeyType::Ecdsa, &gun("a"), "timestamp").await).await;
    client.sign(&mine, &gun("a"), &timestamp(1)).await.unwrap();
    // It goes away in the midst of work, too, and comes back without anybody's doing.
    fs_err::rename(&tokens, &drawer).unwrap();
    fs_err::create_dir(&tokens).unwrap();
    for _ in 0..3 {
        let refused = client.sign(&mine, &gun("a"), &timestamp(2)).await.unwrap_err();
        assert!(refused.is_away(), "{refused:?}");
        assert!(client.health().await.is_err());
    }
    client.sign(&old, &gun("old"), &timestamp(2)).await.unwrap();
    fs_err::remove_dir(&tokens).unwrap();
    fs_err::rename(&drawer, &tokens).unwrap();
    soon(async || client.sign(&mine, &gun("a"), &timestamp(3)).await).await;
}

/// Tries until it works.
async fn soon<T, E: std::fmt::Debug>(work: impl AsyncFn() -> Result<T, E>) -> T {
    let begun = Instant::now();
    loop {
        match work().await {
            Ok(done) => return done,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn keys_without_end_are_not_made_on_a_token_and_nothing_is_left_of_refused_and_deleted_ones() {
    let Some(folder) = hsm("keys_without_end_are_not_made_on_a_token_and_nothing_is_left_of_refused_and_deleted_ones")
    else {
        return;
    };
    let mut house = house();
    house.pending_keys = 2;
    let service = house.start(ALIAS).await;
    let client = house.client(&service, "server");
    let objects = || {
        let tokens = fs_err::read_dir(folder.join("tokens")).unwrap().map(|token| token.unwrap().path());
        let files = tokens.flat_map(|token| fs_err::read_dir(token).unwrap().map(|file| file.unwrap().path()));
        files.filter(|file| file.extension().is_some_and(|end| end == "object")).count()
    };
    let before = objects();
    let mut made = Vec::new();
    for name in ["a", "b"] {
        made.push(key(&client, name, "timestamp").await);
    }
    assert_eq!(objects(), before + 4, "two pairs");
    for name in ["c", "d"] {
        assert!(client.create_key(&KeyType::Ecdsa, &gun(name), "timestamp").await.is_err());
    }
    assert_eq!(objects(), before + 4);
    for key in &made {
        client.delete_key(&key.canonical_id()).await.unwrap();
    }
    assert_eq!(objects(), before);
}

#[tokio::test]
async fn a_wrong_or_missing_pin_is_told_at_the_start_and_a_wrong_one_tried_once() {
    let Some(_) = hsm("a_wrong_or_missing_pin_is_told_at_the_start_and_a_wrong_one_tried_once") else { return };
    let house = house();
    house.unset("COUNTERSIGN_KEYSERVER_PIN_HSM");
    let missing = house.try_start(ALIAS).await.unwrap_err();
    assert!(matches!(missing, StartError::Keys { .. }), "{missing}");
    house.set("COUNTERSIGN_KEYSERVER_PIN_HSM", "wrong-wrong");
    let wrong = format!("{:?}", house.try_start(ALIAS).await.unwrap_err());
    assert!(wrong.contains("WrongPin") && !wrong.contains("wrong-wrong"), "{wrong}");
    // The right one is not tried any more in this process: the first try may have been the last but one.
    house.set("COUNTERSIGN_KEYSERVER_PIN_HSM", PIN);
    assert!(house.try_start(ALIAS).await.is_err());
    let unknown = house.try_start("pkcs11:other").await.unwrap_err();
    assert!(matches!(unknown, StartError::Keys { .. }), "{unknown}");
}

#[tokio::test]
async fn the_pin_may_be_a_credential_of_systemd() {
    let Some(_) = hsm("the_pin_may_be_a_credential_of_systemd") else { return };
    let house = house();
    house.unset("COUNTERSIGN_KEYSERVER_PIN_HSM");
    fs_err::write(house.folder.path().join("keyserver-pin-hsm"), format!("{PIN}\n")).unwrap();
    house.set("CREDENTIALS_DIRECTORY", house.folder.path().to_str().unwrap());
    let service = house.start(ALIAS).await;
    key(&house.client(&service, "server"), "a", "timestamp").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sign_at_the_same_time() {
    let Some(_) = hsm("many_sign_at_the_same_time") else { return };
    let house = house();
    let service = house.start(ALIAS).await;
    let client = std::sync::Arc::new(house.client(&service, "server"));
    let mine = key(&client, "a", "timestamp").await;
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..16 {
        let (client, mine) = (std::sync::Arc::clone(&client), mine.clone());
        tasks.spawn(async move {
            for version in 1..=10 {
                let message = timestamp(worker * 100 + version);
                let signed = client.sign(&mine, &gun("a"), &message).await.unwrap();
                assert!(verified(&mine, &message, &signed.1));
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_hangs_is_given_up_and_used_again_when_it_comes_back() {
    let Some(folder) = hsm("a_module_that_hangs_is_given_up_and_used_again_when_it_comes_back") else { return };
    let (source, library) = (folder.join("hanging.c"), folder.join("hanging.so"));
    fs_err::write(&source, include_str!("hanging.c")).unwrap();
    let mut built = Command::new("cc");
    built.args(["-w", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl");
    assert!(built.status().unwrap().success());
    let house = house_with(&library, Duration::from_secs(1));
    house.set("NOTARY_SIGNER_OLD", "the old passphrase of it");
    let service = house.start("old").await;
    let old = key(&house.client(&service, "server"), "old", "timestamp").await;
    service.shut_down().await;
    let service = house.start(ALIAS).await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    let hang = folder.join("hang");
    fs_err::write(&hang, "").unwrap();
    // One call more than there are sessions: all are refused in time, and the module is entered by no more than it may be.
    for _ in 0..5 {
        let begun = Instant::now();
        assert!(client.sign(&mine, &gun("a"), &timestamp(1)).await.is_err());
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    }
    client.sign(&old, &gun("old"), &timestamp(1)).await.unwrap();
    assert!(threads() <= 4, "{}", threads());
    fs_err::remove_file(&hang).unwrap();
    let begun = Instant::now();
    while client.sign(&mine, &gun("a"), &timestamp(2)).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(15));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Counts the threads of this process that are in the module.
fn threads() -> usize {
    let tasks = fs_err::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    tasks.filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name == "pkcs11\n")).count()
}
