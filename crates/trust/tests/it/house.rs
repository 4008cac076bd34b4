//! A trust service in this process, honest by itself and a liar where a test says so.

use bytes::Bytes;
use countersign_crypto::{Algorithm, KeyId, PrivateKey, Signer};
use countersign_testkit::fake_server::Request;
use countersign_testkit::{FakeServer, Reply, TestCa};
use countersign_tuf::accept::{Files, Refusal, Submission, accept};
use countersign_tuf::{Gun, RoleName, SignerSet, SignerUnavailable, Version};
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
    /// How many publications were stored.
    pub(crate) stored: u32,
}

impl House {
    pub(crate) fn open() -> Self {
        let ca = TestCa::new();
        let server = FakeServer::tls(ca.loopback_server().server_config());
        let house = Self { server, ca, archive: Arc::new(Mutex::new(Archive::new())), lie: Arc::default() };
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
    fn new() -> Self {
        let key = |role: &str| (role.to_owned(), Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap()));
        Self {
            files: BTreeMap::new(),
            current: BTreeMap::new(),
            versions: BTreeMap::new(),
            keys: BTreeMap::from([key("timestamp"), key("snapshot")]),
            stored: 0,
        }
    }

    /// Does what an honest service does.
    pub(crate) fn answer(&mut self, request: &Request) -> Reply {
        let Some(name) = request.path.strip_prefix(&format!("/v2/{GUN}/_trust/tuf/")) else {
            return Reply::status(404);
        };
        match (request.method.as_str(), name) {
            ("POST", "") => self.publish(&request.body),
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

    fn publish(&mut self, body: &[u8]) -> Reply {
        let gun = Gun::parse(GUN).unwrap();
        let submission = Submission { gun: &gun, now: NOW.parse().unwrap(), stored: &self.current, parts: parts(body) };
        match accept(submission, &Keys(self.keys.values().cloned().collect())) {
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
