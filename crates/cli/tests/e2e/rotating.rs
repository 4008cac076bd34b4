//! `countersign key rotate` and `key list`: what becomes of keys, who can still verify, and what is refused.

use crate::client::{Client, Ending, LOCAL, USER};
use crate::stage::Shop;
use countersign_testkit::{Finished, fixtures};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

fn json(finished: Finished) -> Value {
    let finished = finished.succeeded();
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error} in\n{finished}"))
}

/// The keys of a trust directory: role and id.
fn keys(client: &Client) -> Vec<(String, String)> {
    let listed = json(client.run(&["key", "list", "--format", "json"]));
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    listed.as_array().unwrap().iter().map(|key| (text(key, "role"), text(key, "id"))).collect()
}

fn key_of(client: &Client, role: &str) -> String {
    keys(client).into_iter().find(|(found, _)| found == role).unwrap_or_else(|| panic!("no {role} key")).1
}

/// The fates that a rotation tells: role, fate and id.
fn fates(rotated: &Value) -> Vec<(String, String, String)> {
    let text = |key: &Value, member: &str| key[member].as_str().unwrap().to_owned();
    let fate = |key: &Value| (text(key, "role"), text(key, "fate"), text(key, "id"));
    rotated["keys"].as_array().unwrap().iter().map(fate).collect()
}

fn rotate(client: &Client, gun: &str, arguments: &[&str]) -> Value {
    let rotated = json(client.run(&[&["key", "rotate", "--format", "json", "--yes", gun], arguments].concat()));
    for client in ["/newClient/verifies", "/oldClient/verifies"] {
        assert_eq!(rotated.pointer(client), Some(&true.into()), "{rotated}");
    }
    rotated
}

#[test]
fn every_role_gets_a_new_key_and_its_fate_is_told() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let (root, targets) = (key_of(&owner, "root"), key_of(&owner, "targets"));

    // The repository key is what is rotated where no role is named.
    let rotated = rotate(&owner, &shop.gun(), &[]);
    let new = key_of(&owner, "targets");
    let told = fates(&rotated);
    assert_eq!(told, [("targets".into(), "new".into(), new.clone()), ("targets".into(), "removed".into(), targets)]);
    assert_eq!(rotated["pin"], serde_json::json!([]));

    for role in ["snapshot", "timestamp"] {
        let rotated = rotate(&owner, &shop.gun(), &[role]);
        let told: Vec<String> = fates(&rotated).into_iter().map(|(_, fate, _)| fate).collect();
        assert_eq!(told, ["new-at-service", "not-here"], "{role}");
    }
    // The snapshot key here, and where it is when nothing is said about it, and back.
    let here = fates(&rotate(&owner, &shop.gun(), &["snapshot", "--local"]));
    assert_eq!((here[0].1.as_str(), here[0].2.clone()), ("new", key_of(&owner, "snapshot")));
    let again = fates(&rotate(&owner, &shop.gun(), &["snapshot"]));
    assert_eq!((again[0].1.as_str(), again[1].1.as_str(), again[1].2.clone()), ("new", "removed", here[0].2.clone()));
    let back = fates(&rotate(&owner, &shop.gun(), &["snapshot", "-r"]));
    assert_eq!((back[0].1.as_str(), back[1].1.as_str()), ("new-at-service", "removed"));

    let rotated = rotate(&owner, &shop.gun(), &["root"]);
    let told = fates(&rotated);
    assert_eq!(told[1], ("root".into(), "kept".into(), root));
    assert_eq!(rotated["pin"].as_array().unwrap().len(), 1);
    let renewed = rotate(&owner, &shop.gun(), &["root", "--root-certificate"]);
    assert_eq!(fates(&renewed), [("root".into(), "recertified".into(), told[0].2.clone())]);
    assert_ne!(renewed["pin"], rotated["pin"], "another certificate is pinned by another id");

    shop.signed_by(&owner, "v2", "two");
    for client in [&reader, &shop.client()] {
        client.run(&["verify", &shop.name("v1")]).succeeded();
        client.run(&["verify", &shop.name("v2")]).succeeded();
    }
}

#[test]
fn people_read_what_became_of_the_keys_and_what_to_do() {
    let shop = Shop::open();
    let owner = shop.client().env("COUNTERSIGN_BACKUP_PASSPHRASE", "the archive's own secret");
    shop.signed_by(&owner, "v1", "one");
    let old = key_of(&owner, "targets");
    owner.run(&["key", "backup", "keys.gpg"]).succeeded();
    let rotated = owner.run(&["key", "rotate", &shop.name("v1")]).succeeded();
    let new = key_of(&owner, "targets");
    let path = owner.trust_dir().join("private").join(format!("{new}.key"));
    let expected = format!(
        "Successfully rotated targets key for repository {}\n  targets key {new}: new {}\n  targets key {old}: old, removed\n\
         Verified as a client does that has never seen it, and as one does that knows the former state\n",
        shop.gun(),
        path.display()
    );
    assert_eq!(rotated.stdout, expected, "{rotated}");
    assert!(rotated.stderr.contains(&format!("countersign key backup FILE --key {new}")), "{rotated}");
    assert!(rotated.stderr.contains("still in the backup") && rotated.stderr.contains("keys.gpg"), "{rotated}");

    let rotated = owner.run(&["key", "rotate", "-y", &shop.gun(), "root"]).succeeded();
    assert!(rotated.stdout.contains("old, kept") && rotated.stdout.contains("to be pinned from now on"), "{rotated}");
    assert!(
        rotated.stderr.contains("countersign pin") && rotated.stderr.contains("countersign key remove "),
        "{rotated}"
    );
}

#[test]
fn what_cannot_be_rotated_is_refused_and_nothing_changes() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let before = (keys(&owner), std::fs::read(owner.metadata(&shop.gun()).join("root.json")).unwrap());
    let gun = shop.gun();
    let refuse = |arguments: &[&str], code, message: &str| {
        let arguments = [&["key", "rotate", gun.as_str()], arguments].concat();
        owner.run(&arguments).refused(code, message);
    };
    refuse(&["targets", "-r"], USER, "notary does not permit the server managing the targets key");
    refuse(&["root", "-r"], USER, "notary does not permit the server managing the root key");
    refuse(&["timestamp", "--local"], USER, "--local is for the snapshot key");
    refuse(&["timestamp", "--key-id", &"0".repeat(64)], USER, "notary does not permit the client managing");
    refuse(&["targets", "--key-id", &"0".repeat(64)], USER, "unable to find key");
    refuse(&["targets", "--key", "nothing"], USER, "nothing");
    refuse(&["targets", "--root-certificate"], USER, "--root-certificate is for the root key");
    refuse(&["targets", "--legacy", "1"], USER, "--legacy is for the root key");
    refuse(&["delegation"], USER, "delegation");
    refuse(&["targets", "--re-sign", "v1"], USER, "go with --compromised");
    // Nobody says yes.
    refuse(&["root"], USER, "nothing was rotated: not confirmed");
    owner.run(&["key", "rotate", &format!("{gun}@sha256:{}", "0".repeat(64))]).refused(USER, "without a digest");
    let stranger = shop.client();
    stranger.run(&["key", "rotate", &gun]).refused(LOCAL, "load the private key");
    let nothing = format!("{}/acme/none", shop.registry.host());
    stranger.run(&["key", "rotate", &nothing]).refused(crate::client::TRUST, "does not have trust data");
    assert_eq!(before, (keys(&owner), std::fs::read(owner.metadata(&gun).join("root.json")).unwrap()));
    shop.signed_by(&owner, "v2", "two");
    // Without the root key no key is made in vain.
    std::fs::remove_file(owner.trust_dir().join("private").join(format!("{}.key", key_of(&owner, "root")))).unwrap();
    let left = keys(&owner);
    owner.run(&["key", "rotate", &gun]).refused(LOCAL, "load the private key");
    std::fs::copy(fixtures::path("key-bundles/inputs/ec-p256.key"), owner.folder().join("ec.key")).unwrap();
    owner.run(&["key", "rotate", &gun, "--key", "ec.key"]).refused(LOCAL, "load the private key");
    assert_eq!(keys(&owner), left);
}

#[test]
fn a_rotation_takes_a_given_key_and_a_given_certificate() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let file = owner.folder().join("ec.key");
    std::fs::copy(fixtures::path("key-bundles/inputs/ec-p256.key"), &file).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let rotated = rotate(&owner, &shop.gun(), &["targets", "--key", "ec.key"]);
    assert_eq!(fates(&rotated)[0].2, "d1a92126e882dae7f39ea2c41c93e78cec5cfe521dfb71eb7d2a3256e3daced9");
    // A certificate of a key that is not here is of no use.
    let other = fixtures::path("key-bundles/inputs/ec-p256.key");
    let certificate = owner.folder().join("root.crt");
    let subject = format!("/CN={}", shop.gun().replace('/', "\\/"));
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-new",
            "-days",
            "30",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-subj",
            &subject,
            "-key",
        ])
        .arg(&other)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    owner
        .run(&["key", "rotate", "-y", &shop.gun(), "root", "--root-certificate=root.crt"])
        .refused(USER, "unable to find root key");
    shop.signed_by(&owner, "v2", "two");
}

#[test]
fn the_list_of_keys_tells_age_algorithm_certificate_and_backup() {
    let shop = Shop::open();
    let owner = shop.client().env("COUNTERSIGN_BACKUP_PASSPHRASE", "the archive's own secret");
    shop.signed_by(&owner, "v1", "one");
    owner.run(&["key", "generate", "alice"]).succeeded();
    owner.run(&["key", "backup", "keys.gpg", "--role", "targets"]).succeeded();
    let targets = owner.trust_dir().join("private").join(format!("{}.key", key_of(&owner, "targets")));
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(100 * 24 + 1);
    std::fs::File::options().append(true).open(&targets).unwrap().set_modified(long_ago).unwrap();

    let listed = json(owner.run(&["key", "list", "--format", "json"]));
    let row = |role: &str| listed.as_array().unwrap().iter().find(|key| key["role"] == role).unwrap().clone();
    let (root, repository, alice) = (row("root"), row("targets"), row("alice"));
    assert_eq!((&root["algorithm"], &root["ageDays"], &root["backup"]), (&"ecdsa".into(), &0.into(), &Value::Null));
    assert!(root["certificateUntil"].as_str().unwrap().starts_with("20"), "{root}");
    assert_eq!(root["uses"][0]["gun"], shop.gun(), "{root}");
    assert_eq!((&repository["ageDays"], &repository["kept"]), (&100.into(), &"file".into()), "{repository}");
    assert!(repository["backup"]["file"].as_str().unwrap().ends_with("keys.gpg"), "{repository}");
    assert_eq!((&repository["certificateUntil"], &repository["gun"]), (&Value::Null, &shop.gun().into()));
    // Nothing but the key itself tells what it is, and it is encrypted.
    assert_eq!(alice["algorithm"], Value::Null);
    let opened = json(owner.run(&["key", "list", "--open", "--format", "json"]));
    assert!(opened.as_array().unwrap().iter().all(|key| key["algorithm"] == "ecdsa"), "{opened}");

    let table = owner.run(&["key", "list"]).succeeded();
    let header: Vec<&str> =
        table.stdout.lines().next().unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(header, ["ROLE", "KEY ID", "COLLECTION", "ALGORITHM", "AGE", "CERTIFICATE UNTIL", "KEPT", "BACKUP"]);
    assert!(table.stdout.contains("100d") && table.stdout.contains("none known"), "{table}");
}

#[test]
fn two_rotations_at_once_leave_one_key_that_signs() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let rotate = || owner.command(&["key", "rotate", &shop.gun()]);
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let mut command = rotate();
            std::thread::spawn(move || Finished::of(&mut command, b""))
        })
        .collect();
    for ended in threads {
        ended.join().unwrap().succeeded();
    }
    assert_eq!(
        keys(&owner).iter().filter(|(role, _)| role == "targets").count(),
        1,
        "the others were replaced and removed"
    );
    shop.signed_by(&owner, "v2", "two");
    for client in [&reader, &shop.client()] {
        client.run(&["verify", &shop.name("v2")]).succeeded();
    }
}

#[test]
fn a_rotation_that_is_killed_leaves_the_old_key_or_the_new_one_and_can_be_made_again() {
    let shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v1", "one");
    for (round, role) in ["targets", "root", "snapshot"].iter().cycle().take(15).enumerate() {
        let mut command = owner.command(&["key", "rotate", "--yes", &shop.gun(), role]);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + 15 * u64::try_from(round).unwrap()));
        child.kill().unwrap();
        child.wait().unwrap();
        for client in [&reader, &shop.client()] {
            client.run(&["verify", &shop.name("v1")]).succeeded();
        }
    }
    rotate(&owner, &shop.gun(), &["targets"]);
    shop.signed_by(&owner, "v2", "two");
    reader.run(&["verify", &shop.name("v2")]).succeeded();
    // What was made for nothing is named, so that it can go.
    let again = owner.run(&["key", "rotate", &shop.gun()]).succeeded();
    let unused = keys(&owner).iter().filter(|(role, _)| role == "targets").count() - 1;
    assert_eq!(again.stdout.matches(": left over ").count(), unused, "{again}");
}

/// The guide's commands are understood; what they do is in the other tests.
#[test]
fn every_command_of_the_guide_is_one() {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/rotating-keys.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let client = Client::new().env("DOCKER_CONTENT_TRUST_SERVER", "https://127.0.0.1:1");
    let id = "0123456789abcdef".repeat(4);
    let mut commands = 0;
    for line in guide.lines().filter(|line| line.starts_with("countersign ")) {
        let line = line.split(" # ").next().unwrap();
        let line = line.replace("5c1b8e88…3b9df0", &id).replace("NEW-ID", &id).replace("OLD-KEY-ID", &id);
        let line = line.replace("IMAGE", "registry.example.com/acme/app").replace(":TAG", ":v1");
        let words: Vec<&str> = line.split_whitespace().skip(1).collect();
        let ended = client.run(&words);
        assert!(!ended.stderr.contains("Usage:") && !ended.stderr.contains("For more information"), "{line}: {ended}");
        commands += 1;
    }
    assert!(commands > 15, "{commands}");
}
