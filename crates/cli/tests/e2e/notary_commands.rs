//! The commands about collections, line by line beside the notary client 0.7.

use crate::client::TRUST;
use crate::notary_pair::{Like, Pair};
use countersign_testkit::{TrustService, fixtures};

const HELLO: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn service() -> TrustService {
    TrustService::start(env!("CARGO_BIN_EXE_countersign"))
}

/// A pair with some files to sign and some public keys.
fn pair(service: &TrustService, collection: &str) -> Pair {
    let pair = Pair::at(service, collection);
    pair.file("hello", "hello\n");
    pair.file("other", "something else");
    pair.file("custom", r#"{"a":2,"b":"x"}"#);
    for name in ["ec-p256", "rsa2048"] {
        pair.file(&format!("{name}.pub"), fixtures::bytes(&format!("key-bundles/inputs/{name}.pub")));
        pair.file(&format!("{name}.crt"), fixtures::bytes(&format!("x509/{name}.crt")));
    }
    pair.file("ed25519.pub", fixtures::bytes("key-bundles/inputs/ed25519.pub"));
    pair.file("private.key", fixtures::bytes("key-bundles/inputs/ec-p256.key"));
    pair
}

#[test]
fn a_collection_from_its_beginning_to_its_end() {
    let service = service();
    let mut pair = pair(&service, "life");
    for line in BEGINNING {
        pair.same(line);
    }
    for line in [
        format!("addhash GUN h 0x10 --sha256 {HELLO}"),
        format!("addhash GUN h2 010 --sha256 {HELLO} --sha512 00"),
        format!("addhash GUN h2 1_0 --sha256 {}", HELLO.to_uppercase()),
    ] {
        pair.same(&line);
    }
    for line in END {
        pair.same(line);
    }
    pair.same_but(TRUST, "list GUN");
    pair.same_but(TRUST, "lookup GUN one");
}

const BEGINNING: [&str; 19] = [
    "status GUN",
    "reset GUN --all",
    "init GUN",
    "status GUN",
    "key list",
    "publish GUN",
    "list GUN",
    "add GUN one hello",
    "add GUN two missing",
    "add GUN two hello --custom missing",
    "add GUN two hello --custom custom",
    "add GUN three hello -r targets/releases,targets",
    "add GUN four hello -r snapshot",
    "add GUN four hello -r targets/A_B",
    "add GUN five .",
    "status GUN",
    "addhash GUN h 0x10 --sha256 0000",
    "addhash GUN h 99999999999999999999 --sha256 00",
    "addhash GUN h x --sha256 00",
];

const END: [&str; 31] = [
    "remove GUN one",
    "remove GUN one -r targets/x",
    "remove GUN one -r root",
    "status GUN",
    "reset GUN -n 2,0",
    "reset GUN -n 99",
    "reset GUN -n -1",
    "status GUN",
    "reset GUN --all",
    "status GUN",
    "add GUN one hello -p",
    "add GUN two hello --custom custom -p",
    "add GUN three other --publish",
    "publish GUN",
    "list GUN",
    "list GUN -r targets/none",
    "list GUN -r root",
    "lookup GUN one",
    "lookup GUN one more",
    "remove GUN three -p",
    "list GUN",
    "witness GUN targets",
    "witness GUN targets/none targets",
    "status GUN",
    "publish GUN",
    "reset GUN --all",
    "witness GUN targets -p",
    "delete GUN",
    "delete GUN",
    "list GUN",
    "delete GUN --remote",
];

#[test]
fn data_is_held_against_what_is_signed() {
    let service = service();
    let mut pair = pair(&service, "verify");
    for line in ["init GUN -p", "add GUN one hello -p", "verify GUN one -i hello", "verify GUN one -i hello -q"] {
        pair.same(line);
    }
    pair.same_with("verify GUN one", "hello\n");
    pair.same("verify GUN one -i hello -o out");
    pair.same("verify GUN one -i missing");
    for line in ["lookup GUN none", "verify GUN none -i hello", "verify GUN one -i other", "verify GUN one"] {
        pair.same_but(TRUST, line);
    }
    for line in ["lookup other/x one", "list other/x", "verify other/x one -i hello", "delegation list other/x"] {
        pair.same_but(TRUST, line);
    }
    for person in pair.both() {
        use std::os::unix::fs::PermissionsExt;
        let out = person.folder().join("out");
        assert_eq!(std::fs::read_to_string(&out).unwrap(), "hello\n");
        assert_eq!(out.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn delegations_are_made_shown_and_removed() {
    let service = service();
    let mut pair = pair(&service, "delegations");
    for line in [
        "init GUN -p",
        "delegation list GUN",
        "delegation add GUN targets/releases ec-p256.crt --all-paths",
        "delegation add GUN targets/releases rsa2048.pub --paths b,a -p",
        "delegation list GUN",
        "delegation add GUN targets/x ec-p256.pub rsa2048.pub --paths x_y,z --paths q",
        "delegation add GUN targets/x --paths m,b",
        "delegation add GUN targets/y ec-p256.pub ec-p256.crt --all-paths --paths b",
        "delegation add GUN targets/y missing.pem",
        "delegation add GUN targets/y hello",
        "delegation add GUN foo ec-p256.pub",
        "delegation add GUN targets ec-p256.pub",
        "delegation add GUN targets/Foo ec-p256.pub",
        "status GUN",
        "publish GUN",
        "delegation list GUN",
        "delegation remove GUN targets/x",
        "delegation remove GUN foo -y",
        "delegation remove GUN targets/x --paths q,z",
        "delegation remove GUN targets/y --all-paths --paths q",
        "status GUN",
        "publish GUN",
        "delegation list GUN",
        "delegation remove GUN targets/y -y -p",
        "delegation list GUN",
    ] {
        pair.same(line);
    }
    pair.compare("delegation remove GUN targets/x", "no\n", Like::Reference);
    pair.compare("delegation remove GUN targets/x -p", "YES\n", Like::Reference);
    let listed = pair.run("delegation list GUN", "")[1].clone().succeeded();
    let id = listed.stdout.split_whitespace().find(|word| word.len() == 64).unwrap().to_owned();
    pair.same(&format!("delegation remove GUN targets/releases {id} --paths a"));
    pair.same(&format!("delegation purge GUN --key {id} -p"));
    pair.same("delegation list GUN");
    pair.same("delegation remove GUN targets/releases -y -p");
    pair.same("delegation list GUN");
}

#[test]
fn what_no_reader_would_accept_is_not_even_staged() {
    let service = service();
    let pair = pair(&service, "strict");
    let [_, ours] = pair.both();
    ours.run(&["init", "example.test/strict", "-p"]).succeeded();
    for line in [
        &["add", "example.test/strict", "", "hello"][..],
        &["add", "example.test/strict", "a\u{1b}[2J", "hello"],
        &["addhash", "example.test/strict", "x", "-1", "--sha256", HELLO],
        &["delegation", "remove", "example.test/strict", "targets/x", "1234"],
        &["delegation", "purge", "example.test/strict", "--key", "abc"],
        &["delegation", "add", "example.test/strict", "targets/x", "ed25519.pub"],
        &["delegation", "add", "example.test/strict", "targets/x", "private.key"],
        &["witness", "example.test/strict", "root"],
        &["status", "../.."],
        &["list", "bad//gun"],
    ] {
        let refused = ours.run(line).failed();
        assert_eq!((refused.code, refused.stdout.starts_with("\n* fatal: ")), (1, true), "{refused}");
    }
    let status = ours.run(&["status", "example.test/strict"]).succeeded();
    assert_eq!(status.stdout, "No unpublished changes for example.test/strict\n");
}

#[test]
fn custom_data_is_brought_into_the_form_in_which_it_can_be_published() {
    let service = service();
    let pair = pair(&service, "custom");
    pair.file("loose", "{ \"b\": 1,\n  \"a\": [2, null] }\n");
    pair.file("broken", "not json");
    let [reference, ours] = pair.both();
    ours.run(&["init", "example.test/custom", "-p"]).succeeded();
    ours.run(&["add", "example.test/custom", "x", "hello", "--custom", "loose", "-p"]).succeeded();
    ours.run(&["add", "example.test/custom", "y", "hello", "--custom", "broken"]).failed();
    reference.run(&["lookup", "example.test/custom", "x"]).succeeded();
    let targets = reference.trust_dir().join("tuf/example.test/custom/metadata/targets.json");
    assert!(std::fs::read_to_string(targets).unwrap().contains(r#""custom":{"a":[2,null],"b":1}"#));
}
