//! Random histories: publishers, delegates, rotations, deletions, forgers, readers, restarts and the passing of time, held
//! against a model that does one thing after another. Every read is that of a whole TUF client.
//!
//! `COUNTERSIGN_TEST_HISTORIES` says how many histories are run (nightly: 10000), `COUNTERSIGN_TEST_SEED` where they begin:
//! a history that fails prints its seed, and the same seed is the same history.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use countersign_tuf::update::UpdateError;
use futures_util::future::join;
use jiff::SignedDuration;
use serde_json::Value;

use crate::owner::{Key, Owner};
use crate::reader::{Reader, names};
use crate::service::TestService;
use countersign_testkit::Dice;

const GUN: &str = "example.com/histories";
const ALICE: &str = "targets/alice";
const HISTORIES: u64 = 12;
const STEPS: usize = 40;
const READERS: usize = 3;
const TAGS: u64 = 8;

/// Some of the tags, with a word of their own so that two sets are hardly ever the same.
fn tags(dice: &mut Dice) -> BTreeSet<String> {
    let word = dice.roll();
    let picked = (0..TAGS).filter(|_| word.is_multiple_of(3) || dice.below(2) == 0).map(|tag| format!("t{tag}"));
    picked.collect::<BTreeSet<_>>().into_iter().chain([format!("w{word:x}")]).collect()
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Publish,
    PublishOld,
    PublishTwice,
    Forge,
    Delegate,
    Alice,
    RotateTargets,
    RotateServiceKeys,
    DeleteAndBeginAnew,
    Restart,
    PassTime,
    ReadKnown,
    ReadFresh,
}

/// How often each act comes, in forty.
const ACTS: [(u64, Act); 13] = [
    (8, Act::Publish),
    (2, Act::PublishOld),
    (2, Act::PublishTwice),
    (2, Act::Forge),
    (3, Act::Delegate),
    (5, Act::Alice),
    (2, Act::RotateTargets),
    (2, Act::RotateServiceKeys),
    (1, Act::DeleteAndBeginAnew),
    (1, Act::Restart),
    (3, Act::PassTime),
    (6, Act::ReadKnown),
    (3, Act::ReadFresh),
];

fn act(dice: &mut Dice) -> Act {
    let mut left = dice.below(ACTS.iter().map(|(weight, _)| weight).sum());
    let found = ACTS.iter().find(|(weight, _)| match left.checked_sub(*weight) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    found.unwrap().1
}

/// What ought to be published.
struct Model {
    owner: Owner,
    /// Her key, where the owner does not name it.
    alice: Option<Key>,
    root: u64,
    targets: u64,
    tags: BTreeSet<String>,
    delegated: bool,
    alice_version: u64,
    alice_tags: BTreeSet<String>,
}

impl Model {
    async fn begin(service: &TestService) -> Self {
        let owner = Owner::of(service, GUN).await;
        let mut model = Self {
            owner,
            alice: Some(Key::bare()),
            root: 1,
            targets: 1,
            tags: BTreeSet::from(["first".to_owned()]),
            delegated: false,
            alice_version: 0,
            alice_tags: BTreeSet::new(),
        };
        let parts = [("root", model.owner.root(1)), ("targets", model.file(1, &model.tags.clone()))];
        service.upload(GUN, &parts).await.ok();
        model
    }

    fn with_alice(&mut self) {
        self.owner.delegates.extend(self.alice.take().map(|key| (ALICE.to_owned(), key)));
    }

    fn without_alice(&mut self) {
        self.alice = self.owner.delegates.remove(ALICE).or(self.alice.take());
    }

    /// Targets as they are to be, with the delegation or without.
    fn file(&mut self, version: u64, tags: &BTreeSet<String>) -> Vec<u8> {
        if self.delegated {
            self.with_alice();
        } else {
            self.without_alice();
        }
        self.owner.targets(version, &tags.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

struct World {
    service: TestService,
    model: Model,
    readers: [Reader; READERS],
    /// Readers who know an earlier collection of the name.
    strangers: [bool; READERS],
    dice: Dice,
    trace: Trace,
}

impl World {
    async fn step(mut self, act: Act) -> Self {
        write!(self.trace.lock().unwrap(), "{act:?}: ").unwrap();
        let outcome = match act {
            Act::Publish => self.publish().await,
            Act::PublishOld => self.publish_old().await,
            Act::PublishTwice => self.publish_twice().await,
            Act::Forge => self.forge().await,
            Act::Delegate => {
                self.model.delegated = !self.model.delegated;
                self.publish().await
            }
            Act::Alice => self.alice().await,
            Act::RotateTargets => self.rotate_targets().await,
            Act::RotateServiceKeys => self.rotate_service_keys().await,
            Act::DeleteAndBeginAnew => {
                self.service.delete(GUN).await.ok();
                let gone = Reader::default().read(&self.service, GUN).await;
                assert!(matches!(gone, Err(UpdateError::NoTrustData(_))));
                self.model = Model::begin(&self.service).await;
                self.strangers = [true; READERS];
                "begun anew".to_owned()
            }
            Act::Restart => {
                self.service = self.service.restart().await;
                "restarted".to_owned()
            }
            Act::PassTime => {
                let hours = self.dice.below(24 * 9);
                self.service.time.pass(SignedDuration::from_hours(i64::try_from(hours).unwrap()));
                let renewed = self.service.running.renew_now().await;
                format!("{hours} hours, {renewed} renewed")
            }
            Act::ReadKnown => self.read_known().await,
            Act::ReadFresh => {
                let collection = Reader::default().read(&self.service, GUN).await.unwrap();
                self.compare(&collection);
                "as it should be".to_owned()
            }
        };
        writeln!(self.trace.lock().unwrap(), "{outcome}").unwrap();
        self
    }

    async fn publish(&mut self) -> String {
        let (version, tags) = (self.model.targets + 1, tags(&mut self.dice));
        let file = self.model.file(version, &tags);
        self.service.upload(GUN, &[("targets", file)]).await.ok();
        (self.model.targets, self.model.tags) = (version, tags);
        format!("version {version}")
    }

    async fn publish_old(&mut self) -> String {
        let tags = tags(&mut self.dice);
        let version = 1 + self.dice.below(self.model.targets);
        let file = self.model.file(version, &tags);
        let refused = self.service.upload(GUN, &[("targets", file)]).await;
        assert_eq!(refused.error(), "400 VERSION");
        format!("version {version} refused")
    }

    async fn publish_twice(&mut self) -> String {
        let version = self.model.targets + 1;
        let choices = [tags(&mut self.dice), tags(&mut self.dice)];
        let [one, other] = [self.model.file(version, &choices[0]), self.model.file(version, &choices[1])];
        let (one, other) = ([("targets", one)], [("targets", other)]);
        let (one, other) = join(self.service.upload(GUN, &one), self.service.upload(GUN, &other)).await;
        let winner = match [one.status.as_u16(), other.status.as_u16()] {
            [200, 400] => 0,
            [400, 200] => 1,
            both => unreachable!("{both:?}: {} {}", one.text(), other.text()),
        };
        (self.model.targets, self.model.tags) = (version, choices[winner].clone());
        format!("version {version}, one of two")
    }

    async fn forge(&mut self) -> String {
        let tags = tags(&mut self.dice);
        let honest = std::mem::replace(&mut self.model.owner.targets_key, Key::bare());
        let forged = self.model.file(self.model.targets + 1, &tags);
        self.model.owner.targets_key = honest;
        let mut root = self.model.owner.root_payload(self.model.root + 1);
        root["roles"]["targets"]["threshold"] = Value::from(1);
        let forged_root = crate::owner::signed(&root, &[&Key::root(GUN, self.model.owner.now)]);
        for parts in [vec![("targets", forged)], vec![("root", forged_root)]] {
            assert_eq!(self.service.upload(GUN, &parts).await.error(), "400 INVALID_UPDATE");
        }
        "refused".to_owned()
    }

    async fn alice(&mut self) -> String {
        let (version, tags) = (self.model.alice_version + 1, tags(&mut self.dice));
        self.model.with_alice();
        let file = self.model.owner.delegation(ALICE, version, &tags.iter().map(String::as_str).collect::<Vec<_>>());
        let answer = self.service.upload(GUN, &[(ALICE, file)]).await;
        if !self.model.delegated {
            assert_eq!(answer.error(), "400 INVALID_UPDATE");
            return "refused".to_owned();
        }
        answer.ok();
        (self.model.alice_version, self.model.alice_tags) = (version, tags);
        format!("version {version}")
    }

    async fn rotate_targets(&mut self) -> String {
        self.model.owner.targets_key = Key::bare();
        let (root, targets, tags) = (self.model.root + 1, self.model.targets + 1, self.model.tags.clone());
        let parts = [("root", self.model.owner.root(root)), ("targets", self.model.file(targets, &tags))];
        self.service.upload(GUN, &parts).await.ok();
        (self.model.root, self.model.targets) = (root, targets);
        format!("root {root}")
    }

    async fn rotate_service_keys(&mut self) -> String {
        for role in ["snapshot", "timestamp"] {
            let key = self.service.request("POST", &format!("/v2/{GUN}/_trust/tuf/{role}.key")).await.ok().json();
            match role {
                "snapshot" => self.model.owner.snapshot_key = key,
                _ => self.model.owner.timestamp_key = key,
            }
        }
        let root = self.model.root + 1;
        self.service.upload(GUN, &[("root", self.model.owner.root(root))]).await.ok();
        self.model.root = root;
        format!("root {root}")
    }

    async fn read_known(&mut self) -> String {
        let number = usize::try_from(self.dice.below(READERS as u64)).unwrap();
        // Whoever had not read before knows nothing that would be contradicted.
        let stranger = std::mem::take(&mut self.strangers[number]) && self.readers[number].knows_something();
        let read = self.readers[number].read(&self.service, GUN).await;
        if stranger {
            assert!(read.is_err(), "another collection under a known name was accepted");
            self.readers[number] = Reader::default();
            return format!("reader {number} refuses another collection");
        }
        self.compare(&read.unwrap());
        format!("reader {number} sees what should be there")
    }

    fn compare(&self, collection: &countersign_tuf::Collection) {
        let model = &self.model;
        assert_eq!(collection.root().version.get(), model.root);
        assert_eq!(collection.targets(&countersign_tuf::RoleName::Targets).unwrap().version.get(), model.targets);
        assert_eq!(names(collection, "targets").unwrap(), model.tags);
        assert!(collection.broken().is_empty());
        let alice = (model.delegated && model.alice_version > 0).then(|| model.alice_tags.clone());
        assert_eq!(names(collection, ALICE), alice);
    }
}

/// What has happened so far, also when the last step has failed.
type Trace = Arc<Mutex<String>>;

async fn run(seed: u64, trace: Trace) {
    let service = TestService::start().await;
    let model = Model::begin(&service).await;
    let readers = std::array::from_fn(|_| Reader::default());
    let mut world = World { service, model, readers, strangers: [false; READERS], dice: Dice::of(seed), trace };
    for _ in 0..STEPS {
        let act = act(&mut world.dice);
        world = world.step(act).await;
    }
    world.step(Act::ReadFresh).await.service.running.shut_down().await;
}

/// Runs the history of a seed and returns what happened.
async fn history(seed: u64) -> String {
    let trace = Trace::default();
    let ended = tokio::spawn(run(seed, Arc::clone(&trace))).await;
    let trace = trace.lock().unwrap().clone();
    assert!(ended.is_ok(), "COUNTERSIGN_TEST_SEED={seed} COUNTERSIGN_TEST_HISTORIES=1 fails in the last of\n{trace}");
    trace
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_in_whatever_order_readers_see_what_was_published() {
    let first = number("COUNTERSIGN_TEST_SEED").unwrap_or(1);
    for seed in first..first + number("COUNTERSIGN_TEST_HISTORIES").unwrap_or(HISTORIES) {
        history(seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_is_the_same_history() {
    let seed = number("COUNTERSIGN_TEST_SEED").unwrap_or(7);
    let first = history(seed).await;
    assert!(first.lines().count() > STEPS, "{first}");
    assert_eq!(first, history(seed).await);
    assert_ne!(first, history(seed + 1).await);
}
