//! Key files that are encrypted more strongly than docker and notary can read, and the way back.

use crate::client::{Client, Ending, LOCAL};
use countersign_testkit::{DockerClient, Finished, fixtures};
use std::path::{Path, PathBuf};
use std::process::Command;

const REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
const STRONG: [&str; 2] = ["pbkdf2-sha256", "scrypt"];

/// Makes a signer's key; returns its id and file.
fn made(client: &Client, name: &str, encryption: &str) -> (String, PathBuf, Finished) {
    let made = client.run(&["key", "generate", name, "--encryption", encryption]).succeeded();
    let listing = client.run(&["key", "list", "--format", "json"]).succeeded();
    let keys: serde_json::Value = serde_json::from_str(&listing.stdout).unwrap();
    let key = keys.as_array().unwrap().iter().find(|key| key["role"] == name).unwrap();
    let id = key["id"].as_str().unwrap().to_owned();
    let path = client.trust_dir().join("private").join(format!("{id}.key"));
    (id, path, made)
}

fn openssl_reads(file: &Path, passphrase: &str) -> bool {
    let text = std::fs::read_to_string(file).unwrap();
    let bare: Vec<&str> = text.lines().filter(|line| !line.starts_with("role: ") && !line.is_empty()).collect();
    let copy = file.with_extension("bare");
    std::fs::write(&copy, bare.join("\n") + "\n").unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["pkey", "-noout", "-in"]).arg(&copy).args(["-passin", &format!("pass:{passphrase}")]);
    let status = openssl.output().unwrap().status;
    std::fs::remove_file(copy).unwrap();
    status.success()
}

#[test]
fn openssl_reads_the_strong_forms_and_the_note_says_who_does_not() {
    for form in STRONG {
        let client = Client::new();
        let (_, path, said) = made(&client, "alice", form);
        assert!(said.stderr.contains("docker and notary cannot") && said.stderr.contains("The way back"), "{said}");
        assert!(openssl_reads(&path, fixtures::REPOSITORY_PASSPHRASE) && !openssl_reads(&path, "wrong"), "{form}");
    }
    let (_, _, said) = made(&Client::new(), "alice", "compatible");
    assert!(!said.stderr.contains("NOTE"), "{said}");
}

#[test]
fn notary_reads_neither_strong_form_and_reads_both_again_after_the_way_back() {
    for form in STRONG {
        let client = Client::new();
        let (id, _, _) = made(&client, "alice", form);
        let notary = || {
            let mut notary = Command::new("/usr/bin/notary");
            notary.arg("-d").arg(client.trust_dir()).args(["key", "passwd", &id]);
            client.set(&mut notary);
            notary.env("NOTARY_DELEGATION_PASSPHRASE", fixtures::REPOSITORY_PASSPHRASE);
            Finished::of(&mut notary, b"")
        };
        let refused = notary();
        assert!(refused.code != 0 && refused.to_string().contains("could not retrieve local key"), "{refused}");
        let back = ["key", "passwd", &id, "--keep-passphrase", "--encryption", "compatible"];
        let back = client.run(&back).succeeded();
        assert_eq!(back.stdout, format!("Encrypted {id} anew: compatible\n"));
        notary().succeeded();
    }
}

#[test]
fn docker_28_reads_neither_strong_form_and_reads_both_again_after_the_way_back() {
    for form in STRONG {
        let client = Client::new();
        let (id, path, _) = made(&client, "alice", form);
        let docker = DockerClient::v28().with_env(REPOSITORY, fixtures::REPOSITORY_PASSPHRASE);
        let load = || docker.run(&["trust", "key", "load", path.to_str().unwrap()]);
        let refused = load();
        assert!(refused.code != 0 && refused.to_string().contains("could not decrypt key"), "{refused}");
        client.run(&["key", "passwd", &id, "--keep-passphrase", "--encryption", "compatible"]).succeeded();
        load().succeeded();
    }
}

#[test]
fn a_new_passphrase_is_never_the_one_that_opens_the_key() {
    let client = Client::new();
    let (id, path, _) = made(&client, "alice", "compatible");
    let before = std::fs::read(&path).unwrap();
    // The variable opens the key; nobody gives a new one.
    client.run(&["key", "passwd", &id]).refused(LOCAL, "maximum number of passphrase attempts exceeded");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let client = client.env("COUNTERSIGN_NEW_PASSPHRASE", "a new passphrase");
    client.run(&["key", "passwd", &id, "--encryption", "scrypt"]).succeeded();
    assert!(openssl_reads(&path, "a new passphrase"));
    client.run(&["key", "passwd", &id]).refused(LOCAL, "password invalid");
    let client = client.without("COUNTERSIGN_NEW_PASSPHRASE").env(REPOSITORY, "a new passphrase");
    let lines = b"third passphrase\nthird passphrase\n";
    Finished::of(&mut client.command(&["key", "passwd", &id]), lines).succeeded();
    assert!(openssl_reads(&path, "third passphrase"));
}

#[test]
fn the_settings_choose_the_form_for_every_new_key() {
    let client = Client::new();
    let settings = client.folder().join("settings.toml");
    std::fs::write(&settings, "[keys]\nencryption = \"scrypt\"\n").unwrap();
    let client = client.env("COUNTERSIGN_CONFIG", settings.to_str().unwrap());
    let said = client.run(&["key", "generate", "alice"]).succeeded();
    assert!(said.stderr.contains("encrypted with scrypt"), "{said}");
    let (_, path, said) = made(&client, "bob", "compatible");
    assert!(!said.stderr.contains("NOTE") && openssl_reads(&path, fixtures::REPOSITORY_PASSPHRASE), "{said}");
    std::fs::write(&settings, "[keys]\nencryption = \"rot13\"\n").unwrap();
    client.run(&["key", "list"]).refused(LOCAL, "there are compatible, pbkdf2-sha256 and scrypt");
}
