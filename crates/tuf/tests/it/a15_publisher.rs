//! The publisher: new collections, changes, delegations, rotations; and the publisher as victim.

use crate::workshop::*;
use bytes::Bytes;
use countersign_crypto::{Algorithm, KeyId, PublicKey};
use countersign_tuf::accept::{self, Refusal, Submission};
use countersign_tuf::editor::{BaseKeys, EditError, Editor, Effect, Publication, PublicationError, initialise};
use countersign_tuf::metadata::{FileMeta, KeyMap, RoleKeys, Root};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{
    Change, Collection, DelegationEdit, LookupError, RoleName, SigningError, TrustedKeys, Unverified,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// A service with the code of the real one, that stores everything in memory.
#[derive(Clone)]
struct House {
    signers: Signers,
    files: BTreeMap<RoleName, Bytes>,
    history: Vec<(RoleName, Bytes)>,
}

fn version(file: &Bytes) -> u64 {
    serde_json::from_slice::<Value>(file).unwrap()["signed"]["version"].as_u64().unwrap()
}

impl House {
    fn publish(&mut self, publication: &Publication) -> Result<(), Refusal> {
        self.upload(publication.parts.clone())
    }

    fn upload(&mut self, parts: BTreeMap<RoleName, Bytes>) -> Result<(), Refusal> {
        let submission = Submission { gun: &gun(), now: now(), stored: &self.files, parts };
        let new = accept::accept(submission, &self.signers)?;
        let used = |role: &RoleName, number: u64| {
            self.history.iter().any(|(other, file)| other == role && version(file) >= number)
        };
        if new.iter().any(|new| used(&new.role, new.version.get())) {
            return Err(Refusal::Stale);
        }
        for new in new {
            self.files.insert(new.role.clone(), new.bytes.clone());
            self.history.push((new.role, new.bytes));
        }
        Ok(())
    }

    fn service(&self) -> Service {
        Service::of(&self.files, &self.history)
    }

    fn payload(&self, name: &str) -> Value {
        serde_json::from_slice::<Value>(&self.files[&role(name)]).unwrap()["signed"].take()
    }

    fn read(&self) -> Collection {
        Client::new(GUN).update(&self.service()).unwrap()
    }
}

/// The owner of a collection.
struct Owner {
    root: Key,
    targets: Key,
    snapshot: Key,
    timestamp: Key,
    signers: Signers,
}

impl Owner {
    fn new() -> Self {
        let [root, targets, snapshot, timestamp] = [Key::root(), Key::new(), Key::new(), Key::new()];
        let signers = Signers::of([&root, &targets]);
        Self { root, targets, snapshot, timestamp, signers }
    }

    fn base_keys(&self) -> BaseKeys {
        BaseKeys {
            root: vec![self.root.public.clone()],
            targets: self.targets.public.clone(),
            snapshot: self.snapshot.public.clone(),
            timestamp: self.timestamp.public.clone(),
        }
    }

    fn editor(&self) -> Editor {
        let initial = initialise(self.base_keys(), now(), &self.signers).unwrap();
        Editor::unpublished(&gun(), now(), initial.root, Some(initial.targets), None).unwrap()
    }

    /// Publishes the collection with a service that holds snapshot and timestamp keys.
    fn publish(&self) -> House {
        let mut house = House {
            signers: Signers::of([&self.snapshot, &self.timestamp]),
            files: BTreeMap::new(),
            history: Vec::new(),
        };
        house.publish(&self.editor().publication(&self.signers, &nobody()).unwrap()).unwrap();
        house
    }
}

fn nobody() -> TrustedKeys {
    TrustedKeys::resolve(&RoleName::Root, &RoleKeys::default(), &KeyMap::default())
}

/// Applies changes to the present state and publishes them.
fn change(house: &mut House, signers: &Signers, changes: &[Change]) -> Result<Publication, PublicationError> {
    let mut editor = Editor::of(&house.read(), now());
    for change in changes {
        editor.apply(change)?;
    }
    let publication = editor.publication(signers, &nobody())?;
    house.publish(&publication).unwrap();
    Ok(publication)
}

fn edit_error(outcome: Result<Publication, PublicationError>) -> EditError {
    match outcome {
        Err(PublicationError::Edit(error)) => error,
        other => panic!("{:?}", other.map(|publication| publication.versions)),
    }
}

fn missing_keys(outcome: Result<Publication, PublicationError>) -> RoleName {
    match outcome {
        Err(PublicationError::Signing(SigningError::MissingKeys { role, .. })) => role,
        other => panic!("{:?}", other.map(|publication| publication.versions)),
    }
}

fn add(name: &str, tag: &str, content: &str) -> Change {
    let digest = countersign_crypto::digest::sha256(content.as_bytes());
    Change::AddTarget { role: role(name), name: tag.into(), meta: FileMeta::of_manifest(digest, content.len() as u64) }
}

fn remove(name: &str, tag: &str) -> Change {
    Change::RemoveTarget { role: role(name), name: tag.into() }
}

fn keys_and_paths(keys: &[&Key], paths: &[&str]) -> DelegationEdit {
    DelegationEdit {
        threshold: Some(1),
        add_keys: keys.iter().map(|key| key.public.clone()).collect(),
        add_paths: paths.iter().map(|path| (*path).into()).collect(),
        ..DelegationEdit::default()
    }
}

fn create(name: &str, keys: &[&Key], paths: &[&str]) -> Change {
    Change::CreateDelegation { role: role(name), edit: keys_and_paths(keys, paths) }
}

fn update(name: &str, edit: DelegationEdit) -> Change {
    Change::UpdateDelegation { role: role(name), edit }
}

fn canonical_id(key: &Key) -> KeyId {
    key.public.canonical_id()
}

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

#[test]
fn a_root_near_its_expiry_is_renewed_and_former_keys_sign_where_they_are_wanted() {
    let owner = Owner::new();
    let mut house = owner.publish();
    let mut near = house.payload("root");
    near["expires"] = "2027-05-22T11:59:59Z".into();
    near["version"] = 2.into();
    house.upload(BTreeMap::from([(RoleName::Root, seal(&near, std::slice::from_ref(&owner.root)))])).unwrap();
    let publication = change(&mut house, &owner.signers, &[add("targets", "v1", "x")]).unwrap();
    assert_eq!(publication.parts.keys().collect::<Vec<_>>(), [&RoleName::Root, &RoleName::Targets]);
    assert_eq!(house.payload("root")["version"], 3);

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
