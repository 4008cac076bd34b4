//! The publisher: rotations of keys.

use crate::house::*;
use crate::workshop::*;
use countersign_tuf::accept::Refusal;
use countersign_tuf::editor::{EditError, Editor, PublicationError};
use countersign_tuf::{Change, RoleName, SigningError, TrustedKeys};
use serde_json::Value;
use std::collections::BTreeMap;

#[test]
fn a_root_rotation_is_signed_by_old_and_new_keys_and_old_clients_follow() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let mut client = Client::new(GUN);
    client.update(&house.service()).unwrap();
    let mut holder = owner.signers.clone();
    for rotation in 2..5 {
        let new = Key::root();
        holder = holder.with(&new);
        let replace = Change::ReplaceKeys { role: RoleName::Root, keys: vec![new.public.clone()] };
        let publication = change(&mut house, &holder, &[replace]).unwrap();
        let root: Value = serde_json::from_slice(&publication.parts[&RoleName::Root]).unwrap();
        assert_eq!(root["signatures"].as_array().unwrap().len(), 2);
        let certificates = root["signed"]["keys"].as_object().unwrap().values();
        let count = certificates.filter(|key| key["keytype"] == "ecdsa-x509").count();
        assert_eq!(count, rotation, "former certificates stay");
    }
    assert_eq!(client.update(&house.service()).unwrap().root().version.get(), 4);
    house.read();
}

#[test]
fn a_root_rotation_without_the_old_or_the_new_key_is_not_published() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let new = Key::root();
    let replace = [Change::ReplaceKeys { role: RoleName::Root, keys: vec![new.public.clone()] }];
    assert_eq!(missing_keys(change(&mut house, &owner.signers, &replace)), RoleName::Root);
    let only_new = owner.signers.clone().without(&owner.root).with(&new);
    assert_eq!(missing_keys(change(&mut house, &only_new, &replace)), RoleName::Root);
    // A certificate for another name would lock everybody out.
    let foreign = Key::new().certified("registry.test/other");
    let replace = [Change::ReplaceKeys { role: RoleName::Root, keys: vec![foreign.public.clone()] }];
    let outcome = change(&mut house, &owner.signers.clone().with(&foreign), &replace);
    assert!(matches!(outcome, Err(PublicationError::Signing(SigningError::Unacceptable { .. }))));
    let invalid = [
        Change::ReplaceKeys { role: RoleName::Root, keys: Vec::new() },
        Change::ReplaceKeys { role: role("targets/a"), keys: vec![new.public.clone()] },
    ];
    for invalid in invalid {
        assert!(matches!(edit_error(change(&mut house, &owner.signers, &[invalid])), EditError::InvalidRole { .. }));
    }
}

#[test]
fn rotated_roles_are_signed_anew_and_their_former_keys_forgotten() {
    let owner = Owner::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[add("targets", "v1", "x")]).unwrap();
    let targets = Key::new();
    let signers = owner.signers.clone().with(&targets);
    let replace = Change::ReplaceKeys { role: RoleName::Targets, keys: vec![targets.public.clone()] };
    let publication = change(&mut house, &signers, &[replace]).unwrap();
    assert_eq!(publication.parts.keys().collect::<Vec<_>>(), [&RoleName::Root, &RoleName::Targets]);
    assert!(!house.payload("root").to_string().contains(&owner.targets.id()));
    assert!(holds(&house.read(), "v1", "x"));
    assert_eq!(missing_keys(change(&mut house, &owner.signers, &[add("targets", "v2", "x")])), RoleName::Targets);

    // The snapshot key comes home, and goes back.
    let own = Key::new();
    let signers = signers.with(&own);
    let replace = Change::ReplaceKeys { role: RoleName::Snapshot, keys: vec![own.public.clone()] };
    let publication = change(&mut house, &signers, &[replace]).unwrap();
    assert!(publication.parts.contains_key(&RoleName::Snapshot));
    house.read();
    let served = Key::new();
    house.signers = house.signers.clone().with(&served);
    let replace = Change::ReplaceKeys { role: RoleName::Snapshot, keys: vec![served.public.clone()] };
    let publication = change(&mut house, &signers, &[replace]).unwrap();
    assert_eq!(publication.parts.keys().collect::<Vec<_>>(), [&RoleName::Root]);
    assert!(holds(&house.read(), "v1", "x"));
}

/// Attack catalogue A15-274: a rotation that got stuck can be made again, with another key.
#[test]
fn an_interrupted_rotation_is_repeatable_and_the_collection_stays_readable() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let (first, second) = (Key::new(), Key::new());
    let replace = |key: &Key| Change::ReplaceKeys { role: RoleName::Timestamp, keys: vec![key.public.clone()] };
    // The service made the key and lost it before the root came.
    let mut editor = Editor::of(&house.read(), now());
    editor.apply(&replace(&first)).unwrap();
    let publication = editor.publication(&owner.signers, &nobody()).unwrap();
    assert!(matches!(house.publish(&publication), Err(Refusal::BadRoot(_))));
    house.read();
    house.signers = house.signers.clone().with(&second);
    change(&mut house, &owner.signers, &[replace(&second)]).unwrap();
    house.read();
}

#[test]
fn a_root_near_its_expiry_is_renewed_and_former_keys_sign_where_they_are_wanted() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let mut near = house.payload("root");
    near["expires"] = "2027-05-22T11:59:59Z".into();
    near["version"] = 2.into();
    house.upload(BTreeMap::from([(RoleName::Root, seal(&near, std::slice::from_ref(&owner.root)))])).unwrap();
    // Whoever has no root key is not stopped by it.
    let signers = owner.signers.clone().without(&owner.root);
    let publication = change(&mut house, &signers, &[add("targets", "v0", "x")]).unwrap();
    assert_eq!(publication.parts.keys().collect::<Vec<_>>(), [&RoleName::Targets]);
    assert!(Editor::of(&house.read(), now()).nears_expiry());
    let publication = change(&mut house, &owner.signers, &[add("targets", "v1", "x")]).unwrap();
    assert_eq!(publication.parts.keys().collect::<Vec<_>>(), [&RoleName::Root, &RoleName::Targets]);
    assert_eq!(house.payload("root")["version"], 3);
    assert!(!Editor::of(&house.read(), now()).nears_expiry());

    let new = Key::root();
    let signers = owner.signers.clone().with(&new);
    change(&mut house, &signers, &[Change::ReplaceKeys { role: RoleName::Root, keys: vec![new.public.clone()] }])
        .unwrap();
    let stranger = Key::root();
    let legacy = TrustedKeys::of(&RoleName::Root, [owner.root.public.clone(), stranger.public], 1);
    let editor = Editor::of(&house.read(), now());
    let publication = editor.publication(&signers, &legacy).unwrap();
    let root: Value = serde_json::from_slice(&publication.parts[&RoleName::Root]).unwrap();
    let ids: Vec<&str> = root["signatures"].as_array().unwrap().iter().map(|s| s["keyid"].as_str().unwrap()).collect();
    assert_eq!(ids, [new.id(), owner.root.id()], "those at hand, the present one first");
    house.publish(&publication).unwrap();
    house.read();
}
