//! Every role's file corrupted in every way, for clients with and without a cache (Notary protocol, client update).

use crate::workshop::*;
use bytes::Bytes;
use countersign_tuf::update::{Absence, Answer, Purpose, UpdateError};
use countersign_tuf::{BrokenReason, Note, RoleName};
use serde_json::{Value, json};

const DELEGATION: &str = "targets/a";
const CHILD: &str = "targets/a/b";
const BASE: [&str; 4] = ["root", "targets", "snapshot", "timestamp"];
const ALL: [&str; 6] = ["root", "targets", DELEGATION, CHILD, "snapshot", "timestamp"];

/// A collection with a delegation below a delegation and a tag in each.
fn collection() -> Repository {
    let mut repository = Repository::new();
    repository.tag("targets", "top", "top");
    repository.delegate(DELEGATION, &["a"]);
    repository.tag(DELEGATION, "a", "a");
    repository.delegate(CHILD, &["ab"]);
    repository.tag(CHILD, "ab", "ab");
    repository
}

/// What a corruption is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    InvalidJson,
    NoEnvelope,
    WrongTypes,
    WrongType,
    BadSignature,
    WrongKey,
    NoSignatures,
    LoweredVersion,
    ZeroVersion,
    Expired,
    Whitespace,
}

const FAULTS: [Fault; 11] = [
    Fault::InvalidJson,
    Fault::NoEnvelope,
    Fault::WrongTypes,
    Fault::WrongType,
    Fault::BadSignature,
    Fault::WrongKey,
    Fault::NoSignatures,
    Fault::LoweredVersion,
    Fault::ZeroVersion,
    Fault::Expired,
    Fault::Whitespace,
];

/// The role's present file with a fault.
fn corrupt(repository: &Repository, name: &str, fault: Fault) -> Bytes {
    let file = repository.files[name].clone();
    let mut payload = repository.payload(name);
    match fault {
        Fault::InvalidJson => return [&b"{"[..], &file].concat().into(),
        Fault::NoEnvelope => return r#"{"signed":"yes"}"#.into(),
        Fault::WrongTypes => {
            let member = if name.starts_with("targets") {
                "targets"
            } else if name == "root" {
                "roles"
            } else {
                "meta"
            };
            payload[member] = json!("text");
        }
        Fault::WrongType => payload["_type"] = "Mirrors".into(),
        Fault::BadSignature => {
            let mut broken: Value = serde_json::from_slice(&file).unwrap();
            let signature = broken["signatures"][0]["sig"].as_str().unwrap().to_owned();
            let first = if signature.starts_with('A') { "B" } else { "A" };
            broken["signatures"][0]["sig"] = format!("{first}{}", &signature[1..]).into();
            return serde_json::to_vec(&broken).unwrap().into();
        }
        Fault::WrongKey => return seal(&payload, &[if name == "root" { Key::root() } else { Key::new() }]),
        Fault::NoSignatures => return seal(&payload, &[]),
        Fault::LoweredVersion => payload["version"] = (repository.version(name) - 1).into(),
        Fault::ZeroVersion => payload["version"] = 0.into(),
        Fault::Expired => payload["expires"] = "2026-11-01T00:00:00Z".into(),
        Fault::Whitespace => return [&file[..], b"\n"].concat().into(),
    }
    seal(&payload, &repository.keys[name])
}

/// The repository with a faulty file, properly listed by those above it.
fn listed(repository: &Repository, name: &str, file: Bytes) -> Repository {
    let mut corrupted = repository.clone();
    corrupted.put_bytes(name, file);
    match name {
        "timestamp" => {}
        "snapshot" => corrupted.link_timestamp(),
        _ => corrupted.link(),
    }
    corrupted
}

/// A later state in which every file is new, root included.
fn renewed(repository: &Repository) -> Repository {
    let mut later = repository.clone();
    later.rotate("root");
    later.tag("targets", "top", "newer");
    later.tag(DELEGATION, "a", "newer");
    later.tag(CHILD, "ab", "newer");
    later
}

/// Corrupted on the way, or at the service only: what is listed is something else.
#[test]
fn a_fault_that_is_not_listed_is_refused_unless_the_cache_has_the_file() {
    let repository = collection();
    let later = renewed(&repository);
    for name in ALL {
        for fault in FAULTS {
            if fault == Fault::LoweredVersion && name == "root" {
                continue;
            }
            let case = format!("{name} {fault:?}");
            if name != "timestamp" || !matches!(fault, Fault::LoweredVersion | Fault::Whitespace) {
                let service = repository.service().serve(name, corrupt(&repository, name, fault));
                repository.client().refuses(&service);
                let mut warm = repository.warm_client();
                if name == "timestamp" {
                    warm.refuses(&service);
                } else {
                    let collection = warm.update(&service).unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert!(holds(&collection, "ab", "ab"), "{case}");
                }
            }
            // There is something new, and it is corrupted.
            if name == "timestamp" && fault == Fault::Whitespace {
                continue;
            }
            let service = later.service().serve(name, corrupt(&later, name, fault));
            let mut warm = repository.warm_client();
            if name == "timestamp" && fault == Fault::LoweredVersion {
                // Still newer than what was seen, and properly signed: nothing is wrong with it.
                warm.update(&service).unwrap();
                continue;
            }
            warm.refuses(&service);
            assert!(holds(&warm.update(&later.service()).unwrap(), "ab", "newer"), "{case}");
        }
    }
}

/// Corrupted and properly listed: what whoever holds the service's keys can serve.
#[test]
fn a_fault_that_is_listed_is_refused_for_base_roles_and_keeps_a_delegation_apart() {
    let repository = collection();
    for name in ALL {
        for fault in FAULTS {
            let case = format!("{name} {fault:?}");
            if name == "root" && matches!(fault, Fault::LoweredVersion | Fault::ZeroVersion) {
                continue;
            }
            let corrupted = listed(&repository, name, corrupt(&repository, name, fault));
            let (mut cold, mut warm) = (repository.client(), repository.warm_client());
            let delegated = name == DELEGATION || name == CHILD;
            let apart = matches!(fault, Fault::BadSignature | Fault::WrongKey | Fault::NoSignatures);
            match fault {
                // Spelled otherwise, the same content: one version has one content for those who know it.
                Fault::Whitespace => {
                    cold.update(&corrupted.service()).unwrap_or_else(|error| panic!("{case}: {error}"));
                    if name != "timestamp" {
                        warm.refuses(&corrupted.service());
                    }
                }
                // Nobody who has not seen the higher version can know.
                Fault::LoweredVersion if repository.version(name) > 1 => {
                    cold.update(&corrupted.service()).unwrap_or_else(|error| panic!("{case}: {error}"));
                    warm.refuses(&corrupted.service());
                }
                _ if delegated && (apart || fault == Fault::Expired) => {
                    let collection =
                        cold.update(&corrupted.service()).unwrap_or_else(|error| panic!("{case}: {error}"));
                    check_apart(&collection, name, fault);
                    if apart {
                        check_apart(&warm.update(&corrupted.service()).unwrap(), name, fault);
                    } else {
                        // Other content under a known version.
                        warm.refuses(&corrupted.service());
                    }
                }
                _ => {
                    cold.refuses(&corrupted.service());
                    warm.refuses(&corrupted.service());
                }
            }
            assert!(
                holds(
                    &warm.update(&renewed(&corrupted_base(&repository, &corrupted)).service()).unwrap(),
                    "ab",
                    "newer"
                ),
                "{case}"
            );
        }
    }
}

/// The honest collection with listings as new as the corrupted ones, so that its next state is newer than both.
fn corrupted_base(honest: &Repository, corrupted: &Repository) -> Repository {
    let mut base = honest.clone();
    for name in ["snapshot", "timestamp"] {
        let version = corrupted.payload_version(name).max(honest.version(name));
        base.edit(name, |payload| payload["version"] = version.into());
    }
    base
}

fn check_apart(collection: &countersign_tuf::Collection, name: &str, fault: Fault) {
    let broken = &collection.broken()[&role(name)].reason;
    let expired = matches!(broken, BrokenReason::Expired(_));
    assert_eq!(expired, fault == Fault::Expired, "{name} {fault:?}");
    assert!(collection.notes().iter().any(|note| matches!(note, Note::Broken(found, _) if found.as_str() == name)));
    assert!(holds(collection, "top", "top"), "the rest is fine");
    assert!(!holds(collection, "ab", "ab"), "descendants are not used");
    assert_eq!(holds(collection, "a", "a"), name == CHILD);
}

/// A root whose own signature no longer fits: there is no way to know it from a foreign one.
#[test]
fn a_root_with_other_keys_or_thresholds_than_its_predecessor_needs_the_next_version() {
    let repository = collection();
    let stranger = Key::new();
    let changes: [&dyn Fn(&mut Value); 5] = [
        &|root| root["roles"]["targets"]["threshold"] = 2.into(),
        &|root| root["roles"]["root"]["threshold"] = 2.into(),
        &|root| {
            root["roles"].as_object_mut().unwrap().remove("snapshot");
        },
        &|root| root["keys"] = json!({}),
        &|root| {
            root["keys"][stranger.id()] = stranger.json();
            root["roles"]["targets"]["keyids"] = json!([stranger.id()]);
        },
    ];
    for change in changes {
        let mut corrupted = repository.clone();
        corrupted.edit("root", |root| change(root));
        corrupted.link();
        corrupted.client().refuses(&corrupted.service());
        repository.warm_client().refuses(&corrupted.service());
        let mut next = repository.clone();
        next.revise("root", |root| change(root));
        next.link();
        next.client().refuses(&next.service());
        repository.warm_client().refuses(&next.service());
    }
}

/// Notary protocol: a remote key rotated without re-signing that role is an error; for a delegation, it is kept apart.
#[test]
fn a_key_rotated_without_signing_anew_makes_the_role_fail() {
    let repository = collection();
    for name in ["targets", "snapshot", "timestamp"] {
        let mut rotated = repository.clone();
        rotated.keys.insert(name.into(), vec![Key::new()]);
        let root = rotated.root_payload(2);
        rotated.put("root", &root);
        let old = repository.keys.clone();
        let new = std::mem::replace(&mut rotated.keys, old);
        rotated.link();
        rotated.keys = new;
        rotated.client().refuses(&rotated.service());
        repository.warm_client().refuses(&rotated.service());
    }
    let mut rotated = repository.clone();
    rotated.keys.insert(DELEGATION.into(), vec![Key::new()]);
    rotated.delegate(DELEGATION, &["a"]);
    for mut client in [repository.client(), repository.warm_client()] {
        let collection = client.update(&rotated.service()).unwrap();
        assert!(collection.broken().contains_key(&role(DELEGATION)) && holds(&collection, "top", "top"));
    }
}

/// Notary protocol: removed checksum entries.
#[test]
fn a_role_that_the_snapshot_does_not_list_is_refused_or_for_a_delegation_unknown() {
    let repository = collection();
    for name in ["root", "targets", DELEGATION] {
        let mut corrupted = repository.clone();
        corrupted.edit("snapshot", |snapshot| {
            snapshot["meta"].as_object_mut().unwrap().remove(name);
        });
        corrupted.revise("snapshot", |_| ());
        corrupted.link_timestamp();
        repository.warm_client().refuses(&corrupted.service());
        if name == DELEGATION {
            let collection = corrupted.client().update(&corrupted.service()).unwrap();
            assert!(!holds(&collection, "a", "a") && holds(&collection, "top", "top"));
        } else {
            corrupted.client().refuses(&corrupted.service());
        }
    }
}

/// Notary protocol: remote files missing or the service failing, with and without a cache, with and without news.
#[test]
fn missing_files_and_a_failing_service() {
    let repository = collection();
    let later = renewed(&repository);
    let answers =
        [Answer::Missing, Answer::Away(Absence::Unreachable("503".into())), Answer::Away(Absence::Tls("bad".into()))];
    for name in ALL {
        for answer in &answers {
            let lying = |repository: &Repository| repository.service().lie(name, answer.clone());
            repository.client().refuses(&lying(&repository));
            let mut warm = repository.warm_client();
            let harmless = !matches!(answer, Answer::Away(Absence::Tls(_)));
            match (name, harmless) {
                ("timestamp", true) => {
                    for state in [&repository, &later] {
                        let collection = warm.update(&lying(state)).unwrap();
                        assert!(holds(&collection, "ab", "ab"), "the cached state speaks");
                        assert!(collection.notes().iter().any(|note| matches!(note, Note::CachedTimestamp(_))));
                    }
                    warm.purpose = Purpose::Publish;
                    warm.refuses(&lying(&repository));
                }
                ("timestamp", false) => {
                    warm.refuses(&lying(&repository));
                }
                _ => {
                    warm.update(&lying(&repository)).unwrap();
                    warm.refuses(&lying(&later));
                }
            }
        }
    }
    assert_eq!(repository.client().refuses(&repository.service().without("root")), UpdateError::NoTrustData(gun()));
}

/// Notary protocol: both the cached and the served root corrupt; the cached one is reported first.
#[test]
fn a_corrupt_cached_root_is_reported_before_a_corrupt_served_one() {
    let repository = collection();
    let mut client = repository.warm_client();
    client.cache.insert(RoleName::Root, "junk".into());
    assert!(matches!(client.refuses(&repository.service().serve("root", "junk")), UpdateError::CachedRoot(_)));
}

/// Notary protocol: cached files other than the root that have expired or are corrupt are fetched again.
#[test]
fn every_cached_file_but_the_root_is_repaired() {
    let repository = collection();
    for name in ALL.into_iter().filter(|name| *name != "root") {
        for fault in FAULTS {
            let mut client = repository.warm_client();
            let honest = client.cache.clone();
            client.cache.insert(role(name), corrupt(&repository, name, fault));
            client.update(&repository.service()).unwrap_or_else(|error| panic!("{name} {fault:?}: {error}"));
            assert_eq!(client.cache, honest, "{name} {fault:?}");
        }
    }
}

/// Notary protocol: seventy-five thousand entries, and as many in the snapshot.
#[test]
fn tens_of_thousands_of_entries_are_read() {
    let mut repository = Repository::new();
    let entry = image("x");
    repository.revise("targets", |targets| {
        targets["targets"] = Value::Object((0..75_000).map(|n| (format!("v{n}"), entry.clone())).collect());
    });
    repository.link();
    repository.edit("snapshot", |snapshot| {
        for n in 0..75_000 {
            snapshot["meta"][format!("targets/r{n}")] = meta(b"x");
        }
    });
    repository.link_timestamp();
    let collection = repository.client().update(&repository.service()).unwrap();
    assert_eq!(collection.targets(&RoleName::Targets).unwrap().entries.len(), 75_000);
    assert!(holds(&collection, "v74999", "x"));
}

/// What was taken apart is put together again, so that the matrix above tests what it says.
#[test]
fn the_faults_are_faults() {
    let repository = collection();
    for name in BASE {
        for fault in FAULTS {
            if fault == Fault::LoweredVersion && repository.version(name) == 1 {
                continue;
            }
            assert_ne!(corrupt(&repository, name, fault), repository.files[name], "{name} {fault:?}");
        }
    }
}
