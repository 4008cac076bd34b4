//! The notary client 0.7 and ours take turns on one trust directory and one collection.

use crate::notary_pair::ours;
use countersign_testkit::{Finished, NotaryClient, TrustService, fixtures};
use std::path::Path;
use std::process::Command;

const GUN: &str = "example.test/turns";

/// One trust directory and two programs that use it.
struct Turns {
    service: TrustService,
    reference: NotaryClient,
    ours: NotaryClient,
}

#[derive(Clone, Copy)]
enum Who {
    Reference,
    Ours,
}

impl Turns {
    fn new() -> Self {
        let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
        let (reference, ours) = (service.notary_client(), ours(service.notary_client()));
        std::fs::remove_dir(ours.trust_dir()).unwrap();
        std::os::unix::fs::symlink(reference.trust_dir(), ours.trust_dir()).unwrap();
        for person in [&reference, &ours] {
            let file = |name: &str, content: &[u8]| std::fs::write(person.folder().join(name), content).unwrap();
            file("hello", b"hello\n");
            file("custom", br#"{"a":[1,null]}"#);
            file("a.crt", &fixtures::bytes("x509/ec-p256.crt"));
            file("b.pub", &fixtures::bytes("key-bundles/inputs/rsa2048.pub"));
        }
        Self { service, reference, ours }
    }

    fn run(&self, who: Who, line: &str) -> Finished {
        let words: Vec<&str> = line.split(' ').map(|word| if word == "GUN" { GUN } else { word }).collect();
        match who {
            Who::Reference => self.reference.run_with_input(&words, "yes\n"),
            Who::Ours => self.ours.run_with_input(&words, "yes\n"),
        }
    }

    /// What both say, which has to be the same.
    fn agreed(&self, line: &str) -> String {
        let reference = self.run(Who::Reference, line).succeeded();
        let ours = self.run(Who::Ours, line).succeeded();
        let folders = [&self.reference, &self.ours].map(|person| person.folder().to_string_lossy().into_owned());
        let said = folders.iter().fold([&reference, &ours].map(|said| said.stdout.clone()), |said, folder| {
            said.map(|text| text.replace(folder.as_str(), "/folder"))
        });
        let [said, same] = said;
        assert_eq!(said, same, "{reference}\n{ours}");
        said
    }
}

const CHANGES: [&str; 10] = [
    "add GUN one hello",
    "add GUN two hello --custom custom -r targets",
    "addhash GUN three 0x10 --sha256 5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
    "delegation add GUN targets/releases a.crt b.pub --all-paths",
    "delegation add GUN targets/x b.pub --paths a,b",
    "delegation remove GUN targets/x --paths a",
    "delegation add GUN targets/gone b.pub --all-paths",
    "delegation remove GUN targets/gone -y",
    "witness GUN targets",
    "remove GUN three",
];

fn stage_and_publish(stages: Who, publishes: Who) {
    let turns = Turns::new();
    turns.run(stages, "init GUN").succeeded();
    turns.run(publishes, "publish GUN").succeeded();
    for line in CHANGES {
        turns.run(stages, line).succeeded();
    }
    assert_eq!(turns.agreed("status GUN").lines().count(), 4 + 13);
    turns.run(publishes, "publish GUN").succeeded();
    assert!(turns.agreed("status GUN").starts_with("No unpublished changes"));
    let listed = turns.agreed("list GUN");
    let names: Vec<&str> = listed.lines().skip(2).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names, ["one", "two"]);
    assert!(turns.agreed("delegation list GUN").contains("targets/x"));
    turns.agreed("key list");
    for (who, line) in [
        (stages, "key rotate GUN snapshot -r"),
        (publishes, "key rotate GUN targets"),
        (stages, "key rotate GUN root"),
        (publishes, "key rotate GUN root"),
        (stages, "key rotate GUN timestamp -r"),
        (publishes, "add GUN four hello -p"),
        (stages, "remove GUN one -p"),
        (publishes, "delegation remove GUN targets/x -y -p"),
    ] {
        turns.run(who, line).succeeded();
        turns.agreed("list GUN");
        turns.agreed("key list");
    }
    turns.agreed("lookup GUN four");
    // Somebody who was not there sees the same.
    for fresh in [turns.service.notary_client(), ours(turns.service.notary_client())] {
        assert_eq!(fresh.run(&["list", GUN]).succeeded().stdout, turns.agreed("list GUN"));
    }
}

#[test]
fn what_the_reference_stages_we_publish() {
    stage_and_publish(Who::Reference, Who::Ours);
}

#[test]
fn what_we_stage_the_reference_publishes() {
    stage_and_publish(Who::Ours, Who::Reference);
}

#[test]
fn what_the_reference_cannot_read_it_says_of_ours_too() {
    let turns = Turns::new();
    turns.run(Who::Ours, "init GUN -p").succeeded();
    let changes = turns.reference.trust_dir().join("tuf").join(GUN).join("changelist");
    std::fs::create_dir_all(&changes).unwrap();
    std::fs::write(changes.join("01795342286147849591_x.change"), "no change").unwrap();
    for who in [Who::Reference, Who::Ours] {
        turns.run(who, "publish GUN").failed();
    }
    let status = turns.run(Who::Ours, "status GUN").succeeded();
    assert!(status.stdout.contains("01795342286147849591_x.change"), "{status}");
    turns.run(Who::Ours, "reset GUN -n 0").succeeded();
    turns.run(Who::Ours, "publish GUN").succeeded();
}

/// Sets the modes that git does not keep, and returns the names below a folder.
fn files(folder: &Path) -> String {
    let mut command = Command::new("find");
    let found = Finished::of(command.arg(folder).args(["-type", "f"]), b"").succeeded();
    found.stdout.lines().map(|line| line.trim_start_matches(&*folder.to_string_lossy()).to_owned()).collect()
}

#[test]
fn a_collection_that_the_reference_had_prepared_is_published() {
    let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
    let set = fixtures::Set::named("notary-basic");
    let client = ours(service.notary_client().with_golden_trust("notary-basic/trust-staged"));
    assert!(files(&client.trust_dir()).contains(".change"));
    // Its root lists the timestamp key of the service that it was prepared for.
    let rotated = client.run(&["key", "rotate", set.gun(), "timestamp", "-r"]);
    let rotated = if rotated.code == 0 { rotated } else { panic!("{rotated}") };
    assert!(rotated.stdout.contains("Successfully rotated timestamp key"), "{rotated}");
    client.run(&["publish", set.gun()]).succeeded();
    assert!(!files(&client.trust_dir()).contains(".change"));
    let listed = [service.notary_client(), client].map(|client| client.run(&["list", set.gun()]).succeeded().stdout);
    assert_eq!(listed[0], listed[1]);
    assert!(listed[0].contains("hello"), "{}", listed[0]);
}

/// The first key id that a listing of delegations shows and that is none of these.
fn key_of(listed: &Finished, others: &[String]) -> String {
    let mut words = listed.stdout.split_whitespace().filter(|word| word.len() == 64).map(str::to_owned);
    words.find(|word| !others.contains(word)).unwrap_or_else(|| panic!("{listed}"))
}

#[test]
fn what_is_witnessed_is_shown_before_it_is_signed() {
    let turns = Turns::new();
    let ours = |line: &str| turns.run(Who::Ours, line).succeeded();
    ours("init GUN -p");
    for name in ["alice", "bob"] {
        ours(&format!("key generate -r {name} -o {name}"));
        ours(&format!("key import {name}-key.pem"));
    }
    ours("delegation add GUN targets/x alice.pem --all-paths -p");
    ours("add GUN one hello -r targets/x -p");
    let alice = key_of(&ours("delegation list GUN"), &[]);
    ours("delegation add GUN targets/x bob.pem");
    ours(&format!("delegation remove GUN targets/x {alice} -p"));
    assert!(turns.agreed("list GUN").contains("No targets present"));
    let known = ours("witness GUN targets/x -p");
    let told = ["targets/x version 1 cannot be verified", "about to be signed", "the names are the same"];
    assert!(told.iter().all(|text| known.stderr.contains(text)), "{known}");
    assert!(turns.agreed("list GUN").contains("one "));
    // Who has never seen the collection is shown every name.
    let bob = key_of(&ours("delegation list GUN"), &[alice]);
    ours("delegation add GUN targets/x alice.pem");
    ours(&format!("delegation remove GUN targets/x {bob} -p"));
    std::fs::remove_dir_all(turns.reference.trust_dir().join("tuf")).unwrap();
    let unknown = ours("witness GUN targets/x -p");
    assert!(
        unknown.stderr.contains("nothing of it was verified before") && unknown.stderr.contains("+ one sha256:"),
        "{unknown}"
    );
    assert!(turns.agreed("list GUN").contains("one "));
}
