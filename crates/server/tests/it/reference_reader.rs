//! The reference's reader and ours on the same metadata, spelled in all the ways that JSON and people know.
//!
//! Every case is signed anew, and listed anew by whatever lists it, so that nothing but the reading decides. What is
//! accepted here has to be accepted by the reference, with the same names, digests and sizes: otherwise two readers of one
//! file see two things. Where this reader refuses what the reference takes, the reason stands in [`STRICTER`].

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::Signer;
use countersign_crypto::digest::sha256;
use countersign_testkit::{FakeServer, NotaryClient, Reply, TestCa};
use countersign_tuf::update::{Answer, LostRoot, Purpose, Request, Step, Update, Which};
use countersign_tuf::{Gun, Pinning, RoleName, Seen};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::owner::{Key, Owner, canonical, file_meta, public};

const GUN: &str = "example.com/reader";
/// Random changes of each role's file.
const RANDOM: u64 = 20;

type Files = BTreeMap<String, Vec<u8>>;
/// Names, digests and sizes.
type Listed = BTreeMap<String, (String, u64)>;

/// A collection of which every key is here.
struct Collection {
    owner: Owner,
    snapshot: Key,
    timestamp: Key,
    now: Timestamp,
}

/// A change of the text that is signed, or of the file around it.
struct Case {
    name: String,
    role: &'static str,
    signed: Box<dyn Fn(String) -> String>,
    file: Box<dyn Fn(String) -> String>,
}

impl Collection {
    fn new() -> Self {
        let now = Timestamp::now();
        let (snapshot, timestamp) = (Key::bare(), Key::bare());
        let owner = Owner::with(GUN, now, public(&snapshot.public), public(&timestamp.public));
        Self { owner, snapshot, timestamp, now }
    }

    /// All files as a service serves them, one of them changed.
    fn files(&self, case: &Case) -> Files {
        let mut files = Files::new();
        let mut put = |role: &'static str, payload: &Value, key: &Key| {
            let mut text = canonical(payload);
            let changed = case.role == role;
            if changed {
                text = (case.signed)(text);
            }
            // What the reference verifies is the canonical form of what it has read.
            let read: Value = serde_json::from_str(&text).unwrap_or_else(|_| payload.clone());
            let signature = STANDARD.encode(key.private.sign(canonical(&read).as_bytes()).unwrap());
            let (id, method) = (key.id(), key.private.method());
            let mut file = format!(
                r#"{{"signed":{text},"signatures":[{{"keyid":"{id}","method":"{}","sig":"{signature}"}}]}}"#,
                method.as_str()
            );
            if changed {
                file = (case.file)(file);
            }
            files.insert(format!("{role}.{}.json", sha256(file.as_bytes()).hex()), file.clone().into_bytes());
            files.insert(format!("1.{role}.json"), file.clone().into_bytes());
            files.insert(format!("{role}.json"), file.clone().into_bytes());
            file_meta(file.as_bytes())
        };
        let root = put("root", &self.owner.root_payload(1), &self.owner.root_key);
        let mut payload = self.owner.targets_payload(1, &["v1", "v2"]);
        payload["targets"]["v2"]["custom"] = json!({"a": [1, null, "b"]});
        let targets = put("targets", &payload, &self.owner.targets_key);
        let snapshot = json!({
            "_type": "Snapshot", "expires": self.owner.expires(1000), "version": 1,
            "meta": {"root": root, "targets": targets},
        });
        let snapshot = put("snapshot", &snapshot, &self.snapshot);
        let timestamp = json!({
            "_type": "Timestamp", "expires": self.owner.expires(14), "version": 1, "meta": {"snapshot": snapshot},
        });
        put("timestamp", &timestamp, &self.timestamp);
        files
    }

    /// What our reader sees.
    fn ours(&self, files: &Files) -> Result<Listed, String> {
        let pinning = Pinning::default();
        let mut update = Update::begin(Request {
            gun: Gun::parse(GUN).unwrap(),
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
                    let name = match wanted.which {
                        Which::Current => format!("{}.json", wanted.role),
                        Which::Version(version) => format!("{version}.{}.json", wanted.role),
                        Which::Checksum(hash) => format!("{}.{}.json", wanted.role, hash.hex()),
                    };
                    files.get(&name).map_or(Answer::Missing, |file| Answer::File(file.clone().into()))
                }
                Step::Done => break,
            };
            update.feed(answer).map_err(|error| error.to_string())?;
        }
        let collection = update.finish().map_err(|error| error.to_string())?;
        let entries = collection.targets(&RoleName::Targets).unwrap().entries.iter();
        Ok(entries
            .map(|(name, meta)| {
                let digest = meta.sha256.map(|digest| digest.hex()).unwrap_or_default();
                (name.into_owned(), (digest, meta.length))
            })
            .collect())
    }
}

/// The reference, with a service that serves whatever is put here.
struct Reference {
    server: FakeServer,
    files: Arc<Mutex<Files>>,
    authority: TestCa,
}

impl Reference {
    fn start() -> Self {
        let authority = TestCa::new();
        let server = FakeServer::tls(authority.loopback_server().server_config());
        let files = Arc::<Mutex<Files>>::default();
        let offered = Arc::clone(&files);
        server.handle(move |request| {
            if request.path == "/v2/" {
                return Some(Reply::json("{}"));
            }
            let name = request.path.rsplit('/').next()?;
            let file = offered.lock().unwrap().get(name).cloned();
            Some(file.map_or_else(|| Reply::status(404), Reply::json))
        });
        Self { server, files, authority }
    }

    /// What `notary list` sees with an empty cache.
    fn reads(&self, files: &Files) -> Result<Listed, String> {
        *self.files.lock().unwrap() = files.clone();
        let client = NotaryClient::new(&self.server.url(), &self.authority.pem());
        let listed = client.run(&["list", GUN]);
        if listed.code != 0 {
            return Err(listed.to_string());
        }
        let lines = listed.stdout.lines().skip_while(|line| !line.starts_with("---")).skip(1);
        Ok(lines
            .filter_map(|row| {
                let columns: Vec<&str> = row.split_whitespace().collect();
                let (name, digest, size) = match columns[..] {
                    [name, digest, size, "targets"] => (name, digest, size),
                    [digest, size, "targets"] => ("", digest, size),
                    _ => return None,
                };
                Some((name.to_owned(), (digest.to_owned(), size.parse().ok()?)))
            })
            .collect())
    }
}

/// How the readers differ.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Difference {
    /// Only the reference takes it.
    Stricter,
    /// Only ours takes it, or they see different things.
    Wider,
}

/// A case on which the readers differ, and what they say.
struct Found {
    name: String,
    difference: Difference,
    said: String,
}

fn compare(cases: Vec<Case>) -> Vec<Found> {
    let (collection, reference) = (Collection::new(), Reference::start());
    let differs = |case: Case| {
        let files = collection.files(&case);
        let (ours, theirs) = (collection.ours(&files), reference.reads(&files));
        let difference = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) if ours == theirs => return None,
            (Err(_), Err(_)) => return None,
            (Err(_), Ok(_)) => Difference::Stricter,
            _ => Difference::Wider,
        };
        Some(Found { name: case.name, difference, said: format!("here {ours:?}, the reference {theirs:?}") })
    };
    cases.into_iter().filter_map(differs).collect()
}

/// Compares the readers on all cases of a role: they differ where a table says so, and nowhere else.
fn differ_as_explained(role: &str) {
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.role == role).collect();
    let names: BTreeSet<String> = cases.iter().map(|case| case.name.clone()).collect();
    assert!(names.len() > 60, "{} cases", names.len());
    let explained = |table: &[(&str, &str)]| -> BTreeSet<String> {
        table.iter().map(|(name, _)| (*name).to_owned()).filter(|name| names.contains(name)).collect()
    };
    let found = compare(cases);
    for (table, difference) in [(STRICTER, Difference::Stricter), (WIDER, Difference::Wider)] {
        let found = found.iter().filter(|found| found.difference == difference);
        let said: BTreeMap<String, &str> = found.map(|found| (found.name.clone(), found.said.as_str())).collect();
        let (found, explained) = (said.keys().cloned().collect::<BTreeSet<_>>(), explained(table));
        let unexplained: Vec<_> = said.iter().filter(|(name, _)| !explained.contains(*name)).collect();
        assert!(unexplained.is_empty(), "in {role}: {unexplained:#?}");
        assert_eq!(found, explained, "in {role}: explained, and no difference");
    }
}

/// Where ours refuses what the reference takes, and why.
const STRICTER: &[(&str, &str)] = &[
    ("the version again, the same", REPEATED),
    ("the version again, another", REPEATED),
    ("an unknown member twice", REPEATED),
    ("type twice", REPEATED),
    ("a length twice", REPEATED),
    ("a hash twice", REPEATED),
    ("a name twice", REPEATED),
    ("listed twice, wrongly first", REPEATED),
    ("the version in capitals too", FOLDED),
    ("a version in capitals only", FOLDED),
    ("type with another capital name", FOLDED),
    ("a length in capitals too", FOLDED),
    ("targets in capitals too", FOLDED),
    (
        "an unknown member 100 deep",
        "64 levels are more than anybody writes, and whoever recurses can be made to overflow",
    ),
    ("expiry with a decimal comma", "RFC 3339 has a point; Go takes the comma since 1.17 only"),
    ("an unknown member beside", "what stands beside `signed` is signed by nobody"),
    ("a null signature in front", "a signature has a key, a method and bytes"),
    ("an empty signature in front", "a signature has a key, a method and bytes"),
    ("a line break in the signature", "one spelling of a signature is enough"),
    ("a length below zero", "no file has such a length"),
    ("a length null", "a file without length cannot be bounded before it is read"),
    ("no length", "a file without length cannot be bounded before it is read"),
    ("a length of 2^62", "beyond 2^53 readers disagree about integers"),
    ("a hash null", "a hash that is there has to be one"),
    ("a short hash", "a hash that is there has to be one"),
    ("a hash name in capitals", "what has no known hash says nothing"),
    ("an entry null", "what has no known hash says nothing"),
    ("an entry empty", "what has no known hash says nothing"),
    ("a role null", "a role has keys and a threshold"),
    ("consistent_snapshot null", "null is neither true nor false"),
    ("a key that is not used", "a key is filed under its id"),
    ("a key null", "a key has a kind and a value"),
    ("listed with a longer length", "a file is as long as is said of it; the reference takes a shorter one"),
];
const REPEATED: &str = "of a repeated member the signature covers one, and a reader may take the other";
const FOLDED: &str = "for a reader that folds case it is a repeated member";

/// Where ours takes what the reference refuses, and why that is safe.
const WIDER: &[(&str, &str)] = &[(
    "expiry with an escape",
    "the reference reads a time before it has undone escapes; here every string is read alike, and the value is the same",
)];

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_read_as_by_the_reference_or_refused_with_a_reason() {
    tokio::task::block_in_place(|| differ_as_explained("root"));
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_read_as_by_the_reference_or_refused_with_a_reason() {
    tokio::task::block_in_place(|| differ_as_explained("targets"));
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_read_as_by_the_reference_or_refused_with_a_reason() {
    tokio::task::block_in_place(|| differ_as_explained("snapshot"));
}

#[tokio::test(flavor = "multi_thread")]
async fn timestamps_are_read_as_by_the_reference_or_refused_with_a_reason() {
    tokio::task::block_in_place(|| differ_as_explained("timestamp"));
}

#[test]
fn every_explanation_is_of_a_case() {
    let cases: BTreeSet<String> = cases::all().into_iter().map(|case| case.name).collect();
    for (name, why) in STRICTER.iter().chain(WIDER) {
        assert!(cases.contains(*name) && !why.is_empty(), "{name}");
    }
}

/// `COUNTERSIGN_TEST_MUTATIONS` says how many changes of each role's file are tried (nightly: 2000).
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_chance_makes_is_taken_here_and_not_by_the_reference() {
    let each = std::env::var("COUNTERSIGN_TEST_MUTATIONS").map_or(RANDOM, |text| text.parse().unwrap());
    let differences = tokio::task::block_in_place(|| compare(cases::random(each)));
    let wider = differences.iter().filter(|found| found.difference == Difference::Wider);
    let wider: Vec<_> = wider.map(|found| (&found.name, &found.said)).collect();
    assert!(wider.is_empty(), "{wider:#?}");
}
