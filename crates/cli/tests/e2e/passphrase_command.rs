//! A program that is asked for passphrases, and variables for single collections.

use crate::client::{Client, Ending, LOCAL};
use crate::stage::Shop;
use countersign_testkit::{Finished, fixtures};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

const ROOT: &str = "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE";
const REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
const COMMAND: &str = "COUNTERSIGN_PASSPHRASE_COMMAND";

/// Somebody without passphrases, and a program of theirs.
fn asking(shop: &Shop, script: &str) -> (Client, PathBuf) {
    let client = shop.client().without(ROOT).without(REPOSITORY);
    let program = client.folder().join("passphrases");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let program_name = program.to_str().unwrap().to_owned();
    (client.env(COMMAND, &program_name), program)
}

fn lines(client: &Client, name: &str) -> Vec<String> {
    let text = std::fs::read_to_string(client.folder().join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

const ANSWER: &str = "echo $COUNTERSIGN_KEY_PURPOSE $COUNTERSIGN_KEY_ROLE $COUNTERSIGN_KEY_GUN >> $HOME/asked
[ -n \"$COUNTERSIGN_KEY_ID\" ] && echo secret-of-$COUNTERSIGN_KEY_ROLE";

#[test]
fn a_program_gives_the_passphrase_of_each_key() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let (client, _) = asking(&shop, ANSWER);
    client.run(&["sign", &shop.name("v1")]).succeeded();
    let gun = shop.gun();
    assert_eq!(lines(&client, "asked"), ["new root", &format!("new targets {gun}")]);
    shop.put("v2", "two");
    client.run(&["sign", &shop.name("v2")]).succeeded();
    assert_eq!(lines(&client, "asked").last().unwrap(), &format!("open targets {gun}"));
    // What it gave is what protects the key.
    shop.put("v3", "three");
    let by_hand = shop.client().sharing(client.config_dir()).env(REPOSITORY, "secret-of-targets");
    by_hand.run(&["sign", &shop.name("v3")]).succeeded();
    // Variables come first, and then nobody asks.
    let count = lines(&client, "asked").len();
    shop.put("v4", "four");
    let client = client.env(REPOSITORY, "secret-of-targets");
    client.run(&["sign", &shop.name("v4")]).succeeded();
    assert_eq!(lines(&client, "asked").len(), count);
}

#[test]
fn a_program_that_refuses_ends_the_matter() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let (client, _) = asking(&shop, "echo asked >> $HOME/asked; echo not-told; exit 3");
    // A line on standard input would do, but nobody takes it.
    let refused = Finished::of(&mut client.command(&["sign", &shop.name("v1")]), b"typed typed\ntyped typed\n");
    let refused = refused.refused(LOCAL, "it refused (exit status: 3)");
    assert!(!refused.stderr.contains("not-told") && !refused.stderr.contains("Enter passphrase"), "{refused}");
    assert_eq!(lines(&client, "asked").len(), 1);
    assert!(!client.trust_dir().join("private").exists());
}

#[test]
fn after_a_wrong_passphrase_the_program_is_not_asked_again_but_a_person_is() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    shop.put("v2", "two");
    let (client, _) = asking(&shop, "echo asked >> $HOME/asked; echo wrong");
    let client = client.sharing(owner.config_dir());
    let typed = format!("{}\n", fixtures::REPOSITORY_PASSPHRASE);
    let signed = Finished::of(&mut client.command(&["sign", &shop.name("v2")]), typed.as_bytes()).succeeded();
    assert!(signed.stderr.contains("passphrase command does not open this key"), "{signed}");
    assert_eq!(lines(&client, "asked").len(), 1);
}

#[test]
fn the_program_is_started_for_no_other_reason_and_hears_no_secrets() {
    let shop = Shop::open();
    let (client, _) = asking(&shop, "echo asked >> $HOME/asked; env >> $HOME/environment; echo the-passphrase");
    let client = client.env("NOTARY_AUTH", "dXNlcjpzZWNyZXQ=").env(ROOT, "the-root-secret");
    let metadata = client.plugin(&["docker-cli-plugin-metadata"]).succeeded();
    assert!(metadata.stdout.contains("SchemaVersion"), "{metadata}");
    client.run(&["--version"]).succeeded();
    client.run(&["key", "list"]).succeeded();
    let _ = client.run(&["verify", &shop.name("v1")]);
    assert_eq!(lines(&client, "asked").len(), 0);
    client.run(&["key", "generate", "alice"]).succeeded();
    assert_eq!(lines(&client, "asked").len(), 1);
    let environment = lines(&client, "environment").join("\n");
    assert!(environment.contains("COUNTERSIGN_KEY_ROLE=alice"), "{environment}");
    assert!(!environment.contains("secret") && !environment.contains("dXNlcjpzZWNyZXQ"), "{environment}");
}

#[test]
fn the_settings_name_it_too_as_a_list_and_never_by_a_relative_path() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let (client, program) = asking(&shop, "printf '%s\\n' \"$1 $2\"");
    let client = client.without(COMMAND);
    let settings = client.folder().join("settings.toml");
    let write = |command: &str| {
        std::fs::write(&settings, format!("[keys]\npassphrase-command = {command}\n")).unwrap();
        std::fs::set_permissions(&settings, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write(&format!("[{:?}, \"with a space; $(touch pwned)\", \"and more\"]", program.to_str().unwrap()));
    let client = client.env("COUNTERSIGN_CONFIG", settings.to_str().unwrap());
    client.run(&["sign", &shop.name("v1")]).succeeded();
    assert!(!client.folder().join("pwned").exists());
    shop.put("v2", "two");
    let by_hand = shop.client().sharing(client.config_dir()).env(REPOSITORY, "with a space; $(touch pwned) and more");
    by_hand.run(&["sign", &shop.name("v2")]).succeeded();
    for bad in ["\"./passphrases\"", "[]", "3"] {
        write(bad);
        client.run(&["key", "list"]).refused(LOCAL, "passphrase-command");
    }
    let relative = by_hand.env(COMMAND, "bin/passphrases");
    relative.run(&["key", "list"]).refused(LOCAL, "absolute path");
}

#[test]
fn a_collections_own_variable_opens_its_keys() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    shop.put("v2", "two");
    let variable: String = shop
        .gun()
        .chars()
        .map(|c| match c {
            '/' => "__".to_owned(),
            c if c.is_ascii_alphanumeric() => c.to_ascii_uppercase().to_string(),
            _ => "_".to_owned(),
        })
        .collect();
    let variable = format!("COUNTERSIGN_PASSPHRASE_FOR_{variable}");
    let client = owner.env(REPOSITORY, "of other collections").env(&variable, fixtures::REPOSITORY_PASSPHRASE);
    client.run(&["sign", &shop.name("v2")]).succeeded();
    shop.put("v3", "three");
    let wrong = client.env(REPOSITORY, fixtures::REPOSITORY_PASSPHRASE).env(&variable, "wrong");
    let refused = wrong.run(&["sign", &shop.name("v3")]).refused(LOCAL, "password invalid");
    assert!(refused.stderr.contains(&format!("The passphrase in {variable} does not open this key")), "{refused}");
}
