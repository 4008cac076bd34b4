//! Owners who publish one version after another, and remember what was acknowledged.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use countersign_crypto::certificate::{CertificateBundle, self_signed};
use countersign_crypto::digest::{Sha256Digest, sha256};
use countersign_crypto::{Algorithm, KeyId, PrivateKey, Signer};
use countersign_tuf::editor::{BaseKeys, Editor, initialise};
use countersign_tuf::metadata::{FileMeta, KeyMap, RoleKeys, read_public_key};
use countersign_tuf::{Change, Gun, RoleName, SignerSet, SignerUnavailable, TrustedKeys};
use jiff::Timestamp;
use reqwest::StatusCode;
use serde_json::Value;

use crate::http::{Answered, Http};
use crate::report::{Part, Report};

/// Pause before somebody whom nobody answered tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// One collection, its keys, and what is known to be in it.
#[derive(Debug)]
pub(crate) struct Collection {
    pub(crate) gun: String,
    keys: Keys,
    root: Bytes,
    /// The targets files that were acknowledged, by version.
    acknowledged: Mutex<BTreeMap<u64, Sha256Digest>>,
}

#[derive(Debug)]
struct Keys(Vec<Arc<PrivateKey>>);

impl SignerSet for Keys {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        let found = self.0.iter().find(|key| key.public_key().canonical_id() == *id);
        Ok(found.map(|key| Arc::clone(key) as Arc<dyn Signer>))
    }
}

impl Collection {
    /// Makes a collection and publishes its first version; the service has to be there.
    pub(crate) async fn begin(http: &Http, gun: &str) -> Arc<Self> {
        let new = || Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap());
        let (root, targets) = (new(), new());
        let pem = self_signed(gun, &root, Timestamp::now()).unwrap();
        let certified = CertificateBundle::parse(&pem).unwrap().rebuilt_key().unwrap();
        let key = async |role: &str| match http.file(gun, &format!("{role}.key")).await {
            Answered::Ok(key) => read_public_key(&key).unwrap(),
            other => panic!("no {role} key: {other:?}"),
        };
        let base = BaseKeys {
            root: vec![certified],
            targets: targets.public_key().clone(),
            snapshot: key("snapshot").await,
            timestamp: key("timestamp").await,
        };
        let keys = Keys(vec![root, targets]);
        let first = initialise(base, Timestamp::now(), &keys).unwrap();
        let new = Self { gun: gun.to_owned(), keys, root: first.root, acknowledged: Mutex::default() };
        let parts = new.next(&first.targets, "first");
        let published = http.publish(gun, &parts).await;
        assert!(matches!(published, Answered::Ok(_)), "{published:?}");
        let targets = &parts[&RoleName::Targets];
        new.acknowledged.lock().unwrap().insert(version(targets), sha256(targets));
        Arc::new(new)
    }

    /// The highest version that was acknowledged.
    pub(crate) fn highest(&self) -> u64 {
        self.acknowledged.lock().unwrap().last_key_value().map_or(0, |(version, _)| *version)
    }

    pub(crate) fn acknowledged(&self) -> BTreeMap<u64, Sha256Digest> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Targets with one more tag, and what has to be uploaded with them.
    fn next(&self, targets: &Bytes, tag: &str) -> BTreeMap<RoleName, Bytes> {
        let gun = Gun::parse(&self.gun).unwrap();
        let mut editor =
            Editor::unpublished(&gun, Timestamp::now(), self.root.clone(), Some(targets.clone()), None).unwrap();
        let meta = FileMeta::of_manifest(sha256(tag.as_bytes()), 524);
        editor.apply(&Change::AddTarget { role: RoleName::Targets, name: tag.to_owned(), meta }).unwrap();
        let nobody = TrustedKeys::resolve(&RoleName::Root, &RoleKeys::default(), &KeyMap::default());
        editor.publication(&self.keys, &nobody).unwrap().parts
    }

    /// Publishes again and again until told to stop; several may do it to one collection.
    pub(crate) async fn publish_on(&self, http: &Http, name: &str, report: &Report, go_on: impl Fn() -> bool) {
        let mut round = 0_u64;
        while go_on() {
            let Answered::Ok(current) = http.file(&self.gun, "targets.json").await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            round += 1;
            // The last few tags are enough: what is counted is versions.
            let mut parts = self.next(&current, &format!("{name}-{}", round % 8));
            parts.remove(&RoleName::Root);
            let targets = parts[&RoleName::Targets].clone();
            self.publish(http, &parts, &targets, report).await;
        }
    }

    async fn publish(&self, http: &Http, parts: &BTreeMap<RoleName, Bytes>, targets: &Bytes, report: &Report) {
        match http.publish(&self.gun, parts).await {
            Answered::Ok(_) => {
                report.count(Part::Happened, "publications acknowledged");
                let number = version(targets);
                if self.acknowledged.lock().unwrap().insert(number, sha256(targets)).is_some() {
                    report.violated(format!("{} {number} was acknowledged to two publishers", self.gun));
                }
            }
            Answered::Refused(StatusCode::BAD_REQUEST, code) if code == "VERSION" => {
                report.count(Part::Happened, "publications that came too late");
            }
            Answered::Refused(status, code) => {
                report.violated(format!("a publication to {} was refused: {status} {code}", self.gun));
            }
            Answered::Away => {
                report.count(Part::Happened, "publications without an answer");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The version that a file carries.
pub(crate) fn version(file: &[u8]) -> u64 {
    let json: Value = serde_json::from_slice(file).unwrap();
    json["signed"]["version"].as_u64().unwrap()
}
