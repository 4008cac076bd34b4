//! The trust service over loopback, without TLS: reading a timestamp, and publishing one more tag.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a benchmark may unwrap")]

use bytes::Bytes;
use countersign_crypto::certificate::{CertificateBundle, self_signed};
use countersign_crypto::digest::sha256;
use countersign_crypto::{Algorithm, KeyId, PrivateKey, PublicKey, Signer};
use countersign_server::{Config, Running, Service, Tls};
use countersign_tuf::editor::{BaseKeys, Editor, initialise};
use countersign_tuf::metadata::{FileMeta, KeyMap, RoleKeys, read_public_key};
use countersign_tuf::{Change, Gun, RoleName, SignerSet, SignerUnavailable, TrustedKeys};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const GUN: &str = "example.com/bench";

struct Keys(Vec<Arc<PrivateKey>>);

impl SignerSet for Keys {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        let found = self.0.iter().find(|key| key.public_key().canonical_id() == *id);
        Ok(found.map(|key| Arc::clone(key) as Arc<dyn Signer>))
    }
}

/// A service, and a publisher of one collection.
struct Bench {
    service: Running,
    keys: Keys,
    root: Bytes,
    targets: Bytes,
    _folder: tempfile::TempDir,
}

async fn exchange(service: &Running, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(body)
}

async fn get(service: &Running, file: &str) -> Vec<u8> {
    let request = format!("GET /v2/{GUN}/_trust/tuf/{file} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    exchange(service, request.as_bytes()).await
}

async fn post(service: &Running, parts: &BTreeMap<RoleName, Bytes>) {
    let mut body = Vec::new();
    for (role, part) in parts {
        body.extend_from_slice(
            format!("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\n\r\n").as_bytes(),
        );
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    let mut head = format!("POST /v2/{GUN}/_trust/tuf/ HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n");
    write!(head, "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
    let mut request = head.into_bytes();
    request.append(&mut body);
    exchange(service, &request).await;
}

fn tag(name: String) -> Change {
    let meta = FileMeta::of_manifest(sha256(name.as_bytes()), 524);
    Change::AddTarget { role: RoleName::Targets, name, meta }
}

impl Bench {
    /// Publishes a collection with a number of tags.
    async fn new(tags: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(([127, 0, 0, 1], 0).into(), folder.path().join("data"));
        config.tls = Tls::None;
        let service = Service::start(config).await.unwrap();
        let new = || Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap());
        let (root, targets) = (new(), new());
        let pem = self_signed(GUN, &root, jiff::Timestamp::now()).unwrap();
        let certified: PublicKey = CertificateBundle::parse(&pem).unwrap().rebuilt_key().unwrap();
        let key = async |role: &str| read_public_key(&get(&service, &format!("{role}.key")).await.into()).unwrap();
        let base = BaseKeys {
            root: vec![certified],
            targets: targets.public_key().clone(),
            snapshot: key("snapshot").await,
            timestamp: key("timestamp").await,
        };
        let keys = Keys(vec![root, targets]);
        let first = initialise(base, jiff::Timestamp::now(), &keys).unwrap();
        let mut bench = Self { service, keys, root: first.root, targets: first.targets, _folder: folder };
        bench.publish((0..tags).map(|n| tag(format!("v{n}")))).await;
        bench
    }

    /// Signs and uploads changes on top of what was published last.
    async fn publish(&mut self, changes: impl Iterator<Item = Change>) {
        let gun = Gun::parse(GUN).unwrap();
        let (root, targets) = (self.root.clone(), Some(self.targets.clone()));
        let mut editor = Editor::unpublished(&gun, jiff::Timestamp::now(), root, targets, None).unwrap();
        for change in changes {
            editor.apply(&change).unwrap();
        }
        let nobody = TrustedKeys::resolve(&RoleName::Root, &RoleKeys::default(), &KeyMap::default());
        let mut parts = editor.publication(&self.keys, &nobody).unwrap().parts;
        self.targets = parts[&RoleName::Targets].clone();
        if get_status(&self.service).await {
            parts.remove(&RoleName::Root);
        }
        post(&self.service, &parts).await;
    }
}

/// Tells whether anything is published yet.
async fn get_status(service: &Running) -> bool {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    let request = format!("GET /v2/{GUN}/_trust/tuf/root.json HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    answer.starts_with(b"HTTP/1.1 200")
}

fn service(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("service");
    group.sample_size(10);
    for tags in [1, 1_000, 100_000] {
        let mut bench = runtime.block_on(Bench::new(tags));
        group.bench_function(BenchmarkId::new("read a timestamp", tags), |bencher| {
            bencher.iter(|| runtime.block_on(get(&bench.service, "timestamp.json")));
        });
        let mut next = tags;
        group.bench_function(BenchmarkId::new("sign and publish one more tag", tags), |bencher| {
            bencher.iter(|| {
                next += 1;
                runtime.block_on(bench.publish(std::iter::once(tag(format!("v{next}")))));
            });
        });
        runtime.block_on(bench.service.shut_down());
    }
}

criterion_group!(benches, service);
criterion_main!(benches);
