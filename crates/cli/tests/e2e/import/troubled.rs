//! A service on its last days: it fails, falls silent or lies, and what it still gives is saved.

use super::{Keeper, json, lived_in};
use crate::client::{Client, Ending, NETWORK, TRUST};
use crate::stage::Shop;
use countersign_testkit::{FakeServer, Finished, Reply, TestCa};
use serde_json::Value;
use std::collections::BTreeMap;

/// A service that has what was saved once, until a test says otherwise; and somebody who saves it.
struct Remains {
    server: FakeServer,
    gun: String,
    keeper: Keeper,
    /// The versions of the present files.
    present: BTreeMap<String, u64>,
}

impl Remains {
    fn of(shop: &Shop) -> Self {
        let (first, gun) = (Keeper::at(shop), shop.gun());
        first.save(&shop.service.url(), &[&gun, "--history"]).succeeded();
        let ca = TestCa::new();
        let server = FakeServer::tls(ca.loopback_server().server_config());
        server.on("/v2/", Reply::json("{}"));
        let listing: Value = serde_json::from_slice(&std::fs::read(first.file(&gun, "archive.json")).unwrap()).unwrap();
        let base = format!("/v2/{gun}/_trust/tuf");
        let mut present = BTreeMap::new();
        for file in listing.pointer("/files").and_then(Value::as_array).unwrap() {
            let (role, sha256) = (file["role"].as_str().unwrap(), file["sha256"].as_str().unwrap());
            let name = format!("{}.{role}.json", file["version"]);
            let bytes = std::fs::read(first.file(&gun, "tuf").join(&name)).unwrap();
            let current = file["present"] == true;
            if current {
                present.insert(role.to_owned(), file["version"].as_u64().unwrap());
            }
            for name in
                [name, format!("{role}.{sha256}.json")].into_iter().chain(current.then(|| format!("{role}.json")))
            {
                server.on(&format!("{base}/{name}"), Reply::json(bytes.clone()));
            }
        }
        let client = Client::new().of_fake(&server, &ca);
        let folder = client.folder().join("archive");
        Self { server, gun, keeper: Keeper { client, folder }, present }
    }

    /// Three roots, two signers and releases.
    fn lived_in() -> Self {
        let shop = Shop::open();
        lived_in(&shop, &shop.client());
        Self::of(&shop)
    }

    fn path(&self, file: &str) -> String {
        format!("/v2/{}/_trust/tuf/{file}.json", self.gun)
    }

    fn answers(&self, file: &str, reply: Reply) {
        self.server.on(&self.path(file), reply);
    }

    fn save(&self, rest: &[&str]) -> Finished {
        self.keeper.save(&self.server.url(), &[&[self.gun.as_str()], rest].concat())
    }

    fn has(&self, file: &str) -> bool {
        self.keeper.file(&self.gun, "tuf").join(format!("{file}.json")).is_file()
    }

    /// The files that were asked for since the last time.
    fn asked(&self) -> Vec<String> {
        let base = format!("GET /v2/{}/_trust/tuf/", self.gun);
        let lines = self.server.take_request_lines();
        lines.iter().filter_map(|line| line.strip_prefix(&base)).map(str::to_owned).collect()
    }
}

fn missing(saved: &Value) -> Vec<&str> {
    let gaps = saved.pointer("/0/gaps").and_then(Value::as_array).unwrap();
    gaps.iter().map(|gap| gap["file"].as_str().unwrap()).collect()
}

#[test]
fn what_the_service_cannot_sign_anew_is_named_and_all_the_rest_is_saved() {
    let remains = Remains::lived_in();
    for role in ["timestamp", "snapshot"] {
        remains.answers(role, Reply::status(500).then(r#"{"errors":[{"code":"UNKNOWN","message":"unknown error"}]}"#));
    }
    let saved = json(&remains.save(&[]).refused(NETWORK, "not everything was saved and verified"));
    assert_eq!(saved[0]["state"], "saved, not verified", "{saved}");
    assert_eq!(missing(&saved), ["timestamp", "snapshot"], "{saved}");
    assert!(saved[0]["gaps"][0]["reason"].as_str().unwrap().contains("500"), "{saved}");
    // Who signs is known from the files of the signers themselves.
    for role in ["targets", "targets/alice", "targets/bob", "targets/releases"] {
        let version = remains.present[role];
        assert!(remains.has(&format!("{version}.{role}")), "{role}: {saved}");
    }
    for file in ["1.root", "2.root", "3.root"] {
        assert!(remains.has(file), "{file}: {saved}");
    }
}

#[test]
fn the_last_timestamp_is_found_by_its_version_where_the_service_cannot_sign_another() {
    let remains = Remains::lived_in();
    let last = remains.present["timestamp"];
    assert!(last > 3, "{last}");
    for version in 1..last {
        let earlier = format!(
            r#"{{"signed":{{"_type":"Timestamp","expires":"2026-01-01T00:00:00Z","meta":{{"snapshot":{{"hashes":{{"sha256":"{}="}},"length":9}}}},"version":{version}}},"signatures":[]}}"#,
            "A".repeat(43)
        );
        remains.answers(&format!("{version}.timestamp"), Reply::json(earlier));
    }
    remains.answers("timestamp", Reply::status(500));
    let saved = json(&remains.save(&[]).refused(NETWORK, "not everything was saved and verified"));
    assert_eq!((&saved[0]["state"], missing(&saved)), (&"verified".into(), vec!["timestamp"]), "{saved}");
    assert_eq!(saved[0]["tags"], 2, "{saved}");
    assert!(remains.has(&format!("{last}.timestamp")), "{saved}");
}

#[test]
fn an_earlier_root_that_fails_leaves_the_rest_verified_and_the_command_fails() {
    let remains = Remains::lived_in();
    remains.answers("1.root", Reply::status(503));
    let saved = json(&remains.save(&[]).refused(NETWORK, "not everything was saved and verified"));
    assert_eq!((&saved[0]["state"], missing(&saved)), (&"verified".into(), vec!["1.root"]), "{saved}");
    remains.keeper.verify(&[]).succeeded();
}

#[test]
fn a_service_that_falls_silent_is_not_asked_for_everything_that_it_could_have() {
    let remains = Remains::lived_in();
    let root = remains.path("root");
    remains
        .server
        .handle(move |request| (request.path.contains("_trust") && request.path != root).then(|| Reply::raw("")));
    let saved = json(&remains.save(&[]).refused(NETWORK, "not everything was saved and verified"));
    assert_eq!(saved[0]["state"], "saved, not verified", "{saved}");
    assert!(remains.has("3.root"), "{saved}");
    let asked = remains.asked();
    assert!(!asked.iter().any(|file| file.starts_with("targets")), "{asked:?}");
}

#[test]
fn a_worse_answer_takes_nothing_from_what_was_proved_before() {
    let remains = Remains::lived_in();
    remains.save(&[]).succeeded();
    let proof = || {
        let mut proof = json(&remains.keeper.verify(&[]).succeeded());
        proof.as_array_mut().unwrap()[0].as_object_mut().unwrap().remove("files");
        proof
    };
    let proved = proof();
    remains.server.remove(&remains.path("timestamp"));
    let finished = remains.save(&[]).refused(TRUST, "not everything was saved and verified");
    assert!(finished.stdout.contains("what was saved before stays"), "{finished}");
    assert_eq!(proof(), proved);
    // A root that the owner never signed.
    let root = std::fs::read_to_string(remains.keeper.file(&remains.gun, "tuf/3.root.json")).unwrap();
    let bogus = root.replace("\"version\":3", "\"version\":4");
    assert_ne!(bogus, root);
    for name in ["root", "4.root"] {
        remains.answers(name, Reply::json(bogus.clone()));
    }
    let finished = remains.save(&[]).failed();
    assert_eq!(finished.code, TRUST, "{finished}");
    assert!(remains.has("4.root"), "it is kept all the same");
    assert_eq!(proof(), proved);
    // Back in its senses.
    let timestamp = format!("tuf/{}.timestamp.json", remains.present["timestamp"]);
    let timestamp = std::fs::read(remains.keeper.file(&remains.gun, &timestamp)).unwrap();
    remains.answers("root", Reply::json(root));
    remains.answers("timestamp", Reply::json(timestamp));
    remains.save(&[]).succeeded();
    assert_ne!(proof(), proved, "it was taken later");
}

#[test]
fn one_failure_that_costs_no_file_does_not_count() {
    let remains = Remains::lived_in();
    let (current, by_checksum) = (remains.path("targets"), remains.path("targets").replace(".json", "."));
    remains.server.handle(move |request| {
        (request.path.starts_with(&by_checksum) && request.path != current).then(|| Reply::status(503))
    });
    let saved = json(&remains.save(&[]).succeeded());
    assert!(missing(&saved).is_empty(), "{saved}");
}

#[test]
fn older_files_than_were_saved_before_do_not_become_the_present_ones() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let old = Remains::of(&shop);
    shop.signed_by(&owner, "v2", "two");
    let new = Keeper::at(&shop);
    new.save(&shop.service.url(), &[&shop.gun()]).succeeded();
    let keeper = Keeper { folder: new.folder.clone(), client: old.keeper.client.again() };
    let finished = keeper.save(&old.server.url(), &[&old.gun]).refused(TRUST, "not everything was saved and verified");
    assert!(finished.stdout.contains("older"), "{finished}");
    assert_eq!(json(&keeper.verify(&[]).succeeded())[0]["tags"], 2);
}

#[test]
fn a_run_that_was_broken_off_goes_on_where_it_was() {
    let remains = Remains::lived_in();
    remains.answers("1.targets", Reply::status(503));
    remains.save(&["--history"]).refused(NETWORK, "not everything was saved and verified");
    // Broken off before the listing was written.
    std::fs::remove_file(remains.keeper.file(&remains.gun, "archive.json")).unwrap();
    let listed = remains.keeper.files(&remains.gun).len();
    remains.asked();
    let targets = std::fs::read(remains.keeper.file(&remains.gun, "tuf/2.targets.json")).unwrap();
    remains.answers(
        "1.targets",
        Reply::json(String::from_utf8(targets).unwrap().replace("\"version\":2", "\"version\":1")),
    );
    let saved = json(&remains.save(&["--history"]).succeeded());
    let asked = remains.asked();
    let earlier: Vec<&String> =
        asked.iter().filter(|file| file.starts_with(|first: char| first.is_ascii_digit())).collect();
    assert_eq!(earlier, ["1.targets.json"], "{saved}");
    assert_eq!(remains.keeper.files(&remains.gun).len(), listed + 1);
    // With everything there, only what may have changed is asked for.
    remains.save(&["--history"]).succeeded();
    assert_eq!(remains.asked(), ["root.json", "timestamp.json"]);
}
