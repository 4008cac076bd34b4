//! Owners of collections, whose uploads are signed before the time counts.

use std::sync::Arc;

use bytes::Bytes;
use countersign_crypto::certificate::{CertificateBundle, self_signed};
use countersign_crypto::digest::sha256;
use countersign_crypto::{Algorithm, KeyId, PrivateKey, Signer};
use countersign_tuf::editor::{BaseKeys, Editor, initialise};
use countersign_tuf::metadata::{FileMeta, KeyMap, RoleKeys, read_public_key};
use countersign_tuf::{Change, Gun, RoleName, SignerSet, SignerUnavailable, TrustedKeys};

use crate::http::{Connection, get, post};

struct Keys(Vec<Arc<PrivateKey>>);

impl SignerSet for Keys {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        let found = self.0.iter().find(|key| key.public_key().canonical_id() == *id);
        Ok(found.map(|key| Arc::clone(key) as Arc<dyn Signer>))
    }
}

/// What an upload does.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    /// One tag more.
    Add,
    /// The oldest tag gets another digest: the collection stays as large as it is, however much is signed beforehand.
    Move,
}

/// The owner of one collection.
pub(crate) struct Owner {
    pub(crate) gun: Gun,
    keys: Keys,
    root: Bytes,
    targets: Bytes,
    /// Tags that there are.
    tags: usize,
    signed: usize,
}

impl Owner {
    /// Makes a collection with so many tags and publishes it.
    pub(crate) async fn publish_first(connection: &mut Connection, name: &str, tags: usize) -> Self {
        let gun = Gun::parse(name).unwrap();
        let new = || Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap());
        let (root, targets) = (new(), new());
        let pem = self_signed(name, &root, jiff::Timestamp::now()).unwrap();
        let certified = CertificateBundle::parse(&pem).unwrap().rebuilt_key().unwrap();
        let mut service_keys = Vec::new();
        for role in ["snapshot", "timestamp"] {
            assert_eq!(connection.ask(&get(&format!("/v2/{name}/_trust/tuf/{role}.key"))).await, 200);
            service_keys.push(read_public_key(&Bytes::copy_from_slice(connection.body())).unwrap());
        }
        let timestamp = service_keys.pop().unwrap();
        let snapshot = service_keys.pop().unwrap();
        let base = BaseKeys { root: vec![certified], targets: targets.public_key().clone(), snapshot, timestamp };
        let keys = Keys(vec![root, targets]);
        let first = initialise(base, jiff::Timestamp::now(), &keys).unwrap();
        let mut owner = Self { gun, keys, root: first.root, targets: first.targets, tags: 0, signed: 0 };
        let targets = owner.sign(tags, Step::Add);
        let upload = post(name, &[("root", &owner.root), ("targets", &targets)]);
        assert_eq!(connection.ask(&upload).await, 200, "{}", String::from_utf8_lossy(connection.body()));
        owner
    }

    /// Signs the next version of the targets, with so many tags made or moved.
    fn sign(&mut self, tags: usize, step: Step) -> Bytes {
        let (root, targets) = (self.root.clone(), Some(self.targets.clone()));
        let mut editor = Editor::unpublished(&self.gun, jiff::Timestamp::now(), root, targets, None).unwrap();
        for _ in 0..tags {
            let name = match step {
                Step::Add => self.tags,
                Step::Move => self.signed % self.tags,
            };
            let name = format!("v{name}");
            let meta = FileMeta::of_manifest(sha256(self.signed.to_string().as_bytes()), 524);
            self.signed += 1;
            self.tags += usize::from(matches!(step, Step::Add));
            editor.apply(&Change::AddTarget { role: RoleName::Targets, name, meta }).unwrap();
        }
        let nobody = TrustedKeys::resolve(&RoleName::Root, &RoleKeys::default(), &KeyMap::default());
        let parts = editor.publication(&self.keys, &nobody).unwrap().parts;
        self.targets = parts[&RoleName::Targets].clone();
        self.targets.clone()
    }

    /// Signs the next upload.
    pub(crate) fn upload(&mut self, step: Step) -> Vec<u8> {
        let targets = self.sign(1, step);
        post(self.gun.as_str(), &[("targets", &targets)])
    }
}
