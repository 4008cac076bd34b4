//! Where passphrases and consent come from when nobody sits at a terminal.

use crate::client::{Client, Ending, LOCAL, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::{Finished, fixtures};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

const ROOT: &str = "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE";
const REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
/// Longer than any wait for a silent standard input, with room for a busy machine.
const SECONDS: Duration = Duration::from_secs(25);

fn forgetful(shop: &Shop) -> Client {
    shop.client().without(ROOT).without(REPOSITORY)
}

fn secret(client: &Client, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = client.folder().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn with_input(client: &Client, arguments: &[&str], input: &str) -> Finished {
    Finished::of(&mut client.command(arguments), input.as_bytes())
}

/// Runs a command whose standard input stays open and silent.
fn with_silence(client: &Client, arguments: &[&str]) -> (i32, String, Duration) {
    let mut command = client.command(arguments);
    let began = Instant::now();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let silent = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(silent);
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap(), began.elapsed())
}

#[test]
fn passphrases_come_from_files_and_descriptors() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let client = forgetful(&shop);
    let root = secret(&client, "root", &format!("{}\n", fixtures::ROOT_PASSPHRASE), 0o600);
    let repository = secret(&client, "repository", &format!("{}\nmore\n", fixtures::REPOSITORY_PASSPHRASE), 0o644);
    let from_files = Client::new()
        .of(&shop.service)
        .sharing(client.config_dir())
        .without(ROOT)
        .without(REPOSITORY)
        .env(&format!("{ROOT}_FILE"), root.to_str().unwrap())
        .env(&format!("{REPOSITORY}_FILE"), repository.to_str().unwrap());
    let signed = from_files.run(&["sign", &shop.name("v1")]).succeeded();
    assert!(signed.stderr.contains("others can read the passphrase"), "{signed}");
    assert!(!signed.stderr.contains(root.to_str().unwrap()), "{signed}");

    shop.put("v2", "two");
    let from_descriptor = client.env(&format!("{REPOSITORY}_FD"), "3");
    let mut command = std::process::Command::new("bash");
    let script = format!("exec \"$0\" sign {} 3< <(head -n 1 {})", shop.name("v2"), repository.display());
    command.args(["-c", &script, env!("CARGO_BIN_EXE_countersign")]);
    from_descriptor.set(&mut command);
    Finished::of(&mut command, b"").succeeded();
    // The golden passphrase opens what was made with the file's.
    shop.put("v3", "three");
    shop.client().sharing(from_descriptor.config_dir()).run(&["sign", &shop.name("v3")]).succeeded();
    shop.put("v4", "four");
    let nothing = from_descriptor.run(&["sign", &shop.name("v4")]).refused(LOCAL, "password invalid");
    assert!(nothing.stderr.contains("no passphrase from") && nothing.stderr.contains("descriptor 3"), "{nothing}");
}

#[test]
fn one_pipe_feeds_several_keys() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let client = forgetful(&shop);
    let lines = "the root's own\nthe root's own\nthe others'\nthe others'\n";
    let signed = with_input(&client, &["sign", &shop.name("v1")], lines).succeeded();
    assert!(signed.stderr.contains("Repeat passphrase for new repository key"), "{signed}");
    shop.put("v2", "two");
    let opened = client.env(REPOSITORY, "the others'");
    opened.run(&["sign", &shop.name("v2")]).succeeded();
    // A wrong line is followed by the next.
    shop.put("v3", "three");
    let client = opened.without(REPOSITORY);
    with_input(&client, &["sign", &shop.name("v3")], "wrong\n  the others'  \n").succeeded();
    shop.put("v4", "four");
    let refused = with_input(&client, &["sign", &shop.name("v4")], "a\nb\nc\nd\nthe others'\n");
    refused.refused(LOCAL, "password invalid");
    let different = with_input(&forgetful(&shop), &["key", "generate", "bob"], "first passphrase\nsecond passphrase\n");
    different.refused(LOCAL, "Passphrases do not match");
}

#[test]
fn a_silent_standard_input_ends_in_seconds_with_an_error() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let client = forgetful(&shop);
    let (code, said, took) = with_silence(&client, &["sign", &shop.name("v1")]);
    assert!(code == LOCAL && said.contains("maximum number of passphrase attempts exceeded"), "{code}: {said}");
    assert!(took < SECONDS, "{took:?}");
    assert!(!client.trust_dir().join("private").exists());
}

#[test]
fn consent_may_come_from_a_pipe_and_silence_is_none() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    for no in ["", "n\n", "yes\n", "no\n", "\ny\n"] {
        with_input(&owner, &["revoke", &shop.gun()], no).refused(USER, "not confirmed");
    }
    let (code, said, took) = with_silence(&owner, &["revoke", &shop.gun()]);
    assert!(code == USER && said.contains("not confirmed") && took < SECONDS, "{code} {took:?}: {said}");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
    with_input(&owner, &["revoke", &shop.gun()], "y\n").succeeded();
    owner.run(&["verify", &shop.name("v1")]).refused(TRUST, "No valid trust data");
}
