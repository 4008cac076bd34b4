//! The publisher: delegations.

use crate::house::*;
use crate::workshop::*;
use bytes::Bytes;
use countersign_crypto::{Algorithm, PublicKey};
use countersign_tuf::accept::Refusal;
use countersign_tuf::editor::{EditError, Editor, Effect};
use countersign_tuf::{Change, DelegationEdit, LookupError, RoleName};
use serde_json::{Value, json};

#[test]
fn delegations_are_created_merged_and_changed() {
    let owner = Owner::new();
    let (one, two) = (Key::new(), Key::of(Algorithm::EcdsaP384));
    let mut house = owner.publish();
    let described = |house: &House| {
        let payload = house.payload("targets");
        let role = &payload["delegations"]["roles"][0];
        (role["keyids"].clone(), role["paths"].clone(), payload["delegations"]["keys"].as_object().unwrap().len())
    };
    // Keys twice, paths twice, in one document and in two.
    change(&mut house, &owner.signers, &[create("targets/a", &[&one, &one], &["a", "a", "b"])]).unwrap();
    assert_eq!(described(&house), (json!([one.id()]), json!(["a", "b"]), 1));
    change(&mut house, &owner.signers, &[create("targets/a", &[&two, &one, &two], &["b", "c"])]).unwrap();
    assert_eq!(described(&house), (json!([one.id(), two.id()]), json!(["a", "b", "c"]), 2));
    let mut editor = Editor::of(&house.read(), now());
    assert_eq!(editor.apply(&create("targets/a", &[&two], &["b"])), Ok(Effect::Nothing));

    let edit = DelegationEdit {
        remove_keys: vec![canonical_id(&one), Key::new().public.canonical_id()],
        remove_paths: vec!["a".into(), "none".into()],
        ..DelegationEdit::default()
    };
    change(&mut house, &owner.signers, &[update("targets/a", edit)]).unwrap();
    assert_eq!(described(&house), (json!([two.id()]), json!(["b", "c"]), 1), "unused keys are dropped");
    let edit = DelegationEdit { clear_paths: true, add_paths: vec!["x".into()], ..DelegationEdit::default() };
    change(&mut house, &owner.signers, &[update("targets/a", edit)]).unwrap();
    assert_eq!(described(&house).1, json!(["x"]));
    // Removed and added at once: it is there afterwards, as with the reference.
    let edit = DelegationEdit {
        remove_keys: vec![canonical_id(&two)],
        add_keys: vec![two.public.clone()],
        ..DelegationEdit::default()
    };
    let mut editor = Editor::of(&house.read(), now());
    assert_eq!(editor.apply(&update("targets/a", edit)), Ok(Effect::Nothing));
    // Fewer keys than the threshold is legal; the role is unusable.
    let edit = DelegationEdit { remove_keys: vec![canonical_id(&two)], ..DelegationEdit::default() };
    change(&mut house, &owner.signers, &[update("targets/a", edit)]).unwrap();
    assert_eq!(
        missing_keys(change(&mut house, &Signers::of([&two]), &[add("targets/a", "x", "y")])),
        role("targets/a")
    );
}

#[test]
fn certificates_are_removed_by_the_canonical_id_of_their_key() {
    let owner = Owner::new();
    let key = Key::new();
    let certified = key.certified("somebody");
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/a", &[&certified], &[""])]).unwrap();
    change(&mut house, &Signers::of([&key]), &[add("targets/a", "v", "x")]).unwrap();
    assert!(holds(&house.read(), "v", "x"));
    let edit = DelegationEdit { remove_keys: vec![canonical_id(&key)], ..DelegationEdit::default() };
    change(&mut house, &owner.signers, &[update("targets/a", edit)]).unwrap();
    assert_eq!(house.payload("targets")["delegations"]["keys"], json!({}));
}

#[test]
fn delegations_that_cannot_be_are_refused() {
    let owner = Owner::new();
    let key = Key::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/a", &[&key], &["a"])]).unwrap();
    let mut error = |change_: Change| edit_error(change(&mut house, &owner.signers, &[change_]));
    let paths_only = DelegationEdit { add_paths: vec!["x".into()], ..DelegationEdit::default() };
    let created = Change::CreateDelegation { role: role("targets/new"), edit: paths_only.clone() };
    assert_eq!(error(created).to_string(), "tuf: invalid role targets/new. insufficient threshold");
    assert_eq!(error(update("targets/new", paths_only)), EditError::UnknownRole(role("targets/new")));
    assert_eq!(
        error(Change::DeleteDelegation { role: role("targets/new") }),
        EditError::UnknownRole(role("targets/new"))
    );
    assert_eq!(error(create("targets/none/b", &[&key], &[])), EditError::UnknownRole(role("targets/none")));
    let outside = error(create("targets/a/b", &[&key], &["a1", "b"]));
    assert_eq!(outside.to_string(), "tuf: invalid role targets/a/b. invalid paths to add to role");
    for base in RoleName::BASE {
        let edit = keys_and_paths(&[&key], &[""]);
        assert!(matches!(error(Change::CreateDelegation { role: base.clone(), edit }), EditError::InvalidRole { .. }));
        assert!(matches!(error(Change::DeleteDelegation { role: base }), EditError::InvalidRole { .. }));
    }
    // Attack catalogue A15-272.
    let unusable = PublicKey::new(countersign_crypto::KeyType::Rsa, b"nonsense".to_vec());
    let edit = DelegationEdit { threshold: Some(1), add_keys: vec![unusable], ..DelegationEdit::default() };
    let with_unusable = Change::CreateDelegation { role: role("targets/new"), edit };
    assert!(matches!(error(with_unusable), EditError::UnusableKey { .. }));
}

#[test]
fn a_delegation_below_a_delegation_makes_its_parent_s_file() {
    let owner = Owner::new();
    let (upper, lower) = (Key::new(), Key::new());
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/a", &[&upper], &["a"])]).unwrap();
    assert!(!house.files.contains_key(&role("targets/a")));
    let below = [create("targets/a/b", &[&lower], &["ab"])];
    assert_eq!(missing_keys(change(&mut house, &owner.signers, &below)), role("targets/a"));
    change(&mut house, &Signers::of([&upper]), &below).unwrap();
    assert_eq!(version(&house.files[&role("targets/a")]), 1);
    change(&mut house, &Signers::of([&lower]), &[add("targets/a/b", "abc", "x")]).unwrap();
    assert!(holds(&house.read(), "abc", "x"));
    let error = edit_error(change(&mut house, &Signers::of([&lower]), &[add("targets/a/b", "ac", "x")]));
    assert_eq!(error, EditError::PathNotAllowed { role: role("targets/a/b"), name: "ac".into() });
}

#[test]
fn delegations_are_deleted_first_middle_and_last() {
    let owner = Owner::new();
    let key = Key::new();
    let mut house = owner.publish();
    let names = ["targets/a", "targets/b", "targets/c", "targets/d"];
    let all: Vec<Change> = names.iter().map(|name| create(name, &[&key], &[""])).collect();
    change(&mut house, &owner.signers, &all).unwrap();
    let tags: Vec<Change> = names.iter().map(|name| add(name, name, "x")).collect();
    change(&mut house, &Signers::of([&key]), &tags).unwrap();
    let left = |house: &House| house.payload("targets")["delegations"].clone();
    let listed = |house: &House| {
        let roles =
            left(house)["roles"].as_array().unwrap().iter().map(|role| role["name"].clone()).collect::<Vec<_>>();
        Value::from(roles)
    };
    let delete = |name: &str| Change::DeleteDelegation { role: role(name) };
    change(&mut house, &owner.signers, &[delete("targets/b")]).unwrap();
    assert_eq!(listed(&house), json!(["targets/a", "targets/c", "targets/d"]));
    change(&mut house, &owner.signers, &[delete("targets/a")]).unwrap();
    change(&mut house, &owner.signers, &[delete("targets/d")]).unwrap();
    assert_eq!(listed(&house), json!(["targets/c"]));
    assert!(holds(&house.read(), "targets/c", "x") && !holds(&house.read(), "targets/a", "x"));
    // With the snapshot key at home, the listing goes too.
    let signers = owner.signers.clone().with(&owner.snapshot);
    let publication = change(&mut house, &signers, &[delete("targets/c")]).unwrap();
    assert_eq!(left(&house), json!({ "keys": {}, "roles": null }));
    let snapshot: Value = serde_json::from_slice(&publication.parts[&RoleName::Snapshot]).unwrap();
    assert_eq!(snapshot["signed"]["meta"].get("targets/c"), None);
}

#[test]
fn keys_are_purged_from_the_top_and_from_below() {
    let owner = Owner::new();
    let (upper, gone, kept) = (Key::new(), Key::new(), Key::new());
    let build = || {
        let mut house = owner.publish();
        let top = [create("targets/a", &[&upper, &gone], &[""]), create("targets/b", &[&gone, &kept], &[""])];
        change(&mut house, &owner.signers, &top).unwrap();
        change(&mut house, &Signers::of([&upper]), &[create("targets/a/x", &[&gone, &kept], &[""])]).unwrap();
        house
    };
    let purge = |below: &str| Change::PurgeKeys { below: role(below), keys: vec![canonical_id(&gone)] };
    let lists = |house: &House, name: &str| house.payload(name).to_string().contains(&gone.id());
    let everything = owner.signers.clone().with(&upper);

    let mut house = build();
    let publication = change(&mut house, &everything, &[purge("targets")]).unwrap();
    assert!(!lists(&house, "targets") && !lists(&house, "targets/a"));
    assert!(publication.skipped.is_empty());
    house.read();

    let mut house = build();
    change(&mut house, &everything, &[purge("targets/a")]).unwrap();
    assert!(lists(&house, "targets") && !lists(&house, "targets/a"));

    // Whoever cannot sign a file leaves it, and says so.
    let mut house = build();
    let publication = change(&mut house, &owner.signers, &[purge("targets")]).unwrap();
    assert!(!lists(&house, "targets") && lists(&house, "targets/a"));
    assert_eq!(publication.skipped.into_iter().collect::<Vec<_>>(), [role("targets/a")]);
    house.read();

    let mut editor = Editor::of(&house.read(), now());
    assert_eq!(editor.apply(&purge("targets/none")), Ok(Effect::Nothing));
}

/// Notary protocol: different users publish to different delegations without clobbering each other.
#[test]
fn delegates_publish_beside_each_other() {
    let owner = Owner::new();
    let (alice, bob) = (Key::new(), Key::new());
    let mut house = owner.publish();
    change(
        &mut house,
        &owner.signers,
        &[create("targets/alice", &[&alice], &["a"]), create("targets/bob", &[&bob], &["b"])],
    )
    .unwrap();
    let base = house.read();
    let mut editors = [(&alice, "targets/alice", "a1"), (&bob, "targets/bob", "b1")].map(|(key, role, tag)| {
        let mut editor = Editor::of(&base, now());
        editor.apply(&add(role, tag, "x")).unwrap();
        editor.publication(&Signers::of([key]), &nobody()).unwrap()
    });
    for publication in &mut editors {
        house.publish(publication).unwrap();
    }
    let collection = house.read();
    assert!(holds(&collection, "a1", "x") && holds(&collection, "b1", "x"));
}

/// Spoils the present file of a delegation, as whoever holds the service's keys can.
fn spoil(house: &mut House, owner: &Owner, name: &str, file: &Bytes) {
    house.history.push((role(name), file.clone()));
    house.files.insert(role(name), file.clone());
    let mut snapshot = house.payload("snapshot");
    snapshot["meta"][name] = meta(file);
    snapshot["version"] = (snapshot["version"].as_u64().unwrap() + 1).into();
    let snapshot = seal(&snapshot, std::slice::from_ref(&owner.snapshot));
    let mut timestamp = house.payload("timestamp");
    timestamp["meta"]["snapshot"] = meta(&snapshot);
    timestamp["version"] = (timestamp["version"].as_u64().unwrap() + 1).into();
    let timestamp = seal(&timestamp, std::slice::from_ref(&owner.timestamp));
    for (name, file) in [("snapshot", snapshot), ("timestamp", timestamp)] {
        house.history.push((role(name), file.clone()));
        house.files.insert(role(name), file);
    }
}

/// Attack catalogue A15-266: neither vouched for nor lost.
#[test]
fn a_role_that_cannot_be_verified_is_not_built_on() {
    let owner = Owner::new();
    let delegate = Key::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/releases", &[&delegate], &[""])]).unwrap();
    change(&mut house, &Signers::of([&delegate]), &[add("targets/releases", "v1", "x")]).unwrap();
    let mut evil = house.payload("targets/releases");
    evil["targets"] = json!({ "evil": image("evil") });
    spoil(&mut house, &owner, "targets/releases", &seal(&evil, &[Key::new()]));
    let releases = role("targets/releases");
    for attempt in [
        add("targets/releases", "v2", "y"),
        remove("targets/releases", "v1"),
        create("targets/releases/deep", &[&delegate], &[""]),
    ] {
        let error = edit_error(change(&mut house, &Signers::of([&delegate]), &[attempt]));
        assert!(matches!(error, EditError::Broken { ref role, .. } if *role == releases), "{error}");
    }
    // The owner can still remove it.
    let mut editor = Editor::of(&house.read(), now());
    assert_eq!(editor.apply(&Change::DeleteDelegation { role: releases }), Ok(Effect::Changed));
}

#[test]
fn a_witness_signs_what_was_there_with_the_next_version() {
    let owner = Owner::new();
    let (before, after) = (Key::new(), Key::new());
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/a", &[&before], &[""])]).unwrap();
    change(&mut house, &Signers::of([&before]), &[add("targets/a", "v1", "x")]).unwrap();
    let known = version(&house.files[&role("targets/a")]);
    // Its key is replaced; what is there does not verify any more.
    let edit = DelegationEdit {
        remove_keys: vec![canonical_id(&before)],
        add_keys: vec![after.public.clone()],
        ..DelegationEdit::default()
    };
    change(&mut house, &owner.signers, &[update("targets/a", edit)]).unwrap();
    assert!(matches!(house.read().get("v1", &[RoleName::Targets]), Err(LookupError::Broken { .. })));
    let witness = Change::Witness { role: role("targets/a") };
    assert_eq!(
        missing_keys(change(&mut house, &Signers::of([&before]), std::slice::from_ref(&witness))),
        role("targets/a")
    );
    // Witnessed first, it can be added to.
    change(&mut house, &Signers::of([&after]), &[witness.clone(), add("targets/a", "v2", "y")]).unwrap();
    assert_eq!(version(&house.files[&role("targets/a")]), known + 1);
    let collection = house.read();
    assert!(holds(&collection, "v1", "x") && holds(&collection, "v2", "y"));
    // A good role gets a new version and expiry.
    change(&mut house, &Signers::of([&after]), &[witness]).unwrap();
    assert_eq!(version(&house.files[&role("targets/a")]), known + 2);
    let error = edit_error(change(&mut house, &owner.signers, &[Change::Witness { role: role("targets/none") }]));
    assert_eq!(error.to_string(), "tuf: invalid role targets/none. this role is not known");
}

#[test]
fn an_expired_delegation_is_witnessed_back() {
    let owner = Owner::new();
    let delegate = Key::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/a", &[&delegate], &[""])]).unwrap();
    change(&mut house, &Signers::of([&delegate]), &[add("targets/a", "v1", "x")]).unwrap();
    let mut expired = house.payload("targets/a");
    expired["expires"] = "2026-11-01T00:00:00Z".into();
    spoil(&mut house, &owner, "targets/a", &seal(&expired, std::slice::from_ref(&delegate)));
    let mut editor = Editor::of(&house.read(), now());
    editor.apply(&Change::Witness { role: role("targets/a") }).unwrap();
    let publication = editor.publication(&Signers::of([&delegate]), &nobody()).unwrap();
    house.publish(&publication).unwrap();
    assert!(holds(&house.read(), "v1", "x"));
}

/// Notary protocol, delegation version trap: what is removed and made again in one go goes on counting.
#[test]
fn a_delegation_made_again_goes_on_with_its_versions() {
    let owner = Owner::new();
    let (before, after) = (Key::new(), Key::new());
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/a", &[&before], &[""])]).unwrap();
    change(&mut house, &Signers::of([&before]), &[add("targets/a", "v1", "x")]).unwrap();
    let signers = owner.signers.clone().with(&after);
    let changes = [
        Change::DeleteDelegation { role: role("targets/a") },
        create("targets/a", &[&after], &[""]),
        add("targets/a", "v2", "y"),
    ];
    change(&mut house, &signers, &changes).unwrap();
    assert_eq!(version(&house.files[&role("targets/a")]), 2);
    let collection = house.read();
    assert!(holds(&collection, "v2", "y") && !holds(&collection, "v1", "x"));
}

#[test]
fn a_removed_key_or_delegation_can_publish_no_more() {
    let owner = Owner::new();
    let delegate = Key::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[create("targets/a", &[&delegate], &[""])]).unwrap();
    change(&mut house, &Signers::of([&delegate]), &[add("targets/a", "v1", "x")]).unwrap();
    let before = house.read();
    change(&mut house, &owner.signers, &[Change::DeleteDelegation { role: role("targets/a") }]).unwrap();
    let error = edit_error(change(&mut house, &Signers::of([&delegate]), &[add("targets/a", "v2", "y")]));
    assert_eq!(error, EditError::UnknownRole(role("targets/a")));
    let mut editor = Editor::of(&before, now());
    editor.apply(&add("targets/a", "v2", "y")).unwrap();
    let publication = editor.publication(&Signers::of([&delegate]), &nobody()).unwrap();
    assert!(matches!(house.publish(&publication), Err(Refusal::BadTargets(_))));
}
