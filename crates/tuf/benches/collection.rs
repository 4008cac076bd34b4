//! How long whole collections take to verify, to change and to accept, beside one pass that looks at every byte once and
//! computes both hashes: less than that is not possible.
#![allow(missing_docs, clippy::allow_attributes, reason = "criterion's macros make undocumented items")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "benches may unwrap, as tests may")]

use bytes::Bytes;
use countersign_crypto::certificate::{CertificateBundle, self_signed};
use countersign_crypto::digest::{HashPair, sha256};
use countersign_crypto::{Algorithm, KeyId, PrivateKey, Signer};
use countersign_tuf::accept::{Files, Submission, accept};
use countersign_tuf::editor::{BaseKeys, Editor, initialise};
use countersign_tuf::json::Canonical;
use countersign_tuf::metadata::{FileMeta, KeyMap, RoleKeys};
use countersign_tuf::update::{Answer, LostRoot, Purpose, Request, Step, Update, Which};
use countersign_tuf::{Change, Collection, Gun, Pinning, RoleName, Seen, SignerSet, SignerUnavailable, TrustedKeys};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

const GUN: &str = "registry.test/team/app";
const SIZES: [usize; 3] = [1, 1_000, 100_000];

#[derive(Default)]
struct Signers(BTreeMap<KeyId, Arc<PrivateKey>>);

impl SignerSet for Signers {
    fn signer(&self, id: &KeyId) -> Result<Option<Arc<dyn Signer>>, SignerUnavailable> {
        Ok(self.0.get(id).map(|key| key.clone() as Arc<dyn Signer>))
    }
}

/// A published collection and everybody's keys.
struct Fixture {
    files: Files,
    signers: Signers,
    now: jiff::Timestamp,
}

fn fixture(tags: usize) -> Fixture {
    let now: jiff::Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
    let keys: Vec<Arc<PrivateKey>> =
        (0..4).map(|_| Arc::new(PrivateKey::generate(Algorithm::EcdsaP256).unwrap())).collect();
    let signers = Signers(keys.iter().map(|key| (key.public_key().canonical_id(), key.clone())).collect());
    let certificate = CertificateBundle::parse(&self_signed(GUN, &keys[0], now).unwrap()).unwrap();
    let [targets, snapshot, timestamp] = [1, 2, 3].map(|n: usize| keys[n].public_key().clone());
    let base = BaseKeys { root: vec![certificate.rebuilt_key().unwrap()], targets, snapshot, timestamp };
    let initial = initialise(base, now, &signers).unwrap();
    let mut editor = Editor::unpublished(&gun(), now, initial.root, Some(initial.targets), None).unwrap();
    for n in 0..tags {
        editor.apply(&tag(&format!("release-{n:06}"))).unwrap();
    }
    let parts = editor.publication(&signers, &nobody()).unwrap().parts;
    let mut fixture = Fixture { files: Files::new(), signers, now };
    let new = fixture.accept(parts);
    fixture.files = new;
    fixture
}

fn gun() -> Gun {
    Gun::parse(GUN).unwrap()
}

fn nobody() -> TrustedKeys {
    TrustedKeys::resolve(&RoleName::Root, &RoleKeys::default(), &KeyMap::default())
}

fn tag(name: &str) -> Change {
    let meta = FileMeta::of_manifest(sha256(name.as_bytes()), 1573);
    Change::AddTarget { role: RoleName::Targets, name: name.into(), meta }
}

impl Fixture {
    fn accept(&self, parts: Files) -> Files {
        let submission = Submission { gun: &gun(), now: self.now, stored: &self.files, parts };
        accept(submission, &self.signers).unwrap().into_iter().map(|new| (new.role, new.bytes)).collect()
    }

    fn verify(&self) -> Collection {
        let pinning = Pinning::default();
        let mut update = Update::begin(Request {
            gun: gun(),
            now: self.now,
            pinning: &pinning,
            seen: Seen::default(),
            purpose: Purpose::Read,
            lost_root: LostRoot::Refuse,
        });
        loop {
            let answer = match update.next() {
                Step::Read(_) => Answer::Missing,
                Step::Fetch(wanted) => {
                    assert!(!matches!(wanted.which, Which::Version(_)));
                    Answer::File(self.files[wanted.role].clone())
                }
                Step::Done => return update.finish().unwrap(),
            };
            update.feed(answer).unwrap();
        }
    }

    fn targets(&self) -> &Bytes {
        &self.files[&RoleName::Targets]
    }
}

/// What cannot be done without: every byte is looked at once, and hashed with both algorithms.
fn floor(bytes: &[u8]) -> usize {
    let mut pair = HashPair::new();
    let mut structure = 0;
    for chunk in bytes.chunks(16 << 10) {
        pair.update(chunk);
        structure += chunk.iter().filter(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    }
    black_box(pair.finish());
    structure
}

fn benches(criterion: &mut Criterion) {
    for tags in SIZES {
        let fixture = fixture(tags);
        let bytes = fixture.targets().clone();
        let mut group = criterion.benchmark_group("collection");
        group.throughput(Throughput::Bytes(bytes.len() as u64)).sample_size(if tags > 1_000 { 20 } else { 100 });
        group.bench_function(BenchmarkId::new("floor", tags), |bench| bench.iter(|| floor(black_box(&bytes))));
        group.bench_function(BenchmarkId::new("canonical", tags), |bench| {
            bench.iter(|| Canonical::read(black_box(&bytes)).unwrap());
        });
        group.bench_function(BenchmarkId::new("verify", tags), |bench| bench.iter(|| fixture.verify()));
        let collection = fixture.verify();
        group.bench_function(BenchmarkId::new("look up", tags), |bench| {
            bench.iter(|| collection.get(black_box("release-000000"), &[RoleName::Targets]).unwrap());
        });
        let edited = || {
            let mut editor = Editor::of(&collection, fixture.now);
            editor.apply(&tag("one-more")).unwrap();
            editor.publication(&fixture.signers, &nobody()).unwrap().parts
        };
        group.bench_function(BenchmarkId::new("add a tag and sign", tags), |bench| bench.iter(edited));
        let parts = edited();
        group.bench_function(BenchmarkId::new("accept one more tag", tags), |bench| {
            bench.iter(|| fixture.accept(parts.clone()));
        });
        group.finish();
    }
}

criterion_group!(all, benches);
criterion_main!(all);
