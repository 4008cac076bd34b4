//! Our archives, read by the real gpg and tar.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use countersign_backup::{Backup, BackupError, Container, Contents, Existing, Proven};
use countersign_crypto::{Algorithm, SystemRandom};
use countersign_testkit::Gpg;
use countersign_vault::{KeyStoreError, TrustDirectory};
use proptest::prelude::*;

use crate::{ARCHIVE, Fixed, KEYS, Scratch, now, opened, passphrase};

/// What a person does on a machine without Countersign: `gpg --decrypt FILE | tar xz -C ~/.docker`.
fn unpack(gpg: &Gpg, file: &Path, into: &Path) {
    let tar_gz = gpg.decrypt(ARCHIVE, &fs::read(file).unwrap());
    fs::create_dir_all(into).unwrap();
    let mut tar = Command::new("tar").args(["xz", "-C"]).arg(into).stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut tar.stdin.take().unwrap(), &tar_gz).unwrap();
    assert!(tar.wait().unwrap().success());
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn gpg_and_tar_restore_a_backup_where_docker_looks() {
    let (scratch, gpg) = (Scratch::with_keys(), Gpg::new());
    let written = scratch.back_up("keys.tar.gz.gpg").unwrap();
    let file = scratch.path().join("keys.tar.gz.gpg");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(scratch.names(), ["keys.tar.gz.gpg", "trust"], "nothing else is left");
    let docker = scratch.path().join("elsewhere/.docker");
    unpack(&gpg, &file, &docker);
    assert_eq!(files(&docker.join("trust/private")), files(&scratch.path().join("trust/private")));
    assert_eq!((mode(&docker.join("trust")), mode(&docker.join("trust/private"))), (0o700, 0o700));
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(docker.join("trust/countersign-backup.json")).unwrap()).unwrap();
    assert_eq!(manifest["created"], "2026-03-04T05:06:07Z");
    assert_eq!(manifest["keys"].as_array().unwrap().len(), 4);
    for key in manifest["keys"].as_array().unwrap() {
        let path = docker.join(key["file"].as_str().unwrap());
        assert_eq!(mode(&path), 0o600);
        assert!(key["encrypted"].as_bool().unwrap() && key["modified"].is_string(), "{key}");
    }
    assert_eq!(written.manifest.keys.len(), 4);
}

#[test]
fn gpg_says_that_the_message_is_as_strong_as_it_gets() {
    let (scratch, gpg) = (Scratch::with_keys(), Gpg::new());
    scratch.back_up("a").unwrap();
    let listed = gpg.run(ARCHIVE, &["--list-packets"], &fs::read(scratch.path().join("a")).unwrap());
    let (packets, remarks) = (String::from_utf8_lossy(&listed.stdout), String::from_utf8_lossy(&listed.stderr));
    // AES-256 is 9, SHA-512 is 10; the count is the greatest that can be written.
    assert!(packets.contains("symkey enc packet: version 4, cipher 9"), "{packets}");
    assert!(packets.contains("s2k 3, hash 10"), "{packets}");
    assert!(packets.contains("count 65011712 (255)"), "{packets}");
    assert!(packets.contains("mdc_method: 2"), "{packets}");
    assert!(packets.contains("name=\"\""), "{packets}");
    assert!(!remarks.contains("WARNING"), "{remarks}");
}

/// Algorithms by number; RSA takes too long to make.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::EcdsaP256, Algorithm::EcdsaP384, Algorithm::Ed25519];

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_set_of_keys_comes_back_through_gpg_and_tar_and_through_restore(
        set in proptest::collection::vec((0_usize..3, 0_usize..5, "[a-z]{1,8}(/[a-z0-9]{1,9}){1,2}"), 1..6),
        secret in "\\PC{1,40}",
    ) {
        let (scratch, gpg) = (Scratch::new(), Gpg::new());
        for (algorithm, role, gun) in &set {
            let role = ["root", "targets", "snapshot", "targets/releases", "ops team"][*role];
            scratch.add(ALGORITHMS[*algorithm], role, Some(gun));
        }
        let (keys, file) = (scratch.keys(), scratch.path().join("backup"));
        // gpg takes the first line of a file for the passphrase.
        let secret = secret.trim();
        prop_assume!(!secret.is_empty());
        let secret = passphrase(secret);
        let backup =
            Backup { file: &file, existing: Existing::Refuse, keys: &keys, passphrase: &secret, now: now() };
        backup.prove(&mut SystemRandom, &opened).and_then(Proven::publish).unwrap();

        let text = std::str::from_utf8(secret.bytes()).unwrap();
        let tar_gz = gpg.decrypt(text, &fs::read(&file).unwrap());
        let docker = scratch.path().join("docker");
        fs::create_dir(&docker).unwrap();
        let archive = scratch.path().join("x.tar.gz");
        fs::write(&archive, tar_gz).unwrap();
        prop_assert!(Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(&docker).status().unwrap().success());
        prop_assert_eq!(files(&docker.join("trust/private")), files(&scratch.path().join("trust/private")));
        let unpacked = TrustDirectory::open(docker.join("trust")).unwrap().keys();
        let Container::Locked(locked) = Container::read(&fs::read(&file).unwrap()).unwrap() else {
            return Err(TestCaseError::fail("not locked"));
        };
        let contents = Contents::read(&locked.open(&secret).unwrap()).unwrap();
        prop_assert_eq!(contents.keys.len(), keys.len());
        for key in &keys {
            prop_assert_eq!(unpacked.load(&key.id(), &Fixed(KEYS)).unwrap().public_key().canonical_id(), key.id());
            let back = contents.key(key.id()).unwrap();
            prop_assert_eq!((back.pem(), back.role(), back.gun()), (key.pem(), key.role(), key.gun()));
        }
        prop_assert_eq!(contents.left_out, vec![]);
    }
}

#[test]
fn a_file_that_is_there_stays_unless_it_is_to_be_replaced() {
    let scratch = Scratch::with_keys();
    let keys = scratch.keys();
    let secret = passphrase(ARCHIVE);
    let file = scratch.path().join("there");
    fs::write(&file, "precious").unwrap();
    let write = |file: &Path, existing| {
        let backup = Backup { file, existing, keys: &keys, passphrase: &secret, now: now() };
        backup.prove(&mut SystemRandom, &opened).and_then(Proven::publish)
    };
    assert!(matches!(write(&file, Existing::Refuse), Err(BackupError::Exists { .. })));
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    let dangling = scratch.path().join("link");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    assert!(matches!(write(&dangling, Existing::Refuse), Err(BackupError::Exists { .. })));
    assert!(matches!(write(&dangling, Existing::Replace), Err(BackupError::Io { .. })), "a link is not followed");
    assert!(matches!(write(scratch.path(), Existing::Replace), Err(BackupError::Io { .. })));
    write(&file, Existing::Replace).unwrap();
    assert!(Container::read(&fs::read(&file).unwrap()).is_ok());
    assert_eq!(mode(&file), 0o600);
    assert!(matches!(write(&scratch.path().join("no/such/folder"), Existing::Refuse), Err(BackupError::Io { .. })));
    assert_eq!(scratch.names(), ["link", "there", "trust"]);
}

#[test]
fn a_backup_whose_keys_cannot_be_opened_is_thrown_away() {
    let scratch = Scratch::with_keys();
    let (keys, secret) = (scratch.keys(), passphrase(ARCHIVE));
    let file = scratch.path().join("backup");
    fs::write(&file, "the last good one").unwrap();
    let backup = Backup { file: &file, existing: Existing::Replace, keys: &keys, passphrase: &secret, now: now() };
    let wrong = |key: &countersign_vault::CarriedKey| key.open(&Fixed("wrong")).map(drop);
    let error = backup.prove(&mut SystemRandom, &wrong).and_then(Proven::publish).unwrap_err();
    let BackupError::Key { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, KeyStoreError::PassphraseInvalid { .. }), "{error}");
    assert_eq!(fs::read(&file).unwrap(), b"the last good one");
    assert_eq!(scratch.names(), ["backup", "trust"]);
    // A key file under another key's name.
    let renamed = countersign_vault::CarriedKey::read(&[&keys[0].file_name()], keys[1].pem()).unwrap();
    let backup = Backup { keys: &[renamed], ..backup };
    let error = backup.prove(&mut SystemRandom, &opened).and_then(Proven::publish).unwrap_err();
    let BackupError::Key { source, .. } = &error else { panic!("{error}") };
    assert!(matches!(**source, KeyStoreError::OtherKey { .. }), "{error}");
    let backup = Backup { keys: &[], ..backup };
    assert!(matches!(backup.prove(&mut SystemRandom, &opened).and_then(Proven::publish), Err(BackupError::NoKeys)));
}
