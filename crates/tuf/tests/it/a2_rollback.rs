//! Rollback and version numbers.

use crate::workshop::*;
use countersign_tuf::update::{Answer, LostRoot, Purpose, Request, Step, Update, UpdateError};
use countersign_tuf::{Note, Regression, RoleName, Seen};
use serde_json::{Value, json};

/// A collection at "old", with a client that has seen "new".
fn moved() -> (Repository, Repository, Client) {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "old");
    let old = repository.clone();
    repository.tag("targets", "v1", "new");
    let client = repository.warm_client();
    (old, repository, client)
}

fn is_rollback(error: &UpdateError) -> bool {
    matches!(error, UpdateError::Regression(_) | UpdateError::Rollback(_))
}

/// Attack catalogue A2-17.
#[test]
fn an_older_timestamp_is_refused_and_the_next_honest_update_works() {
    let (old, mut new, mut client) = moved();
    let replayed = new.service().serve("timestamp", old.files["timestamp"].clone());
    assert!(is_rollback(&client.refuses(&replayed)));
    new.tag("targets", "v2", "x");
    assert!(holds(&client.update(&new.service()).unwrap(), "v1", "new"));
}

/// Attack catalogue A2-18.
#[test]
fn the_complete_earlier_state_is_refused() {
    let (old, new, mut client) = moved();
    assert!(is_rollback(&client.refuses(&old.service())));
    client.seen = None;
    assert!(is_rollback(&client.refuses(&old.service())), "the cache alone is floor enough");
    client.update(&new.service()).unwrap();
}

/// Attack catalogue A2-19.
#[test]
fn a_fresh_timestamp_that_names_an_older_snapshot_is_refused() {
    let (old, new, mut client) = moved();
    let mut forged = new.clone();
    forged.put_bytes("snapshot", old.files["snapshot"].clone());
    forged.link_timestamp();
    assert!(is_rollback(&client.refuses(&forged.service())));
    client.seen = None;
    assert!(is_rollback(&client.refuses(&forged.service())));
}

/// A fresh snapshot and timestamp that list the old targets: what whoever has the service's keys can make.
fn relisted(old: &Repository, new: &Repository) -> Repository {
    let mut forged = new.clone();
    forged.put_bytes("targets", old.files["targets"].clone());
    forged.link();
    forged
}

/// Attack catalogue A2-20.
#[test]
fn a_fresh_snapshot_that_lists_older_targets_is_refused() {
    let (old, new, mut client) = moved();
    let forged = relisted(&old, &new);
    assert!(is_rollback(&client.refuses(&forged.service())));
    client.seen = None;
    assert!(is_rollback(&client.refuses(&forged.service())));
}

/// Attack catalogue A2-21.
#[test]
fn a_refused_attempt_never_becomes_the_reference_point() {
    let (old, new, mut client) = moved();
    let mut forged = relisted(&old, &new);
    for _ in 0..4 {
        assert!(is_rollback(&client.refuses(&forged.service())));
        forged.link();
    }
    assert!(holds(&client.update(&new.service()).unwrap(), "v1", "new"));
}

/// Attack catalogue A2-22.
#[test]
fn genuine_old_files_under_ever_fresh_timestamps_are_refused_for_ever() {
    let (old, new, mut client) = moved();
    let mut forged = new.clone();
    forged.put_bytes("snapshot", old.files["snapshot"].clone());
    forged.put_bytes("targets", old.files["targets"].clone());
    for _ in 0..4 {
        forged.link_timestamp();
        assert!(is_rollback(&client.refuses(&forged.service())));
    }
    assert!(holds(&client.update(&new.service()).unwrap(), "v1", "new"));
}

/// Attack catalogue A2-23.
#[test]
fn an_older_delegation_file_is_refused_while_targets_is_unchanged() {
    let mut repository = Repository::new();
    repository.delegate("targets/releases", &[""]);
    repository.tag("targets/releases", "v1", "old");
    let old = repository.files["targets/releases"].clone();
    repository.tag("targets/releases", "v1", "new");
    let mut client = repository.warm_client();
    let mut forged = repository.clone();
    forged.put_bytes("targets/releases", old);
    forged.link();
    assert!(is_rollback(&client.refuses(&forged.service())));
    client.seen = None;
    assert!(is_rollback(&client.refuses(&forged.service())));
}

/// Attack catalogue A2-23: while a parent is spoilt its children are not looked at; their floors must outlive that.
#[test]
fn floors_below_a_spoilt_delegation_outlive_it() {
    let mut repository = Repository::new();
    for (role, paths) in [("targets/a", "a/"), ("targets/a/b", "a/b/"), ("targets/a/b/c", "a/b/c/")] {
        repository.delegate(role, &[paths]);
        repository.tag(role, &format!("{paths}x"), "old");
    }
    let old = repository.files["targets/a/b/c"].clone();
    repository.tag("targets/a/b/c", "a/b/c/x", "new");
    let mut client = repository.warm_client();
    let mut spoilt = repository.clone();
    let content = spoilt.payload("targets/a");
    spoilt.put_bytes("targets/a", seal(&content, &[Key::new()]));
    spoilt.link();
    assert!(client.update(&spoilt.service()).unwrap().broken().contains_key(&role("targets/a")));
    let mut forged = repository.clone();
    forged.put_bytes("targets/a/b/c", old);
    forged.revise("snapshot", |_| ());
    forged.link();
    client.cache.remove(&role("targets/a/b/c"));
    assert!(is_rollback(&client.refuses(&forged.service())));
}

/// Attack catalogue A2-24.
#[test]
fn an_older_root_beside_a_newer_rest_is_refused() {
    let mut repository = Repository::new();
    let old = repository.files["root"].clone();
    repository.rotate("root");
    let service = repository.service().serve("root", old);
    let mut cold = repository.client();
    cold.refuses(&service);
    cold.update(&repository.service()).unwrap();
}

/// Attack catalogue A2-25.
#[test]
fn a_revoked_targets_key_stays_revoked_under_an_older_root() {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "good");
    let before = repository.clone();
    repository.rotate("targets");
    let mut client = repository.warm_client();
    let mut forged = repository.clone();
    forged.put_bytes("root", before.files["root"].clone());
    forged.keys.insert("targets".into(), before.keys["targets"].clone());
    forged.tag("targets", "v1", "evil");
    assert!(is_rollback(&client.refuses(&forged.service())));
    // The new root listed, but the old key used.
    let mut forged = repository.clone();
    forged.keys.insert("targets".into(), before.keys["targets"].clone());
    forged.tag("targets", "v1", "evil");
    client.refuses(&forged.service());
    repository.client().refuses(&forged.service());
}

/// Attack catalogue A2-26.
#[test]
fn one_version_has_one_content() {
    let (_, repository, client) = moved();
    let other = |role: &str| {
        let mut forged = repository.clone();
        forged.edit(role, |payload| payload["x-other"] = 1.into());
        match role {
            "timestamp" => {}
            "snapshot" => forged.link_timestamp(),
            _ => forged.link(),
        }
        forged.service()
    };
    for role in ["timestamp", "snapshot", "targets"] {
        let mut warm = client.clone();
        let error = warm.refuses(&other(role));
        assert!(matches!(error, UpdateError::Regression(Regression::Changed { .. })), "{role}: {error}");
        warm.seen = None;
        let error = warm.refuses(&other(role));
        assert!(matches!(error, UpdateError::Regression(Regression::Changed { .. })), "{role}, cache alone: {error}");
    }
    let error = client.clone().refuses(&other("root"));
    assert!(matches!(error, UpdateError::ForeignRoot { .. }), "{error}");
}

/// Attack catalogue A2-27.
#[test]
fn a_snapshot_that_stops_listing_a_delegation_is_refused() {
    let mut repository = Repository::new();
    repository.delegate("targets/releases", &[""]);
    repository.tag("targets/releases", "v1", "x");
    let mut client = repository.warm_client();
    let mut forged = repository.clone();
    forged.files.remove("targets/releases");
    forged.link();
    let error = client.refuses(&forged.service());
    assert_eq!(error, UpdateError::DelegationDropped(role("targets/releases")));
    // Once its owner has removed the delegation, it may be gone.
    forged.revise("targets", |targets| targets["delegations"] = json!({ "keys": {}, "roles": [] }));
    forged.link();
    assert!(!holds(&client.update(&forged.service()).unwrap(), "v1", "x"));
}

/// Attack catalogue A2-28.
#[test]
fn the_highest_versions_do_not_wrap_around() {
    for version in [2_147_483_647_u64, 1 << 53] {
        let mut repository = Repository::new();
        repository.edit("targets", |targets| targets["version"] = version.into());
        repository.link();
        let mut client = repository.warm_client();
        assert_eq!(
            client.update(&repository.service()).unwrap().targets(&RoleName::Targets).unwrap().version.get(),
            version
        );
        let mut lower = repository.clone();
        lower.edit("targets", |targets| targets["version"] = 1.into());
        lower.link();
        assert!(is_rollback(&client.refuses(&lower.service())));
    }
    let mut beyond = Repository::new();
    beyond.edit("targets", |targets| targets["version"] = 1.into());
    let huge = beyond.service().serve("timestamp", raw_version(&beyond, "timestamp", "9223372036854775807"));
    beyond.client().refuses(&huge);
}

/// The role's file with any text for its version, signed over what a lenient verifier would take it for.
fn raw_version(repository: &Repository, role: &str, version: &str) -> Vec<u8> {
    let mut payload = repository.payload(role);
    payload["version"] = 987_654.into();
    let signed = String::from_utf8(canonical(&payload)).unwrap();
    let spelled = signed.replace("987654", version);
    seal_raw(&spelled, spelled.as_bytes(), &repository.keys[role]).to_vec()
}

/// Attack catalogue A2-29.
#[test]
fn what_is_no_version_is_refused() {
    let long = "9".repeat(400);
    for version in [
        "0",
        "-1",
        "1.5",
        "\"1\"",
        "null",
        "true",
        "[1]",
        "{}",
        "9223372036854775808",
        "18446744073709551617",
        &long,
        "01",
        "+1",
        "",
    ] {
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let mut repository = Repository::new();
            let file = raw_version(&repository, role, version);
            repository.put_bytes(role, file);
            match role {
                "root" | "targets" => repository.link(),
                "snapshot" => repository.link_timestamp(),
                _ => {}
            }
            let error = repository.client().refuses(&repository.service());
            assert!(matches!(error, UpdateError::Metadata { .. }), "{role} {version}: {error}");
        }
    }
}

/// Attack catalogue A2-30.
#[test]
fn one_signed_number_has_one_spelling() {
    let repository = Repository::new();
    let payload = repository.payload("timestamp");
    let over = canonical(&payload);
    let signed = String::from_utf8(over.clone()).unwrap();
    for version in ["1e0", "1.0", "1E0", "10e-1"] {
        let respelled = signed.replace("\"version\":1}", &format!("\"version\":{version}}}"));
        assert_ne!(respelled, signed);
        let file = seal_raw(&respelled, &over, &repository.keys["timestamp"]);
        repository.client().refuses(&repository.service().serve("timestamp", file));
    }
    let mut top = payload;
    top["version"] = (1_u64 << 53).into();
    let over = canonical(&top);
    let off_by_one = String::from_utf8(over.clone()).unwrap().replace("9007199254740992", "9007199254740993");
    let file = seal_raw(&off_by_one, &over, &repository.keys["timestamp"]);
    repository.client().refuses(&repository.service().serve("timestamp", file));
}

/// Attack catalogue A2-31.
#[test]
fn after_any_failed_attack_an_honest_service_works_at_once_with_the_cache_intact() {
    let (old, new, client) = moved();
    let services = [
        old.service(),
        relisted(&old, &new).service(),
        new.service().serve("timestamp", "junk"),
        new.service().without("root").serve("timestamp", old.files["timestamp"].clone()),
        new.service().serve("timestamp", seal(&new.payload("timestamp"), &[Key::new()])),
    ];
    for attack in services {
        let mut client = client.clone();
        client.refuses(&attack);
        assert!(holds(&client.update(&new.service()).unwrap(), "v1", "new"));
    }
}

/// Attack catalogue A2-32: whichever of two processes commits last, its floors are checked against a later state.
#[test]
fn floors_of_a_slow_process_do_not_hide_an_older_state_from_a_fast_one() {
    let (old, new, _) = moved();
    let mut slow = old.warm_client();
    let mut fast = slow.clone();
    fast.update(&new.service()).unwrap();
    // The slow process brings its state in after the fast one has committed: the higher floor decides.
    slow.seen.clone_from(&fast.seen);
    assert!(is_rollback(&slow.refuses(&old.service())));
    slow.update(&new.service()).unwrap();
}

/// Attack catalogue A2-33.
#[test]
fn a_clock_that_jumps_back_is_pointed_out_and_one_that_jumps_forward_is_survived() {
    let (_, repository, mut client) = moved();
    client.now = at("2026-11-22T01:00:00Z");
    for _ in 0..2 {
        let collection = client.update(&repository.service()).unwrap();
        assert!(collection.notes().contains(&Note::ClockBehind), "every time, not only the first");
    }
    client.now = at("2027-11-22T12:00:00Z");
    client.refuses(&repository.service());
    client.now = now();
    assert!(!client.update(&repository.service()).unwrap().notes().contains(&Note::ClockBehind));
}

/// Attack catalogue A2-22: a state that was fetched under the old root and then thrown away is not cached.
#[test]
fn what_was_fetched_before_a_change_of_root_is_not_kept() {
    let (_, mut repository, mut client) = moved();
    let before = repository.clone();
    repository.rotate("targets");
    // Before the new root is asked for, a snapshot that nobody else ever sees, with targets that do not verify.
    let mut odd = before.clone();
    let bad_targets = seal(&odd.payload("targets"), &[Key::new()]);
    odd.put_bytes("targets", bad_targets);
    odd.link();
    let odd_snapshot = odd.files["snapshot"].clone();
    let first = std::cell::Cell::new(true);
    let mut update = Update::begin(Request {
        gun: gun(),
        now: now(),
        pinning: &client.pinning,
        seen: Seen::read(client.seen.as_ref().unwrap()).unwrap(),
        purpose: Purpose::Read,
        lost_root: LostRoot::Refuse,
    });
    loop {
        let answer = match update.next() {
            Step::Read(role) => client.cache.get(role).map_or(Answer::Missing, |file| Answer::File(file.clone())),
            Step::Fetch(wanted) if *wanted.role == RoleName::Root => {
                first.set(false);
                repository.service().answer(wanted)
            }
            Step::Fetch(wanted) if first.get() => odd.service().answer(wanted),
            Step::Fetch(wanted) => repository.service().answer(wanted),
            Step::Done => break,
        };
        update.feed(answer).unwrap();
    }
    let collection = update.finish().unwrap();
    assert!(!first.get(), "the new root was asked for");
    assert_ne!(collection.downloaded().get(&RoleName::Snapshot), Some(&odd_snapshot));
    let parts: Vec<&RoleName> = collection.downloaded().keys().collect();
    for (role, file) in collection.downloaded() {
        let current = match role {
            RoleName::Root => collection.root().file(),
            RoleName::Timestamp => collection.timestamp().file(),
            RoleName::Snapshot => collection.snapshot().file(),
            role => collection.targets(role).unwrap().file(),
        };
        assert_eq!(file, current, "{parts:?}");
    }
    client.cache.extend(collection.downloaded().clone());
    client.seen = Some(collection.seen().write().into());
    client.update(&repository.service()).unwrap();
}

/// Attack catalogue A2-21: an update whose answer was refused cannot be ended as if nothing had been.
#[test]
fn a_failed_update_yields_no_collection() {
    let (_, repository, client) = moved();
    let seen = Seen::read(client.seen.as_ref().unwrap()).unwrap();
    for spoil in [RoleName::Timestamp, RoleName::Snapshot, RoleName::Targets] {
        let mut update = Update::begin(Request {
            gun: gun(),
            now: now(),
            pinning: &client.pinning,
            seen: seen.clone(),
            purpose: Purpose::Read,
            lost_root: LostRoot::Refuse,
        });
        let service = repository.service().serve(spoil.as_str(), "junk");
        let mut failed = false;
        loop {
            let answer = match update.next() {
                Step::Read(RoleName::Root) => Answer::File(client.cache[&RoleName::Root].clone()),
                Step::Read(_) => Answer::Missing,
                Step::Fetch(wanted) => service.answer(wanted),
                Step::Done => break,
            };
            // Somebody ignores the error and goes on.
            failed |= update.feed(answer).is_err();
        }
        assert!(failed && matches!(update.finish(), Err(UpdateError::Incomplete)), "{spoil}");
    }
}

/// Attack catalogue A2-31: a listing that fails leaves the version of a value alone.
#[test]
fn versions_in_the_view_are_those_of_the_files() {
    let (_, repository, mut client) = moved();
    let collection = client.update(&repository.service()).unwrap();
    let versions: Vec<Value> =
        ["root", "targets", "snapshot", "timestamp"].map(|r| repository.version(r).into()).into();
    let found: Vec<Value> = [
        collection.root().version,
        collection.targets(&RoleName::Targets).unwrap().version,
        collection.snapshot().version,
        collection.timestamp().version,
    ]
    .map(|version| version.get().into())
    .into();
    assert_eq!(versions, found);
}
