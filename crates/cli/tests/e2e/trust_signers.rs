//! Signers who come and go, and keys of every encoding, through `docker trust`.

use crate::client::Client;
use crate::stage::Shop;
use countersign_testkit::{Finished, fixtures};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn report(person: &Client, image: &str) -> serde_json::Value {
    let inspected = person.plugin(&["trust", "inspect", image]).succeeded();
    let mut reports: Vec<serde_json::Value> = serde_json::from_str(&inspected.stdout).unwrap();
    reports.remove(0)
}

fn names(report: &serde_json::Value) -> Vec<&str> {
    report["Signers"].as_array().unwrap().iter().map(|signer| signer["Name"].as_str().unwrap()).collect()
}

/// Makes the keys of these people here, and makes them signers.
fn team(owner: &Client, gun: &str, people: &[&str]) {
    for name in people {
        owner.plugin(&["trust", "key", "generate", name]).succeeded();
        owner.plugin(&["trust", "signer", "add", "--key", &format!("{name}.pub"), name, gun]).succeeded();
    }
}

#[test]
fn a_removed_signer_is_gone_and_the_others_sign_and_pull_on() {
    let shop = Shop::open();
    let owner = shop.client();
    let digest = shop.put("v1", "one");
    team(&owner, &shop.gun(), &["alice", "bob"]);
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    for (arguments, left) in [(vec!["bob"], vec!["alice"]), (vec!["-f", "alice"], vec![])] {
        let gun = shop.gun();
        let words = [&["trust", "signer", "remove"], arguments.as_slice(), &[gun.as_str()]].concat();
        let removed = owner.plugin(&words).succeeded();
        assert!(removed.stdout.contains("Successfully removed "), "{removed}");
        assert_eq!(names(&report(&shop.client(), &shop.gun())), left);
    }
    shop.put("v2", "two");
    owner.run(&["sign", &shop.name("v2")]).succeeded();
    let verified = shop.client().run(&["verify", &shop.name("v2")]).succeeded();
    assert!(!verified.stdout.contains(&digest), "{verified}");
}

#[test]
fn what_only_a_removed_signer_released_is_signed_anew_by_whoever_is_left() {
    let shop = Shop::open();
    let (owner, other) = (shop.client(), shop.client());
    shop.put("v1", "one");
    team(&owner, &shop.gun(), &["alice"]);
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    // Bob's key is on another machine, so alice alone has signed what is released.
    other.plugin(&["trust", "key", "generate", "bob"]).succeeded();
    fs::copy(other.folder().join("bob.pub"), owner.folder().join("bob.pub")).unwrap();
    owner.plugin(&["trust", "signer", "add", "--key", "bob.pub", "bob", &shop.gun()]).succeeded();
    let asked = owner.plugin(&["trust", "signer", "remove", "alice", &shop.gun()]).failed();
    assert!(asked.stdout.contains("unpullable. Are you sure you want to continue? [y/N]"), "{asked}");
    assert_eq!(names(&report(&shop.client(), &shop.gun())), ["bob", "alice"]);
    owner.plugin(&["trust", "signer", "remove", "--force", "alice", &shop.gun()]).succeeded();
    let refused = shop.client().run(&["verify", &shop.name("v1")]).failed();
    assert_eq!(refused.code, 3, "{refused}");
    // Bob signs, where docker would be refused for ever.
    shop.put("v2", "two");
    other.run(&["sign", &shop.name("v2")]).succeeded();
    shop.client().run(&["verify", &shop.name("v2")]).succeeded();
}

#[test]
fn what_a_removed_signer_alone_has_signed_is_named_before_it_is_signed_anew() {
    let shop = Shop::open();
    let (owner, thief) = (shop.client(), shop.client());
    team(&owner, &shop.gun(), &["bob"]);
    thief.plugin(&["trust", "key", "generate", "alice"]).succeeded();
    fs::copy(thief.folder().join("alice.pub"), owner.folder().join("alice.pub")).unwrap();
    owner.plugin(&["trust", "signer", "add", "--key", "alice.pub", "alice", &shop.gun()]).succeeded();
    for (person, tag) in [(&owner, "good"), (&thief, "evil")] {
        shop.put(tag, tag);
        person.run(&["sign", &shop.name(tag)]).succeeded();
    }
    let asked = owner.plugin(&["trust", "signer", "remove", "alice", &shop.gun()]).failed();
    let question = "A key of this machine will sign anew what nobody else has signed: evil. Are you sure";
    assert!(asked.stdout.contains(question), "{asked}");
    assert_eq!(names(&report(&shop.client(), &shop.gun())), ["bob", "alice"]);
    owner.plugin(&["trust", "signer", "remove", "--force", "alice", &shop.gun()]).succeeded();
    assert_eq!(names(&report(&shop.client(), &shop.gun())), ["bob"]);
    for tag in ["good", "evil"] {
        shop.client().run(&["verify", &shop.name(tag)]).succeeded();
    }
}

#[test]
fn only_y_removes_a_signer_without_whom_nothing_could_be_pulled() {
    let shop = Shop::open();
    let (owner, other) = (shop.client(), shop.client());
    shop.put("v1", "one");
    team(&owner, &shop.gun(), &["alice"]);
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    other.plugin(&["trust", "key", "generate", "bob"]).succeeded();
    fs::copy(other.folder().join("bob.pub"), owner.folder().join("bob.pub")).unwrap();
    owner.plugin(&["trust", "signer", "add", "--key", "bob.pub", "bob", &shop.gun()]).succeeded();
    let remove = |answer: &str| {
        let mut command = owner.command_as("docker-trust", &["trust", "signer", "remove", "alice", &shop.gun()]);
        Finished::of(&mut command, answer.as_bytes())
    };
    for answer in ["", "n\n", "yes\n", "\ny\n"] {
        remove(answer).failed();
        assert_eq!(names(&report(&shop.client(), &shop.gun())), ["bob", "alice"], "{answer:?}");
    }
    let removed = remove("y\n").succeeded();
    assert!(removed.stdout.contains(&format!("Successfully removed alice from {}", shop.gun())), "{removed}");
    assert_eq!(shop.client().run(&["verify", &shop.name("v1")]).failed().code, 3);
    let again = owner.plugin(&["trust", "signer", "remove", "alice", &shop.gun()]).failed();
    assert!(again.stderr.contains("no signer alice for repository"), "{again}");
}

#[test]
fn names_that_are_no_signers_and_repositories_that_are_none_do_not_stop_the_others() {
    let shop = Shop::open();
    let owner = shop.client();
    team(&owner, &shop.gun(), &["alice"]);
    let words = ["trust", "signer", "remove", "alice", "BAD//x", &shop.gun()];
    let removed = owner.plugin(&words).failed();
    assert!(removed.stderr.ends_with("error removing signer from: BAD//x\n"), "{removed}");
    assert!(removed.stdout.contains(&format!("Successfully removed alice from {}", shop.gun())), "{removed}");
}

fn load(person: &Client, path: &Path, name: &str) -> Finished {
    let copy = person.folder().join("key.pem");
    fs::copy(path, &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
    person.plugin(&["trust", "key", "load", "--name", name, "key.pem"])
}

fn stored(person: &Client) -> usize {
    fs::read_dir(person.trust_dir().join("private")).map_or(0, Iterator::count)
}

#[test]
fn a_key_in_any_encoding_is_loaded_or_it_is_said_why_not() {
    let folder = fixtures::path("key-bundles/inputs");
    let mut loaded = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        for passphrase in [fixtures::USER_PASSPHRASE, fixtures::REPOSITORY_PASSPHRASE, "randompass"] {
            let person = Client::new().env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", passphrase);
            let finished = load(&person, &path, "alice");
            if finished.code == 0 {
                assert!(stored(&person) > 0, "{} is loaded, and not there\n{finished}", path.display());
                loaded += 1;
            } else {
                assert!(
                    finished.stderr.contains("error importing key from key.pem: "),
                    "{}\n{finished}",
                    path.display()
                );
            }
        }
    }
    assert!(loaded >= 5, "only {loaded} were loaded");
}

#[test]
fn an_encrypted_file_of_a_store_is_really_loaded() {
    let (one, other) = (Client::new(), Client::new());
    one.plugin(&["trust", "key", "generate", "alice"]).succeeded();
    let key = fs::read_dir(one.trust_dir().join("private")).unwrap().next().unwrap().unwrap().path();
    load(&other, &key, "somebody").succeeded();
    let name = key.file_name().unwrap();
    let text = fs::read_to_string(other.trust_dir().join("private").join(name)).unwrap();
    assert!(text.contains("role: alice"), "the file's own word about the role counts: {text}");
}

#[test]
fn names_of_roles_are_no_names_for_keys() {
    for name in ["root", "targets", "snapshot", "timestamp", "releases"] {
        let person = Client::new();
        let refused = person.plugin(&["trust", "key", "generate", name]).failed();
        assert!(refused.stderr.contains("is a reserved keyword"), "{refused}");
        assert_eq!(stored(&person), 0);
    }
}
