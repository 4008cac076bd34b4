//! `countersign key recover`: what can be saved where keys are lost, and beginning anew.

use crate::client::{Client, Ending, LOCAL, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::Finished;
use serde_json::Value;
use std::process::Stdio;
use std::time::Duration;

fn parsed(finished: Finished) -> Value {
    let finished = finished.succeeded();
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error} in\n{finished}"))
}

fn situation(client: &Client, gun: &str) -> String {
    let plan = parsed(client.run(&["key", "recover", gun, "--format", "json"]));
    plan.get("situation").unwrap().as_str().unwrap().to_owned()
}

fn lose(client: &Client, role: &str) {
    let listed = parsed(client.run(&["key", "list", "--format", "json"]));
    for key in listed.as_array().unwrap().iter().filter(|key| key.get("role") == Some(&role.into())) {
        std::fs::remove_file(key.get("path").unwrap().as_str().unwrap()).unwrap();
    }
}

#[test]
fn a_plan_is_made_from_what_is_there_and_changes_nothing() {
    let shop = Shop::open();
    let owner = shop.client().env("COUNTERSIGN_BACKUP_PASSPHRASE", "the archive's own secret");
    let gun = shop.gun();
    assert_eq!(situation(&owner, &gun), "nowhere");
    shop.signed_by(&owner, "v1", "one");
    assert_eq!(situation(&owner, &gun), "complete");
    let unchanged = owner.run(&["key", "recover", &gun, "--apply"]).succeeded();
    assert!(unchanged.stdout.contains("nothing was changed"), "{unchanged}");
    owner.run(&["key", "backup", "root.gpg", "--role", "root"]).succeeded();
    lose(&owner, "root");
    assert_eq!(situation(&owner, &gun), "root-key-lost");
    let plan = parsed(owner.run(&["key", "recover", &gun, "--format", "json"]));
    for member in ["/until/root", "/until/certificate", "/until/targets"] {
        let until = plan.pointer(member).and_then(Value::as_str).unwrap();
        assert!(until.parse::<jiff::Timestamp>().unwrap() > jiff::Timestamp::now(), "{member}: {until}");
    }
    let plan = owner.run(&["key", "recover", &gun]).succeeded();
    assert!(plan.stdout.contains("signing goes on until 20") && plan.stdout.contains("--new-chain --apply"), "{plan}");
    assert!(plan.stdout.contains("countersign key restore") && plan.stdout.contains("root.gpg"), "{plan}");
    owner.run(&["key", "recover", &gun, "--apply"]).refused(LOCAL, "nothing was changed");
    shop.signed_by(&owner, "v2", "two");
    lose(&owner, "targets");
    assert_eq!(situation(&owner, &gun), "lost");
    owner.run(&["key", "restore", "root.gpg"]).succeeded();
    assert_eq!(situation(&owner, &gun), "repository-keys-lost");
    shop.client().run(&["verify", &shop.name("v2")]).succeeded();
    owner.run(&["key", "recover", &gun, "--re-sign-all"]).refused(USER, "go with --new-chain");
}

#[test]
fn lost_repository_and_snapshot_keys_are_replaced_with_the_root_key_in_one_publication() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    owner.run(&["key", "rotate", &shop.gun(), "snapshot", "--local"]).succeeded();
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    lose(&owner, "targets");
    lose(&owner, "snapshot");
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    shop.put("v2", "two");
    owner.run(&["sign", &shop.name("v2")]).refused(LOCAL, "load the private key");
    assert_eq!(situation(&owner, &shop.gun()), "repository-keys-lost");
    owner.run(&["key", "recover", &shop.gun(), "--apply"]).refused(USER, "not confirmed");
    let done = owner.run(&["key", "recover", &shop.gun(), "--apply", "--yes"]).succeeded();
    assert!(done.stdout.contains("Successfully rotated targets, snapshot key"), "{done}");
    assert!(done.stdout.contains("old, not here") && done.stdout.contains("new, at the trust service"), "{done}");
    assert_eq!(situation(&owner, &shop.gun()), "complete");
    owner.run(&["sign", &shop.name("v2")]).succeeded();
    for client in [&reader, &shop.client()] {
        client.run(&["verify", &shop.name("v1")]).succeeded();
        client.run(&["verify", &shop.name("v2")]).succeeded();
    }
}

/// A shop whose owner has signed two tags, let alice sign, and then lost every key.
fn ruin() -> (Shop, Client, Client) {
    let shop = Shop::open();
    let (owner, alice) = (shop.client(), shop.client());
    for tag in ["v1", "v2"] {
        shop.signed_by(&owner, tag, tag);
    }
    alice.run(&["key", "generate", "alice"]).succeeded();
    std::fs::copy(alice.folder().join("alice.pub"), owner.folder().join("alice.pub")).unwrap();
    owner.plugin(&["trust", "signer", "add", "--key", "alice.pub", "alice", &shop.gun()]).succeeded();
    lose(&owner, "root");
    lose(&owner, "targets");
    (shop, owner, alice)
}

#[test]
fn beginning_anew_signs_what_is_confirmed_and_tells_everybody_what_to_do() {
    let (shop, owner, alice) = ruin();
    let (gun, reader) = (shop.gun(), shop.client());
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    assert_eq!(situation(&owner, &gun), "lost");
    let shown = owner.run(&["key", "recover", &gun, "--new-chain"]).succeeded();
    assert!(shown.stdout.contains("Nothing was changed") && shown.stdout.contains("the signer alice"), "{shown}");
    // No to v1, yes to all else; and once nothing but silence.
    let arguments = ["key", "recover", &gun, "--new-chain", "--apply", "--notice", "notice.txt"];
    owner.run(&arguments).refused(USER, "nothing was changed: not confirmed");
    reader.run(&["verify", &shop.name("v2")]).succeeded();
    let answers = Finished::of(&mut owner.command(&arguments), b"y\ny\nn\ny\ny\n").succeeded();
    assert!(answers.stdout.contains("signed anew: v2") && answers.stdout.contains("released no more: v1"), "{answers}");
    assert!(answers.stdout.contains("signer: alice"), "{answers}");
    assert!(answers.stderr.contains("is in no known backup"), "{answers}");

    // Who has seen the old root refuses, and does not when they do what they are told.
    reader.run(&["verify", &shop.name("v2")]).refused(TRUST, "potential malicious behavior");
    shop.client().run(&["verify", &shop.name("v2")]).succeeded();
    let notice = std::fs::read_to_string(owner.folder().join("notice.txt")).unwrap();
    let commands: Vec<&str> = notice.lines().map(str::trim).filter(|line| line.starts_with("countersign ")).collect();
    assert_eq!(commands.len(), 2, "{notice}");
    for command in commands {
        let command = command.replace(":TAG", ":v2");
        let words: Vec<&str> = command.split(' ').skip(1).collect();
        reader.run(&words).succeeded();
    }
    reader.run(&["verify", &shop.name("v2")]).succeeded();
    reader.run(&["verify", &shop.name("v1")]).refused(TRUST, "No valid trust data for v1");
    // Alice has kept her key, and everything else goes on.
    shop.put("v3", "three");
    alice.run(&["verify", "--re-establish-trust", "--pin", &pinned(&notice), &shop.name("v2")]).succeeded();
    alice.run(&["sign", &shop.name("v3")]).succeeded();
    reader.run(&["verify", &shop.name("v3")]).succeeded();
    assert_eq!(situation(&owner, &gun), "complete");
}

/// The id of the new root in the text for everybody.
fn pinned(notice: &str) -> String {
    let after = notice.split("New root key:").nth(1).unwrap_or_default();
    after.split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn a_new_beginning_that_was_killed_again_and_again_is_finished_as_it_was_decided() {
    let (shop, owner, _) = ruin();
    let gun = shop.gun();
    let all = ["key", "recover", &gun, "--new-chain", "--apply", "--yes", "--re-sign-all", "--keep-signers"];
    for step in 1..=12 {
        let mut child = owner.command(&all).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(step * 40));
        child.kill().unwrap();
        child.wait().unwrap();
        // Whoever looks finds the old collection, none, or the new one, and never anything that does not verify.
        let fresh = shop.client().run(&["verify", &shop.name("v1")]);
        assert!(fresh.code == 0 || fresh.stderr.contains("does not have trust data"), "{fresh}");
    }
    let journals = owner.trust_dir().join(".countersign/new-chains");
    // A kill in the middle of writing one leaves a file with another name, which nobody reads.
    let written = || match std::fs::read_dir(&journals) {
        Ok(entries) => {
            entries.filter(|entry| entry.as_ref().unwrap().path().extension() == Some("json".as_ref())).count()
        }
        Err(_) => 0,
    };
    if written() > 0 {
        let plan = owner.run(&["key", "recover", &gun]).succeeded();
        assert!(plan.stdout.contains("a new beginning was interrupted"), "{plan}");
        owner.run(&["key", "recover", &gun, "--new-chain"]).refused(USER, "add --apply to go on");
    }
    owner.run(&all).succeeded();
    assert_eq!(written(), 0);
    for tag in ["v1", "v2"] {
        shop.client().run(&["verify", &shop.name(tag)]).succeeded();
    }
    let inspected = shop.client().run(&["inspect", &gun]).succeeded();
    assert!(inspected.stdout.contains("alice"), "{inspected}");
}

#[test]
fn a_collection_that_the_service_has_lost_is_begun_anew_from_the_cache() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let gun = shop.gun();
    shop.service.notary_client().run(&["delete", "--remote", &gun]).succeeded();
    assert_eq!(situation(&owner, &gun), "vanished");
    owner.run(&["key", "recover", &gun, "--apply"]).refused(LOCAL, "restores the service's data");
    let done =
        owner.run(&["key", "recover", &gun, "--new-chain", "--apply", "--yes", "--re-sign", "v1", "--new-root-key"]);
    assert!(done.succeeded().stdout.contains("signed anew: v1"));
    shop.client().run(&["verify", &shop.name("v1")]).succeeded();
    reader.run(&["verify", &shop.name("v1")]).refused(TRUST, "potential malicious behavior");
    assert_eq!(situation(&reader, &gun), "refused");
    let stranger = shop.client();
    let none = format!("{}/acme/none", shop.registry.host());
    stranger.run(&["key", "recover", &none, "--new-chain", "--apply"]).refused(USER, "there is no collection");
}
