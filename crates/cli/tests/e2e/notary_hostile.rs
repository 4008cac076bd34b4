//! A service whose files are wrong, one row after the other (Notary protocol, client update): nothing is shown, nothing
//! changes on this machine, and the exit code says that it is a refusal.

use crate::client::TRUST;
use crate::notary_pair::ours;
use countersign_crypto::digest::sha256;
use countersign_testkit::{FakeServer, Finished, NotaryClient, Reply, TestCa, TrustService};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

const GUN: &str = "example.test/hostile";
const ROLES: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// The four files of a collection as they are served.
type Files = BTreeMap<&'static str, Vec<u8>>;

/// What was published once, then again after the root key was rotated, and another collection of the name.
struct Published {
    before: Files,
    after: Files,
    foreign: Files,
}

fn published() -> &'static Published {
    static PUBLISHED: OnceLock<Published> = OnceLock::new();
    PUBLISHED.get_or_init(|| {
        let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
        let owner = owner_of(&service);
        let before = served(&service);
        owner.run(&["add", "-p", GUN, "two", "payload"]).succeeded();
        let after = served(&service);
        let other = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
        owner_of(&other);
        Published { before, after, foreign: served(&other) }
    })
}

fn owner_of(service: &TrustService) -> NotaryClient {
    let owner = service.notary_client();
    std::fs::write(owner.folder().join("payload"), "payload\n").unwrap();
    owner.run(&["init", "-p", GUN]).succeeded();
    owner.run(&["add", "-p", GUN, "one", "payload"]).succeeded();
    owner
}

/// What a reader has in the cache is what was served, byte for byte.
fn served(service: &TrustService) -> Files {
    let reader = service.notary_client();
    reader.run(&["list", GUN]).succeeded();
    let folder = reader.trust_dir().join("tuf").join(GUN).join("metadata");
    ROLES.iter().map(|role| (*role, std::fs::read(folder.join(format!("{role}.json"))).unwrap())).collect()
}

/// Serves files under the names that they have there; the names of what others refer to come from `named`.
fn serve(server: &FakeServer, files: &Files, named: &Files) {
    let base = format!("/v2/{GUN}/_trust/tuf");
    server.on("/v2/", Reply::json("{}"));
    for (role, file) in files {
        if matches!(*role, "root" | "timestamp") {
            server.on(&format!("{base}/{role}.json"), Reply::ok(file.clone()));
        }
        if let Some(original) = named.get(role) {
            server.on(&format!("{base}/{role}.{}.json", sha256(original).hex()), Reply::ok(file.clone()));
        }
    }
}

/// Everything below a folder, names and contents.
pub(crate) fn tree(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut command = std::process::Command::new("find");
    let found = Finished::of(command.arg(folder).args(["-type", "f", "-not", "-name", "*.lock"]), b"");
    let mut names: Vec<&str> = found.stdout.lines().collect();
    names.sort_unstable();
    names.iter().map(|name| ((*name).to_owned(), std::fs::read(name).unwrap())).collect()
}

/// Whether the reader has seen the collection before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reader {
    New,
    Knowing,
}

/// Runs every reading command against a service with this row's files.
fn refused(row: &str, reader: Reader, files: &Files, named: &Files) {
    let published = published();
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    let client = ours(NotaryClient::new(&server.url(), &ca.pem()));
    std::fs::write(client.folder().join("payload"), "payload\n").unwrap();
    if reader == Reader::Knowing {
        serve(&server, &published.before, &published.before);
        client.run(&["list", GUN]).succeeded();
        for (role, file) in &published.before {
            server.remove(&format!("/v2/{GUN}/_trust/tuf/{role}.{}.json", sha256(file).hex()));
            server.remove(&format!("/v2/{GUN}/_trust/tuf/{role}.json"));
        }
    }
    serve(&server, files, named);
    let before = tree(&client.trust_dir());
    for line in [
        &["list", GUN][..],
        &["lookup", GUN, "one"],
        &["lookup", GUN, "two"],
        &["verify", GUN, "one", "-i", "payload"],
        &["verify", GUN, "two", "-i", "payload", "-o", "out"],
        &["delegation", "list", GUN],
    ] {
        let finished = client.run(line);
        assert_eq!(finished.code, TRUST, "{row} {reader:?}\n{finished}");
        assert!(finished.stdout.starts_with("\n* fatal: "), "{row} {reader:?}\n{finished}");
        assert!(!finished.stdout.contains("payload\n") && !finished.stdout.contains("sha256:"), "{row}\n{finished}");
    }
    assert!(!client.folder().join("out").exists(), "{row}");
    assert_eq!(tree(&client.trust_dir()), before, "{row} {reader:?}: the trust directory changed");
}

/// Every role's file made wrong in the same way, for those who know the collection and those who do not.
fn each_role(row: &str, wrong: impl Fn(&'static str, &[u8]) -> Option<Vec<u8>>) {
    let after = &published().after;
    for role in ROLES {
        // Who knows the root does not ask for it again as long as everything else fits.
        let readers: &[Reader] = if role == "root" { &[Reader::New] } else { &[Reader::New, Reader::Knowing] };
        for reader in readers {
            let mut files = after.clone();
            match wrong(role, &after[role]) {
                Some(file) => files.insert(role, file),
                None => continue,
            };
            refused(&format!("{row}: {role}"), *reader, &files, after);
        }
    }
}

fn replaced(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    String::from_utf8_lossy(file).replacen(from, to, 1).into_bytes()
}

#[test]
fn files_that_are_not_json() {
    each_role("not JSON", |_, file| Some(file[..file.len() / 2].to_vec()));
}

#[test]
fn json_that_is_no_metadata() {
    each_role("no envelope", |_, _| Some(br#"{"hello":["world"]}"#.to_vec()));
    each_role("an array", |_, _| Some(b"[]".to_vec()));
}

#[test]
fn files_with_signatures_of_other_content() {
    each_role("bad signature", |_, file| {
        let text = String::from_utf8_lossy(file).into_owned();
        let at = text.find("\"sig\":\"").unwrap() + 12;
        let letter = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        Some([&text[..at], letter, &text[at + 1..]].concat().into_bytes())
    });
    each_role("changed expiry", |_, file| Some(replaced(file, "\"expires\":\"2", "\"expires\":\"3")));
    each_role("no signatures", |_, file| {
        let mut value: serde_json::Value = serde_json::from_slice(file).unwrap();
        value["signatures"] = serde_json::json!([]);
        Some(serde_json::to_vec(&value).unwrap())
    });
}

#[test]
fn files_with_other_bytes_than_are_listed() {
    each_role("white space", |role, file| {
        let listed = matches!(role, "snapshot" | "targets");
        listed.then(|| [file, b"\n"].concat())
    });
}

#[test]
fn files_of_another_role_or_kind() {
    each_role("wrong type", |_, file| Some(replaced(file, "\"_type\":\"", "\"_type\":\"X")));
    let after = &published().after;
    each_role("another role's file", |role, _| {
        Some(after[if role == "targets" { "snapshot" } else { "targets" }].clone())
    });
}

#[test]
fn files_of_another_owner() {
    let foreign = &published().foreign;
    each_role("foreign key", |role, _| Some(foreign[role].clone()));
    refused("all foreign", Reader::Knowing, foreign, foreign);
}

#[test]
fn older_files_than_those_seen() {
    let published = published();
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    let client = ours(NotaryClient::new(&server.url(), &ca.pem()));
    serve(&server, &published.after, &published.after);
    let seen = client.run(&["list", GUN]).succeeded();
    serve(&server, &published.before, &published.before);
    let before = tree(&client.trust_dir());
    for line in [&["list", GUN][..], &["lookup", GUN, "one"]] {
        let finished = client.run(line);
        assert_eq!(finished.code, TRUST, "{finished}");
    }
    assert_eq!(tree(&client.trust_dir()), before);
    serve(&server, &published.after, &published.after);
    assert_eq!(client.run(&["list", GUN]).succeeded().stdout, seen.stdout);
}

#[test]
fn files_that_are_listed_and_missing() {
    let after = &published().after;
    for role in ["snapshot", "targets"] {
        let mut files = after.clone();
        files.remove(role);
        refused(&format!("missing {role}"), Reader::New, &files, after);
        refused(&format!("missing {role}"), Reader::Knowing, &files, after);
    }
}

#[test]
fn a_damaged_or_planted_cache_is_refused_or_mended() {
    let published = published();
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    serve(&server, &published.after, &published.after);
    for role in ROLES {
        for wrong in [b"garbage".to_vec(), published.foreign[role].clone()] {
            let client = ours(NotaryClient::new(&server.url(), &ca.pem()));
            let listed = client.run(&["list", GUN]).succeeded().stdout;
            let file = client.trust_dir().join("tuf").join(GUN).join(format!("metadata/{role}.json"));
            std::fs::write(&file, &wrong).unwrap();
            let again = client.run(&["list", GUN]);
            if role == "root" {
                again.failed();
                assert_eq!(std::fs::read(&file).unwrap(), wrong, "the anchor is not replaced");
            } else {
                assert_eq!(again.succeeded().stdout, listed);
                assert_eq!(std::fs::read(&file).unwrap(), published.after[role], "the cache is mended");
            }
        }
    }
}

#[test]
fn a_service_that_fails_is_no_refusal() {
    let published = published();
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    serve(&server, &published.after, &published.after);
    let client = ours(NotaryClient::new(&server.url(), &ca.pem()));
    let listed = client.run(&["list", GUN]).succeeded();
    server.on(&format!("/v2/{GUN}/_trust/tuf/timestamp.json"), Reply::status(503));
    assert_eq!(client.run(&["list", GUN]).succeeded().stdout, listed.stdout, "the cache speaks");
    let fresh = ours(NotaryClient::new(&server.url(), &ca.pem())).run(&["list", GUN]);
    assert_eq!(fresh.code, 1, "{fresh}");
    assert!(fresh.stdout.contains("unable to reach trust server at this time: 503."), "{fresh}");
}
