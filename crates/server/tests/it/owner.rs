//! Somebody who owns a collection: keys, and files signed with them, right or wrong as a test wants them.
//!
//! Written from the protocol with a JSON library alone, so that the service is not checked against its own code.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::certificate::self_signed;
use countersign_crypto::digest::{sha256, sha512};
use countersign_crypto::{Algorithm, KeyType, PrivateKey, PublicKey, Signer};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::service::TestService;

/// A private key with the public key that metadata lists for it.
pub(crate) struct Key {
    pub(crate) private: PrivateKey,
    pub(crate) public: PublicKey,
}

impl Key {
    pub(crate) fn bare() -> Self {
        let private = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let public = private.public_key().clone();
        Self { private, public }
    }

    pub(crate) fn root(common_name: &str, now: Timestamp) -> Self {
        let private = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let pem = self_signed(common_name, &private, now).unwrap();
        Self { private, public: PublicKey::new(KeyType::EcdsaX509, pem) }
    }

    pub(crate) fn id(&self) -> String {
        self.public.id().to_string()
    }
}

/// An owner of one collection whose snapshot and timestamp keys are the service's.
pub(crate) struct Owner {
    pub(crate) gun: String,
    pub(crate) now: Timestamp,
    pub(crate) root_key: Key,
    pub(crate) targets_key: Key,
    pub(crate) snapshot_key: Value,
    pub(crate) timestamp_key: Value,
    /// Delegation keys by role.
    pub(crate) delegates: BTreeMap<String, Key>,
}

impl Owner {
    /// Makes keys and asks the service for its own.
    pub(crate) async fn of(service: &TestService, gun: &str) -> Self {
        let snapshot = service.file(gun, "snapshot.key").await.ok().json();
        let timestamp = service.file(gun, "timestamp.key").await.ok().json();
        Self::with(gun, service.time.now(), snapshot, timestamp)
    }

    /// Makes keys to go with a service's snapshot and timestamp keys.
    pub(crate) fn with(gun: &str, now: Timestamp, snapshot_key: Value, timestamp_key: Value) -> Self {
        let (root_key, targets_key) = (Key::root(gun, now), Key::bare());
        Self {
            gun: gun.to_owned(),
            now,
            root_key,
            targets_key,
            snapshot_key,
            timestamp_key,
            delegates: BTreeMap::new(),
        }
    }

    /// Adds a delegation key for each role.
    pub(crate) fn delegating(mut self, roles: &[&str]) -> Self {
        self.delegates.extend(roles.iter().map(|role| ((*role).to_owned(), Key::bare())));
        self
    }

    pub(crate) fn expires(&self, days: i64) -> String {
        (self.now + SignedDuration::from_hours(24 * days)).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(crate) fn root_payload(&self, version: u64) -> Value {
        let role = |key: &Value| json!({"keyids": [key_id(key)], "threshold": 1});
        let (root, targets) = (public(&self.root_key.public), public(&self.targets_key.public));
        let keys: Map<String, Value> = [&root, &targets, &self.snapshot_key, &self.timestamp_key]
            .map(|key| (key_id(key), key.clone()))
            .into_iter()
            .collect();
        json!({
            "_type": "Root", "consistent_snapshot": false, "expires": self.expires(3650), "keys": keys, "version": version,
            "roles": {
                "root": role(&root), "targets": role(&targets),
                "snapshot": role(&self.snapshot_key), "timestamp": role(&self.timestamp_key),
            },
        })
    }

    pub(crate) fn root(&self, version: u64) -> Vec<u8> {
        signed(&self.root_payload(version), &[&self.root_key])
    }

    pub(crate) fn targets_payload(&self, version: u64, tags: &[&str]) -> Value {
        let entries = self.delegates.iter().filter(|(role, _)| role.matches('/').count() == 1);
        let (mut keys, mut roles) = (Map::new(), Vec::new());
        for (role, key) in entries {
            keys.insert(key.id(), public(&key.public));
            roles.push(json!({"keyids": [key.id()], "name": role, "paths": [""], "threshold": 1}));
        }
        json!({
            "_type": "Targets", "delegations": {"keys": keys, "roles": roles}, "expires": self.expires(1095),
            "targets": targets(tags), "version": version,
        })
    }

    pub(crate) fn targets(&self, version: u64, tags: &[&str]) -> Vec<u8> {
        signed(&self.targets_payload(version, tags), &[&self.targets_key])
    }

    pub(crate) fn delegation(&self, role: &str, version: u64, tags: &[&str]) -> Vec<u8> {
        let payload = json!({
            "_type": "Targets", "delegations": {"keys": {}, "roles": []}, "expires": self.expires(1095),
            "targets": targets(tags), "version": version,
        });
        signed(&payload, &[self.delegates.get(role).unwrap()])
    }

    /// Publishes root 1 and targets 1.
    pub(crate) async fn publish_first(&self, service: &TestService) {
        let parts = [("root", self.root(1)), ("targets", self.targets(1, &["v1"]))];
        service.upload(&self.gun, &parts).await.ok();
    }
}

fn targets(tags: &[&str]) -> Value {
    let entry = |tag: &str| {
        let hashes = json!({"sha256": STANDARD.encode(sha256(tag.as_bytes()).as_bytes())});
        (tag.to_owned(), json!({"hashes": hashes, "length": tag.len()}))
    };
    Value::Object(tags.iter().map(|tag| entry(tag)).collect())
}

/// The public key object of metadata.
pub(crate) fn public(key: &PublicKey) -> Value {
    json!({"keytype": key.key_type().as_str(), "keyval": {"private": null, "public": STANDARD.encode(key.bytes())}})
}

/// The id of a public key object.
pub(crate) fn key_id(key: &Value) -> String {
    sha256(canonical(key).as_bytes()).hex()
}

/// How metadata lists another file.
pub(crate) fn file_meta(bytes: &[u8]) -> Value {
    json!({
        "hashes": {"sha256": STANDARD.encode(sha256(bytes).as_bytes()), "sha512": STANDARD.encode(sha512(bytes).as_bytes())},
        "length": bytes.len(),
    })
}

/// Signs a payload and writes the file in the reference's form.
pub(crate) fn signed(payload: &Value, keys: &[&Key]) -> Vec<u8> {
    let canonical = canonical(payload);
    let signature = |key: &&Key| {
        let signature = STANDARD.encode(key.private.sign(canonical.as_bytes()).unwrap());
        let (id, method) = (key.id(), key.private.method());
        format!(r#"{{"keyid":"{id}","method":"{}","sig":"{signature}"}}"#, method.as_str())
    };
    let signatures: Vec<String> = keys.iter().map(signature).collect();
    format!(r#"{{"signed":{canonical},"signatures":[{}]}}"#, signatures.join(",")).into_bytes()
}

/// Writes canonical JSON; the strings of these tests need no escapes beyond JSON's own.
pub(crate) fn canonical(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let members: Vec<String> =
                sorted.into_iter().map(|(name, value)| format!("{}:{}", json!(name), canonical(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        other => other.to_string(),
    }
}

/// The digest of a file, as names have it.
pub(crate) fn hex_digest(file: &[u8]) -> String {
    sha256(file).hex()
}
