//! A workshop that makes collections from generated keys, honest and forged, and the client that reads them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign_crypto::certificate::{CertificateBundle, self_signed};
use countersign_crypto::digest::{sha256, sha512};
use countersign_crypto::{Algorithm, KeyId, PrivateKey, PublicKey, Signer};
use countersign_tuf::json::{Canonical, write_wire};
use countersign_tuf::update::{Absence, Answer, Fetch, LostRoot, Purpose, Request, Step, Update, UpdateError, Which};
use countersign_tuf::{Collection, Gun, Pinning, RoleName, Seen, SignerSet, SignerUnavailable};
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value, json};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const GUN: &str = "registry.test/team/app";
pub(crate) const NOW: &str = "2026-11-22T12:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn gun() -> Gun {
    Gun::parse(GUN).unwrap()
}

pub(crate) fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

/// A private key and the public form under which it signs.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) private: Arc<PrivateKey>,
    pub(crate) public: PublicKey,
}

impl Key {
    pub(crate) fn new() -> Self {
        Self::of(Algorithm::EcdsaP256)
    }

    pub(crate) fn of(algorithm: Algorithm) -> Self {
        let private = Arc::new(PrivateKey::generate(algorithm).unwrap());
        Self { public: private.public_key().clone(), private }
    }

    /// The same private key under a new certificate.
    pub(crate) fn certified(&self, common_name: &str) -> Self {
        self.certified_at(common_name, now() - 24.hours())
    }

    /// The same private key under a certificate that was made at a time, and is valid for ten years.
    pub(crate) fn certified_at(&self, common_name: &str, made: Timestamp) -> Self {
        let pem = self_signed(common_name, &self.private, made).unwrap();
        self.under(CertificateBundle::parse(&pem).unwrap().rebuilt_key().unwrap())
    }

    pub(crate) fn under(&self, public: PublicKey) -> Self {
        Self { private: self.private.clone(), public }
    }

    pub(crate) fn root() -> Self {
        Self::new().certified(GUN)
    }

    pub(crate) fn id(&self) -> String {
        self.public.id().to_string()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.public.to_json()).unwrap()
    }

    /// A signature over the canonical form of a payload.
    pub(crate) fn sign(&self, canonical: &[u8]) -> Value {
        let signature = STANDARD.encode(self.private.sign(canonical).unwrap());
        json!({ "keyid": self.id(), "method": self.private.method().as_str(), "sig": signature })
    }
}

/// The canonical form of a payload.
pub(crate) fn canonical(signed: &Value) -> Vec<u8> {
    Canonical::read(&serde_json::to_vec(signed).unwrap().into()).unwrap().as_bytes().to_vec()
}

/// A payload in the reference's spelling with the keys' signatures.
pub(crate) fn seal(signed: &Value, keys: &[Key]) -> Bytes {
    let canonical = canonical(signed);
    let signatures: Vec<Value> = keys.iter().map(|key| key.sign(&canonical)).collect();
    envelope(&wire(&canonical), &Value::Array(signatures))
}

fn wire(canonical: &[u8]) -> String {
    let mut text = Vec::new();
    write_wire(&mut text, canonical);
    String::from_utf8(text).unwrap()
}

/// Any text as `signed`, with signatures over any bytes.
pub(crate) fn seal_raw(signed: &str, over: &[u8], keys: &[Key]) -> Bytes {
    let signatures: Vec<Value> = keys.iter().map(|key| key.sign(over)).collect();
    envelope(signed, &Value::Array(signatures))
}

pub(crate) fn envelope(signed: &str, signatures: &Value) -> Bytes {
    format!("{{\"signed\":{signed},\"signatures\":{signatures}}}").into()
}

/// What a listing says of a file.
pub(crate) fn meta(file: &[u8]) -> Value {
    let (short, long) = (STANDARD.encode(sha256(file).as_bytes()), STANDARD.encode(sha512(file).as_bytes()));
    json!({ "hashes": { "sha256": short, "sha512": long }, "length": file.len() })
}

/// What a tag stands for, made from any text.
pub(crate) fn image(text: &str) -> Value {
    json!({ "hashes": { "sha256": STANDARD.encode(sha256(text.as_bytes()).as_bytes()) }, "length": text.len() })
}

/// The keys of a collection by role; delegates too.
pub(crate) type Keys = BTreeMap<String, Vec<Key>>;

/// A collection with all its keys: whoever has one of these can do everything, tests take what an attacker would have.
#[derive(Clone)]
pub(crate) struct Repository {
    pub(crate) gun: String,
    pub(crate) keys: Keys,
    pub(crate) files: BTreeMap<String, Bytes>,
    /// Every file that ever was current.
    pub(crate) history: Vec<(String, Bytes)>,
}

fn expires(days: i64) -> String {
    (now() + (days * 24).hours()).to_string()
}

impl Repository {
    /// A published collection without tags; every file has version 1.
    pub(crate) fn new() -> Self {
        let mut keys: Keys =
            ["targets", "snapshot", "timestamp"].map(|role| (role.to_owned(), vec![Key::new()])).into();
        keys.insert("root".into(), vec![Key::root()]);
        Self::with_keys(GUN, keys)
    }

    pub(crate) fn with_keys(gun: &str, keys: Keys) -> Self {
        let mut new = Self { gun: gun.to_owned(), keys, files: BTreeMap::new(), history: Vec::new() };
        let root = new.root_payload(1);
        new.put("root", &root);
        let targets = json!({
            "_type": "Targets", "delegations": { "keys": {}, "roles": [] }, "expires": expires(1095), "targets": {}, "version": 1,
        });
        new.put("targets", &targets);
        new.put("snapshot", &json!({ "_type": "Snapshot", "expires": expires(1095), "meta": {}, "version": 0 }));
        new.put("timestamp", &json!({ "_type": "Timestamp", "expires": expires(14), "meta": {}, "version": 0 }));
        new.history.clear();
        new.link();
        new.history.extend(new.files.iter().map(|(role, file)| (role.clone(), file.clone())));
        new
    }

    /// A root that lists the present keys, threshold 1.
    pub(crate) fn root_payload(&self, version: u64) -> Value {
        let (mut keys, mut roles) = (Map::new(), Map::new());
        for base in ["root", "targets", "snapshot", "timestamp"] {
            let ids: Vec<String> = self.keys[base].iter().map(Key::id).collect();
            keys.extend(self.keys[base].iter().map(|key| (key.id(), key.json())));
            roles.insert(base.into(), json!({ "keyids": ids, "threshold": 1 }));
        }
        json!({
            "_type": "Root", "consistent_snapshot": false, "expires": expires(3650), "keys": keys, "roles": roles,
            "version": version,
        })
    }

    /// The current payload of a role.
    pub(crate) fn payload(&self, role: &str) -> Value {
        serde_json::from_slice::<Value>(&self.files[role]).unwrap()["signed"].take()
    }

    pub(crate) fn version(&self, role: &str) -> u64 {
        self.payload(role)["version"].as_u64().unwrap()
    }

    /// The current version, 0 if the file is none.
    pub(crate) fn payload_version(&self, role: &str) -> u64 {
        serde_json::from_slice::<Value>(&self.files[role])
            .ok()
            .and_then(|file| file["signed"]["version"].as_u64())
            .unwrap_or(0)
    }

    pub(crate) fn put_bytes(&mut self, role: &str, file: impl Into<Bytes>) {
        let file = file.into();
        self.history.push((role.to_owned(), file.clone()));
        self.files.insert(role.to_owned(), file);
    }

    /// Signs a payload with the role's keys and makes it current, without listing it.
    pub(crate) fn put(&mut self, role: &str, payload: &Value) {
        let keys = self.keys[role].clone();
        self.put_bytes(role, seal(payload, &keys));
    }

    /// Changes the current payload of a role as it is, version included, and signs it.
    pub(crate) fn edit(&mut self, role: &str, change: impl FnOnce(&mut Value)) {
        let mut payload = self.payload(role);
        change(&mut payload);
        self.put(role, &payload);
    }

    /// Changes a payload and raises its version.
    pub(crate) fn revise(&mut self, role: &str, change: impl FnOnce(&mut Value)) {
        let version = self.version(role) + 1;
        self.edit(role, |payload| {
            change(payload);
            payload["version"] = version.into();
        });
    }

    /// Lists all current files in a new snapshot, and that in a new timestamp: what the service does.
    pub(crate) fn link(&mut self) {
        let listed: Map<String, Value> = self
            .files
            .iter()
            .filter(|(role, _)| !matches!(role.as_str(), "snapshot" | "timestamp"))
            .map(|(role, file)| (role.clone(), meta(file)))
            .collect();
        self.revise("snapshot", |snapshot| snapshot["meta"] = Value::Object(listed));
        self.link_timestamp();
    }

    /// Names the current snapshot in a new timestamp.
    pub(crate) fn link_timestamp(&mut self) {
        let listed = meta(&self.files["snapshot"]);
        self.revise("timestamp", |timestamp| timestamp["meta"] = json!({ "snapshot": listed }));
    }

    /// Sets what a tag stands for, and publishes.
    pub(crate) fn tag(&mut self, role: &str, name: &str, content: &str) {
        let meta = image(content);
        if !self.files.contains_key(role) {
            let empty = json!({
                "_type": "Targets", "delegations": { "keys": {}, "roles": [] }, "expires": expires(1095), "targets": {},
                "version": 0,
            });
            self.put(role, &empty);
            self.history.pop();
        }
        self.revise(role, |targets| targets["targets"][name] = meta);
        self.link();
    }

    /// Describes a delegation in its parent, with a new key if it has none, and publishes; it has no file yet.
    pub(crate) fn delegate(&mut self, role: &str, paths: &[&str]) {
        let keys = self.keys.entry(role.to_owned()).or_insert_with(|| vec![Key::new()]).clone();
        let (parent, _) = role.rsplit_once('/').unwrap();
        let ids: Vec<String> = keys.iter().map(Key::id).collect();
        let described = json!({ "keyids": ids, "name": role, "paths": paths, "threshold": 1 });
        self.revise(parent, |targets| {
            let delegations = &mut targets["delegations"];
            for key in &keys {
                delegations["keys"][key.id()] = key.json();
            }
            let roles = delegations["roles"].as_array_mut().unwrap();
            roles.retain(|other| other["name"] != role);
            roles.push(described);
        });
        self.link();
    }

    /// Replaces the keys of a base role by new ones and publishes; all is signed as it has to be.
    pub(crate) fn rotate(&mut self, role: &str) {
        let count = self.keys[role].len();
        let new: Vec<Key> = (0..count).map(|_| if role == "root" { Key::root() } else { Key::new() }).collect();
        self.rotate_to(role, new);
    }

    pub(crate) fn rotate_to(&mut self, role: &str, new: Vec<Key>) {
        let old_roots = self.keys["root"].clone();
        let old_payload = self.payload("root");
        self.keys.insert(role.to_owned(), new);
        let mut root = self.root_payload(self.version("root") + 1);
        for (id, key) in old_payload["keys"].as_object().unwrap() {
            let certificate = key["keytype"].as_str().unwrap().ends_with("-x509");
            if certificate {
                root["keys"][id] = key.clone();
            }
        }
        let mut signers = self.keys["root"].clone();
        signers.extend(old_roots.into_iter().filter(|old| self.keys["root"].iter().all(|key| key.id() != old.id())));
        self.put_bytes("root", seal(&root, &signers));
        if role == "targets" {
            self.revise("targets", |_| ());
        }
        self.link();
    }

    /// Puts the next root, for new root keys and signed by whom one likes, without listing it.
    pub(crate) fn next_root(&mut self, new: &[Key], signers: &[Key], change: impl FnOnce(&mut Value)) {
        let version = self.version("root") + 1;
        self.keys.insert("root".into(), new.to_vec());
        let mut payload = self.root_payload(version);
        change(&mut payload);
        self.put_root(&payload, signers);
    }

    /// Signs a new root with the given keys, as it is, without listing it.
    pub(crate) fn put_root(&mut self, payload: &Value, keys: &[Key]) {
        self.put_bytes("root", seal(payload, keys));
    }

    pub(crate) fn service(&self) -> Service {
        Service {
            files: self.files.clone(),
            history: self.history.clone(),
            lies: Vec::new(),
            asked: RefCell::default(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.gun)
    }

    /// A client that has seen the present state.
    pub(crate) fn warm_client(&self) -> Client {
        let mut client = self.client();
        client.update(&self.service()).unwrap();
        client
    }

    /// The private keys that a service holds.
    pub(crate) fn service_signers(&self) -> Signers {
        Signers::of(self.keys["snapshot"].iter().chain(&self.keys["timestamp"]))
    }

    /// The current files of a role's ancestors and base roles, as a store holds them.
    pub(crate) fn stored(&self) -> BTreeMap<RoleName, Bytes> {
        self.files.iter().map(|(name, file)| (role(name), file.clone())).collect()
    }
}

/// A lie about one role: about its current file, one version, or any request.
#[derive(Clone)]
struct Lie {
    role: RoleName,
    which: Option<Which>,
    answer: Answer,
}

/// What a trust service serves at one moment; it may lie.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) files: BTreeMap<String, Bytes>,
    history: Vec<(String, Bytes)>,
    lies: Vec<Lie>,
    pub(crate) asked: RefCell<Vec<(RoleName, Which)>>,
}

impl Service {
    /// Gives one answer to every request for a role.
    pub(crate) fn lie(mut self, name: &str, answer: Answer) -> Self {
        self.lies.insert(0, Lie { role: role(name), which: None, answer });
        self
    }

    pub(crate) fn lie_about(mut self, name: &str, which: Which, answer: Answer) -> Self {
        self.lies.insert(0, Lie { role: role(name), which: Some(which), answer });
        self
    }

    pub(crate) fn serve(self, name: &str, file: impl Into<Bytes>) -> Self {
        self.lie(name, Answer::File(file.into()))
    }

    pub(crate) fn without(self, name: &str) -> Self {
        self.lie(name, Answer::Missing)
    }

    /// Serves what a store holds.
    pub(crate) fn of(current: &BTreeMap<RoleName, Bytes>, history: &[(RoleName, Bytes)]) -> Self {
        let named = |(role, file): (&RoleName, &Bytes)| (role.to_string(), file.clone());
        Self {
            files: current.iter().map(named).collect(),
            history: history.iter().map(|(role, file)| named((role, file))).collect(),
            lies: Vec::new(),
            asked: RefCell::default(),
        }
    }

    /// A service to which there is no way.
    pub(crate) fn away(absence: &Absence) -> Self {
        let mut service =
            Self { files: BTreeMap::new(), history: Vec::new(), lies: Vec::new(), asked: RefCell::default() };
        for name in ["root", "targets", "snapshot", "timestamp"] {
            service = service.lie(name, Answer::Away(absence.clone()));
        }
        service
    }

    pub(crate) fn answer(&self, wanted: Fetch<'_>) -> Answer {
        self.asked.borrow_mut().push((wanted.role.clone(), wanted.which));
        let lie = self
            .lies
            .iter()
            .find(|lie| lie.role == *wanted.role && lie.which.is_none_or(|which| which == wanted.which));
        let answer = match lie {
            Some(lie) => lie.answer.clone(),
            None => self.honest(wanted).map_or(Answer::Missing, Answer::File),
        };
        match answer {
            Answer::File(file) if file.len() as u64 > wanted.limit => {
                Answer::Away(Absence::Hostile("too large".into()))
            }
            other => other,
        }
    }

    fn honest(&self, wanted: Fetch<'_>) -> Option<Bytes> {
        let name = wanted.role.as_str();
        let of_role = || self.history.iter().filter(|(role, _)| role == name).map(|(_, file)| file);
        let version = |file: &Bytes| serde_json::from_slice::<Value>(file).ok()?["signed"]["version"].as_u64();
        match wanted.which {
            Which::Current => self.files.get(name).cloned(),
            Which::Version(wanted) => of_role().filter(|file| version(file) == Some(wanted.get())).last().cloned(),
            Which::Checksum(hash) => of_role().find(|file| sha256(file) == hash).cloned(),
        }
    }
}

/// A client with the cache and the floors that it keeps between runs; both change only when an update has succeeded.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) gun: Gun,
    pub(crate) now: Timestamp,
    pub(crate) pinning: Pinning,
    pub(crate) purpose: Purpose,
    pub(crate) lost_root: LostRoot,
    pub(crate) cache: BTreeMap<RoleName, Bytes>,
    pub(crate) seen: Option<Bytes>,
}

impl Client {
    pub(crate) fn new(gun: &str) -> Self {
        Self {
            gun: Gun::parse(gun).unwrap(),
            now: now(),
            pinning: Pinning::default(),
            purpose: Purpose::Read,
            lost_root: LostRoot::Refuse,
            cache: BTreeMap::new(),
            seen: None,
        }
    }

    pub(crate) fn update(&mut self, service: &Service) -> Result<Collection, UpdateError> {
        let seen = self.seen.as_ref().map(|text| Seen::read(text).unwrap()).unwrap_or_default();
        let mut update = Update::begin(Request {
            gun: self.gun.clone(),
            now: self.now,
            pinning: &self.pinning,
            seen,
            purpose: self.purpose,
            lost_root: self.lost_root,
        });
        loop {
            let answer = match update.next() {
                Step::Read(role) => self.cached(role),
                Step::Fetch(wanted) => service.answer(wanted),
                Step::Done => break,
            };
            update.feed(answer)?;
        }
        let collection = update.finish()?;
        self.cache.extend(collection.downloaded().iter().map(|(role, file)| (role.clone(), file.clone())));
        self.seen = Some(collection.seen().write().into());
        Ok(collection)
    }

    fn cached(&self, role: &RoleName) -> Answer {
        match self.cache.get(role) {
            Some(file) => Answer::File(file.clone()),
            None if *role == RoleName::Root && !self.cache.is_empty() => Answer::Remnants,
            None => Answer::Missing,
        }
    }

    /// What was kept so far.
    pub(crate) fn state(&self) -> (BTreeMap<RoleName, Bytes>, Option<Bytes>) {
        (self.cache.clone(), self.seen.clone())
    }

    /// The update is refused, however often it is tried, and leaves no trace.
    #[track_caller]
    pub(crate) fn refuses(&mut self, service: &Service) -> UpdateError {
        let before = self.state();
        let Err(error) = self.update(service) else { panic!("the update was accepted") };
        for _ in 0..3 {
            assert_eq!(self.update(service).err(), Some(error.clone()), "another attempt ended otherwise");
        }
        assert_eq!(before, self.state(), "a refused update left a trace");
        error
    }
}

/// The digest that a tag stands for as text made it, if the collection answers for it.
pub(crate) fn holds(collection: &Collection, name: &str, content: &str) -> bool {
    let found = collection.get(name, &[RoleName::Targets]);
    found.is_ok_and(|found| found.meta.sha256 == Some(sha256(content.as_bytes())))
}

/// Private keys at hand, by canonical id.
#[derive(Default, Clone)]
pub(crate) struct Signers(BTreeMap<KeyId, Arc<PrivateKey>>);

impl Signers {
    pub(crate) fn of<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        Self(keys.into_iter().map(|key| (key.public.canonical_id(), key.private.clone())).collect())
    }

    pub(crate) fn with(mut self, key: &Key) -> Self {
        self.0.insert(key.public.canonical_id(), key.private.clone());
        self
    }

    pub(crate) fn without(mut self, key: &Key) -> Self {
        self.0.remove(&key.public.canonical_id());
        self
    }
}

impl SignerSet for Signers {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        Ok(self.0.get(id).map(|key| key.clone() as Arc<dyn Signer>))
    }
}
