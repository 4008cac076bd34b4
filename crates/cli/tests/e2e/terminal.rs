//! Questions to a person at a terminal, and commands that are interrupted while they ask.

use crate::client::Client;
use crate::stage::Shop;
use countersign_testkit::fixtures;
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

const REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";

/// Reads until this text is there, and returns how far it went.
fn wait_for(text: &str, from: usize, shown: &mut impl Read, said: &mut Vec<u8>) -> usize {
    loop {
        let rest = said.get(from..).unwrap_or_default();
        if let Some(at) = rest.windows(text.len()).position(|window| window == text.as_bytes()) {
            return from + at + text.len();
        }
        let mut bytes = [0; 1024];
        let length = shown.read(&mut bytes).unwrap();
        assert!(length > 0, "{text:?} never came: {}", String::from_utf8_lossy(said));
        said.extend_from_slice(bytes.get(..length).unwrap());
    }
}

/// Runs a command at a terminal, where each answer is typed once its question is there.
fn dialogue(client: &Client, arguments: &[&str], turns: &[(&str, &str)]) -> (i32, String) {
    let line = std::iter::once(env!("CARGO_BIN_EXE_countersign")).chain(arguments.iter().copied());
    let line = line.map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--flush", "--command", &format!("exec {line}"), "/dev/null"]);
    client.set(&mut command);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut typing, mut shown) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut said, mut from) = (Vec::new(), 0);
    for (question, answer) in turns {
        from = wait_for(question, from, &mut shown, &mut said);
        typing.write_all(answer.as_bytes()).unwrap();
    }
    shown.read_to_end(&mut said).unwrap();
    let code = child.wait().unwrap().code().unwrap();
    (code, String::from_utf8_lossy(&said).into_owned())
}

fn keys(client: &Client) -> usize {
    std::fs::read_dir(client.trust_dir().join("private")).map_or(0, Iterator::count)
}

#[test]
fn a_new_passphrase_is_asked_for_until_it_is_long_enough_and_typed_twice() {
    let client = Client::new().without(REPOSITORY);
    let (first, second) = ("Enter passphrase for new alice key", "Repeat passphrase for new alice key");
    let turns = [
        (first, "short\n"),
        ("the passphrase is too short", ""),
        (first, "long enough\n"),
        (second, "something else\n"),
        ("Passphrases do not match. Please retry.", ""),
        (first, "long enough\n"),
        (second, "long enough\n"),
    ];
    let (code, said) = dialogue(&client, &["docker-trust", "trust", "key", "generate", "alice"], &turns);
    assert_eq!((code, keys(&client)), (0, 1), "{said}");
    let opened = client.env(REPOSITORY, "long enough");
    let key = std::fs::read_dir(opened.trust_dir().join("private")).unwrap().next().unwrap().unwrap().path();
    let other = Client::new().env(REPOSITORY, "long enough");
    other.run(&["key", "load", key.to_str().unwrap()]).succeeded();
}

#[test]
fn a_wrong_passphrase_is_asked_for_again() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    shop.put("v2", "two");
    let person = owner.without(REPOSITORY);
    let right = format!("{}\n", fixtures::REPOSITORY_PASSPHRASE);
    let question = "Enter passphrase for repository key with ID ";
    let turns = [(question, "wrong\n"), ("Passphrase incorrect. Please retry.", ""), (question, right.as_str())];
    for name in [&["sign"][..], &["docker-trust", "trust", "revoke"]] {
        let (code, said) = dialogue(&person, &[name, &[&shop.name("v2")]].concat(), &turns);
        assert_eq!(code, 0, "{said}");
    }
}

#[test]
fn ctrl_c_at_a_question_ends_the_command_and_leaves_nothing_behind() {
    let client = Client::new().without(REPOSITORY);
    for line in [&["key", "generate", "alice"][..], &["docker-trust", "trust", "key", "generate", "alice"]] {
        for turns in [
            &[("Enter passphrase for new alice key", "\u{3}")][..],
            &[
                ("Enter passphrase for new alice key", "long enough\n"),
                ("Repeat passphrase for new alice key", "\u{3}"),
            ],
        ] {
            let (code, said) = dialogue(&client, line, turns);
            assert_eq!((code, keys(&client)), (130, 0), "{said}");
            assert!(!client.folder().join("alice.pub").exists(), "{said}");
        }
    }
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let (code, said) = dialogue(&owner, &["docker-trust", "trust", "revoke", &shop.gun()], &[("[y/N] ", "\u{3}")]);
    assert_eq!(code, 130, "{said}");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
}

#[test]
fn an_interrupt_without_a_terminal_ends_a_command_that_asks() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let mut command = owner.command_as("docker-trust", &["trust", "revoke", &shop.gun()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let silent = child.stdin.take().unwrap();
    wait_for("[y/N] ", 0, child.stdout.as_mut().unwrap(), &mut Vec::new());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait().unwrap();
    assert!(ended.signal() == Some(2) || ended.code() == Some(130), "{ended}");
    drop(silent);
    owner.run(&["verify", &shop.name("v1")]).succeeded();
}
