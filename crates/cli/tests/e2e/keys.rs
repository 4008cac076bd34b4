//! Keys: made, loaded in every encoding, listed, and never used with the wrong passphrase.

use crate::client::{Client, Ending, LOCAL, USER};
use crate::stage::Shop;
use countersign_testkit::fixtures;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn somebody() -> Client {
    Client::new().env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", fixtures::USER_PASSPHRASE)
}

/// Copies a golden file to where only its owner reads it.
fn private(client: &Client, golden: &Path) -> String {
    let path = client.folder().join(golden.file_name().unwrap());
    std::fs::copy(golden, &path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

fn stored(client: &Client) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(client.trust_dir().join("private")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn every_encoding_loads_to_the_same_key_or_says_why_not() {
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for entry in std::fs::read_dir(fixtures::path("key-bundles/inputs")).unwrap() {
        let golden = entry.unwrap().path();
        let name = golden.file_name().unwrap().to_str().unwrap().to_owned();
        let client = somebody();
        let loaded = client.run(&["key", "load", "--name", "alice", &private(&client, &golden)]);
        let files = stored(&client);
        if golden.extension().is_some_and(|extension| extension == "key") {
            let loaded = loaded.succeeded();
            let id = loaded.stdout.trim().strip_prefix("Successfully imported alice key ").unwrap().to_owned();
            assert_eq!(files, [format!("{id}.key")], "{name}: what is said to be loaded is there");
            let kind = name.split('.').next().unwrap().to_owned();
            ids.entry(kind).or_default().insert(id);
        } else {
            assert_eq!(loaded.code, USER, "{name}: {loaded}");
            assert_eq!((loaded.stdout.as_str(), files.len()), ("", 0), "{name}: {loaded}");
        }
    }
    let expected = [
        ("ec-p256", "d1a92126e882dae7f39ea2c41c93e78cec5cfe521dfb71eb7d2a3256e3daced9"),
        ("ec-p384", "751d8677d64491a76a5262eb06b8c68715599962ec475af844e2ebdc549c8f9e"),
    ];
    for (kind, id) in expected {
        assert_eq!(ids[kind], BTreeSet::from([id.to_owned()]), "the id that notary 0.7 stores it under");
    }
    assert!(ids.values().all(|ids| ids.len() == 1), "one key, one id, whatever its encoding: {ids:?}");
    assert_eq!(ids.len(), 5, "{ids:?}");
}

#[test]
fn bundles_keep_their_roles_and_collections() {
    let client = somebody().env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", fixtures::REPOSITORY_PASSPHRASE);
    client.run(&["key", "load", &private(&client, &fixtures::path("key-bundles/export-gun.pem"))]).succeeded();
    let listed = client.run(&["key", "list", "--format", "json"]).succeeded();
    let keys: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let rows: BTreeSet<_> =
        keys.as_array().unwrap().iter().map(|key| (key["role"].to_string(), key["gun"].to_string())).collect();
    let gun = "\"golden.test/notary/basic\"".to_owned();
    assert_eq!(rows, BTreeSet::from([("\"snapshot\"".into(), gun.clone()), ("\"targets\"".into(), gun)]));
}

#[test]
fn what_is_no_private_key_or_open_to_others_is_refused_and_nothing_is_stored() {
    let client = somebody();
    let load = |path: &str| client.run(&["key", "load", path]);
    let write = |name: &str, bytes: &[u8], mode: u32| {
        let path = client.folder().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let key = fixtures::bytes("key-bundles/inputs/ec-p256.key");
    for mode in [0o644, 0o640, 0o604, 0o620] {
        let refused = load(&write("open.key", &key, mode)).refused(USER, "must not be readable or writable by others");
        assert!(refused.stderr.contains("chmod 600"), "{refused}");
    }
    load("missing.key").refused(USER, "refusing to load key from missing.key");
    load(client.folder().to_str().unwrap()).refused(USER, "refusing to load");
    for (name, bytes) in [("empty", &b""[..]), ("junk", b"\x00\xff\xfe"), ("text", b"hello\n"), ("cut", &key[..90])] {
        let refused = load(&write(name, bytes, 0o600));
        assert_eq!(refused.code, USER, "{name}: {refused}");
    }
    load(&write("large", &vec![b'a'; 2 << 20], 0o600)).refused(USER, "too large");
    let fifo = client.folder().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg("-m").arg("600").arg(&fifo).status().unwrap().success());
    load(fifo.to_str().unwrap()).refused(USER, "refusing to load");
    assert_eq!(stored(&client), [""; 0]);
}

#[test]
fn a_wrong_passphrase_and_none_at_all_end_with_a_hint() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    shop.put("v2", "two");
    let repository = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
    for (wrong, client) in [
        ("wrong", shop.client().sharing(owner.config_dir()).env(repository, "not-the-passphrase")),
        ("other role's", shop.client().sharing(owner.config_dir()).env(repository, fixtures::ROOT_PASSPHRASE)),
        ("none", shop.client().sharing(owner.config_dir()).without(repository)),
        ("empty", shop.client().sharing(owner.config_dir()).env(repository, "")),
    ] {
        let refused = client.run(&["sign", &shop.name("v2")]).refused(LOCAL, "password invalid");
        assert!(refused.stderr.contains("hint: passphrases come from"), "{wrong}: {refused}");
        assert!(!refused.stderr.contains("not-the-passphrase"), "{wrong}: {refused}");
        // Reading needs no passphrase.
        client.run(&["verify", &shop.name("v1")]).succeeded();
    }
    owner.run(&["verify", &shop.name("v2")]).refused(crate::client::TRUST, "No valid trust data");

    let newcomer = shop.client().without("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE");
    let unknown = format!("{}/acme/new:v1", shop.registry.host());
    shop.registry.put_image("acme/new", "v1", &countersign_testkit::Image::with_message("new")).unwrap();
    let refused = newcomer.run(&["sign", &unknown]).refused(LOCAL, "maximum number of passphrase attempts exceeded");
    assert!(refused.stderr.contains("hint: passphrases come from"), "{refused}");
    assert_eq!(stored(&newcomer), [""; 0]);
    newcomer.run(&["verify", &unknown]).refused(crate::client::TRUST, "does not have trust data");
}

#[test]
fn generated_keys_are_private_and_names_are_checked() {
    let client = somebody();
    let generated = client.run(&["key", "generate", "alice"]).succeeded();
    assert!(generated.stdout.contains("Corresponding public key available"), "{generated}");
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    let public = client.folder().join("alice.pub");
    assert_eq!(mode(&public), 0o600);
    let text = std::fs::read_to_string(&public).unwrap();
    assert!(text.starts_with("-----BEGIN PUBLIC KEY-----\nrole: alice\n\n"), "{text}");
    let files = stored(&client);
    assert_eq!(files.len(), 1);
    assert_eq!(mode(&client.trust_dir().join("private").join(&files[0])), 0o600);
    let secret = std::fs::read_to_string(client.trust_dir().join("private").join(&files[0])).unwrap();
    assert!(secret.contains("ENCRYPTED PRIVATE KEY") && secret.contains("role: alice"), "{secret}");

    client.run(&["key", "generate", "alice"]).refused(USER, "public key file already exists");
    assert_eq!(stored(&client).len(), 1, "no key without its public half");
    for bad in
        ["", "Alice", "a b", "-a", "../a", "a/b", "a\u{1b}[2J", "root", "targets", "snapshot", "timestamp", "releases"]
    {
        let refused = client.run(&["key", "generate", "--", bad]);
        assert_eq!(refused.code, USER, "{bad:?}: {refused}");
        assert!(!refused.stderr.contains('\u{1b}'), "{refused}");
    }
    client.run(&["key", "generate", "--dir", "/nowhere/at/all", "bob"]).refused(USER, "public key path does not exist");
    let silent = Client::new().without("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE");
    silent.run(&["key", "generate", "bob"]).refused(LOCAL, "maximum number of passphrase attempts exceeded");
    assert!(!silent.folder().join("bob.pub").exists() && stored(&silent).is_empty());
}
