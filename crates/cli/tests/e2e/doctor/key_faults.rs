//! Private keys, their backups, and pins.

use super::{Clinic, Examined, commands};
use countersign_crypto::{Algorithm, PrivateKey};
use countersign_keyfile::{KeyBlock, Protection};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

fn private_file(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn written_days_ago(path: &Path, days: u64) {
    let then = SystemTime::now() - Duration::from_hours(24 * days);
    fs::File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
}

/// A new key's file with a role: the name and the content.
fn new_key(role: &str, gun: Option<&str>, protection: Protection<'_>) -> (String, String) {
    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let mut block = KeyBlock::seal(&key, protection, &mut countersign_crypto::SystemRandom).unwrap();
    block.set_role(Some(role)).unwrap();
    block.set_gun(gun).unwrap();
    (format!("{}.key", key.public_key().canonical_id()), block.to_pem().to_string())
}

#[test]
fn a_key_that_is_damaged_or_gone_comes_back_from_the_backup() {
    let clinic = Clinic::open();
    let (owner, key) = (&clinic.owner, clinic.key_file("targets"));
    written_days_ago(&key, 40);
    clinic.back_up();
    let (whole, written) = (fs::read(&key).unwrap(), fs::metadata(&key).unwrap().mtime());
    private_file(&key, &whole[..whole.len() / 2]);
    let found = owner.examined();
    assert_eq!(found.ids(), ["key-damaged", "key-missing"], "{}", found.finished);
    let named = commands(&found.findings()[0]);
    assert!(named[1].starts_with("countersign key restore ") && named[1].ends_with("keys.gpg"), "{named:?}");
    owner.mended_by(&named, &[]).nothing();
    assert_eq!(fs::read(&key).unwrap(), whole);
    assert_eq!(fs::metadata(&key).unwrap().mtime(), written, "the key is as old as it was");

    fs::remove_file(&key).unwrap();
    let found = owner.examined();
    let finding = found.only("key-missing");
    assert_eq!(finding["subject"], clinic.shop.gun());
    owner.mended_by(&commands(finding), &[]).nothing();
    clinic.shop.signed_by(owner, "v2", "two");
}

#[test]
fn keys_without_passphrase_with_a_wrong_name_twice_or_for_nothing() {
    let clinic = Clinic::open();
    let owner = super::notary_passphrases(clinic.owner.again()).env("COUNTERSIGN_NEW_PASSPHRASE", "a passphrase");
    let private = owner.trust_dir().join("private");
    let quiet = |ids: Vec<&str>| {
        let notes = ["passphrase-in-environment", "backup-never", "key-without-collection"];
        ids.into_iter().filter(|id| !notes.contains(id)).map(str::to_owned).collect::<Vec<_>>()
    };
    let (name, pem) = new_key("alice", None, Protection::None);
    private_file(&private.join(&name), pem);
    let found = owner.examined();
    assert_eq!(quiet(found.ids()), ["key-unencrypted"], "{}", found.finished);
    let finding = found.findings().iter().find(|finding| finding["id"] == "key-unencrypted").unwrap();
    let after = owner.mended_by(&commands(finding), &[]);
    assert_eq!(quiet(after.ids()), [""; 0], "{}", after.finished);
    fs::remove_file(private.join(&name)).unwrap();

    let key = clinic.key_file("targets");
    private_file(&private.join("my-key.key"), fs::read(&key).unwrap());
    clinic.owner.examined().only("key-misnamed");
    fs::remove_file(private.join("my-key.key")).unwrap();

    fs::create_dir(private.join("deep")).unwrap();
    fs::set_permissions(private.join("deep"), fs::Permissions::from_mode(0o700)).unwrap();
    private_file(&private.join("deep").join(key.file_name().unwrap()), fs::read(&key).unwrap());
    let found = clinic.owner.examined();
    clinic.owner.mended_by(&commands(found.only("key-duplicate")), &[]).nothing();
    fs::remove_dir_all(private.join("deep")).unwrap();

    let (name, pem) = new_key("targets", Some("gone.test/app"), Protection::Compatible(b"a passphrase"));
    private_file(&private.join(&name), pem);
    let found = owner.examined();
    let unused = found.findings().iter().find(|finding| finding["id"] == "key-without-collection").unwrap();
    assert!(unused["message"].as_str().unwrap().contains("gone.test/app"), "{unused}");
    let after = owner.mended_by(&commands(unused), &[]);
    assert!(!after.ids().contains(&"key-without-collection"), "{}", after.finished);
    assert!(!private.join(&name).exists());
}

#[test]
fn a_key_where_old_clients_put_it_is_moved_to_where_docker_looks() {
    let clinic = Clinic::open();
    let key = clinic.key_file("targets");
    let old = key.parent().unwrap().join("tuf_keys").join(clinic.shop.gun());
    let mut maker = fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(maker.recursive(true), 0o700).create(&old).unwrap();
    fs::rename(&key, old.join(key.file_name().unwrap())).unwrap();
    let found = clinic.owner.examined();
    let finding = found.only("key-legacy-place");
    clinic.owner.mended_by(&commands(finding), &[]).nothing();
    assert!(key.exists());
}

#[test]
fn a_key_older_than_the_policy_is_rotated() {
    let clinic = Clinic::open();
    let key = clinic.key_file("targets");
    written_days_ago(&key, 100);
    clinic.owner.examined().nothing();
    let found = clinic.owner.examined_with(&["--rotate-every", "90d"]);
    let finding = found.only("key-too-old");
    assert!(finding["message"].as_str().unwrap().contains("100 days"), "{finding}");
    assert_eq!(commands(finding), [format!("countersign key rotate {} targets", clinic.shop.gun())]);
    let after = clinic.owner.mended_by(&commands(finding), &["--rotate-every", "90d"]);
    assert_eq!(after.ids(), ["backup-never"], "the new key is in no backup yet: {}", after.finished);
    clinic.owner.run(&["verify", &clinic.shop.name("v1")]).succeeded();
}

#[test]
fn the_settings_say_how_old_keys_may_become() {
    let clinic = Clinic::open();
    written_days_ago(&clinic.key_file("targets"), 100);
    let config = clinic.owner.folder().join(".config/countersign");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "[keys]\nrotate-every = \"90d\"\n").unwrap();
    clinic.owner.examined().only("key-too-old");
    clinic.owner.examined_with(&["--rotate-every", "101d"]).nothing();
}

#[test]
fn keys_that_are_in_no_backup_or_have_changed_since() {
    let clinic = Clinic::open();
    let owner = &clinic.owner;
    let record = owner.folder().join(".local/state/countersign/backups.json");
    let written = fs::read(&record).unwrap();
    fs::write(&record, "{").unwrap();
    let found = owner.examined();
    let named = commands(found.only("backup-record-unusable"));
    let found = owner.mended_by(&named, &[]);
    assert_eq!(found.ids(), ["backup-never", "backup-never"], "{}", found.finished);
    let both: Vec<String> = found.findings().iter().flat_map(commands).collect();
    assert_eq!(both, ["countersign key backup --role root root-keys.gpg", "countersign key backup keys.gpg"]);
    owner.mended_by(&both, &[]).nothing();

    fs::write(&record, written).unwrap();
    let key = clinic.key_file("root");
    let later = SystemTime::now() + Duration::from_mins(1);
    fs::File::options().write(true).open(&key).unwrap().set_modified(later).unwrap();
    let found = owner.examined();
    let finding = found.only("backup-old");
    assert_eq!(commands(finding), ["countersign key backup --role root root-keys.gpg"]);
    written_days_ago(&key, 0);
    fs::remove_file(owner.folder().join("root-keys.gpg")).unwrap();
    owner.mended_by(&commands(finding), &[]).nothing();
}

#[test]
fn pins_that_do_not_match_are_for_nothing_or_are_wanted() {
    let clinic = Clinic::open();
    let (owner, gun) = (&clinic.owner, clinic.shop.gun());
    let id = {
        let shown = owner.run(&["trust", "show", &gun, "--format", "json"]).succeeded();
        let shown: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        shown["cachedRoot"]["keys"][0].as_str().unwrap().to_owned()
    };
    owner.run(&["pin", &gun, "--root-key", &"0".repeat(64)]).succeeded();
    for arguments in [[].as_slice(), &["--offline"]] {
        let found = owner.examined_with(arguments);
        let finding = found.only("pin-mismatch");
        assert!(finding["where"].as_str().unwrap().contains("pins.d"), "{finding}");
    }
    let named = commands(owner.examined().only("pin-mismatch")).join("\n").replace("ROOT_KEY_ID", &id);
    owner.mended_by(&[named], &[]).nothing();

    owner.run(&["pin", "gone.test/app", "--root-key", &"0".repeat(64)]).succeeded();
    let found = owner.examined();
    assert_eq!(found.only("pin-unused")["subject"], "gone.test/app");
    owner.mended_by(&commands(found.only("pin-unused")), &[]).nothing();

    owner.run(&["pin", "remove", &gun]).succeeded();
    let config = owner.folder().join(".config/countersign");
    fs::write(config.join("config.toml"), "first-use = \"deny\"\n").unwrap();
    let found = owner.examined();
    owner.mended_by(&commands(found.only("pin-none")), &[]).nothing();
    // Whoever has never seen the image learns what to do before.
    let reader = clinic.shop.client();
    fs::create_dir_all(reader.folder().join(".config/countersign")).unwrap();
    fs::write(reader.folder().join(".config/countersign/config.toml"), "first-use = \"deny\"\n").unwrap();
    let found = reader.examined_with(&[&gun]);
    let named = commands(found.only("first-use-denied")).join("\n").replace("ROOT_KEY_ID", &id);
    reader.mended_by(&[named], &[&gun]).nothing();
}
