//! The golden history: every publication that the reference's server accepted, in order, with the keys it had.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign_crypto::{KeyType, SystemRandom};
use countersign_keyfile::jwe;
use countersign_server::Storage;
use countersign_storage::{EncryptedKey, KeyStore, NewServiceKey, PendingLimits, ServiceRole, SqliteStore};
use countersign_testkit::clock::FIXTURE_CLOCK;
use countersign_testkit::fixtures;
use countersign_tuf::Gun;
use jiff::SignedDuration;
use serde_json::Value;

use crate::service::TestService;

const DATABASE: &str = "database-ecdsa/notaryserver.tuf_files.json";
const KEYS: &str = "database-ecdsa/notarysigner.private_keys.json";
const PASSPHRASE: &[u8] = b"interop-signer-pass";
const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// Files by role.
type Upload = Vec<(String, Vec<u8>)>;

/// Bytes of a column, which the dump holds as text, or as base64 where it is no text.
fn column(value: &Value) -> Vec<u8> {
    use base64::Engine;
    match (value["text"].as_str(), value["base64"].as_str()) {
        (Some(text), _) => text.as_bytes().to_vec(),
        (None, Some(encoded)) => base64::engine::general_purpose::STANDARD.decode(encoded).unwrap(),
        _ => unreachable!("a column of the dump: {value}"),
    }
}

/// A service that holds the keys of the reference's signer.
async fn service() -> TestService {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs_err::create_dir(&data).unwrap();
    fs_err::write(data.join("secret"), SECRET).unwrap();
    let store = Arc::new(SqliteStore::open(&data.join("trust.db")).await.unwrap());
    for row in fixtures::json(KEYS).as_array().unwrap() {
        import(&store, row).await;
    }
    TestService::in_folder(folder, |config| {
        config.storage = Storage::Shared { metadata: store.clone(), keys: store };
    })
    .await
}

async fn import(store: &SqliteStore, row: &Value) {
    let algorithm = KeyType::from(row["algorithm"].as_str().unwrap());
    let jwe = String::from_utf8(column(&row["private"])).unwrap();
    let key = jwe::open_key(&jwe, &algorithm, PASSPHRASE).unwrap();
    let sealed = jwe::seal_key(&key, SECRET.as_bytes(), &mut SystemRandom).unwrap();
    let role = if row["role"] == "snapshot" { ServiceRole::Snapshot } else { ServiceRole::Timestamp };
    let new = NewServiceKey {
        id: row["key_id"].as_str().unwrap().parse().unwrap(),
        gun: Gun::parse(row["gun"].as_str().unwrap()).unwrap(),
        role,
        algorithm,
        public: column(&row["public"]),
        private: EncryptedKey::new(sealed),
    };
    let limits = PendingLimits { count: 1000, keep: SignedDuration::from_hours(1) };
    store.insert_pending(new.clone(), limits, FIXTURE_CLOCK).await.unwrap();
    store.mark_used(&new.gun, &new.id, FIXTURE_CLOCK).await.unwrap();
}

/// The uploads of each collection: what was stored up to each timestamp, without what the reference made itself.
fn publications() -> BTreeMap<String, Vec<Upload>> {
    let server_snapshots = server_held_snapshots();
    let mut collections: BTreeMap<String, Vec<Upload>> = BTreeMap::new();
    let mut open: BTreeMap<String, Upload> = BTreeMap::new();
    for row in fixtures::json(DATABASE).as_array().unwrap() {
        let (gun, role) = (row["gun"].as_str().unwrap().to_owned(), row["role"].as_str().unwrap());
        let bytes = column(&row["data"]);
        if role == "timestamp" {
            collections.entry(gun.clone()).or_default().push(open.remove(&gun).unwrap_or_default());
        } else if role != "snapshot" || !made_by(&bytes, server_snapshots.get(&gun)) {
            open.entry(gun).or_default().push((role.to_owned(), bytes));
        }
    }
    collections
}

/// The ids of the snapshot keys that the reference's signer held, by collection.
fn server_held_snapshots() -> BTreeMap<String, Vec<String>> {
    let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in fixtures::json(KEYS).as_array().unwrap() {
        if row["role"] == "snapshot" {
            let id = row["key_id"].as_str().unwrap().to_owned();
            held.entry(row["gun"].as_str().unwrap().to_owned()).or_default().push(id);
        }
    }
    held
}

fn made_by(snapshot: &[u8], keys: Option<&Vec<String>>) -> bool {
    let file: Value = serde_json::from_slice(snapshot).unwrap();
    let signer = file["signatures"][0]["keyid"].as_str().unwrap();
    keys.is_some_and(|keys| keys.iter().any(|key| key == signer))
}

#[tokio::test]
async fn every_publication_that_the_reference_accepted_is_accepted() {
    let service = service().await;
    let mut count = 0;
    for (gun, uploads) in publications() {
        for (n, parts) in uploads.iter().enumerate() {
            let borrowed: Vec<(&str, Vec<u8>)> =
                parts.iter().map(|(role, bytes)| (role.as_str(), bytes.clone())).collect();
            let answer = service.upload(&gun, &borrowed).await;
            let roles: Vec<&str> = borrowed.iter().map(|(role, _)| *role).collect();
            assert_eq!(answer.status, 200, "publication {n} of {gun} with {roles:?}: {}", answer.text());
            for (role, bytes) in parts {
                assert!(service.file(&gun, &format!("{role}.json")).await.ok().body == *bytes, "{gun} {role}");
            }
            count += 1;
        }
    }
    assert!(count > 60, "only {count} publications");
}

#[tokio::test]
async fn a_golden_publication_with_any_byte_changed_is_refused() {
    let service = service().await;
    let publications = publications();
    let (gun, uploads) = publications.iter().find(|(gun, _)| gun.ends_with("docker28")).unwrap();
    let first = uploads.first().unwrap();
    for (changed, (role, bytes)) in first.iter().enumerate() {
        for at in (0..bytes.len()).step_by(bytes.len() / 40) {
            let mut parts: Vec<(&str, Vec<u8>)> =
                first.iter().map(|(role, bytes)| (role.as_str(), bytes.clone())).collect();
            parts[changed].1[at] ^= 0x01;
            let answer = service.upload(gun, &parts).await;
            assert_eq!(answer.status, 400, "{role} byte {at}: {}", answer.text());
        }
    }
    let parts: Vec<(&str, Vec<u8>)> = first.iter().map(|(role, bytes)| (role.as_str(), bytes.clone())).collect();
    service.upload(gun, &parts).await.ok();
    assert_eq!(service.upload(gun, &parts).await.error(), "400 VERSION", "a replay");
}
