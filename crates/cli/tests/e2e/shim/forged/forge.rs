//! A maker of collections that are signed as they should be, but for what a test makes wrong.

#![expect(clippy::indexing_slicing, reason = "tests may index")]

use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_crypto::certificate::{CertificateBundle, self_signed};
use countersign_crypto::digest::{sha256, sha512};
use countersign_crypto::{Algorithm, PrivateKey, PublicKey, Signer};
use countersign_testkit::{FakeServer, Reply};
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(crate) const GUN: &str = "registry.test/team/app";
/// The version of every file of an honest collection.
pub(crate) const VERSION: u64 = 5;
const RELEASES: &str = "targets/releases";
const BASE: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];

/// A private key and the public form under which it signs.
pub(crate) struct Key {
    private: PrivateKey,
    public: PublicKey,
}

impl Key {
    pub(crate) fn new() -> Self {
        let private = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        Self { public: private.public_key().clone(), private }
    }

    /// A key under a certificate for a name, made so many days ago and valid for ten years.
    pub(crate) fn certified(common_name: &str, days_ago: i64) -> Self {
        let Self { private, .. } = Self::new();
        let pem = self_signed(common_name, &private, in_days(-days_ago)).unwrap();
        Self { public: CertificateBundle::parse(&pem).unwrap().rebuilt_key().unwrap(), private }
    }

    fn id(&self) -> String {
        self.public.id().to_string()
    }

    fn seal(&self, signed: &Value) -> Vec<u8> {
        let sig = STANDARD.encode(self.private.sign(signed.to_string().as_bytes()).unwrap());
        let signature = json!({"keyid": self.id(), "method": self.private.method().as_str(), "sig": sig});
        json!({"signed": signed, "signatures": [signature]}).to_string().into_bytes()
    }
}

fn in_days(days: i64) -> Timestamp {
    Timestamp::now() + (days * 24).hours()
}

/// A time in the past or the future as metadata spells it.
pub(crate) fn expiry(days: i64) -> String {
    in_days(days).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A collection whose tag `v1` is released in `targets/releases`, with an older digest in `targets`.
pub(crate) struct Forge {
    /// The keys that the root and `targets` list.
    keys: BTreeMap<&'static str, Key>,
    /// Keys that sign in place of the listed ones.
    pub(crate) signers: BTreeMap<&'static str, Key>,
    payloads: BTreeMap<&'static str, Value>,
    /// What is answered in place of the file, made from it.
    pub(crate) answers: BTreeMap<&'static str, fn(Vec<u8>) -> Reply>,
}

impl Forge {
    pub(crate) fn honest() -> Self {
        let mut keys: BTreeMap<_, _> =
            ["targets", "snapshot", "timestamp", RELEASES].map(|role| (role, Key::new())).into();
        keys.insert("root", Key::certified(GUN, 1));
        let file = |kind: &str| json!({"_type": kind, "version": VERSION, "expires": expiry(1000)});
        let mut payloads: BTreeMap<_, _> = [
            ("root", file("Root")),
            ("targets", file("Targets")),
            ("snapshot", file("Snapshot")),
            ("timestamp", file("Timestamp")),
            (RELEASES, file("Targets")),
        ]
        .into();
        for (role, content) in [("targets", "old"), (RELEASES, "new")] {
            let targets = payloads.get_mut(role).unwrap();
            targets["targets"] = json!({"v1": image(content)});
            targets["delegations"] = json!({"keys": {}, "roles": []});
        }
        payloads.get_mut("timestamp").unwrap()["expires"] = expiry(14).into();
        let mut new = Self { keys, signers: BTreeMap::new(), payloads, answers: BTreeMap::new() };
        new.list_keys();
        new
    }

    /// The digest under which `v1` is released.
    pub(crate) fn digest() -> String {
        format!("sha256:{}", sha256(b"new").hex())
    }

    /// Changes what a file says; all files that list it follow.
    pub(crate) fn edit(&mut self, role: &str, change: impl FnOnce(&mut Value)) {
        change(self.payloads.get_mut(role).unwrap());
    }

    /// Sets the versions of all files.
    pub(crate) fn at_version(mut self, version: u64) -> Self {
        for payload in self.payloads.values_mut() {
            payload["version"] = version.into();
        }
        self
    }

    /// Replaces a key, and lists the new one.
    pub(crate) fn rekey(&mut self, role: &'static str, key: Key) {
        self.keys.insert(role, key);
        self.list_keys();
    }

    fn list_keys(&mut self) {
        let json_of = |key: &Key| serde_json::from_str::<Value>(&key.public.to_json()).unwrap();
        let (mut keys, mut roles) = (Map::new(), Map::new());
        for role in BASE {
            let key = &self.keys[role];
            keys.insert(key.id(), json_of(key));
            roles.insert(role.into(), json!({"keyids": [key.id()], "threshold": 1}));
        }
        let releaser = &self.keys[RELEASES];
        let described = json!({"keyids": [releaser.id()], "name": RELEASES, "paths": [""], "threshold": 1});
        let delegations = json!({"keys": {releaser.id(): json_of(releaser)}, "roles": [described]});
        self.edit("targets", |targets| targets["delegations"] = delegations);
        self.edit("root", |root| {
            root["consistent_snapshot"] = false.into();
            root["keys"] = Value::Object(keys);
            root["roles"] = Value::Object(roles);
        });
    }

    fn sealed(&self, role: &str, listed: Option<Value>) -> Vec<u8> {
        let mut payload = self.payloads[role].clone();
        if let Some(listed) = listed {
            payload["meta"] = listed;
        }
        self.signers.get(role).unwrap_or_else(|| &self.keys[role]).seal(&payload)
    }

    /// Signs all files and serves them from now on.
    pub(crate) fn serve(&self, server: &FakeServer) {
        let mut files: BTreeMap<&str, Vec<u8>> =
            ["root", "targets", RELEASES].map(|role| (role, self.sealed(role, None))).into();
        let listed = files.iter().map(|(role, file)| ((*role).to_owned(), meta(file))).collect();
        files.insert("snapshot", self.sealed("snapshot", Some(Value::Object(listed))));
        files.insert("timestamp", self.sealed("timestamp", Some(json!({"snapshot": meta(&files["snapshot"])}))));
        let mut replies = BTreeMap::from([("/v2/".to_owned(), Reply::json("{}"))]);
        for (role, file) in files {
            let hash = sha256(&file).hex();
            let reply = match self.answers.get(role) {
                Some(answer) => answer(file),
                None => Reply::json(file),
            };
            for name in
                [role.to_owned(), format!("{role}.{hash}"), format!("{}.{role}", self.payloads[role]["version"])]
            {
                replies.insert(format!("/v2/{GUN}/_trust/tuf/{name}.json"), reply.clone());
            }
        }
        server.handle(move |request| replies.get(&request.path).cloned());
    }
}

fn image(content: &str) -> Value {
    json!({"hashes": {"sha256": STANDARD.encode(sha256(content.as_bytes()).as_bytes())}, "length": 524})
}

fn meta(file: &[u8]) -> Value {
    let (short, long) = (STANDARD.encode(sha256(file).as_bytes()), STANDARD.encode(sha512(file).as_bytes()));
    json!({"hashes": {"sha256": short, "sha512": long}, "length": file.len()})
}
