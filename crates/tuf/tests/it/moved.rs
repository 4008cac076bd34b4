//! What a service accepts of a collection that lived at another one, and what it refuses.

use crate::workshop::*;
use bytes::Bytes;
use countersign_tuf::accept::{Files, Former, MAX_VERSION_STEP, MOVE_AHEAD, Move, NewMetadata, Refusal, accept_move};
use countersign_tuf::{RoleName, Version};
use serde_json::json;
use std::collections::BTreeMap;

/// A collection that moves: what its former service had, what its owner signed for the new one, the new one's keys.
struct Moving {
    old: Repository,
    former: BTreeMap<(String, u64), Bytes>,
    parts: BTreeMap<String, Bytes>,
    keys: Vec<Key>,
}

impl Moving {
    /// A collection with four roots, a delegate and tags.
    fn new() -> Self {
        let mut old = Repository::new();
        old.tag("targets", "v1", "one");
        old.rotate("root");
        old.delegate("targets/alice", &[""]);
        old.tag("targets/alice", "v2", "two");
        old.rotate("targets");
        old.rotate("snapshot");
        Self::of(old)
    }

    fn of(old: Repository) -> Self {
        let keys = vec![Key::new(), Key::new()];
        let mut new = old.clone();
        new.keys.insert("snapshot".into(), vec![keys[0].clone()]);
        new.keys.insert("timestamp".into(), vec![keys[1].clone()]);
        let root = seal(&new.root_payload(old.version("root") + 1), &old.keys["root"]);
        let mut former = BTreeMap::new();
        let roots = old.history.iter().filter(|(role, _)| role == "root").map(|(name, file)| (name, file));
        for (name, file) in roots.chain(&old.files) {
            let version = serde_json::from_slice::<serde_json::Value>(file).unwrap()["signed"]["version"].as_u64();
            former.insert((name.clone(), version.unwrap()), file.clone());
        }
        Self { old, former, parts: BTreeMap::from([("root".to_owned(), root)]), keys }
    }

    fn accept(&self) -> Result<Vec<NewMetadata>, Refusal> {
        let former: Former = self
            .former
            .iter()
            .map(|((name, version), file)| ((role(name), Version::new(*version).unwrap()), file.clone()))
            .collect();
        let parts: Files = self.parts.iter().map(|(name, file)| (role(name), file.clone())).collect();
        accept_move(Move { gun: &gun(), now: now(), former, parts }, &Signers::of(&self.keys))
    }

    fn current(&self, name: &str) -> (String, u64) {
        (name.to_owned(), self.old.version(name))
    }

    /// Puts another file in the place of a former one.
    fn forge(&mut self, name: &str, keys: &[Key], change: impl FnOnce(&mut serde_json::Value)) {
        let mut payload = self.old.payload(name);
        change(&mut payload);
        let version = payload["version"].as_u64().unwrap();
        self.former.remove(&self.current(name));
        self.former.insert((name.to_owned(), version), seal(&payload, keys));
    }
}

/// What readers find when the files are stored.
fn service(files: &[NewMetadata]) -> Service {
    let history: Vec<(RoleName, Bytes)> = files.iter().map(|file| (file.role.clone(), file.bytes.clone())).collect();
    Service::of(&history.iter().cloned().collect(), &history)
}

#[test]
fn who_knew_any_root_or_nothing_goes_on_after_a_move() {
    let mut old = Repository::new();
    old.tag("targets", "v1", "one");
    let mut clients = vec![old.client(), old.warm_client()];
    for role in ["root", "snapshot", "targets", "timestamp", "root"] {
        old.rotate(role);
        clients.push(old.warm_client());
    }
    let moving = Moving::of(old.clone());
    // After it was saved the former service has signed more, which some have seen.
    for _ in 0..5 {
        old.link();
    }
    clients.push(old.warm_client());
    let files = moving.accept().unwrap();
    let roots: Vec<u64> = files.iter().filter(|file| file.role == RoleName::Root).map(|f| f.version.get()).collect();
    assert_eq!(roots, [1, 2, 3, 4, 5, 6, 7]);
    for file in files.iter().filter(|file| file.role == RoleName::Root).take(6) {
        assert!(old.history.iter().any(|(_, bytes)| *bytes == file.bytes), "byte for byte");
    }
    for client in &mut clients {
        let collection = client.update(&service(&files)).unwrap();
        assert!(holds(&collection, "v1", "one"));
        assert_eq!(collection.root().version.get(), 7);
    }
}

#[test]
fn snapshot_and_timestamp_are_ahead_of_the_former_ones_and_the_rest_stays_as_it_was() {
    let moving = Moving::new();
    let files = moving.accept().unwrap();
    let version = |name: &str| files.iter().rfind(|file| file.role == role(name)).unwrap().version.get();
    assert_eq!(version("snapshot"), moving.old.version("snapshot") + MOVE_AHEAD);
    assert_eq!(version("timestamp"), moving.old.version("timestamp") + MOVE_AHEAD);
    for name in ["targets", "targets/alice"] {
        let stored: Vec<_> = files.iter().filter(|file| file.role == role(name)).collect();
        assert_eq!((stored.len(), &stored[0].bytes), (1, &moving.old.files[name]), "{name}");
    }
    assert!(holds(&Client::new(GUN).update(&service(&files)).unwrap(), "v1", "one"));
}

#[test]
fn what_has_expired_moves_when_it_is_signed_anew() {
    let mut old = Repository::new();
    old.tag("targets", "v1", "one");
    for name in ["root", "targets", "snapshot", "timestamp"] {
        old.edit(name, |payload| payload["expires"] = "2020-01-01T00:00:00Z".into());
    }
    old.history.retain(|(role, _)| role != "root");
    old.history.push(("root".to_owned(), old.files["root"].clone()));
    old.link();
    let mut moving = Moving::of(old.clone());
    let mut targets = old.payload("targets");
    targets["version"] = (old.version("targets") + 1).into();
    targets["expires"] = "2099-01-01T00:00:00Z".into();
    moving.parts.insert("targets".into(), seal(&targets, &old.keys["targets"]));
    let files = moving.accept().unwrap();
    assert!(holds(&Client::new(GUN).update(&service(&files)).unwrap(), "v1", "one"));
}

/// Versions that were once driven up, and are there legitimately, move along; what is new begins as everywhere.
#[test]
fn former_files_move_whatever_their_versions_and_new_ones_begin_low() {
    let high = u64::from(u32::MAX >> 1);
    let mut old = Repository::new();
    old.tag("targets", "v1", "one");
    old.delegate("targets/alice", &[""]);
    let undelegated = old.clone();
    old.tag("targets/alice", "v2", "two");
    for name in ["targets", "snapshot", "timestamp"] {
        old.edit(name, |payload| payload["version"] = high.into());
    }
    old.link();
    let files = Moving::of(old).accept().unwrap();
    assert!(holds(&Client::new(GUN).update(&service(&files)).unwrap(), "v1", "one"));
    let mut moving = Moving::of(undelegated.clone());
    let mut alice = undelegated.clone();
    alice.tag("targets/alice", "v2", "two");
    for (version, taken) in [(MAX_VERSION_STEP, true), (MAX_VERSION_STEP + 1, false), (high, false)] {
        let mut payload = alice.payload("targets/alice");
        payload["version"] = version.into();
        moving.parts.insert("targets/alice".into(), seal(&payload, &alice.keys["targets/alice"]));
        moving.former.retain(|(name, _), _| name != "targets/alice");
        assert_eq!(moving.accept().is_ok(), taken, "{version}: {:?}", moving.accept().err());
    }
}

#[test]
fn a_break_in_the_chain_of_roots_is_refused() {
    let mut moving = Moving::new();
    moving.former.remove(&("root".to_owned(), 2)).unwrap();
    assert!(matches!(moving.accept(), Err(Refusal::BadRoot(_))));
    let mut moving = Moving::new();
    moving.former.remove(&moving.current("root")).unwrap();
    assert!(moving.accept().is_err(), "the last");
    let mut moving = Moving::new();
    moving.former.retain(|(name, _), _| name != "root");
    assert!(matches!(moving.accept(), Err(Refusal::BadRoot(_))), "none");
    // Its owner did not sign it.
    let mut moving = Moving::new();
    moving.forge("root", &[Key::root()], |_| ());
    assert!(matches!(moving.accept(), Err(Refusal::BadRoot(_))));
    let mut moving = Moving::new();
    moving.parts.remove("root");
    assert!(matches!(moving.accept(), Err(Refusal::Validation(_))), "without a new one");
    // The new one is somebody else's.
    let mut moving = Moving::new();
    let foreign = Key::root().certified(GUN);
    let mut other = moving.old.clone();
    other.keys.insert("root".into(), vec![foreign.clone()]);
    other.keys.insert("snapshot".into(), vec![moving.keys[0].clone()]);
    other.keys.insert("timestamp".into(), vec![moving.keys[1].clone()]);
    let root = seal(&other.root_payload(moving.old.version("root") + 1), &[foreign]);
    moving.parts.insert("root".into(), root);
    assert!(matches!(moving.accept(), Err(Refusal::BadRoot(_))));
}

#[test]
fn a_new_root_that_does_not_name_the_service_s_keys_is_refused() {
    for held in [0, 1] {
        let mut moving = Moving::new();
        moving.keys.remove(held);
        assert!(matches!(moving.accept(), Err(Refusal::BadRoot(_) | Refusal::BadHierarchy { .. })), "{held}");
    }
}

#[test]
fn former_files_that_do_not_belong_together_are_refused() {
    type Spoil = fn(&mut Moving);
    let spoiled: [(&str, Spoil); 9] = [
        ("no timestamp", |moving| drop(moving.former.remove(&moving.current("timestamp")))),
        ("no snapshot", |moving| drop(moving.former.remove(&moving.current("snapshot")))),
        ("no targets", |moving| drop(moving.former.remove(&moving.current("targets")))),
        ("no delegation", |moving| drop(moving.former.remove(&moving.current("targets/alice")))),
        ("a foreign timestamp", |moving| moving.forge("timestamp", &[Key::new()], |_| ())),
        ("a foreign snapshot", |moving| moving.forge("snapshot", &[Key::new()], |_| ())),
        ("a higher timestamp", |moving| {
            moving.forge("timestamp", &[Key::new()], |timestamp| timestamp["version"] = 1_000_000.into());
        }),
        ("other targets of the owner's", |moving| {
            let keys = moving.old.keys["targets"].clone();
            moving.forge("targets", &keys, |targets| targets["targets"] = json!({}));
        }),
        ("another delegation of the delegate's", |moving| {
            let keys = moving.old.keys["targets/alice"].clone();
            moving.forge("targets/alice", &keys, |targets| targets["targets"] = json!({}));
        }),
    ];
    for (what, spoil) in spoiled {
        let mut moving = Moving::new();
        spoil(&mut moving);
        assert!(moving.accept().is_err(), "{what}");
    }
}

#[test]
fn a_former_file_under_another_version_or_that_nobody_lists_is_refused() {
    let mut moving = Moving::new();
    let targets = moving.former.remove(&moving.current("targets")).unwrap();
    moving.former.insert(("targets".to_owned(), 77), targets);
    assert!(matches!(moving.accept(), Err(Refusal::BadTargets(_))));
    let mut moving = Moving::new();
    moving.former.insert(("targets/bob".to_owned(), 1), moving.old.files["targets/alice"].clone());
    assert!(matches!(moving.accept(), Err(Refusal::BadTargets(_))));
    let mut moving = Moving::new();
    moving.former.insert(("targets".to_owned(), 1), Bytes::from_static(b"{}"));
    assert!(moving.accept().is_err());
}

#[test]
fn a_former_root_with_a_private_key_is_refused() {
    let mut moving = Moving::new();
    let keys = moving.old.keys["root"].clone();
    moving.forge("root", &keys, |root| {
        for (_, key) in root["keys"].as_object_mut().unwrap() {
            key["keyval"]["private"] = "c2VjcmV0".into();
        }
    });
    assert!(matches!(moving.accept(), Err(Refusal::BadRoot(_))));
}
