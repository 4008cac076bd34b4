//! Keys on PKCS#11 tokens, with `SoftHSM`, and with a module in front of it that misbehaves.

mod faults;

use crate::client::{Client, Ending, LOCAL, USER};
use crate::stage::Shop;
use countersign_testkit::{Finished, Passphrases, SoftHsm};
use std::path::{Path, PathBuf};

const PIN: &str = "COUNTERSIGN_TOKEN_PIN";
const THE_PIN: &str = "271828";

/// Somebody with a token called `hsm`.
struct Holder {
    client: Client,
    hsm: SoftHsm,
}

impl Holder {
    fn new(client: Client) -> Self {
        let hsm = SoftHsm::new();
        hsm.set_up("release keys", THE_PIN);
        Self { client: with_token(client, &hsm, SoftHsm::module(), ""), hsm }
    }
}

/// Writes settings in which `hsm` is the token of these slots, behind this module.
fn with_token(client: Client, hsm: &SoftHsm, module: &Path, more: &str) -> Client {
    let settings = client.folder().join("settings.toml");
    let text = format!("{more}\n[tokens.hsm]\nmodule = {:?}\nlabel = \"release keys\"\n", module.to_str().unwrap());
    std::fs::write(&settings, text).unwrap();
    client
        .env("COUNTERSIGN_CONFIG", settings.to_str().unwrap())
        .env("SOFTHSM2_CONF", hsm.configuration().to_str().unwrap())
        .env(PIN, THE_PIN)
}

/// Key files of the trust directory.
fn files(client: &Client) -> Vec<PathBuf> {
    let private = client.trust_dir().join("private");
    std::fs::read_dir(private)
        .map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}

fn listed(client: &Client) -> Vec<serde_json::Value> {
    let listing = client.run(&["key", "list", "--format", "json"]).succeeded();
    serde_json::from_str::<serde_json::Value>(&listing.stdout).unwrap().as_array().unwrap().clone()
}

/// Makes a key on the token; returns its id.
fn made(client: &Client, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["key", "generate", "--token", "hsm"].iter().chain(arguments).copied().collect();
    let made = client.run(&arguments).succeeded();
    made.stdout.trim().rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_collection_whose_keys_are_all_on_a_token_is_signed_and_verified_by_everybody() {
    let shop = Shop::open();
    let Holder { client, hsm } = Holder::new(shop.client());
    let client = with_token(client, &hsm, SoftHsm::module(), "[keys]\nnew-keys-on = \"hsm\"\n");
    let digest = shop.signed_by(&client, "v1", "one");
    assert_eq!(files(&client), Vec::<PathBuf>::new());
    let keys = listed(&client);
    let roles: Vec<&str> = keys.iter().map(|key| key["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["root", "targets"]);
    assert!(keys.iter().all(|key| key["kept"].as_str().unwrap().starts_with("token \"release keys\"")), "{keys:?}");
    // Ours and notary, who have never seen the collection.
    let verified = shop.client().run(&["verify", &shop.name("v1")]).succeeded();
    assert!(verified.stdout.contains(&digest), "{verified}");
    let notary = shop.service.notary_client().with_passphrases(Passphrases::golden());
    let listed = notary.run(&["list", &shop.gun()]).succeeded();
    assert!(listed.stdout.contains(digest.trim_start_matches("sha256:")), "{listed}");
    shop.signed_by(&client, "v2", "two");
}

#[test]
fn every_kind_of_key_signs_for_root_and_targets() {
    for kind in ["p256", "p384", "rsa2048"] {
        let shop = Shop::open();
        let Holder { client, hsm: _hsm } = Holder::new(shop.client());
        let root = made(&client, &["--role", "root", "--algorithm", kind]);
        made(&client, &["--role", "targets", "--gun", &shop.gun(), "--algorithm", kind]);
        shop.signed_by(&client, "v1", "one");
        assert_eq!(files(&client), Vec::<PathBuf>::new(), "{kind}");
        shop.client().run(&["verify", &shop.name("v1")]).succeeded();
        let pinned = shop.client();
        let inspected = pinned.run(&["inspect", &shop.gun()]).succeeded();
        assert!(!root.is_empty() && inspected.stdout.contains("v1"), "{inspected}");
        let notary = shop.service.notary_client().run(&["list", &shop.gun()]).succeeded();
        assert!(notary.stdout.contains("v1"), "{kind}: {notary}");
    }
}

#[test]
fn ed25519_and_p521_sign_for_targets_and_no_root_is_ed25519() {
    for kind in ["p521", "ed25519"] {
        let shop = Shop::open();
        let Holder { client, hsm: _hsm } = Holder::new(shop.client());
        made(&client, &["--role", "targets", "--gun", &shop.gun(), "--algorithm", kind]);
        shop.signed_by(&client, "v1", "one");
        assert_eq!(files(&client).len(), 1, "the root key alone is a file");
        shop.client().run(&["verify", &shop.name("v1")]).succeeded();
        let root = ["key", "generate", "--token", "hsm", "--role", "root", "--algorithm", "ed25519"];
        client.run(&root).refused(USER, "certificate");
    }
}

#[test]
fn a_signers_key_on_a_token_signs_a_delegation() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let Holder { client, hsm: _hsm } = Holder::new(shop.client());
    let made = client.run(&["key", "generate", "alice", "--token", "hsm"]).succeeded();
    assert!(made.stdout.contains("alice.pub"), "{made}");
    let public = client.folder().join("alice.pub");
    let added = owner.plugin(&["trust", "signer", "add", "--key", public.to_str().unwrap(), "alice", &shop.gun()]);
    added.succeeded();
    shop.put("v2", "two");
    client.run(&["sign", &shop.name("v2")]).succeeded();
    assert_eq!(files(&client), Vec::<PathBuf>::new());
    let inspected = shop.client().run(&["inspect", &shop.name("v2")]).succeeded();
    assert!(inspected.stdout.contains("alice"), "{inspected}");
}

#[test]
fn roles_are_rotated_onto_a_token_and_away_from_it() {
    let shop = Shop::open();
    let Holder { client, hsm: _hsm } = Holder::new(shop.client());
    shop.signed_by(&client, "v1", "one");
    let reader = shop.client();
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let targets = made(&client, &["--role", "targets", "--gun", &shop.gun()]);
    let root = made(&client, &["--role", "root"]);
    for (role, id) in [("targets", &targets), ("root", &root)] {
        client.run(&["key", "rotate", &shop.gun(), role, "--key-id", id, "--yes"]).succeeded();
        for reader in [&reader, &shop.client()] {
            reader.run(&["verify", &shop.name("v1")]).succeeded();
        }
    }
    shop.signed_by(&client, "v2", "two");
    // Away again: the new key is a file, the old one stays on the token.
    client.run(&["key", "rotate", &shop.gun(), "targets", "--yes"]).succeeded();
    let keys = listed(&client);
    let kept: Vec<(&str, &str)> = keys
        .iter()
        .filter(|key| key["role"] == "targets")
        .map(|key| (key["id"].as_str().unwrap(), key["kept"].as_str().unwrap()))
        .collect();
    assert!(kept.iter().any(|(id, kept)| *id == targets && kept.starts_with("token")), "{kept:?}");
    assert!(kept.iter().any(|(_, kept)| *kept == "file"), "{kept:?}");
    client.run(&["key", "remove", &targets, "--yes"]).succeeded();
    shop.signed_by(&client, "v3", "three");
    reader.run(&["verify", &shop.name("v3")]).succeeded();
}

#[test]
fn the_pin_comes_from_where_passphrases_come_from_and_never_from_arguments() {
    let Holder { client, hsm: _hsm } = Holder::new(Client::new());
    made(&client, &["--role", "root"]);
    let adopt = ["key", "adopt", "hsm"];
    let client = client.without(PIN);
    client.run(&adopt).refused(LOCAL, "there is no PIN for the token hsm");
    // A passphrase is no PIN: those of the golden variables were not tried.
    Finished::of(&mut client.command(&adopt), format!("{THE_PIN}\n").as_bytes()).succeeded();
    let file = client.folder().join("pin");
    std::fs::write(&file, format!("{THE_PIN}\n")).unwrap();
    let chmod = |mode| std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    chmod(0o600);
    let file_name = file.to_str().unwrap().to_owned();
    let client = client.env("COUNTERSIGN_TOKEN_PIN_FILE", &file_name);
    client.run(&adopt).succeeded();
    let client = client.without("COUNTERSIGN_TOKEN_PIN_FILE");
    let uri =
        format!("pkcs11:token=release%20keys?module-path={}&pin-source=file:{file_name}", SoftHsm::module().display());
    client.run(&["key", "adopt", &uri]).succeeded();
    chmod(0o644);
    client.run(&["key", "adopt", &uri]).refused(LOCAL, "others can read it");
    chmod(0o600);
    let script = client.folder().join("pin-command");
    std::fs::write(
        &script,
        format!("#!/bin/sh\n[ $COUNTERSIGN_KEY_PURPOSE,$COUNTERSIGN_KEY_TOKEN = pin,hsm ] && echo {THE_PIN}\n"),
    )
    .unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    client.env("COUNTERSIGN_PASSPHRASE_COMMAND", script.to_str().unwrap()).run(&adopt).succeeded();
    let Holder { client, hsm: _hsm } = Holder::new(Client::new());
    let with_pin = format!("pkcs11:token=release%20keys?module-path=/x.so&pin-value={THE_PIN}");
    let refused = client.run(&["key", "adopt", &with_pin]).refused(USER, "must not stand in a pkcs11: URI");
    assert!(!refused.stderr.contains(THE_PIN), "{refused}");
}

#[test]
fn a_key_file_goes_onto_a_token_signs_from_there_and_is_taken_up_elsewhere() {
    let shop = Shop::open();
    let Holder { client, hsm } = Holder::new(shop.client());
    shop.signed_by(&client, "v1", "one");
    let keys = listed(&client);
    for key in &keys {
        let (id, role, path) =
            (key["id"].as_str().unwrap(), key["role"].as_str().unwrap(), key["path"].as_str().unwrap());
        let loaded = client.run(&["key", "load", path, "--token", "hsm"]).succeeded();
        assert!(loaded.stdout.contains(&format!("{role} key {id} on the token hsm")), "{loaded}");
        assert!(loaded.stderr.contains("is still there"), "{loaded}");
        client.run(&["key", "load", path, "--token", "hsm"]).refused(USER, "holds the key");
        client.run(&["key", "remove", id, "--yes"]).refused(USER, "in a file and on a token");
        client.run(&["key", "remove", id, "--yes", "--only", "file"]).succeeded();
    }
    assert_eq!(files(&client), Vec::<PathBuf>::new());
    shop.signed_by(&client, "v2", "two");
    // Another trust directory with the same token.
    let other = with_token(shop.client(), &hsm, SoftHsm::module(), "");
    shop.put("v3", "three");
    other.run(&["sign", &shop.name("v3")]).refused(LOCAL, "");
    let adopted = other.run(&["key", "adopt", "hsm"]).succeeded();
    assert!(adopted.stdout.contains(&shop.gun()) && adopted.stdout.matches("now").count() == 2, "{adopted}");
    other.run(&["sign", &shop.name("v3")]).succeeded();
    // Deleting asks, and is for good.
    let id = keys.iter().find(|key| key["role"] == "targets").unwrap()["id"].as_str().unwrap();
    Finished::of(&mut other.command(&["key", "remove", id]), b"n\n").refused(USER, "not confirmed");
    let removed = other.run(&["key", "remove", id, "--yes"]).succeeded();
    assert!(removed.stdout.contains("on its token"), "{removed}");
    shop.put("v4", "four");
    client.run(&["sign", &shop.name("v4")]).refused(LOCAL, "has no private key");
}

#[test]
fn what_is_on_a_token_is_in_no_backup_and_no_bundle_and_has_no_passphrase() {
    let shop = Shop::open();
    let Holder { client, hsm: _hsm } = Holder::new(shop.client());
    let root = made(&client, &["--role", "root"]);
    shop.signed_by(&client, "v1", "one");
    let client = client.env("COUNTERSIGN_BACKUP_PASSPHRASE", "the archive's own passphrase");
    let backup = client.run(&["key", "backup", "b.gpg", "--role", "root", "--role", "targets"]).succeeded();
    assert!(backup.stderr.contains("1 key(s) are on tokens") && !backup.stdout.contains(&root), "{backup}");
    client.run(&["key", "backup", "c.gpg", "--role", "root"]).refused(USER, "nothing to back up");
    client.run(&["key", "passwd", &root]).refused(USER, "which does not hand it out");
    let notary = client.trust_dir();
    let notary = notary.to_str().unwrap();
    let listed = Finished::of(&mut client.command_as("notary", &["-d", notary, "key", "list"]), b"").succeeded();
    assert!(listed.stdout.contains("token release keys"), "{listed}");
    Finished::of(&mut client.command_as("notary", &["-d", notary, "key", "export", "-o", "all.pem"]), b"").succeeded();
    let bundle = std::fs::read_to_string(client.folder().join("all.pem")).unwrap();
    assert!(bundle.contains("role: targets") && !bundle.contains(&root), "{bundle}");
}
