//! Hashes, lengths, mix-and-match.

use crate::workshop::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_tuf::RoleName;
use countersign_tuf::update::UpdateError;
use serde_json::{Value, json};

fn tagged() -> Repository {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    repository
}

/// Attack catalogue A4-43.
#[test]
fn a_file_one_byte_longer_than_recorded_is_refused() {
    for name in ["root", "snapshot", "targets"] {
        for byte in [b" ", b"\n"] {
            let repository = tagged();
            let mut file = repository.files[name].to_vec();
            file.extend_from_slice(byte);
            repository.client().refuses(&repository.service().serve(name, file));
        }
    }
    let mut delegated = tagged();
    delegated.delegate("targets/a", &[""]);
    delegated.tag("targets/a", "w", "y");
    let mut file = delegated.files["targets/a"].to_vec();
    file.insert(0, b' ');
    delegated.client().refuses(&delegated.service().serve("targets/a", file));
}

/// Attack catalogue A4-44.
#[test]
fn a_properly_signed_file_that_is_not_the_listed_one_is_refused() {
    let repository = tagged();
    for name in ["targets", "snapshot"] {
        let mut other = repository.clone();
        other.revise(name, |payload| payload["x-other"] = 1.into());
        let error = repository.client().refuses(&repository.service().serve(name, other.files[name].clone()));
        assert!(!matches!(error, UpdateError::Metadata { .. }), "{error}");
    }
}

/// Attack catalogue A4-45.
#[test]
fn targets_and_snapshot_of_different_publications_are_refused() {
    let old = tagged();
    let mut new = old.clone();
    new.tag("targets", "v1", "y");
    for mixed in [
        new.service().serve("targets", old.files["targets"].clone()),
        new.service().serve("snapshot", old.files["snapshot"].clone()),
        old.service().serve("targets", new.files["targets"].clone()),
    ] {
        new.client().refuses(&mixed);
    }
}

/// Changes what a listing says of a file and has everything above it follow.
fn relist(repository: &Repository, name: &str, change: impl FnOnce(&mut Value)) -> Repository {
    let mut forged = repository.clone();
    if name == "snapshot" {
        forged.edit("timestamp", |timestamp| change(&mut timestamp["meta"]["snapshot"]));
    } else {
        forged.edit("snapshot", |snapshot| change(&mut snapshot["meta"][name]));
        forged.link_timestamp();
    }
    forged
}

/// Attack catalogue A4-46.
#[test]
fn every_known_hash_has_to_be_right() {
    let repository = tagged();
    for name in ["root", "targets", "snapshot"] {
        for (algorithm, length) in [("sha256", 32), ("sha512", 64)] {
            let wrong = STANDARD.encode(vec![7; length]);
            let forged = relist(&repository, name, |meta| meta["hashes"][algorithm] = wrong.into());
            // Served whatever name it is asked for by.
            let service = forged.service().serve(name, repository.files[name].clone());
            forged.client().refuses(&service);
        }
    }
}

/// Attack catalogue A4-47.
#[test]
fn hashes_that_are_missing_malformed_or_of_an_unknown_kind_only_are_refused() {
    let repository = tagged();
    let hex = "00".repeat(32);
    for name in ["root", "targets", "snapshot"] {
        for sha256 in [json!(null), json!(""), json!("AAAA"), json!(hex), json!(7), json!([]), json!("not base64")] {
            let forged = relist(&repository, name, |meta| meta["hashes"]["sha256"] = sha256.clone());
            let error = forged.client().refuses(&forged.service());
            assert!(matches!(error, UpdateError::Metadata { .. }), "{name} {sha256}: {error}");
        }
        for hashes in [json!(null), json!({}), json!([]), json!({ "md5": "AAAA" }), json!("x")] {
            let forged = relist(&repository, name, |meta| meta["hashes"] = hashes.clone());
            assert!(
                matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }),
                "{name} {hashes}"
            );
        }
        for member in ["hashes", "length"] {
            let forged = relist(&repository, name, |meta| {
                meta.as_object_mut().unwrap().remove(member);
            });
            assert!(
                matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }),
                "{name} {member}"
            );
        }
        let forged = relist(&repository, name, |meta| {
            meta["hashes"].as_object_mut().unwrap().remove("sha256");
        });
        assert!(
            matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }),
            "{name} sha512 only"
        );
    }
}

/// Attack catalogue A4-48 and A4-49: the length is exact, and -1 does not mean "no limit".
#[test]
fn lengths_that_are_not_exact_are_refused() {
    let repository = tagged();
    for name in ["root", "targets", "snapshot"] {
        let right = repository.files[name].len();
        for length in [
            json!(right - 1),
            json!(right + 1),
            json!(0),
            json!(-1),
            json!(1_u64 << 53),
            json!(null),
            json!("7"),
            json!([right]),
        ] {
            let forged = relist(&repository, name, |meta| meta["length"] = length.clone());
            forged.client().refuses(&forged.service());
        }
        for spelling in [
            format!("{right}.0"),
            format!("{right}.5"),
            format!("{right}e0"),
            "4611686018427387904".into(),
            "18446744073709551616".into(),
        ] {
            let mut forged = repository.clone();
            let listing = if name == "snapshot" { "timestamp" } else { "snapshot" };
            let payload = String::from_utf8(canonical(&forged.payload(listing))).unwrap();
            let spelled = payload.replace(&format!("\"length\":{right}}}"), &format!("\"length\":{spelling}}}"));
            assert_ne!(payload, spelled);
            let file = seal_raw(&spelled, spelled.as_bytes(), &forged.keys[listing]);
            forged.put_bytes(listing, file);
            if listing == "snapshot" {
                forged.link_timestamp();
            }
            forged.client().refuses(&forged.service());
        }
    }
}

/// Attack catalogue A4-50.
#[test]
fn listings_without_their_mandatory_entries_are_refused() {
    let repository = tagged();
    for name in ["root", "targets"] {
        let mut forged = repository.clone();
        forged.edit("snapshot", |snapshot| {
            let entry = snapshot["meta"].as_object_mut().unwrap().remove(name).unwrap();
            snapshot["meta"][format!("{name}.json")] = entry;
        });
        forged.link_timestamp();
        assert!(matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }), "{name}");
    }
    for meta in [json!({}), json!(null), json!([]), json!({ "snapshot.json": meta(b"x") }), json!({ "snapshot": null })]
    {
        let mut forged = repository.clone();
        forged.edit("timestamp", |timestamp| timestamp["meta"] = meta.clone());
        assert!(matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }), "{meta}");
    }
}

/// Attack catalogue A4-51.
#[test]
fn a_type_that_is_not_the_role_s_own_is_refused() {
    for name in ["root", "targets", "snapshot", "timestamp"] {
        let own = ["Root", "Targets", "Snapshot", "Timestamp"].into_iter().find(|kind| kind.to_lowercase() == name);
        let others = ["Root", "Targets", "Snapshot", "Timestamp", "Mirrors", name, "", "TARGETS"];
        let kinds = others.into_iter().filter(|kind| Some(*kind) != own).map(Value::from);
        for kind in kinds.chain([json!(null), json!(7), json!([own])]) {
            let mut forged = tagged();
            forged.edit(name, |payload| payload["_type"] = kind.clone());
            match name {
                "timestamp" => {}
                "snapshot" => forged.link_timestamp(),
                _ => forged.link(),
            }
            assert!(
                matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }),
                "{name} {kind}"
            );
        }
        let mut forged = tagged();
        forged.edit(name, |payload| {
            payload.as_object_mut().unwrap().remove("_type");
        });
        match name {
            "timestamp" => {}
            "snapshot" => forged.link_timestamp(),
            _ => forged.link(),
        }
        forged.client().refuses(&forged.service());
    }
}

/// Attack catalogue A4-52.
#[test]
fn a_snapshot_is_no_timestamp_even_with_one_key_for_both() {
    let mut keys = Repository::new().keys;
    let one = Key::new();
    keys.insert("snapshot".into(), vec![one.clone()]);
    keys.insert("timestamp".into(), vec![one]);
    let repository = Repository::with_keys(GUN, keys);
    repository.client().update(&repository.service()).unwrap();
    repository.client().refuses(&repository.service().serve("timestamp", repository.files["snapshot"].clone()));
    let mut listing_itself = repository.clone();
    listing_itself.edit("snapshot", |snapshot| snapshot["meta"]["snapshot"] = meta(b"x"));
    repository.client().refuses(&repository.service().serve("timestamp", listing_itself.files["snapshot"].clone()));
}

/// Attack catalogue A4-53.
#[test]
fn tags_without_usable_hash_or_length_are_refused() {
    for entry in [
        json!({ "length": 1 }),
        json!({ "hashes": {}, "length": 1 }),
        json!({ "hashes": null, "length": 1 }),
        json!({ "hashes": { "sha256": "AAAAAA==" }, "length": 1 }),
        json!({ "hashes": { "sha256": STANDARD.encode([1; 32]) }, "length": -1 }),
        json!({ "hashes": { "sha256": STANDARD.encode([1; 32]) } }),
        json!({ "hashes": { "md5": "AAAA" }, "length": 1 }),
        json!(null),
        json!([]),
        json!("x"),
    ] {
        let mut forged = tagged();
        forged.edit("targets", |targets| targets["targets"]["evil"] = entry.clone());
        forged.link();
        assert!(matches!(forged.client().refuses(&forged.service()), UpdateError::Metadata { .. }), "{entry}");
    }
}

/// Attack catalogue A4-43: what is asked for is limited to what is listed, so that endless files end.
#[test]
fn listed_files_are_asked_for_by_hash_and_with_their_exact_length_as_limit() {
    use countersign_tuf::update::Which;
    let repository = tagged();
    let service = repository.service();
    repository.client().update(&service).unwrap();
    let asked = service.asked.borrow();
    for (role, which) in asked.iter() {
        let by_hash = matches!(which, Which::Checksum(_));
        assert_eq!(by_hash, matches!(role, RoleName::Snapshot | RoleName::Targets), "{role}");
    }
    assert_eq!(asked.len(), 4);
}
