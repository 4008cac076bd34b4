//! The commands about keys, line by line beside the notary client 0.7, and what is asked of people.

use crate::notary_pair::{Like, Pair, ours};
use countersign_testkit::{Finished, NotaryClient, TestCa, TrustService, fixtures};
use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn pair(collection: &str) -> Pair {
    let client = || NotaryClient::new("https://127.0.0.1:1", &TestCa::new().pem());
    let pair = Pair::of(client(), ours(client()), collection);
    pair.file("text", "hello\n");
    for name in ["ec-p256", "ec-p384", "rsa2048"] {
        pair.file(name, fixtures::bytes(&format!("key-bundles/inputs/{name}.key")));
        pair.file(&format!("{name}.crt"), fixtures::bytes(&format!("key-bundles/inputs/{name}.crt")));
    }
    for name in ["export-all", "export-gun", "export-root", "generated-key"] {
        pair.file(name, fixtures::bytes(&format!("key-bundles/{name}.pem")));
    }
    pair
}

/// A root key under a passphrase that nobody here has.
const OLD_ROOT_KEY: &str =
    "compat-notary0.3/private/root_keys/f4eaf871a74aa3b3a0ff95cef2455a1e4d461639f5625418e76756fc5c948690.key";

/// The id of the last key that a listing shows with these words.
fn id_of(listing: &Finished, words: &str) -> String {
    let line = listing.stdout.lines().rfind(|line| line.contains(words)).unwrap_or_else(|| panic!("{listing}"));
    line.split_whitespace().find(|word| word.len() == 64).unwrap().to_owned()
}

#[test]
fn keys_are_made_listed_imported_and_exported() {
    let mut pair = pair("keys");
    for line in [
        "key list",
        "key generate",
        "key generate ECDSA -r alice",
        "key generate -r targets/A_B",
        "key generate ecdsa -r targets/releases -o made",
        "key generate -o missing/folder",
        "key list",
        "key import export-all",
        "key import export-gun export-root",
        "key import ec-p256",
        "key import rsa2048 -r alice",
        "key import ec-p384 -r targets",
        "key import ec-p384 -r targets -g example.test/a/rather/long/name",
        "key import ec-p256.crt",
        "key import missing",
        "key list",
        "key export --gun nothing/here",
        "key export -o all",
        "key export -o missing/folder/all",
        "key passwd aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "key remove aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "key remove zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz",
    ] {
        pair.same(line);
    }
    let id = id_of(&pair.run("key list", "")[0], "delegation");
    for exported in pair.run(&format!("key export --key {id}"), "") {
        let headers: Vec<&str> = exported.stdout.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(headers[1..], [&format!("path: {id}"), "role: delegation"], "{exported}");
    }
    pair.same(&format!("key passwd {id}"));
    pair.compare(&format!("key remove {id}"), "", Like::ReferenceBut(1));
    pair.compare(&format!("key remove {id}"), "no\n", Like::ReferenceBut(1));
    pair.same_with(&format!("key remove {id}"), "y\n");
    pair.same("key list");
    let mode = |person: &NotaryClient, name: &str| {
        use std::os::unix::fs::PermissionsExt;
        person.folder().join(name).metadata().unwrap().permissions().mode() & 0o777
    };
    for person in pair.both() {
        for name in ["made.pem", "made-key.pem", "all"] {
            assert_eq!(mode(person, name), 0o600, "{name}");
        }
    }
}

#[test]
fn what_one_exports_or_generates_the_other_imports() {
    let pair = pair("exchange");
    let people = pair.both();
    for (from, to) in [(people[0], people[1]), (people[1], people[0])] {
        let role = if from.folder() == people[0].folder() { "first" } else { "second" };
        from.run(&["key", "generate", "-r", role]).succeeded();
        from.run(&["key", "generate", "-r", "root"]).succeeded();
        from.run(&["key", "export", "-o", "bundle"]).succeeded();
        std::fs::copy(from.folder().join("bundle"), to.folder().join("bundle")).unwrap();
        to.run(&["key", "import", "bundle"]).succeeded();
        let lists = [from, to].map(|person| person.run(&["key", "list"]).succeeded());
        assert_eq!(id_of(&lists[0], role), id_of(&lists[1], role));
        to.run(&["key", "passwd", &id_of(&lists[0], role)]).succeeded();
    }
}

#[test]
fn old_trust_directories_are_read() {
    for (set, gun) in
        [("compat-notary0.1", "docker.com/notary0.1/samplerepo"), ("compat-notary0.3", "docker.com/notary0.3/tst")]
    {
        let client = || NotaryClient::new("https://127.0.0.1:1", &TestCa::new().pem()).with_golden_trust(set);
        let mut pair = Pair::of(client(), ours(client()), "old");
        pair.same(&format!("status {gun}"));
        pair.same("key list");
    }
}

#[test]
fn keys_are_rotated_in_the_same_words() {
    let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
    let mut pair = Pair::at(&service, "rotation");
    pair.file("hello", "hello\n");
    pair.file("root.pem", fixtures::bytes("key-bundles/export-root.pem"));
    for line in [
        "init GUN -p",
        "key rotate GUN snapshot -r",
        "key rotate GUN timestamp",
        "key rotate GUN timestamp -r",
        "key rotate GUN targets",
        "key rotate GUN targets -r",
        "key rotate GUN targets/releases",
        "key rotate GUN foo",
        "key rotate GUN snapshot -k missing",
        "key rotate GUN snapshot",
        "add GUN one hello -p",
    ] {
        pair.same(line);
    }
    pair.compare("key rotate GUN root", "", Like::ReferenceBut(1));
    pair.compare("key rotate GUN root", "no\n", Like::ReferenceBut(1));
    pair.same_with("key rotate GUN root", "yes\n");
    pair.same_with("key rotate GUN root -l -1", "Y\n");
    pair.same_with("key rotate GUN root -k root.pem", "y\n");
    for line in ["key list", "lookup GUN one", "list GUN"] {
        pair.same(line);
    }
}

#[test]
fn root_keys_and_certificates_are_taken_from_files() {
    let service = TrustService::start(env!("CARGO_BIN_EXE_countersign"));
    let mut pair = Pair::at(&service, "given");
    pair.file("text", "hello\n");
    pair.file("plain", fixtures::bytes("key-bundles/inputs/ec-p256.key"));
    pair.file("root.pem", fixtures::bytes("key-bundles/export-root.pem"));
    pair.file("foreign.pem", fixtures::bytes(OLD_ROOT_KEY));
    pair.file("delegate.pem", fixtures::bytes("key-bundles/generated-key.pem"));
    for line in [
        "init GUN --rootkey plain",
        "init GUN --rootkey missing",
        "init GUN --rootkey text",
        "init GUN --rootkey foreign.pem",
        "init GUN --rootkey delegate.pem",
        "init GUN --rootkey root.pem",
        "publish GUN",
        "list GUN",
        "init GUN/second --rootcert missing",
        "init GUN/second -p",
        "key list",
    ] {
        pair.same(line);
    }
    pair.keep_root_certificates("root.crt");
    for line in [
        "delete GUN --remote",
        "init GUN --rootkey root.pem --rootcert root.crt -p",
        "list GUN",
        "delete GUN --remote",
        "init GUN --rootcert root.crt -p",
        "list GUN",
    ] {
        pair.same(line);
    }
    let [before, after] = [pair.root_certificates(), pair.read("root.crt")];
    assert_eq!(before, after, "the certificate that was given is the one in the root");
}

#[test]
fn without_passphrases_nothing_is_done_and_nobody_waits() {
    let unset = |client: NotaryClient| {
        ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"]
            .iter()
            .fold(client, |client, name| client.with_variable(&format!("NOTARY_{name}_PASSPHRASE"), None))
    };
    let client = || unset(NotaryClient::new("https://127.0.0.1:1", &TestCa::new().pem()));
    let mut pair = Pair::of(client(), ours(client()), "silence");
    pair.same("key generate");
    pair.same("key generate -r alice -o made");
    pair.same("key list");
}

#[test]
fn a_pipe_that_stays_silent_is_not_waited_for() {
    let client = ours(NotaryClient::new("https://127.0.0.1:1", &TestCa::new().pem()));
    client.run(&["key", "generate", "-r", "alice"]).succeeded();
    let id = id_of(&client.run(&["key", "list"]), "alice");
    for words in [&["key", "remove", &id][..], &["delegation", "remove", "example.test/x", "targets/x"]] {
        let mut command = client.bare_command();
        command.arg("-d").arg(client.trust_dir()).args(words);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        // As long as this is held nobody sees the end of the pipe.
        let silent = child.stdin.take();
        let began = Instant::now();
        let code = child.wait().unwrap().code();
        assert!(began.elapsed() < Duration::from_mins(1) && code == Some(1), "{words:?} {code:?}");
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert!(text.contains("Aborting action."), "{text}");
        drop(silent);
    }
    assert_eq!(id_of(&client.run(&["key", "list"]), "alice"), id);
}
