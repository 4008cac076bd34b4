//! Rotating keys: what is refused, what is interrupted, and who can still verify.

use crate::house::House;
use crate::person::{Person, content};
use countersign_testkit::Reply;
use countersign_testkit::fake_server::Request;
use countersign_trust::{
    Beginning, Confirmed, Decision, Holder, LegacyRoots, NewKeys, PinsAfter, RequestError, Rotation, Situation, Stuck,
    TrustError, WitnessSubject, carried_over, released_names,
};
use countersign_tuf::update::{Purpose, UpdateError};
use countersign_tuf::{FirstUse, Pinning, RoleName, RootError, SigningError};
use countersign_vault::{KeyEntry, KeySelection};

fn rotation(role: RoleName, keys: NewKeys) -> Rotation {
    Rotation { role, keys, legacy: LegacyRoots::None }
}

fn refuse(_: &[WitnessSubject]) -> Decision {
    Decision::Refuse
}

fn stored(person: &Person, house: &House, role: &str) -> Vec<KeyEntry> {
    let keys = person.client(house).keys().list().unwrap().keys;
    keys.into_iter().filter(|key| key.role == role).collect()
}

#[test]
fn only_what_may_be_rotated_is() {
    let delegation = RoleName::parse("targets/a").unwrap();
    for holder in [Holder::Client, Holder::Service] {
        assert!(matches!(Rotation::check(&delegation, holder), Err(RequestError::NotRotated(_))));
    }
    for role in [RoleName::Root, RoleName::Targets] {
        assert!(matches!(Rotation::check(&role, Holder::Service), Err(RequestError::NotByService(_))));
        Rotation::check(&role, Holder::Client).unwrap();
    }
    assert!(matches!(Rotation::check(&RoleName::Timestamp, Holder::Client), Err(RequestError::NotByClient(_))));
    Rotation::check(&RoleName::Timestamp, Holder::Service).unwrap();
    Rotation::check(&RoleName::Snapshot, Holder::Client).unwrap();
    Rotation::check(&RoleName::Snapshot, Holder::Service).unwrap();
}

#[tokio::test]
async fn replaced_private_keys_go_and_root_keys_stay() {
    let (house, owner) = (House::open(), Person::new());
    owner.client(&house).init(&Beginning::notary()).await.unwrap();
    owner.client(&house).publish_staged(&refuse).await.unwrap();
    for (role, kept) in [(RoleName::Root, 2), (RoleName::Targets, 1), (RoleName::Snapshot, 1)] {
        let before = stored(&owner, &house, role.as_str());
        let rotated = owner.client(&house).rotate(&rotation(role.clone(), NewKeys::Generate)).await.unwrap();
        let after = stored(&owner, &house, role.as_str());
        assert_eq!(after.len(), kept, "{role}");
        assert_eq!(rotated.removed.len(), 2 - kept, "{role}");
        assert!(after.iter().any(|key| key.id == rotated.keys[0].canonical_id()));
        assert_eq!(after.contains(&before[0]), role == RoleName::Root);
        owner.sign(&house, role.as_str()).await.unwrap();
        Person::new().find(&house, role.as_str()).await.unwrap();
    }
    // To the service, and nothing of it is left here.
    let rotated = owner.client(&house).rotate(&rotation(RoleName::Snapshot, NewKeys::OfService)).await.unwrap();
    assert_eq!((rotated.removed.len(), stored(&owner, &house, "snapshot").len()), (1, 0));
    owner.sign(&house, "last").await.unwrap();
    Person::new().find(&house, "last").await.unwrap();
}

#[tokio::test]
async fn given_keys_are_taken_and_unknown_ones_refused() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let unknown = NewKeys::Stored(vec!["0".repeat(64).parse().unwrap()]);
    let error = owner.client(&house).rotate(&rotation(RoleName::Targets, unknown)).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NoKey(_))), "{error:?}");
    let targets = stored(&owner, &house, "targets")[0].id;
    let wrong = NewKeys::Stored(vec![targets]);
    let error = owner.client(&house).rotate(&rotation(RoleName::Root, wrong)).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NoRootKey(_))), "{error:?}");
    let error = owner.client(&house).rotate(&rotation(RoleName::Root, NewKeys::Stored(Vec::new()))).await.unwrap_err();
    assert!(matches!(error, TrustError::Edit(_)), "{error:?}");
    assert_eq!(house.archive().stored, 1);
    let pem = countersign_testkit::fixtures::text("key-bundles/inputs/ec-p256.key");
    let id = owner.client(&house).import_key(&RoleName::Targets, pem.as_bytes()).unwrap();
    let rotated = owner.client(&house).rotate(&rotation(RoleName::Targets, NewKeys::Stored(vec![id]))).await.unwrap();
    assert_eq!(rotated.removed, [targets]);
    // The present root key with a new certificate.
    let root = stored(&owner, &house, "root")[0].id;
    owner.client(&house).rotate(&rotation(RoleName::Root, NewKeys::Stored(vec![root]))).await.unwrap();
    owner.sign(&house, "v2").await.unwrap();
    Person::new().find(&house, "v2").await.unwrap();
}

/// A root key that other collections need must not become, and go with, the targets key of one.
#[tokio::test]
async fn a_key_that_is_there_for_something_else_stays_what_it_is() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let root = owner.make_key("root").canonical_id();
    let exported = |id| owner.client(&house).keys().export(&KeySelection::Ids([id].into())).unwrap().pem;
    let error = owner.client(&house).import_key(&RoleName::Targets, &exported(root)).unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::OtherRole { .. })), "{error:?}");
    assert_eq!(stored(&owner, &house, "root").len(), 2);
    // The key that another collection has for the role can be used, and stays that collection's.
    let other = owner.collection(&house.server.url(), &house.ca.pem(), "reg.test/acme/other");
    let pem = countersign_testkit::fixtures::text("key-bundles/inputs/ec-p256.key");
    let shared = other.import_key(&RoleName::Targets, pem.as_bytes()).unwrap();
    assert_eq!(owner.client(&house).import_key(&RoleName::Targets, &exported(shared)).unwrap(), shared);
    owner.client(&house).rotate(&rotation(RoleName::Targets, NewKeys::Stored(vec![shared]))).await.unwrap();
    owner.client(&house).rotate(&rotation(RoleName::Targets, NewKeys::Generate)).await.unwrap();
    let kept = owner.client(&house).keys().find(&shared).unwrap().unwrap();
    assert_eq!(kept.gun.unwrap().as_str(), "reg.test/acme/other");
}

/// Attack catalogue A15-274.
#[tokio::test]
async fn an_interrupted_rotation_can_be_made_again_and_everybody_can_read_meanwhile() {
    for role in [RoleName::Timestamp, RoleName::Snapshot, RoleName::Root, RoleName::Targets] {
        let (house, owner, reader) = (House::open(), Person::new(), Person::new());
        owner.sign(&house, "v1").await.unwrap();
        reader.find(&house, "v1").await.unwrap();
        let server = matches!(role, RoleName::Timestamp | RoleName::Snapshot);
        let keys = if server { NewKeys::OfService } else { NewKeys::Generate };
        house.lie(|request, _| {
            let publishing = request.method == "POST" && request.path.ends_with("/tuf/");
            publishing.then(|| Reply::status(503))
        });
        owner.client(&house).rotate(&rotation(role.clone(), keys.clone())).await.unwrap_err();
        house.repent();
        reader.find(&house, "v1").await.unwrap();
        owner.sign(&house, "v2").await.unwrap();
        owner.client(&house).rotate(&rotation(role.clone(), keys)).await.unwrap();
        for person in [&reader, &Person::new()] {
            assert_eq!(person.find(&house, "v2").await.unwrap().sha256, content("v2"), "{role}");
        }
        owner.sign(&house, "v3").await.unwrap();
    }
}

#[tokio::test]
async fn a_rotation_without_the_root_key_is_not_published() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let root = stored(&owner, &house, "root")[0].id;
    owner.client(&house).keys().remove(&root).unwrap();
    for role in [RoleName::Root, RoleName::Targets] {
        let error = owner.client(&house).rotate(&rotation(role, NewKeys::Generate)).await.unwrap_err();
        assert!(matches!(error, TrustError::Signing(SigningError::MissingKeys { .. })), "{error:?}");
    }
    assert_eq!(house.archive().stored, 1);
    assert_eq!(
        stored(&owner, &house, "targets").len(),
        1,
        "the present key was not removed, and none was made in vain"
    );
    owner.sign(&house, "v2").await.unwrap();
}

#[tokio::test]
async fn earlier_root_keys_sign_for_those_who_know_no_newer() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let first = owner.client(&house).update(Purpose::Read).await.unwrap();
    let first = first.root().trusted(&RoleName::Root).unwrap().key_ids[0];
    for _ in 0..3 {
        owner.client(&house).rotate(&rotation(RoleName::Root, NewKeys::Generate)).await.unwrap();
    }
    for (legacy, signatures, has_first) in
        [(LegacyRoots::None, 2, false), (LegacyRoots::Last(2), 4, false), (LegacyRoots::All, 7, true)]
    {
        let how = Rotation { legacy, ..rotation(RoleName::Root, NewKeys::Generate) };
        owner.client(&house).rotate(&how).await.unwrap();
        let root: serde_json::Value = serde_json::from_slice(&house.archive().files["root"]).unwrap();
        let found = root["signatures"].as_array().unwrap();
        assert_eq!(found.len(), signatures, "{legacy:?}");
        assert_eq!(found.iter().any(|signature| signature["keyid"] == first.to_string()), has_first);
    }
    Person::new().find(&house, "v1").await.unwrap();
}

#[tokio::test]
async fn whoever_pins_a_root_key_hears_that_it_was_replaced() {
    let (house, mut owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let root = owner.client(&house).update(Purpose::Read).await.unwrap();
    let old = root.root().trusted(&RoleName::Root).unwrap().key_ids.clone();
    owner.pinning = Pinning::new(FirstUse::Deny);
    owner.pinning.pin_certificates(crate::house::GUN, old);
    let rotated = owner.client(&house).rotate(&rotation(RoleName::Targets, NewKeys::Generate)).await.unwrap();
    assert_eq!(rotated.pins, PinsAfter::Fit);
    let rotated = owner.client(&house).rotate(&rotation(RoleName::Root, NewKeys::Generate)).await.unwrap();
    assert_eq!(rotated.pins, PinsAfter::MustChange);
    let error = owner.find(&house, "v1").await.unwrap_err();
    assert!(matches!(error, TrustError::Update(UpdateError::Root(RootError::Pin(_)))), "{error:?}");
    owner.pinning = Pinning::new(FirstUse::Deny);
    owner.pinning.pin_certificates(crate::house::GUN, rotated.keys.iter().map(countersign_crypto::PublicKey::id));
    owner.sign(&house, "v2").await.unwrap();
}

#[tokio::test]
async fn a_slip_in_the_name_makes_no_collection_and_no_keys() {
    let (house, owner) = (House::open(), Person::new());
    for (role, keys) in [(RoleName::Targets, NewKeys::Generate), (RoleName::Timestamp, NewKeys::OfService)] {
        let error = owner.client(&house).rotate(&rotation(role, keys)).await.unwrap_err();
        assert!(matches!(error, TrustError::Update(UpdateError::NoTrustData(_))), "{error:?}");
    }
    assert_eq!((owner.keys(), house.count("POST")), (0, 0));
}

/// A service may be asked for a new key and answer with the old one: that is no rotation.
#[tokio::test]
async fn the_key_that_the_service_has_already_is_no_new_one() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    house.lie(|request, archive| {
        let rotating = request.method == "POST" && request.path.strip_suffix(".key").is_some();
        rotating.then(|| archive.answer(&Request { method: "GET".to_owned(), ..request.clone() }))
    });
    for role in [RoleName::Timestamp, RoleName::Snapshot] {
        let error = owner.client(&house).rotate(&rotation(role, NewKeys::OfService)).await.unwrap_err();
        assert!(matches!(error, TrustError::SameKey { .. }), "{error:?}");
    }
    assert_eq!(house.archive().stored, 1);
}

/// The roots that the service calls earlier ones are not verified: no key signs because they name it.
#[tokio::test]
async fn earlier_roots_of_the_service_s_making_choose_no_keys() {
    let (house, owner) = (House::open(), Person::new());
    let other = owner.make_key("root");
    owner.sign(&house, "v1").await.unwrap();
    owner.client(&house).rotate(&rotation(RoleName::Root, NewKeys::Generate)).await.unwrap();
    let first: serde_json::Value = serde_json::from_slice(&house.archive().files["1.root"]).unwrap();
    let mut forged = first.clone();
    forged["signed"]["keys"][other.id().to_string()] = serde_json::from_str(&other.to_json()).unwrap();
    forged["signed"]["roles"]["root"]["keyids"] = serde_json::json!([other.id().to_string()]);
    house.lie(move |request, _| request.path.ends_with("/1.root.json").then(|| Reply::json(forged.to_string())));
    let how = Rotation { legacy: LegacyRoots::All, ..rotation(RoleName::Root, NewKeys::Generate) };
    owner.client(&house).rotate(&how).await.unwrap();
    let root: serde_json::Value = serde_json::from_slice(&house.archive().files["root"]).unwrap();
    let signatures = root["signatures"].as_array().unwrap();
    assert_eq!(signatures.len(), 2);
    assert!(signatures.iter().all(|signature| signature["keyid"] != other.id().to_string()));
}

/// Everybody's view after a rotation is looked at, not assumed: a service that serves something else is found out.
#[tokio::test]
async fn readers_who_cannot_verify_are_named() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let rotated = owner.client(&house).rotate(&rotation(RoleName::Root, NewKeys::Generate)).await.unwrap();
    let base = rotated.base.as_deref();
    let readers = owner.client(&house).readers(base).await;
    assert!(readers.all_verify() && readers.old.is_some(), "{readers:?}");
    assert_eq!(readers.stuck, Stuck::No);
    // The service holds the link back that old clients need.
    house.lie(|request, _| request.path.ends_with("/root.json").then(|| Reply::status(404)));
    let readers = owner.client(&house).readers(base).await;
    assert!(readers.fresh.is_err() && matches!(readers.old, Some(Err(_))), "{readers:?}");
    house.repent();
    assert_eq!(Person::new().find(&house, "v1").await.unwrap().sha256, content("v1"));
}

/// Several roles in one publication; a lost key among them need not sign.
#[tokio::test]
async fn lost_targets_and_snapshot_keys_are_replaced_together() {
    let (house, owner, reader) = (House::open(), Person::new(), Person::new());
    owner.client(&house).init(&Beginning::notary()).await.unwrap();
    owner.sign(&house, "v1").await.unwrap();
    reader.find(&house, "v1").await.unwrap();
    for role in ["targets", "snapshot"] {
        let lost = stored(&owner, &house, role)[0].id;
        owner.client(&house).keys().remove(&lost).unwrap();
    }
    let error = owner.client(&house).rotate(&rotation(RoleName::Targets, NewKeys::Generate)).await.unwrap_err();
    assert!(matches!(error, TrustError::Service(_)), "{error:?}");
    let both = [rotation(RoleName::Targets, NewKeys::Generate), rotation(RoleName::Snapshot, NewKeys::OfService)];
    let published = house.archive().stored;
    owner.client(&house).rotate_all(&both).await.unwrap();
    assert_eq!(house.archive().stored, published + 1);
    owner.sign(&house, "v2").await.unwrap();
    for person in [&reader, &Person::new()] {
        assert_eq!(person.find(&house, "v2").await.unwrap().sha256, content("v2"));
    }
}

/// What was decided is done once, wherever the way was interrupted.
#[tokio::test]
async fn a_new_chain_is_finished_after_any_interruption() {
    for broken in ["DELETE", "GET", "POST"] {
        let (house, owner) = (House::open(), Person::new());
        owner.sign(&house, "v1").await.unwrap();
        let view = owner.client(&house).update(Purpose::Read).await.unwrap();
        let old = view.root().trusted(&RoleName::Root).unwrap().key_ids.clone();
        let names = released_names(&view).into_iter().map(|(name, (sha256, _))| (name, sha256)).collect();
        let changes = carried_over(&view, &Confirmed { names, ..Confirmed::default() });
        let root = owner.client(&house).make_root_key().unwrap();
        let beginning = Beginning { root_keys: vec![root], ..Beginning::docker() };
        let key = |path: &str| path.ends_with("timestamp.key");
        house.lie(move |request, _| {
            let now = request.method == broken && (broken != "GET" || key(&request.path));
            now.then(|| Reply::status(503))
        });
        owner.client(&house).begin_anew(&old, &beginning, &changes).await.unwrap_err();
        house.repent();
        let begun = owner.client(&house).begin_anew(&old, &beginning, &changes).await.unwrap();
        assert_ne!(begun.root().trusted(&RoleName::Root).unwrap().key_ids, old, "{broken}");
        // Once more, as after a kill just before the end.
        let published = house.archive().stored;
        owner.client(&house).begin_anew(&old, &beginning, &changes).await.unwrap();
        assert_eq!(house.archive().stored, published, "{broken}");
        assert_eq!(Person::new().find(&house, "v1").await.unwrap().sha256, content("v1"), "{broken}");
    }
}

/// Between the end of the old collection and the beginning of the new one anybody can begin one under the name.
#[tokio::test]
async fn a_stranger_s_collection_is_not_taken_for_the_new_chain() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let view = owner.client(&house).update(Purpose::Read).await.unwrap();
    let old = view.root().trusted(&RoleName::Root).unwrap().key_ids.clone();
    let names = released_names(&view).into_iter().map(|(name, (sha256, _))| (name, sha256)).collect();
    let changes = carried_over(&view, &Confirmed { names, ..Confirmed::default() });
    let root = owner.client(&house).make_root_key().unwrap();
    let beginning = Beginning { root_keys: vec![root], ..Beginning::docker() };
    house.lie(|request, _| (request.method == "POST").then(|| Reply::status(503)));
    owner.client(&house).begin_anew(&old, &beginning, &changes).await.unwrap_err();
    house.repent();
    Person::new().sign(&house, "evil").await.unwrap();
    let published = house.archive().stored;
    owner.client(&house).begin_anew(&old, &beginning, &changes).await.unwrap_err();
    assert_eq!(house.archive().stored, published);
}

/// Whose targets have expired cannot be read by anybody, and are signed anew by whoever has the key.
#[tokio::test]
async fn targets_that_have_expired_are_renewed_by_their_key_or_replaced_by_the_root_s() {
    for way in ["renewed", "rotated", "new root"] {
        let house = House::open();
        // Three years before the house's noon, and an hour.
        let then = Person::new().at("2023-11-23T13:00:00Z");
        then.sign(&house, "v1").await.unwrap();
        let now = || Person::new().at("2026-11-22T14:00:00Z");
        let owner = now().sharing(then.trust_dir());
        assert!(
            matches!(owner.sign(&house, "v2").await.unwrap_err(), TrustError::Update(UpdateError::Expired(_))),
            "{way}"
        );
        now().find(&house, "v1").await.unwrap_err();
        let assessment = owner.client(&house).assess().await.unwrap();
        assert_eq!(assessment.situation, Situation::FileExpired(RoleName::Targets));
        match way {
            "renewed" => drop(owner.client(&house).renew_expired().await.unwrap()),
            "rotated" => {
                owner.client(&house).rotate(&rotation(RoleName::Targets, NewKeys::Generate)).await.unwrap();
            }
            // What is not in the way of the root's owner is not overlooked either.
            _ => {
                let error =
                    owner.client(&house).rotate(&rotation(RoleName::Root, NewKeys::Recertified)).await.unwrap_err();
                assert!(matches!(error, TrustError::Update(UpdateError::Expired(_))), "{error:?}");
                continue;
            }
        }
        owner.sign(&house, "v2").await.unwrap();
        for tag in ["v1", "v2"] {
            assert_eq!(now().find(&house, tag).await.unwrap().sha256, content(tag), "{way}");
        }
    }
}

/// What a service serves that has expired, and that no key here renews, is its operator's business.
#[tokio::test]
async fn a_state_that_only_the_service_can_renew_is_told_from_an_attack() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let later = Person::new().at("2027-11-22T14:00:00Z").sharing(owner.trust_dir());
    assert_eq!(later.client(&house).assess().await.unwrap().situation, Situation::Stale);
    house.lie(|request, _| request.path.ends_with("/timestamp.json").then(|| Reply::status(503)));
    later.client(&house).assess().await.unwrap_err();
}

/// A collection that the service has lost is known here as it was when it could be verified last, however long ago.
#[tokio::test]
async fn the_last_view_is_verified_as_of_its_own_time() {
    let (house, owner) = (House::open(), Person::new());
    let nothing = house.archive();
    owner.sign(&house, "v1").await.unwrap();
    house.restore(nothing);
    let later = Person::new().at("2027-11-22T14:00:00Z").sharing(owner.trust_dir());
    assert_eq!(later.client(&house).assess().await.unwrap().situation, Situation::Vanished);
    let view = later.client(&house).last_view().unwrap();
    assert_eq!(released_names(&view).into_keys().collect::<Vec<_>>(), ["v1"]);
    // What somebody has changed in the cache is not taken over.
    let targets = owner.cache().into_iter().find(|(path, _)| path.ends_with("metadata/targets.json")).unwrap();
    let changed = String::from_utf8(targets.1).unwrap().replace("v1", "v2");
    std::fs::write(&targets.0, changed).unwrap();
    later.client(&house).last_view().unwrap_err();
}
