//! The real notary (0.7) and docker read what is written here.

use std::path::Path;
use std::process::{Command, Output};

use countersign_crypto::{Algorithm, KeyId, PrivateKey};
use countersign_vault::{CacheUpdate, EnvironmentPassphrases, KeyLabel, KeySelection};
use jiff::Timestamp;

use crate::keys::fixed;
use crate::{Scratch, files, fixture, gun, role};

/// Runs notary in a trust directory with nothing but these variables; no server answers.
pub(crate) fn notary(trust: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("notary");
    command.arg("-d").arg(trust).args(["-s", "http://127.0.0.1:1"]).args(arguments);
    command.env_clear().env("HOME", trust.join("..")).envs(variables.iter().copied());
    command.stdin(std::process::Stdio::null());
    command.output().expect("the tests need the notary client")
}

pub(crate) fn success(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

const OLD_GUN: &str = "docker.com/notary0.1/samplerepo";

/// Commits the cache of a collection whose metadata do not expire for a century.
fn with_old_collection() -> Scratch {
    let scratch = Scratch::new();
    let metadata = fixture("compat-notary0.1/tuf").join(OLD_GUN).join("metadata");
    let update = files(&metadata).iter().fold(CacheUpdate::new(), |update, name| {
        let bytes = std::fs::read(metadata.join(name)).unwrap();
        update.store(role(name.strip_suffix(".json").unwrap()), bytes)
    });
    scratch.collection(OLD_GUN).lock().unwrap().commit(update.seen(b"not for notary".to_vec())).unwrap();
    scratch
}

#[test]
fn notary_verifies_the_cache_and_ignores_the_record_of_versions() {
    let scratch = with_old_collection();
    let list = success(&notary(&scratch.path(), &["list", OLD_GUN], &[]));
    assert!(list.contains("LICENSE"), "{list}");
    assert_eq!(scratch.collection(OLD_GUN).read_seen().unwrap().unwrap(), b"not for notary");
}

#[test]
fn notary_sees_staged_changes_in_order() {
    let scratch = with_old_collection();
    let change = |path: &str| {
        let data = "eyJsZW5ndGgiOjAsImhhc2hlcyI6e319";
        format!(r#"{{"action":"create","role":"targets","type":"target","path":"{path}","data":"{data}"}}"#)
            .into_bytes()
    };
    let locked = scratch.collection(OLD_GUN).lock().unwrap();
    locked.stage(Timestamp::UNIX_EPOCH, &[change("zebra"), change("ant")]).unwrap();
    let status = success(&notary(&scratch.path(), &["status", OLD_GUN], &[]));
    let (zebra, ant) = (status.find("zebra").unwrap(), status.find("ant").unwrap());
    assert!(zebra < ant && status.matches("create").count() == 2, "{status}");

    success(&notary(&scratch.path(), &["reset", OLD_GUN, "-n", "0"], &[]));
    let left = locked.changes().unwrap().staged;
    assert_eq!(left.iter().map(|change| change.bytes.clone()).collect::<Vec<_>>(), [change("ant")]);
}

#[test]
fn notary_deletes_the_collection_with_all_that_belongs_to_it() {
    let scratch = with_old_collection();
    success(&notary(&scratch.path(), &["delete", OLD_GUN], &[]));
    assert!(!scratch.collection(OLD_GUN).has_any().unwrap());
}

/// Runs docker with its configuration in a directory; nothing is asked, nothing is reached.
fn docker(config: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new("docker");
    command.args(arguments).env_clear().env("HOME", config).env("DOCKER_CONFIG", config).current_dir(config);
    command.envs(variables.iter().copied()).stdin(std::process::Stdio::null());
    command.output().expect("the tests need the docker client")
}

#[test]
fn notary_lists_opens_and_reseals_the_keys_written_here() {
    let scratch = Scratch::new();
    let store = scratch.trust().keys();
    let collection = gun("h:5000/team/app");
    for (role, algorithm) in [
        ("root", Algorithm::EcdsaP256),
        ("targets", Algorithm::EcdsaP256),
        ("snapshot", Algorithm::Ed25519),
        ("targets/releases", Algorithm::Rsa { bits: 2048 }),
        ("alice", Algorithm::EcdsaP384),
    ] {
        let key = PrivateKey::generate(algorithm).unwrap();
        store.add(&key, &KeyLabel::new(role, Some(&collection)).unwrap(), &fixed("a new passphrase")).unwrap();
    }
    let keys = store.list().unwrap().keys;
    let list = success(&notary(&scratch.path(), &["key", "list"], &[]));
    for key in &keys {
        let row = list.lines().find(|line| line.contains(&key.id.to_string())).unwrap_or_else(|| panic!("{list}"));
        assert!(row.starts_with(&key.role), "{row}");
        assert_eq!(row.contains(collection.as_str()), key.gun.is_some(), "{row}");
    }
    assert_eq!(list.matches("private").count(), keys.len(), "{list}");

    let right = ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"].map(|role| format!("NOTARY_{role}_PASSPHRASE"));
    for key in &keys {
        let before = std::fs::read(&key.path).unwrap();
        let id = key.id.to_string();
        let wrong = right.each_ref().map(|name| (name.as_str(), "wrong passphrase"));
        assert!(!notary(&scratch.path(), &["key", "passwd", &id], &wrong).status.success());
        let right = right.each_ref().map(|name| (name.as_str(), "a new passphrase"));
        success(&notary(&scratch.path(), &["key", "passwd", &id], &right));
        assert_ne!(std::fs::read(&key.path).unwrap(), before, "notary decrypted and encrypted it again");
        let fresh = scratch.trust().keys();
        assert_eq!(fresh.load(&key.id, &fixed("a new passphrase")).unwrap().public_key().id(), key.id);
        // It is written anew, perhaps in another second.
        let mut found = fresh.find(&key.id).unwrap().unwrap();
        found.modified = key.modified;
        assert_eq!(found, *key);
    }
}

#[test]
fn bundles_go_both_ways_between_notary_and_here() {
    let ours = Scratch::golden("notary-basic/trust");
    let exported = ours.trust().keys().export(&KeySelection::All).unwrap();
    let file = ours.directory.path().join("bundle.pem");
    std::fs::write(&file, &exported.pem).unwrap();

    let theirs = Scratch::new();
    theirs.trust();
    success(&notary(&theirs.path(), &["key", "import", file.to_str().unwrap()], &[]));
    let golden = fixture("notary-basic/trust/private");
    assert_eq!(files(&theirs.path().join("private")), files(&golden));
    for name in files(&golden) {
        let read = |folder: &Path| std::fs::read_to_string(folder.join(&name)).unwrap();
        assert_eq!(read(&theirs.path().join("private")), read(&golden));
    }
    let back = success(&notary(&theirs.path(), &["key", "export"], &[]));
    assert_eq!(back.as_bytes(), exported.pem.as_slice());
}

#[test]
fn docker_and_this_store_share_a_directory() {
    let scratch = Scratch::new();
    let config = scratch.directory.path();
    let passphrase = [("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", "a new passphrase")];
    success(&docker(config, &["trust", "key", "generate", "alice"], &passphrase));
    let store = scratch.trust().keys();
    let [alice] = store.list().unwrap().keys.try_into().unwrap();
    assert_eq!((alice.role.as_str(), &alice.gun), ("alice", &None));
    let environment =
        move |name: &str| passphrase.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
    store.load(&alice.id, &EnvironmentPassphrases::docker(environment)).unwrap();

    // An export of ours goes into another docker's directory.
    let other = Scratch::new();
    let file = other.directory.path().join("alice.pem");
    let exported = store.export(&KeySelection::All).unwrap();
    std::fs::write(&file, exported.pem).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    success(&docker(other.directory.path(), &["trust", "key", "load", "alice.pem"], &passphrase));
    other.trust().keys().load(&alice.id, &fixed("a new passphrase")).unwrap();
}

#[test]
fn notary_is_not_disturbed_by_locks_and_litter() {
    let scratch = Scratch::golden("notary-basic/trust");
    let store = scratch.trust().keys();
    store.remove(&KeyId::from_bytes([0; 32])).unwrap();
    let litter = scratch.path().join("private/.countersign-0.tmp");
    std::fs::write(&litter, "half a key").unwrap();
    let held = scratch.collection("golden.test/notary/basic").lock().unwrap();
    let list = success(&notary(&scratch.path(), &["key", "list"], &[]));
    assert_eq!(list.matches("private").count(), 3, "{list}");
    success(&notary(&scratch.path(), &["status", "golden.test/notary/basic"], &[]));
    assert!(held.lock_path().exists());

    let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    store.add(&key, &KeyLabel::root(), &fixed("a new passphrase")).unwrap();
    assert!(!litter.exists(), "the next writer sweeps what a crash left");
}
