//! Freeze and expiry.

use crate::workshop::*;
use countersign_tuf::update::{Absence, Answer, Purpose, UpdateError};
use countersign_tuf::{BrokenReason, LookupError, Note, RoleName};

const PAST: &str = "2026-11-22T11:59:59Z";

/// A collection in which one role has expired and everything else is as it should be.
fn expired(role: &str) -> Repository {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "x");
    repository.edit(role, |payload| payload["expires"] = PAST.into());
    match role {
        "timestamp" => {}
        "snapshot" => repository.link_timestamp(),
        _ => repository.link(),
    }
    repository
}

/// Attack catalogue A3-34.
#[test]
fn expired_files_are_refused_at_first_contact_and_with_a_cache_and_recovered_from() {
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let repository = expired(role);
        let mut cold = repository.client();
        let error = cold.refuses(&repository.service()).to_string();
        assert!(error.contains("expired"), "{role}: {error}");
        // A client that has seen it while it was valid.
        let mut warm = repository.client();
        warm.now = at("2026-11-22T11:00:00Z");
        warm.update(&repository.service()).unwrap();
        warm.now = now();
        warm.refuses(&repository.service());
        let mut fresh = repository.clone();
        if role == "root" {
            fresh.rotate("root");
        } else {
            fresh.revise(role, |payload| payload["expires"] = "2026-12-01T00:00:00Z".into());
            match role {
                "timestamp" => {}
                "snapshot" => fresh.link_timestamp(),
                _ => fresh.link(),
            }
        }
        for client in [&mut cold, &mut warm] {
            assert!(holds(&client.update(&fresh.service()).unwrap(), "v1", "x"), "{role}");
        }
    }
}

/// Attack catalogue A3-34: to the second, without leeway.
#[test]
fn a_file_is_valid_until_the_instant_of_its_expiry() {
    let mut repository = Repository::new();
    repository.edit("timestamp", |timestamp| timestamp["expires"] = NOW.into());
    repository.client().update(&repository.service()).unwrap();
    let mut late = repository.client();
    late.now = at("2026-11-22T12:00:00.000000001Z");
    late.refuses(&repository.service());
}

/// Attack catalogue A3-35.
#[test]
fn the_same_state_served_beyond_its_expiry_is_refused() {
    let repository = Repository::new();
    let mut client = repository.warm_client();
    client.now = at("2026-12-06T11:59:59Z");
    client.update(&repository.service()).unwrap();
    client.now = at("2026-12-06T12:00:01Z");
    assert!(
        matches!(client.refuses(&repository.service()), UpdateError::Expired(expired) if expired.role == RoleName::Timestamp)
    );
}

/// Attack catalogue A3-36.
#[test]
fn an_expired_cache_does_not_speak_for_an_absent_service() {
    let repository = Repository::new();
    let mut client = repository.warm_client();
    let away = Service::away(&Absence::Unreachable("connection refused".into()));
    client.update(&away).unwrap();
    client.now = at("2026-12-10T00:00:00Z");
    assert!(matches!(client.refuses(&away), UpdateError::Away { role: RoleName::Timestamp, .. }));
}

/// Attack catalogue A3-37.
#[test]
fn interference_is_not_absence() {
    let repository = Repository::new();
    let mut client = repository.warm_client();
    for absence in
        [Absence::Tls("unknown issuer".into()), Absence::Refused("403".into()), Absence::Hostile("endless".into())]
    {
        let error = client.refuses(&Service::away(&absence));
        assert_eq!(error, UpdateError::Away { role: RoleName::Timestamp, absence });
    }
}

/// Attack catalogue A3-36: who publishes needs the present state, not the cached one.
#[test]
fn a_publisher_does_not_build_on_the_cache() {
    let repository = Repository::new();
    let mut client = repository.warm_client();
    client.purpose = Purpose::Publish;
    client.refuses(&Service::away(&Absence::Unreachable("503".into())));
    client.refuses(&repository.service().without("timestamp"));
    client.update(&repository.service()).unwrap();
}

/// Attack catalogue A3-34: what has expired is looked at by whoever makes what takes its place, and by nobody else.
#[test]
fn what_has_expired_is_read_for_its_renewal_and_for_nothing_else() {
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let repository = expired(role);
        let mut renewing = repository.client();
        renewing.purpose = Purpose::Renew;
        let mut warm = repository.client();
        warm.now = at("2026-11-22T11:00:00Z");
        warm.update(&repository.service()).unwrap();
        (warm.now, warm.purpose) = (now(), Purpose::Renew);
        for client in [&mut renewing, &mut warm] {
            let found = client.update(&repository.service());
            // The timestamp alone says that the rest is what is present.
            assert_eq!(found.is_ok(), role != "timestamp", "{role}");
        }
        for purpose in [Purpose::Read, Purpose::Publish] {
            let mut client = repository.client();
            client.purpose = purpose;
            client.refuses(&repository.service());
        }
    }
}

/// Whose certificate has expired is renewed as well; whoever's signature is bad, or whose pin does not fit, is not.
#[test]
fn renewing_overlooks_age_and_nothing_else() {
    let key = Key::new();
    let mut keys = Repository::new().keys;
    keys.insert("root".into(), vec![key.certified_at(GUN, at("2016-12-10T00:00:00Z"))]);
    let mut repository = Repository::with_keys(GUN, keys);
    repository.edit("timestamp", |timestamp| timestamp["expires"] = "2027-01-10T00:00:00Z".into());
    let mut client = repository.warm_client();
    client.now = at("2026-12-20T00:00:00Z");
    client.refuses(&repository.service());
    client.purpose = Purpose::Renew;
    client.update(&repository.service()).unwrap();
    // Another root, of the same age, that the known one has not signed.
    let mut foreign = Repository::new();
    foreign.edit("timestamp", |timestamp| timestamp["expires"] = "2027-01-10T00:00:00Z".into());
    let mut client = repository.warm_client();
    client.now = at("2026-12-20T00:00:00Z");
    client.purpose = Purpose::Renew;
    client.refuses(&foreign.service());
}

fn with_releases() -> Repository {
    let mut repository = Repository::new();
    repository.tag("targets", "v1", "stale");
    repository.delegate("targets/releases", &[""]);
    repository.tag("targets/releases", "v1", "good");
    repository
}

/// Attack catalogue A3-38.
#[test]
fn an_expired_delegation_is_not_shown_and_pointed_out() {
    let mut repository = with_releases();
    repository.edit("targets/releases", |targets| targets["expires"] = PAST.into());
    repository.link();
    let collection = repository.client().update(&repository.service()).unwrap();
    assert!(collection.targets(&role("targets/releases")).is_none());
    let noted = collection.notes().iter().any(
        |note| matches!(note, Note::Broken(found, BrokenReason::Expired(_)) if *found == role("targets/releases")),
    );
    assert!(noted);
}

/// Attack catalogue A3-39.
#[test]
fn a_delegation_that_fails_is_never_a_reason_to_fall_back() {
    let releases = role("targets/releases");
    let stranger = Key::new();
    let spoil: [&dyn Fn(&mut Repository); 4] = [
        &|r| r.revise("targets/releases", |targets| targets["expires"] = PAST.into()),
        &|r| {
            let file = seal(&r.payload("targets/releases"), &[Key::new()]);
            r.put_bytes("targets/releases", file);
        },
        &|r| {
            let file = seal(&r.payload("targets/releases"), &[]);
            r.put_bytes("targets/releases", file);
        },
        &|r| {
            let file = seal(&r.payload("targets/releases"), std::slice::from_ref(&stranger));
            r.put_bytes("targets/releases", file);
        },
    ];
    for spoil in spoil {
        let mut repository = with_releases();
        let mut warm = repository.warm_client();
        spoil(&mut repository);
        repository.link();
        for client in [&mut warm, &mut repository.client()] {
            let collection = client.update(&repository.service()).unwrap();
            for roles in [vec![releases.clone(), RoleName::Targets], vec![releases.clone()]] {
                let found = collection.get("v1", &roles);
                assert!(matches!(found, Err(LookupError::Broken { .. })), "{found:?}");
                assert!(collection.list(&roles).is_empty(), "what cannot be looked up is not listed");
            }
            // Asked first, targets answers for itself.
            assert!(holds(&collection, "v1", "stale"));
        }
    }
}

/// Attack catalogue A3-39: the same for a role below the one that fails.
#[test]
fn a_role_below_one_that_fails_is_no_reason_to_fall_back_either() {
    let mut repository = with_releases();
    repository.delegate("targets/releases/deep", &["v"]);
    repository.tag("targets/releases/deep", "v1", "deep");
    repository.edit("targets/releases", |targets| targets["expires"] = PAST.into());
    repository.link();
    let collection = repository.client().update(&repository.service()).unwrap();
    let roles = [role("targets/releases/deep"), RoleName::Targets];
    assert!(
        matches!(collection.get("v1", &roles), Err(LookupError::Broken { role: broken, .. }) if broken == role("targets/releases"))
    );
    assert!(collection.list(&roles).is_empty());
}

/// Attack catalogue A3-39: only the names that the failing role may sign are in doubt.
#[test]
fn names_outside_the_failing_delegation_are_still_answered_for() {
    let mut repository = Repository::new();
    repository.delegate("targets/releases", &["rel-"]);
    repository.tag("targets/releases", "rel-1", "x");
    repository.tag("targets", "v1", "y");
    let file = seal(&repository.payload("targets/releases"), &[Key::new()]);
    repository.put_bytes("targets/releases", file);
    repository.link();
    let collection = repository.client().update(&repository.service()).unwrap();
    let roles = [role("targets/releases"), RoleName::Targets];
    assert_eq!(collection.get("v1", &roles).unwrap().role, RoleName::Targets);
    assert_eq!(collection.list(&roles).keys().collect::<Vec<_>>(), ["v1"]);
    assert!(matches!(collection.get("rel-1", &roles), Err(LookupError::Broken { .. })));
}

/// Attack catalogue A3-40.
#[test]
fn what_is_no_expiry_is_refused() {
    for expires in [
        "null",
        "\"\"",
        "0",
        "1795342286",
        "\"tomorrow\"",
        "\"2026-13-01T00:00:00Z\"",
        "\"2027-02-30T00:00:00Z\"",
        "\"2027-01-01T00:00:00\"",
        "\"10000-01-01T00:00:00Z\"",
        "\"2027-06-30T23:59:60Z\"",
        "{}",
        "[]",
        "true",
    ] {
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let mut repository = Repository::new();
            repository.edit(role, |payload| payload["expires"] = serde_json::from_str(expires).unwrap());
            match role {
                "timestamp" => {}
                "snapshot" => repository.link_timestamp(),
                _ => repository.link(),
            }
            let error = repository.client().refuses(&repository.service());
            assert!(matches!(error, UpdateError::Metadata { .. }), "{role} {expires}: {error}");
        }
    }
    let mut missing = Repository::new();
    missing.edit("timestamp", |payload| {
        payload.as_object_mut().unwrap().remove("expires");
    });
    missing.client().refuses(&missing.service());
}

/// Attack catalogue A3-41: the format allows it; policy may cap it.
#[test]
fn an_expiry_in_the_year_9999_is_accepted() {
    let mut repository = Repository::new();
    repository.edit("targets", |targets| targets["expires"] = "9999-12-31T23:59:59Z".into());
    repository.link();
    let collection = repository.client().update(&repository.service()).unwrap();
    assert_eq!(collection.targets(&RoleName::Targets).unwrap().expires.as_str(), "9999-12-31T23:59:59Z");
    assert!(collection.notes().iter().any(|note| matches!(note, Note::FarExpiry(RoleName::Targets, _))));
}

/// Attack catalogue A3-41 and G-251: a clock that ran ahead once leaves timestamps that hardly ever end.
#[test]
fn a_timestamp_that_hardly_ever_ends_is_pointed_out() {
    let mut repository = Repository::new();
    let usual = repository.client().update(&repository.service()).unwrap();
    assert!(!usual.notes().iter().any(|note| matches!(note, Note::FarExpiry(..))));
    repository.edit("timestamp", |timestamp| timestamp["expires"] = "2029-12-06T00:00:00Z".into());
    let collection = repository.client().update(&repository.service()).unwrap();
    assert!(collection.notes().iter().any(|note| matches!(note, Note::FarExpiry(RoleName::Timestamp, _))));
}

/// Attack catalogue A3-42.
#[test]
fn a_missing_timestamp_is_bridged_by_the_cache_with_a_visible_note_only() {
    let repository = Repository::new();
    let mut client = repository.warm_client();
    let collection = client.update(&repository.service().lie("timestamp", Answer::Missing)).unwrap();
    assert!(collection.notes().contains(&Note::CachedTimestamp(Absence::NotFound)));
    // With nothing cached there is nothing to bridge with.
    assert_eq!(
        repository.client().refuses(&repository.service().without("timestamp")),
        UpdateError::NoTrustData(gun())
    );
}

/// Attack catalogue A3-37: interference is not absence, also when the service is cut off right after it.
#[test]
fn a_bad_timestamp_stays_bad_when_the_newest_root_cannot_be_had() {
    let repository = Repository::new();
    let stranger = Key::new();
    let bad = seal(&repository.payload("timestamp"), &[stranger]);
    for absent in [Answer::Missing, Answer::Away(Absence::Unreachable("cut".into()))] {
        let service = repository.service().serve("timestamp", bad.clone()).lie("root", absent);
        let refused = repository.warm_client().refuses(&service);
        assert!(refused.is_suspicious(), "{refused}");
    }
}

/// Notary protocol, client API: near-expiry warnings for all or none.
#[test]
fn what_expires_within_six_months_is_noted() {
    let mut repository = with_releases();
    let none = repository.client().update(&repository.service()).unwrap();
    assert!(!none.notes().iter().any(|note| matches!(note, Note::NearExpiry(..))));
    for role in ["root", "targets", "targets/releases"] {
        repository.edit(role, |payload| payload["expires"] = "2027-05-22T11:59:59Z".into());
    }
    repository.link();
    repository.edit("snapshot", |payload| payload["expires"] = "2027-05-22T12:00:00Z".into());
    repository.link_timestamp();
    let collection = repository.client().update(&repository.service()).unwrap();
    let noted: Vec<String> = collection
        .notes()
        .iter()
        .filter_map(|note| match note {
            Note::NearExpiry(role, _) => Some(role.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(noted, ["root", "targets", "targets/releases"]);
}

#[test]
fn a_root_certificate_that_ends_within_six_months_is_noted() {
    // Ten years are the life of a certificate.
    for (made, noted) in
        [("2016-11-27T12:00:00Z", true), ("2017-05-20T12:00:00Z", true), ("2017-05-30T12:00:00Z", false)]
    {
        let mut keys = Repository::new().keys;
        keys.insert("root".into(), vec![Key::new().certified_at(GUN, at(made))]);
        let repository = Repository::with_keys(GUN, keys);
        let collection = repository.client().update(&repository.service()).unwrap();
        let found = collection
            .notes()
            .iter()
            .any(|note| matches!(note, Note::CertificateNearExpiry { common_name, .. } if common_name == GUN));
        assert_eq!(found, noted, "{made}");
    }
}
