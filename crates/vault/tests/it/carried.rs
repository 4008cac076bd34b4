//! Key files on their way from one trust directory to another.

use std::fs;

use countersign_vault::{CarriedKey, Differing, KeyStore, KeyStoreError, Presence, SkippedKeyReason};

use crate::keys::fixed;
use crate::{Scratch, files, mode};

const BASIC: &str = "notary-basic/trust";

fn carried(store: &KeyStore) -> Vec<CarriedKey> {
    store.list().unwrap().keys.iter().map(|key| store.carry(&key.id).unwrap()).collect()
}

#[test]
fn keys_are_carried_byte_for_byte_and_arrive_for_the_owner_alone() {
    let (from, to) = (Scratch::golden(BASIC), Scratch::new());
    let keys = carried(&from.trust().keys());
    assert!(keys.len() >= 3);
    let found = to.trust().keys().take_in(&keys, Differing::Refuse).unwrap();
    assert!(found.iter().all(|presence| *presence == Presence::Absent));
    for key in &keys {
        let path = to.path().join("private").join(key.file_name());
        assert_eq!(fs::read(&path).unwrap(), fs::read(from.path().join("private").join(key.file_name())).unwrap());
        assert_eq!(mode(&path), 0o600);
        assert!(key.modified().is_some() && key.is_encrypted());
    }
    let again = to.trust().keys().take_in(&keys, Differing::Refuse).unwrap();
    assert!(again.iter().all(|presence| *presence == Presence::Same));
}

#[test]
fn keys_of_old_clients_are_carried_in_the_present_layout() {
    for (set, passphrase) in [("compat-notary0.1", "randompass"), ("compat-notary0.3", "password")] {
        let (from, to, migrated) = (Scratch::golden(set), Scratch::new(), Scratch::golden(set));
        migrated.trust().keys().migrate().unwrap();
        let keys = carried(&from.trust().keys());
        to.trust().keys().take_in(&keys, Differing::Refuse).unwrap();
        for key in &keys {
            let name = format!("private/{}", key.file_name());
            assert_eq!(fs::read(to.path().join(&name)).unwrap(), fs::read(migrated.path().join(&name)).unwrap());
            assert_eq!(key.open(&fixed(passphrase)).unwrap().public_key().canonical_id(), key.id());
        }
        assert_eq!(from.trust().keys().take_in(&keys, Differing::Refuse).unwrap(), vec![Presence::Same; keys.len()]);
    }
}

#[test]
fn a_file_is_understood_by_its_place_as_in_the_store() {
    for set in ["compat-notary0.1", "compat-notary0.3", BASIC] {
        let from = Scratch::golden(set);
        let store = from.trust().keys();
        for entry in store.list().unwrap().keys {
            let below = entry.path.strip_prefix(from.path().join("private")).unwrap();
            let names: Vec<&str> = below.iter().map(|name| name.to_str().unwrap()).collect();
            let read = CarriedKey::read(&names, &fs::read(&entry.path).unwrap()).unwrap();
            assert!(read.is_same(&store.carry(&entry.id).unwrap()));
            assert_eq!((read.role(), read.gun()), (entry.role.as_str(), entry.gun.as_ref()));
        }
    }
    let key = CarriedKey::read(&["a.key"], b"");
    assert!(matches!(key, Err(SkippedKeyReason::Name)));
    assert!(matches!(CarriedKey::read(&[], b""), Err(SkippedKeyReason::Name)));
    let name = format!("{}.key", "a".repeat(64));
    assert!(matches!(CarriedKey::read(&[&name], b"x"), Err(SkippedKeyReason::Malformed(_))));
}

#[test]
fn another_file_under_the_id_is_never_replaced_and_stops_all_unless_ours_is_to_be_kept() {
    let (from, to) = (Scratch::golden(BASIC), Scratch::new());
    let keys = carried(&from.trust().keys());
    to.trust().keys().take_in(&keys[..1], Differing::Refuse).unwrap();
    let path = to.path().join("private").join(keys[0].file_name());
    for content in [&b"damaged"[..], keys[1].pem()] {
        fs::write(&path, content).unwrap();
        let before = files(&to.path().join("private"));
        let refused = to.trust().keys().take_in(&keys, Differing::Refuse);
        assert!(matches!(&refused, Err(KeyStoreError::Differs { ids }) if *ids == [keys[0].id()]), "{refused:?}");
        assert_eq!(files(&to.path().join("private")), before, "nothing else arrived either");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let found = to.trust().keys().take_in(&keys, Differing::KeepOurs).unwrap();
    assert_eq!(found[0], Presence::Differs);
    assert_eq!(fs::read(&path).unwrap(), keys[1].pem());
    assert_eq!(files(&to.path().join("private")).len(), keys.len());
}

#[test]
fn a_key_under_another_id_is_found_out_when_it_is_opened() {
    let from = Scratch::golden(BASIC);
    let keys = carried(&from.trust().keys());
    let root = keys.iter().find(|key| key.role() == "root").unwrap();
    let name = format!("{}.key", "a".repeat(64));
    let renamed = CarriedKey::read(&[&name], root.pem()).unwrap();
    let error = renamed.open(&fixed("golden-root-pass")).unwrap_err();
    assert!(matches!(error, KeyStoreError::OtherKey { actual, .. } if actual == root.id()), "{error}");
    assert!(matches!(root.open(&fixed("wrong")), Err(KeyStoreError::PassphraseInvalid { .. })));
    root.open(&fixed("golden-root-pass")).unwrap();
    assert!(!format!("{root:?}").contains("BEGIN"));
}
