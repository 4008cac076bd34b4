//! A trust service in this process, honest by itself and a liar where a test says so.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_crypto::{Algorithm, KeyId, PrivateKey, Signer};
use countersign_testkit::fake_server::Request;
use countersign_testkit::{FakeServer, Reply, TestCa};
use countersign_tuf::accept::{Files, Refusal, Submission, accept};
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::{Gun, RoleName, SignerSet, SignerUnavailable, Version};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

pub(crate) const GUN: &str = "reg.test/acme/app";
pub(crate) const NOW: &str = "2026-11-22T12:00:00Z";

type Lie = Arc<dyn Fn(&Request, &mut Archive) -> Option<Reply> + Send + Sync>;

/// The service; it ends when dropped.
pub(crate) struct House {
    pub(crate) server: FakeServer,
    pub(crate) ca: TestCa,
    archive: Arc<Mutex<Archive>>,
    lie: Arc<Mutex<Option<Lie>>>,
}

/// What the service has.
#[derive(Clone)]
pub(crate) struct Archive {
    /// By name: `root`, `1.root`, `root.HASH`.
    pub(crate) files: BTreeMap<String, Bytes>,
    current: Files,
    versions: BTreeMap<RoleName, Version>,
    keys: BTreeMap<String, Arc<PrivateKey>>,
    /// Keys that were rotated, which a root may list until the next one comes.
    former: Vec<Arc<PrivateKey>>,
    now: Timestamp,
    /// How many publications were stored.
    pub(crate) stored: u32,
}

impl House {
    pub(crate) fn open() -> Self {
        Self::open_at(NOW.parse().unwrap())
    }

    /// A service whose clock shows another time, the real one for a real client.
    pub(crate) fn open_at(now: Timestamp) -> Self {
        let ca = TestCa::new();
        let server = FakeServer::tls(ca.loopback_server().server_config());
        let house = Self { server, ca, archive: Arc::new(Mutex::new(Archive::new(now))), lie: Arc::default() };
        let (archive, lie) = (Arc::clone(&house.archive), Arc::clone(&house.lie));
        house.server.handle(move |request| {
            let lie = lie.lock().unwrap().clone();
            let mut archive = archive.lock().unwrap();
            Some(lie.and_then(|lie| lie(request, &mut archive)).unwrap_or_else(|| archive.answer(request)))
        });
        house
    }

    /// Lies from now on, where this gives a reply.
    pub(crate) fn lie(&self, lie: impl Fn(&Request, &mut Archive) -> Option<Reply> + Send + Sync + 'static) {
        *self.lie.lock().unwrap() = Some(Arc::new(lie));
    }

    /// Lies so many times, and is honest again.
    pub(crate) fn lie_times(
        &self,
        times: u32,
        lie: impl Fn(&Request, &mut Archive) -> Option<Reply> + Send + Sync + 'static,
    ) {
        let left = Mutex::new(times);
        self.lie(move |request, archive| {
            let mut left = left.lock().unwrap();
            let reply = if *left > 0 { lie(request, archive) } else { None };
            *left -= u32::from(reply.is_some());
            reply
        });
    }

    /// Is honest again.
    pub(crate) fn repent(&self) {
        *self.lie.lock().unwrap() = None;
    }

    /// The service's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.archive().now
    }

    /// What the service has now.
    pub(crate) fn archive(&self) -> Archive {
        self.archive.lock().unwrap().clone()
    }

    /// Puts the service back to an earlier state.
    pub(crate) fn restore(&self, archive: Archive) {
        *self.archive.lock().unwrap() = archive;
    }

    /// How many requests there were with this method.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.server.requests().iter().filter(|request| request.method == method).count()
    }
}

impl Archive {
    fn new(now: Timestamp) -> Self {
        let key = |role: &str| (role.to_owned(), Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap()));
        Self {
            files: BTreeMap::new(),
            current: BTreeMap::new(),
            versions: BTreeMap::new(),
            keys: BTreeMap::from([key("timestamp"), key("snapshot")]),
            former: Vec::new(),
            now,
            stored: 0,
        }
    }

    /// Does what an honest service does.
    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        if request.path == "/v2/" {
            return Reply::json("{}");
        }
        let Some(name) = request.path.strip_prefix(&format!("/v2/{GUN}/_trust/tuf/")) else {
            return Reply::status(404);
        };
        match (request.method.as_str(), name) {
            ("POST", "") => self.publish(&request.body),
            ("DELETE", "") => {
                self.files.clear();
                self.current.clear();
                self.versions.clear();
                Reply::status(200)
            }
            ("POST", name) => match name.strip_suffix(".key").and_then(|role| self.keys.get_mut(role)) {
                Some(key) => {
                    let new = Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap());
                    self.former.push(std::mem::replace(key, Arc::clone(&new)));
                    Reply::json(new.public_key().to_json())
                }
                None => Reply::status(404),
            },
            ("GET", name) => {
                let key = name.strip_suffix(".key").and_then(|role| self.keys.get(role));
                let file = name.strip_suffix(".json").and_then(|name| self.files.get(name));
                match (key, file) {
                    (Some(key), _) => Reply::json(key.public_key().to_json()),
                    (_, Some(file)) => Reply::json(file.clone()),
                    _ => Reply::status(404),
                }
            }
            _ => Reply::status(405),
        }
    }

    /// Puts any file in a delegation's place, as a service can that holds the snapshot key.
    pub(crate) fn replace(&mut self, role: &str, file: &Bytes) {
        let list = |listing: &str, name: &str, file: &Bytes, archive: &mut Self| {
            let current = &archive.current[&RoleName::parse(listing).unwrap()];
            let mut signed = serde_json::from_slice::<Value>(current).unwrap()["signed"].take();
            signed["version"] = (signed["version"].as_u64().unwrap() + 1).into();
            let (pair, base64) = (FileMeta::of(file), |bytes: &[u8]| STANDARD.encode(bytes));
            let hashes = json!({"sha256": base64(pair.sha256.unwrap().as_bytes()), "sha512": base64(pair.sha512.unwrap().as_bytes())});
            signed["meta"][name] = json!({"hashes": hashes, "length": file.len()});
            let key = &archive.keys[listing];
            let sig = base64(&key.sign(signed.to_string().as_bytes()).unwrap());
            let id = key.public_key().id().to_string();
            json!({"signed": signed, "signatures": [{"keyid": id, "method": "ecdsa", "sig": sig}]}).to_string().into()
        };
        let snapshot: Bytes = list("snapshot", role, file, self);
        self.keep(role, file);
        self.keep("snapshot", &snapshot);
        let timestamp = list("timestamp", "snapshot", &snapshot, self);
        self.keep("timestamp", &timestamp);
    }

    fn keep(&mut self, role: &str, file: &Bytes) {
        for name in [role.to_owned(), format!("{role}.{}", sha256(file).hex())] {
            self.files.insert(name, file.clone());
        }
        self.current.insert(RoleName::parse(role).unwrap(), file.clone());
    }

    fn publish(&mut self, body: &[u8]) -> Reply {
        let gun = Gun::parse(GUN).unwrap();
        let submission = Submission { gun: &gun, now: self.now, stored: &self.current, parts: parts(body) };
        match accept(submission, &Keys(self.keys.values().chain(&self.former).cloned().collect())) {
            Err(Refusal::Stale) => conflict(),
            Err(refusal) => rejection(&refusal.to_string()),
            Ok(files)
                if files.iter().any(|file| self.versions.get(&file.role).is_some_and(|had| *had >= file.version)) =>
            {
                conflict()
            }
            Ok(files) => {
                for file in files {
                    let role = file.role.as_str();
                    for name in
                        [role.to_owned(), format!("{}.{role}", file.version), format!("{role}.{}", file.sha256.hex())]
                    {
                        self.files.insert(name, file.bytes.clone());
                    }
                    self.current.insert(file.role.clone(), file.bytes);
                    self.versions.insert(file.role, file.version);
                }
                self.stored += 1;
                Reply::status(200)
            }
        }
    }
}

/// What the reference answers to an upload that is not newer than what it has.
pub(crate) fn conflict() -> Reply {
    Reply::status(400).then(r#"{"errors":[{"code":"VERSION","message":"A newer version of metadata is already available.","detail":null}]}"#)
}

/// What the reference answers to an upload that it refuses.
pub(crate) fn rejection(message: &str) -> Reply {
    let detail = serde_json::json!({"Error": {"Name": "ErrValidation", "Msg": message}});
    let body = serde_json::json!({"errors": [{"code": "INVALID_UPDATE", "message": "no", "detail": detail}]});
    Reply::status(400).then(body.to_string())
}

/// The parts of an upload by role.
fn parts(body: &[u8]) -> Files {
    let mut files = Files::new();
    let text = String::from_utf8_lossy(body);
    let boundary = text.lines().next().unwrap_or_default();
    for part in text.split(boundary) {
        let Some((head, content)) = part.split_once("\r\n\r\n") else { continue };
        let Some(role) = head.split("filename=\"").nth(1).and_then(|rest| rest.split('"').next()) else { continue };
        let content = content.strip_suffix("\r\n").unwrap_or(content).to_owned();
        files.insert(RoleName::parse(role).unwrap(), content.into());
    }
    files
}

struct Keys(Vec<Arc<PrivateKey>>);

impl SignerSet for Keys {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        let found = self.0.iter().find(|key| key.public_key().canonical_id() == *id);
        Ok(found.map(|key| Arc::clone(key) as Arc<dyn Signer>))
    }
}
