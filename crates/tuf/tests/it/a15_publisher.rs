//! The publisher: new collections and changes; and the publisher as victim.

use crate::house::*;
use crate::workshop::*;
use bytes::Bytes;
use countersign_crypto::PublicKey;
use countersign_tuf::accept::Refusal;
use countersign_tuf::editor::{BaseKeys, EditError, Editor, Effect, initialise};
use countersign_tuf::metadata::{FileMeta, Root};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{Change, DelegationEdit, RoleName, SigningError, Unverified};
use std::collections::BTreeMap;

#[test]
fn the_first_publication_has_the_reference_s_versions() {
    let owner = Owner::new();
    let house = owner.publish();
    let versions: Vec<u64> = RoleName::BASE.iter().map(|role| version(&house.files[role])).collect();
    assert_eq!(versions, [1, 2, 1, 1], "root, targets, snapshot, timestamp");
    house.read();
    // With the snapshot key at home, the snapshot is uploaded, as version 2.
    let signers = owner.signers.clone().with(&owner.snapshot);
    let publication = owner.editor().publication(&signers, &nobody()).unwrap();
    assert_eq!(version(&publication.parts[&RoleName::Snapshot]), 2);
    let mut own = House { signers: Signers::of([&owner.timestamp]), files: BTreeMap::new(), history: Vec::new() };
    own.publish(&publication).unwrap();
    own.read();
    // With nobody holding it, the service says what is missing.
    let publication = owner.editor().publication(&owner.signers, &nobody()).unwrap();
    own.files.clear();
    assert!(matches!(own.publish(&publication), Err(Refusal::BadHierarchy { .. })));
}

#[test]
fn a_collection_needs_its_own_keys_to_begin() {
    let owner = Owner::new();
    for without in [&owner.root, &owner.targets] {
        let signers = owner.signers.clone().without(without);
        let outcome = initialise(owner.base_keys(), now(), &signers);
        assert!(matches!(outcome, Err(SigningError::MissingKeys { .. })));
    }
}

/// Attack catalogue A15-267.
#[test]
fn keys_that_belong_to_another_role_or_can_never_sign_do_not_get_into_a_root() {
    let owner = Owner::new();
    let refused = |spoil: &dyn Fn(&mut BaseKeys)| {
        let mut keys = owner.base_keys();
        spoil(&mut keys);
        let outcome = initialise(keys, now(), &owner.signers);
        assert!(matches!(outcome, Err(SigningError::Unacceptable { .. })), "{:?}", outcome.map(|_| ()));
    };
    let identity = PublicKey::new(countersign_crypto::KeyType::Ed25519, [vec![1], vec![0; 31]].concat());
    refused(&|keys| keys.timestamp = keys.targets.clone());
    refused(&|keys| keys.timestamp = keys.snapshot.clone());
    refused(&|keys| keys.snapshot = keys.root[0].clone());
    refused(&|keys| keys.snapshot = owner.root.private.public_key().clone());
    refused(&|keys| keys.timestamp = identity.clone());
    refused(&|keys| keys.timestamp = PublicKey::new(countersign_crypto::KeyType::Rsa, vec![1, 2, 3]));
    refused(&|keys| keys.root = vec![owner.root.private.public_key().clone()]);
    refused(&|keys| keys.root.clear());
    let mut house = owner.publish();
    for (base, key) in [
        (RoleName::Timestamp, &owner.targets.public),
        (RoleName::Snapshot, owner.root.private.public_key()),
        (RoleName::Timestamp, &identity),
        (RoleName::Root, owner.root.private.public_key()),
    ] {
        let replace = Change::ReplaceKeys { role: base.clone(), keys: vec![key.clone()] };
        let error = edit_error(change(&mut house, &owner.signers, &[replace]));
        assert!(matches!(error, EditError::UnusableKey { .. }), "{base}: {error}");
    }
}

#[test]
fn targets_are_added_replaced_and_removed() {
    let owner = Owner::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[add("targets", "v1", "x"), add("targets", "v2", "y")]).unwrap();
    let collection = house.read();
    assert!(holds(&collection, "v1", "x") && holds(&collection, "v2", "y"));
    let publication =
        change(&mut house, &owner.signers, &[add("targets", "v1", "z"), remove("targets", "v2")]).unwrap();
    assert_eq!(publication.parts.keys().collect::<Vec<_>>(), [&RoleName::Targets]);
    let collection = house.read();
    assert!(holds(&collection, "v1", "z") && collection.get("v2", &[RoleName::Targets]).is_err());
}

/// Attack catalogue A15-269: re-publishing finds its own content.
#[test]
fn what_is_as_wanted_is_not_signed_again() {
    let owner = Owner::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[add("targets", "v1", "x")]).unwrap();
    let mut editor = Editor::of(&house.read(), now());
    for same in [add("targets", "v1", "x"), remove("targets", "v2"), remove("targets/none", "v1")] {
        assert_eq!(editor.apply(&same), Ok(Effect::Nothing));
    }
    assert!(!editor.has_changes());
    let publication = editor.publication(&Signers::default(), &nobody()).unwrap();
    assert!(publication.parts.is_empty());
}

#[test]
fn names_and_values_that_cannot_be_published_are_refused_early() {
    let owner = Owner::new();
    let mut house = owner.publish();
    for name in ["", "a\nb", "a\0", "\u{1b}[31m", "\u{7f}", "a\u{9b}b"] {
        let error = edit_error(change(&mut house, &owner.signers, &[add("targets", name, "x")]));
        assert!(matches!(error, EditError::Name(_)), "{name:?}");
    }
    let digest = countersign_crypto::digest::sha256(b"x");
    let good = FileMeta::of_manifest(digest, 1);
    let spoilt = [
        FileMeta { sha256: None, ..good.clone() },
        FileMeta { length: (1 << 53) + 1, ..good.clone() },
        FileMeta { custom: Some("{\"b\":1,\"a\":2}".into()), ..good.clone() },
        FileMeta { custom: Some("1.5".into()), ..good.clone() },
        FileMeta { custom: Some("{\"a\":1,\"a\":1}".into()), ..good.clone() },
        FileMeta { custom: Some("{} ".into()), ..good.clone() },
        FileMeta { custom: Some("},\"evil\":{".into()), ..good.clone() },
        FileMeta { custom: Some("".into()), ..good.clone() },
    ];
    for meta in spoilt {
        let bad = Change::AddTarget { role: RoleName::Targets, name: "v".into(), meta };
        assert!(matches!(edit_error(change(&mut house, &owner.signers, &[bad])), EditError::Meta { .. }));
    }
    for custom in ["{\"a\":[1,{\"b\":\"<&>\"}]}", "\"line\nbreak\"", "null", "9007199254740992"] {
        let meta = FileMeta { custom: Some(custom.into()), ..good.clone() };
        let add = Change::AddTarget { role: RoleName::Targets, name: "v".into(), meta: meta.clone() };
        change(&mut house, &owner.signers, &[add]).unwrap();
        let found = house.read().get("v", &[RoleName::Targets]).unwrap().meta;
        assert_eq!(found.custom.as_deref().unwrap_or(b"null"), custom.as_bytes());
    }
    for base in ["root", "snapshot", "timestamp"] {
        let error = edit_error(change(&mut house, &owner.signers, &[add(base, "v", "x")]));
        assert!(matches!(error, EditError::InvalidRole { .. }), "{base}");
    }
    let error = edit_error(change(&mut house, &owner.signers, &[add("targets/none", "v", "x")]));
    assert_eq!(error, EditError::UnknownRole(role("targets/none")));
}

#[test]
fn whoever_lacks_a_signing_key_is_told_which() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let others = owner.signers.clone().without(&owner.targets);
    assert_eq!(missing_keys(change(&mut house, &others, &[add("targets", "v1", "x")])), RoleName::Targets);
    let delegate = Key::new();
    change(&mut house, &owner.signers, &[create("targets/a", &[&delegate], &[""])]).unwrap();
    assert_eq!(missing_keys(change(&mut house, &owner.signers, &[add("targets/a", "v1", "x")])), role("targets/a"));
    // The delegate needs no other key.
    let publication = change(&mut house, &Signers::of([&delegate]), &[add("targets/a", "v1", "x")]).unwrap();
    assert_eq!(publication.parts.keys().collect::<Vec<_>>(), [&role("targets/a")]);
    assert!(holds(&house.read(), "v1", "x"));
    // Thresholds count for publishers too.
    let second = Key::new();
    let mut edit = keys_and_paths(&[&delegate, &second], &[""]);
    edit.threshold = Some(2);
    let both = Change::CreateDelegation { role: role("targets/two"), edit };
    change(&mut house, &owner.signers, &[both]).unwrap();
    let alone = change(&mut house, &Signers::of([&delegate]), &[add("targets/two", "w", "x")]);
    assert_eq!(missing_keys(alone), role("targets/two"));
    change(&mut house, &Signers::of([&delegate, &second]), &[add("targets/two", "w", "y")]).unwrap();
    assert!(holds(&house.read(), "w", "y"));
}

#[test]
fn a_delegation_without_keys_and_paths_is_published_too() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let bare = DelegationEdit { threshold: Some(1), ..DelegationEdit::default() };
    change(&mut house, &owner.signers, &[Change::CreateDelegation { role: role("targets/bare"), edit: bare }]).unwrap();
    assert_eq!(house.payload("targets")["delegations"]["roles"][0]["name"], "targets/bare");
}

/// Attack catalogue A15-270.
#[test]
fn a_conflict_is_refused_and_a_rebased_change_keeps_both() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let base = house.read();
    let mut slow = Editor::of(&base, now());
    slow.apply(&add("targets", "slow", "s")).unwrap();
    change(&mut house, &owner.signers, &[add("targets", "fast", "f")]).unwrap();
    let late = slow.publication(&owner.signers, &nobody()).unwrap();
    assert_eq!(house.publish(&late), Err(Refusal::Stale));
    change(&mut house, &owner.signers, &[add("targets", "slow", "s")]).unwrap();
    let collection = house.read();
    assert!(holds(&collection, "slow", "s") && holds(&collection, "fast", "f"));
}

/// Attack catalogue A15-266: the publisher's own floor stands before the editor.
#[test]
fn an_old_state_is_not_laundered_through_an_honest_key() {
    let owner = Owner::new();
    let mut house = owner.publish();
    change(&mut house, &owner.signers, &[add("targets", "v1", "old")]).unwrap();
    let old = house.clone();
    change(&mut house, &owner.signers, &[add("targets", "v1", "new")]).unwrap();
    let mut publisher = Client::new(GUN);
    publisher.purpose = Purpose::Publish;
    publisher.update(&house.service()).unwrap();
    assert!(matches!(publisher.refuses(&old.service()), UpdateError::Regression(_) | UpdateError::Rollback(_)));
    // From a fresh machine it says that it starts from what it was told.
    let fresh = Client::new(GUN).update(&old.service()).unwrap();
    assert!(fresh.notes().iter().any(|note| matches!(note, countersign_tuf::Note::FirstUse(_))));
}

/// Attack catalogue A6-67.
#[test]
fn the_publisher_never_emits_a_private_half() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let mut careless = house.payload("root");
    for (_, key) in careless["keys"].as_object_mut().unwrap() {
        key["keyval"]["private"] = "c2VjcmV0".into();
    }
    let file = seal(&careless, std::slice::from_ref(&owner.root));
    house.files.insert(RoleName::Root, file.clone());
    house.history = vec![(RoleName::Root, file.clone())];
    let mut root = Repository::new();
    root.keys.insert("root".into(), vec![owner.root.clone()]);
    let read = Unverified::<Root>::read(&RoleName::Root, file).unwrap();
    assert!(read.untrusted().keys.carries_private());
    let written = countersign_tuf::metadata::Payload::write(read.untrusted());
    assert!(!String::from_utf8(written).unwrap().contains("c2VjcmV0"));
}

#[test]
fn what_is_published_is_in_the_reference_s_spelling() {
    use countersign_tuf::metadata::{Envelope, Payload, Targets};
    let owner = Owner::new();
    let mut house = owner.publish();
    let names = ["<&>", "z", "a\"b\\c", "\u{2028}", "ü", "\u{ff61}", "😀"];
    change(&mut house, &owner.signers, &names.map(|name| add("targets", name, name))).unwrap();
    change(
        &mut house,
        &owner.signers,
        &[remove("targets", "z"), add("targets", "<&>", "other"), add("targets", "a", "a")],
    )
    .unwrap();
    let file = house.files[&RoleName::Targets].clone();
    let envelope = Envelope::read(file.clone()).unwrap();
    let payload = Targets::read(&RoleName::Targets, &envelope).unwrap();
    let again = Envelope::compose(payload.write(), envelope.signatures().to_vec());
    assert_eq!(*again.file(), file);
    assert!(!file.windows(1).any(|byte| matches!(byte[0], b'<' | b'>' | b'&')));
    let collection = house.read();
    assert!(holds(&collection, "<&>", "other") && holds(&collection, "😀", "😀") && !holds(&collection, "z", "z"));
}

#[test]
fn an_unpublished_collection_continues_from_the_cache_or_fails_loudly() {
    let owner = Owner::new();
    let initial = initialise(owner.base_keys(), now(), &owner.signers).unwrap();
    let begin = |root: Bytes, targets: Option<Bytes>| Editor::unpublished(&gun(), now(), root, targets, None);
    assert!(begin("junk".into(), Some(initial.targets.clone())).is_err());
    assert!(begin(initial.root.clone(), Some("junk".into())).is_err());
    assert!(begin(Repository::new().files["targets"].clone(), None).is_err());
    let foreign = Repository::new();
    assert!(begin(initial.root.clone(), Some(foreign.files["targets"].clone())).is_err(), "signed by somebody else");
    let mut editor = begin(initial.root, Some(initial.targets)).unwrap();
    assert!(editor.has_changes());
    // A key is rotated before anything is published: root version 2 comes first.
    let timestamp = Key::new();
    editor.apply(&Change::ReplaceKeys { role: RoleName::Timestamp, keys: vec![timestamp.public.clone()] }).unwrap();
    let publication = editor.publication(&owner.signers, &nobody()).unwrap();
    assert_eq!(version(&publication.parts[&RoleName::Root]), 2);
    let signers = Signers::of([&owner.snapshot, &timestamp]);
    let mut house = House { signers, files: BTreeMap::new(), history: Vec::new() };
    house.publish(&publication).unwrap();
    house.read();
}
