//! `countersign import`: a collection is saved from its service and still proves what it said when the service is gone.

mod troubled;

use crate::client::{Client, Ending, LOCAL, NETWORK, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::{FakeServer, Finished, Reply, TestCa, TrustService};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished}"))
}

/// Somebody who saves to a folder of their own.
struct Keeper {
    client: Client,
    folder: PathBuf,
}

impl Keeper {
    fn at(shop: &Shop) -> Self {
        let client = shop.client();
        let folder = client.folder().join("archive");
        Self { client, folder }
    }

    fn save(&self, url: &str, rest: &[&str]) -> Finished {
        let to = self.folder.to_str().unwrap();
        self.client.run(&[&["import", "http", url, "--to", to, "--format", "json"], rest].concat())
    }

    fn verify(&self, rest: &[&str]) -> Finished {
        let folder = self.folder.to_str().unwrap();
        self.client.run(&[&["import", "verify", folder, "--format", "json"], rest].concat())
    }

    /// The saved files of the top roles with their content, by name.
    fn files(&self, gun: &str) -> Vec<(String, Vec<u8>)> {
        let entries = std::fs::read_dir(self.file(gun, "tuf")).unwrap().map(|entry| entry.unwrap());
        let files = entries.filter(|entry| entry.path().is_file());
        let named = |entry: std::fs::DirEntry| (entry.file_name().into_string().unwrap(), entry.path());
        let mut files: Vec<_> = files.map(named).map(|(name, path)| (name, std::fs::read(path).unwrap())).collect();
        files.sort();
        files
    }

    fn file(&self, gun: &str, name: &str) -> PathBuf {
        self.folder.join("v2").join(gun).join("_trust").join(name)
    }
}

/// A collection with three roots, two signers and releases.
fn lived_in(shop: &Shop, owner: &Client) {
    shop.signed_by(owner, "v1", "one");
    for name in ["alice", "bob"] {
        owner.plugin(&["trust", "key", "generate", name]).succeeded();
        owner.plugin(&["trust", "signer", "add", "--key", &format!("{name}.pub"), name, &shop.gun()]).succeeded();
    }
    shop.signed_by(owner, "v2", "two");
    let trust_dir = owner.trust_dir();
    let notary = shop.service.notary_client();
    std::fs::create_dir_all(notary.trust_dir()).unwrap();
    let mut copy = Command::new("cp");
    Finished::of(copy.arg("-a").arg(trust_dir.join("private")).arg(notary.trust_dir()), b"").succeeded();
    for role in ["targets", "snapshot"] {
        notary.run(&["key", "rotate", &shop.gun(), role]).succeeded();
    }
}

#[test]
fn a_collection_is_saved_whole_and_proves_what_it_said_when_the_service_is_gone() {
    let shop = Shop::open();
    let owner = shop.client();
    lived_in(&shop, &owner);
    let keeper = Keeper::at(&shop);
    let gun = shop.gun();
    let saved = json(&keeper.save(&shop.service.url(), &[&gun]).succeeded());
    let row = &saved[0];
    assert_eq!((&row["state"], &row["gaps"]), (&"verified".into(), &Value::Array(vec![])), "{saved}");
    assert_eq!((&row["roots"]["from"], &row["roots"]["to"]), (&1.into(), &3.into()), "{saved}");
    for name in ["tuf/1.root.json", "tuf/3.root.json", "archive.json"] {
        assert!(keeper.file(&gun, name).is_file(), "{name}");
    }
    let listing: Value = serde_json::from_slice(&std::fs::read(keeper.file(&gun, "archive.json")).unwrap()).unwrap();
    let roles = listing["files"].as_array().unwrap().iter().map(|file| file["role"].as_str().unwrap());
    for role in ["timestamp", "snapshot", "targets", "targets/alice", "targets/releases"] {
        assert_eq!(roles.clone().filter(|found| *found == role).count(), 1, "{role}");
    }
    drop(shop);
    let proved = json(&keeper.verify(&[]).succeeded());
    assert_eq!(proved[0]["tags"], row["tags"]);
    assert_eq!(row["tags"], 2);
    // Long after everything has expired it says the same of that day, and nothing of a later one.
    keeper.verify(&["--at", "2060-01-01T00:00:00Z"]).refused(TRUST, "not everything could be verified");
}

#[test]
fn saving_again_adds_what_is_new_and_takes_nothing_away() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let (keeper, gun) = (Keeper::at(&shop), shop.gun());
    let names = keeper.client.folder().join("names");
    std::fs::write(&names, format!("# ours\n\n{gun}\n")).unwrap();
    let from = ["--from", names.to_str().unwrap(), "--history"];
    keeper.save(&shop.service.url(), &from).succeeded();
    let first = keeper.files(&gun);
    shop.signed_by(&owner, "v2", "two");
    let saved = json(&keeper.save(&shop.service.url(), &from).succeeded());
    assert_eq!(saved[0]["tags"], 2);
    let (kept, added): (Vec<_>, Vec<_>) = keeper.files(&gun).into_iter().partition(|file| first.contains(file));
    assert_eq!((kept, added.len()), (first, 3), "targets, snapshot and timestamp");
    assert_eq!(json(&keeper.verify(&[&gun]).succeeded())[0]["tags"], 2);
}

#[test]
fn the_collections_of_a_trust_directory_are_found_by_themselves() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let folder = owner.folder().join("archive");
    let words = ["import", "http", &shop.service.url(), "--known", "--to", folder.to_str().unwrap()];
    let saved = owner.run(&words).succeeded();
    assert!(saved.stdout.contains(&shop.gun()) && saved.stdout.contains("verified"), "{saved}");
    owner.run(&["import", "http", &shop.service.url(), "--to", "x"]).refused(USER, "required");
}

#[test]
fn what_is_not_there_and_who_does_not_answer_is_said() {
    let shop = Shop::open();
    let keeper = Keeper::at(&shop);
    let saved = keeper.save(&shop.service.url(), &["example.test/nobody"]);
    saved.refused(TRUST, "not everything was saved and verified: example.test/nobody");
    keeper.save("https://127.0.0.1:1", &["example.test/nobody"]).refused(NETWORK, "not everything was saved");
    keeper.save("http://example.test", &["example.test/nobody"]).refused(USER, "");
    keeper.save(&shop.service.url(), &["../../escape"]).refused(USER, "is no collection's name");
}

#[test]
fn another_file_of_a_version_that_is_saved_already_is_refused_and_the_first_kept() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let (keeper, gun) = (Keeper::at(&shop), shop.gun());
    keeper.save(&shop.service.url(), &[&gun]).succeeded();
    let root = keeper.file(&gun, "tuf/1.root.json");
    let before = std::fs::read(&root).unwrap();
    // Somebody makes the collection anew.
    shop.service.notary_client().run(&["delete", "--remote", &gun]).succeeded();
    shop.signed_by(&shop.client(), "v1", "other");
    let saved = keeper.save(&shop.service.url(), &[&gun]).refused(TRUST, "not everything was saved and verified");
    assert!(saved.stdout.contains("gives another version 1 of root"), "{saved}");
    assert_eq!(std::fs::read(&root).unwrap(), before);
    keeper.verify(&[]).succeeded();
}

#[test]
fn a_file_that_was_changed_taken_away_or_exchanged_is_found() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let (keeper, gun) = (Keeper::at(&shop), shop.gun());
    keeper.save(&shop.service.url(), &[&gun]).succeeded();
    for (name, good) in keeper.files(&gun) {
        let path = keeper.file(&gun, "tuf").join(name);
        std::fs::write(&path, [&good[..], b" "].concat()).unwrap();
        keeper.verify(&[]).refused(LOCAL, "not everything could be verified");
        std::fs::remove_file(&path).unwrap();
        keeper.verify(&[]).refused(LOCAL, "not everything could be verified");
        // Also where the listing is changed to fit: the signatures are not there.
        let forged = String::from_utf8(good.clone()).unwrap().replace("\"expires\":\"20", "\"expires\":\"21");
        std::fs::write(&path, &forged).unwrap();
        let listing = keeper.file(&gun, "archive.json");
        let honest = std::fs::read_to_string(&listing).unwrap();
        let [was, is] = [good.as_slice(), forged.as_bytes()].map(|bytes| sha256(&path, bytes));
        std::fs::write(&listing, honest.replace(&was, &is)).unwrap();
        let refused = keeper.verify(&[]).failed();
        assert_eq!(refused.code, TRUST, "{refused}");
        std::fs::write(&path, &good).unwrap();
        std::fs::write(&listing, honest).unwrap();
        keeper.verify(&[]).succeeded();
    }
}

/// The digest as another program computes it.
fn sha256(beside: &Path, bytes: &[u8]) -> String {
    let file = beside.with_extension("tmp");
    std::fs::write(&file, bytes).unwrap();
    let output = Command::new("sha256sum").arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn pins_count_for_archives_too() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let keeper = Keeper::at(&shop);
    let saved = json(&keeper.save(&shop.service.url(), &[&shop.gun()]).succeeded());
    let id = saved[0]["rootKeys"][0].as_str().unwrap();
    keeper.client.run(&["pin", &shop.gun(), "--root-key", id]).succeeded();
    keeper.verify(&[]).succeeded();
    let other = "0".repeat(64);
    keeper.client.run(&["pin", &shop.gun(), "--replace", "--root-key", &other]).succeeded();
    keeper.verify(&[]).refused(TRUST, "not everything could be verified");
}

#[test]
fn a_service_that_breaks_off_leaves_no_archive_that_looks_whole() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    server.otherwise(Reply::status(503));
    let client = Client::new().of_fake(&server, &ca);
    let folder = client.folder().join("archive");
    let words = ["import", "http", &server.url(), "example.test/x", "--to", folder.to_str().unwrap()];
    client.run(&words).refused(NETWORK, "not everything was saved");
    assert!(!folder.exists());
}

/// What the guide tells the owner of a collection to do when its service has closed.
#[test]
fn at_a_service_of_ones_own_a_saved_collection_begins_anew() {
    let (shop, other) = (Shop::open(), TrustService::start(env!("CARGO_BIN_EXE_countersign")));
    let (owner, reader) = (shop.client(), shop.client());
    let digest = shop.signed_by(&owner, "v1", "one");
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let (owner, reader) = (owner.of(&other), reader.of(&other));
    owner.run(&["sign", &shop.name("v1")]).refused(TRUST, "it was deleted, or this is another service");
    let trust_dir = owner.trust_dir();
    owner.run(&["notary", "-d", trust_dir.to_str().unwrap(), "delete", &shop.gun()]).succeeded();
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    let pin = owner.run(&["pin", &shop.gun(), "--output", "-"]).succeeded().stdout;
    reader.run(&["verify", &shop.name("v1")]).refused(TRUST, "potential malicious behavior");
    let id = pin.split('"').find(|word| word.len() == 64).unwrap();
    let accepted = ["verify", &shop.name("v1"), "--re-establish-trust", "--pin", id];
    for words in [&accepted[..], &accepted[..2]] {
        let verified = reader.run(words).succeeded();
        assert!(verified.stdout.contains(&digest), "{verified}");
    }
}
