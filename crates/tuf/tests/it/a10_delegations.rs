//! Delegations and names.

use crate::workshop::*;
use countersign_tuf::update::{Answer, UpdateError};
use countersign_tuf::{BrokenReason, RoleName};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const EVERYWHERE: [RoleName; 1] = [RoleName::Targets];

/// Attack catalogue A10-106.
#[test]
fn a_delegate_signs_inside_its_paths_only() {
    let mut repository = Repository::new();
    repository.delegate("targets/a", &["a/"]);
    repository.delegate("targets/none", &[]);
    for name in ["a/in", "b/out", "a", "", "a/../x", "A/x"] {
        repository.tag("targets/a", name, "a");
    }
    repository.delegate("targets/a/wide", &["", "a/w/", "b/"]);
    for name in ["a/w/in", "b/out2", "a/else", "x"] {
        repository.tag("targets/a/wide", name, "wide");
    }
    repository.tag("targets/none", "n", "none");
    let collection = repository.client().update(&repository.service()).unwrap();
    let all = collection.list(&EVERYWHERE);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["a/in", "a/w/in"]);
    for name in ["b/out", "a", "", "a/../x", "A/x", "b/out2", "a/else", "x", "n"] {
        assert!(collection.get(name, &EVERYWHERE).is_err(), "{name}");
        let delegates = ["targets/a", "targets/a/wide", "targets/none"].map(role);
        assert!(collection.get(name, &delegates).is_err(), "{name}, asked directly");
    }
    assert!(holds(&collection, "a/w/in", "wide"));
}

/// Attack catalogue A10-107.
#[test]
fn files_nobody_delegated_to_are_not_shown() {
    let mut repository = Repository::new();
    repository.delegate("targets/a", &[""]);
    repository.delegate("targets/b", &[""]);
    repository.tag("targets/a", "v", "a");
    repository.tag("targets/b", "w", "b");
    let sibling = repository.keys["targets/b"].clone();
    for signers in [sibling, Vec::new(), vec![Key::new()], repository.keys["timestamp"].clone()] {
        let mut forged = repository.clone();
        let file = seal(&forged.payload("targets/a"), &signers);
        forged.put_bytes("targets/a", file);
        forged.link();
        let collection = forged.client().update(&forged.service()).unwrap();
        assert!(matches!(collection.broken()[&role("targets/a")].reason, BrokenReason::Threshold(_)));
        assert!(collection.get("v", &EVERYWHERE).is_err());
        assert!(collection.list(&EVERYWHERE).is_empty(), "targets/a comes first and could have said otherwise");
        assert_eq!(collection.list(&[role("targets/b")]).len(), 1);
    }

    // A key that was taken away, with the file still in the cache.
    let mut client = repository.warm_client();
    let mut revoked = repository.clone();
    revoked.keys.insert("targets/a".into(), vec![Key::new()]);
    revoked.delegate("targets/a", &[""]);
    let collection = client.update(&revoked.service()).unwrap();
    assert!(collection.targets(&role("targets/a")).is_none() && collection.broken().contains_key(&role("targets/a")));

    // Listed by the snapshot, but described by nobody.
    let mut stray = Repository::new();
    stray.keys.insert("targets/stray".into(), vec![Key::new()]);
    stray.tag("targets/stray", "v", "stray");
    let collection = stray.client().update(&stray.service()).unwrap();
    assert!(collection.list(&EVERYWHERE).is_empty() && collection.targets(&role("targets/stray")).is_none());
    assert!(collection.get("v", &[role("targets/stray")]).is_err());

    // Described, but listed by nobody, though a file is there.
    let mut unlisted = Repository::new();
    unlisted.delegate("targets/a", &[""]);
    unlisted.tag("targets/a", "v", "a");
    let file = unlisted.files.remove("targets/a").unwrap();
    unlisted.link();
    let service = unlisted.service().serve("targets/a", file);
    assert!(unlisted.client().update(&service).unwrap().list(&EVERYWHERE).is_empty());
}

/// Attack catalogue A10-108.
#[test]
fn hostile_role_names_are_refused() {
    let long = format!("targets/{}", "a".repeat(300));
    for name in [
        "targets/../x",
        "/targets/a",
        "root",
        "timestamp",
        "snapshot",
        "targets",
        "targets/a/b",
        "other/a",
        "a",
        "targets/A",
        "targets/a b",
        "targets/a\n",
        "targets/a\0",
        "targets/\u{430}",
        "targets//a",
        "targets/",
        "targets/a/",
        "targets/.",
        "targets/..",
        "targets/*",
        "targets/%2e%2e",
        "targets\\a",
        "targets/a\\b",
        "targets/a#",
        "targets/a?",
        "",
        &long,
    ] {
        let mut repository = Repository::new();
        repository.delegate("targets/x", &[""]);
        repository.edit("targets", |targets| targets["delegations"]["roles"][0]["name"] = name.into());
        repository.link();
        let error = repository.client().refuses(&repository.service());
        assert!(matches!(error, UpdateError::Metadata { .. }), "{name:?}: {error}");
    }
    // In the snapshot they are no roles and mean nothing.
    let mut repository = Repository::new();
    repository.edit("snapshot", |snapshot| {
        for name in ["targets/../x", "../../etc/passwd", "targets/A", "targets/a\u{202e}b", "constructor"] {
            snapshot["meta"][name] = meta(b"x");
        }
    });
    repository.link_timestamp();
    let collection = repository.client().update(&repository.service()).unwrap();
    assert_eq!(collection.snapshot().meta.len(), 2);
    // A name that looks like a hash is a name like any other.
    let like_hash = format!("targets/{}", "ab".repeat(32));
    let mut repository = Repository::new();
    repository.delegate(&like_hash, &[""]);
    repository.tag(&like_hash, "v", "x");
    assert!(holds(&repository.client().update(&repository.service()).unwrap(), "v", "x"));
}

/// Attack catalogue A10-109.
#[test]
fn repeated_cyclic_deep_and_many_roles_come_to_an_end() {
    let mut twice = Repository::new();
    twice.delegate("targets/a", &["a/"]);
    twice.edit("targets", |targets| {
        let mut other = targets["delegations"]["roles"][0].clone();
        other["paths"] = json!([""]);
        targets["delegations"]["roles"].as_array_mut().unwrap().push(other);
    });
    twice.link();
    assert!(matches!(twice.client().refuses(&twice.service()), UpdateError::Metadata { .. }));

    // A cycle needs a role that describes its ancestor: not a direct child.
    let mut cycle = Repository::new();
    cycle.delegate("targets/a", &[""]);
    cycle.tag("targets/a", "v", "x");
    for ancestor in ["targets/a", "targets"] {
        let mut cycle = cycle.clone();
        cycle.delegate("targets/a/x", &[""]);
        cycle.edit("targets/a", |targets| targets["delegations"]["roles"][0]["name"] = ancestor.into());
        cycle.link();
        assert!(matches!(cycle.client().refuses(&cycle.service()), UpdateError::Metadata { .. }));
    }

    let mut deep = Repository::new();
    let key = Key::new();
    let mut name = String::from("targets");
    for _ in 0..80 {
        name.push_str("/d");
        deep.keys.insert(name.clone(), vec![key.clone()]);
        deep.delegate(&name, &[""]);
        deep.tag(&name, "deepest", &name);
        deep.history.retain(|(role, file)| deep.files.get(role) == Some(file));
    }
    let collection = deep.client().update(&deep.service()).unwrap();
    assert_eq!(collection.all_targets().count(), 81);
    assert!(holds(&collection, "deepest", "targets/d"), "the one highest up answers");

    let began = Instant::now();
    let mut many = Repository::new();
    many.revise("targets", |targets| {
        targets["delegations"]["keys"][key.id()] = key.json();
        let described = (0..1500)
            .map(|n| json!({ "keyids": [key.id()], "name": format!("targets/r{n}"), "paths": [""], "threshold": 1 }));
        targets["delegations"]["roles"] = described.collect::<Vec<Value>>().into();
    });
    let empty = many.payload("targets");
    for n in 0..1500 {
        let mut payload = empty.clone();
        payload["delegations"] = json!({ "keys": {}, "roles": [] });
        payload["targets"] = json!({ "v": image(&n.to_string()) });
        many.put_bytes(&format!("targets/r{n}"), seal(&payload, std::slice::from_ref(&key)));
    }
    many.link();
    let mut client = many.client();
    let collection = client.update(&many.service()).unwrap();
    assert_eq!(collection.all_targets().count(), 1501);
    assert!(holds(&collection, "v", "0"), "the first described answers, not the first by name");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

/// Attack catalogue A10-110.
#[test]
fn a_listed_delegation_that_is_missing_or_garbage_ends_the_update() {
    let mut repository = Repository::new();
    repository.delegate("targets/a", &[""]);
    repository.tag("targets/a", "v", "x");
    for answer in [Answer::Missing, Answer::File("garbage".into()), Answer::File("".into())] {
        repository.client().refuses(&repository.service().lie("targets/a", answer));
    }
    let mut warm = repository.warm_client();
    warm.update(&repository.service().without("targets/a")).unwrap();
    repository.put_bytes("targets/a", "garbage");
    repository.link();
    for mut client in [repository.client(), warm] {
        assert!(matches!(client.refuses(&repository.service()), UpdateError::Metadata { .. }));
    }
}

/// Attack catalogue A10-111 and A10-112: names are text; whoever shows or stores them escapes them.
#[test]
fn odd_tag_names_are_handed_out_as_they_are() {
    let names = ["\u{1b}[31mred", "a\nv2 forged row", "../../x", "/etc/x", "\u{202e}gpj", "..", "a\0b", " "];
    let mut repository = Repository::new();
    for name in names {
        repository.tag("targets", name, name);
    }
    let collection = repository.client().update(&repository.service()).unwrap();
    let listed = collection.list(&EVERYWHERE);
    assert_eq!(listed.len(), names.len());
    for name in names {
        assert!(holds(&collection, name, name), "{name:?}");
        assert!(listed.contains_key(name), "{name:?}");
    }
}

/// Attack catalogue A10-113.
#[test]
fn a_tag_in_two_roles_has_one_answer_everywhere() {
    let mut repository = Repository::new();
    repository.delegate("targets/b", &[""]);
    repository.delegate("targets/a", &[""]);
    repository.tag("targets/a", "v", "a");
    repository.tag("targets/b", "v", "b");
    repository.delegate("targets/b/deep", &[""]);
    repository.tag("targets/b/deep", "v", "deep");
    repository.tag("targets/b/deep", "w", "deep");
    repository.tag("targets/a", "w", "a");
    let collection = repository.client().update(&repository.service()).unwrap();
    let (a, b) = (role("targets/a"), role("targets/b"));
    for (roles, v, w) in [
        // The order of description counts, and breadth comes before depth.
        (vec![RoleName::Targets], "targets/b", "targets/a"),
        (vec![a.clone(), b.clone()], "targets/a", "targets/a"),
        (vec![b.clone(), a.clone()], "targets/b", "targets/b/deep"),
        (vec![b.clone()], "targets/b", "targets/b/deep"),
        (vec![role("targets/b/deep"), b.clone(), RoleName::Targets], "targets/b/deep", "targets/b/deep"),
        (vec![b, RoleName::Targets], "targets/b", "targets/b/deep"),
    ] {
        let listed = collection.list(&roles);
        for (name, expected) in [("v", v), ("w", w)] {
            let found = collection.get(name, &roles).unwrap();
            assert_eq!(found.role.as_str(), expected, "{name} of {roles:?}");
            assert_eq!(listed[name], found, "{name} of {roles:?}");
        }
    }
    repository.tag("targets", "v", "top");
    let collection = repository.client().update(&repository.service()).unwrap();
    assert_eq!(collection.get("v", &EVERYWHERE).unwrap().role, RoleName::Targets);
}

/// Notary protocol, client API: listing roles with their paths, and reading a subtree without the other roles asked for.
#[test]
fn roles_are_listed_with_what_they_may_sign() {
    let mut repository = Repository::new();
    repository.delegate("targets/a", &["a/", "shared"]);
    repository.tag("targets/a", "a/1", "x");
    repository.delegate("targets/a/b", &["a/b", "c/"]);
    let collection = repository.client().update(&repository.service()).unwrap();
    let roles: Vec<(String, Vec<String>)> = collection
        .roles()
        .into_iter()
        .map(|(role, paths)| (role.to_string(), paths.iter().map(str::to_owned).collect()))
        .collect();
    let expected = [("targets", vec![""]), ("targets/a", vec!["a/", "shared"]), ("targets/a/b", vec!["a/b"])];
    assert_eq!(roles.len(), expected.len());
    for ((role, paths), (expected_role, expected_paths)) in roles.iter().zip(expected) {
        assert_eq!(
            (role.as_str(), paths.iter().map(String::as_str).collect::<Vec<_>>()),
            (expected_role, expected_paths)
        );
    }
}
