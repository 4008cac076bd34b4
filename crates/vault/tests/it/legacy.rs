//! Trust directories of notary 0.1 and 0.3.

use std::fs;

use countersign_crypto::KeyId;
use countersign_vault::KeyPlace;

use crate::keys::fixed;
use crate::reference::{notary, success};
use crate::{Scratch, files, fixture};

const SETS: [(&str, &str); 2] = [("compat-notary0.1", "randompass"), ("compat-notary0.3", "password")];

/// The rows of `key list` as (role, id).
fn expected_rows(set: &str) -> Vec<(String, String)> {
    let expect: serde_json::Value =
        serde_json::from_slice(&fs::read(fixture(set).join("expect.json")).unwrap()).unwrap();
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let rows = expect["key_list_prints"].as_str().unwrap().lines().skip(3).map(words);
    let mut rows: Vec<_> =
        rows.filter(|row| row.len() > 2).map(|row| (row[0].clone(), row[row.len() - 2].clone())).collect();
    rows.sort_by(|a, b| a.1.cmp(&b.1));
    rows
}

#[test]
fn old_keys_are_listed_and_opened_where_they_are() {
    for (set, passphrase) in SETS {
        let scratch = Scratch::golden(set);
        let before = files(&scratch.path());
        let store = scratch.trust().keys();
        assert!(store.needs_migration().unwrap());
        let listing = store.list().unwrap();
        assert_eq!(listing.skipped, []);
        let rows: Vec<_> = listing.keys.iter().map(|key| (key.role.clone(), key.id.to_string())).collect();
        assert_eq!(rows, expected_rows(set));
        for key in &listing.keys {
            assert_eq!(key.place, KeyPlace::Legacy);
            let of_collection = key.role == "targets" || key.role == "snapshot";
            assert_eq!(key.gun.is_some(), of_collection, "{key:?}");
            assert_eq!(store.load(&key.id, &fixed(passphrase)).unwrap().public_key().id(), key.id);
        }
        assert_eq!(files(&scratch.path()), before, "reading moves nothing");
    }
}

#[test]
fn migration_makes_the_very_files_that_notary_makes() {
    for (set, passphrase) in SETS {
        let (ours, theirs) = (Scratch::golden(set), Scratch::golden(set));
        fs::remove_file(ours.path().join("expect.json")).unwrap();
        fs::remove_file(theirs.path().join("expect.json")).unwrap();
        success(&notary(&theirs.path(), &["key", "list"], &[]));

        let store = ours.trust().keys();
        let report = store.migrate().unwrap();
        assert_eq!(report.kept, []);
        assert_eq!(report.moved.len(), expected_rows(set).len());
        assert!(!store.needs_migration().unwrap());
        assert_eq!(store.migrate().unwrap().moved, []);
        let names: Vec<_> = files(&ours.path()).into_iter().filter(|name| !name.starts_with(".countersign/")).collect();
        assert_eq!(names, files(&theirs.path()), "{set}");
        for name in names {
            let read = |scratch: &Scratch| String::from_utf8(fs::read(scratch.path().join(&name)).unwrap()).unwrap();
            assert_eq!(read(&ours), read(&theirs), "{set} {name}");
        }
        for key in store.list().unwrap().keys {
            assert_eq!(key.place, KeyPlace::Plain);
            store.load(&key.id, &fixed(passphrase)).unwrap();
        }
    }
}

#[test]
fn what_cannot_be_moved_is_kept_where_it_is() {
    let scratch = Scratch::golden("compat-notary0.3");
    let old = scratch.path().join("private/tuf_keys/docker.com/notary0.3/tst");
    let damaged = "041b64dab281324ef2b62fd2d04f4758269e120ff063b7bc78709272821a0a02.key";
    fs::write(old.join(damaged), "damaged").unwrap();
    fs::write(old.join("notes.txt"), "mine").unwrap();
    // A file that holds something else under the name that the root key would get.
    let root = "f4eaf871a74aa3b3a0ff95cef2455a1e4d461639f5625418e76756fc5c948690.key";
    let other = fs::read(fixture(
        "notary-basic/trust/private/fb87f3163f83d83dc4bb834f441e9e271b81b8f20daab0e0ca3e325b5e8aab9d.key",
    ));
    fs::write(scratch.path().join("private").join(root), other.unwrap()).unwrap();

    let report = scratch.trust().keys().migrate().unwrap();
    assert_eq!(report.moved.len(), 2);
    let kept: Vec<_> = report.kept.iter().map(|kept| kept.path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(kept.len(), 2);
    assert!(kept.contains(&damaged) && kept.contains(&root), "{kept:?}");
    let left: Vec<_> = files(&scratch.path().join("private")).into_iter().filter(|name| name.contains('/')).collect();
    assert_eq!(
        left,
        [
            format!("root_keys/{root}"),
            format!("tuf_keys/docker.com/notary0.3/tst/{damaged}"),
            "tuf_keys/docker.com/notary0.3/tst/notes.txt".to_owned(),
        ]
    );
}

#[test]
fn a_changed_passphrase_brings_an_old_key_to_the_present_layout() {
    let scratch = Scratch::golden("compat-notary0.1");
    let store = scratch.trust().keys();
    let id: KeyId = "7fc757801b9bab4ec9e35bfe7a6b61668ff6f4c81b5632af19e6c728ab799599".parse().unwrap();
    store.change_passphrase(&id, &fixed("randompass"), &fixed("another one")).unwrap();
    let entry = store.find(&id).unwrap().unwrap();
    assert_eq!((entry.place, entry.role.as_str()), (KeyPlace::Plain, "targets"));
    assert_eq!(entry.gun.unwrap().as_str(), "docker.com/notary0.1/samplerepo");
    scratch.trust().keys().load(&id, &fixed("another one")).unwrap();
    assert_eq!(store.list().unwrap().skipped, [], "the old file is gone");
}

#[test]
fn an_old_key_can_be_removed() {
    let scratch = Scratch::golden("compat-notary0.1");
    let store = scratch.trust().keys();
    for key in store.list().unwrap().keys {
        store.remove(&key.id).unwrap();
    }
    assert_eq!(store.list().unwrap().keys, []);
}
