//! Docker's signers: they come, they go, and the collection stays signable.

use crate::house::House;
use crate::person::{Person, content, request};
use countersign_crypto::PublicKey;
use countersign_trust::{Consequence, GivenUp, News, Published, RequestError, SignRequest, SignerName, TrustError};
use countersign_tuf::editor::EditError;
use countersign_tuf::update::Purpose;
use countersign_tuf::{LookupError, RoleName};

fn name(name: &str) -> SignerName {
    SignerName::parse(name).unwrap()
}

fn releases() -> RoleName {
    RoleName::parse("targets/releases").unwrap()
}

/// An owner, and signers with trust directories of their own.
struct Team {
    house: House,
    owner: Person,
    alice: (Person, PublicKey),
    bob: (Person, PublicKey),
}

impl Team {
    async fn of_two() -> Self {
        let (house, owner) = (House::open(), Person::new());
        let signer = |role: &str| {
            let person = Person::new();
            let key = person.make_key(role);
            (person, key)
        };
        let (alice, bob) = (signer("alice"), signer("bob"));
        let added = owner.client(&house).add_signer(&name("alice"), std::slice::from_ref(&alice.1)).await.unwrap();
        assert!(matches!(added.published, Published::Stored { base: None, .. }), "the collection is made by it");
        owner.client(&house).add_signer(&name("bob"), std::slice::from_ref(&bob.1)).await.unwrap();
        Self { house, owner, alice, bob }
    }
}

#[test]
fn names_of_signers_follow_docker_s_rule() {
    for good in ["alice", "a", "9", "a-b_c"] {
        assert_eq!(name(good).as_str(), good);
    }
    for bad in ["", "Alice", "-a", "_a", "a/b", "a.b", "a b", "ä", "a\n"] {
        assert!(matches!(SignerName::parse(bad), Err(RequestError::SignerName(_))), "{bad:?}");
    }
    assert!(matches!(SignerName::parse("releases"), Err(RequestError::Releases)));
}

#[tokio::test]
async fn signers_are_added_as_docker_does() {
    let team = Team::of_two().await;
    let (signers, collection) = team.owner.client(&team.house).signers().await.unwrap();
    assert_eq!(signers.iter().map(|signer| signer.name.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
    assert_eq!(signers[0].keys, [team.alice.1.canonical_id()]);
    let targets = collection.targets(&RoleName::Targets).unwrap();
    let described = targets.delegations.get(&releases()).unwrap();
    assert_eq!((described.keys.key_ids.len(), described.keys.threshold), (2, 1));
    assert_eq!(described.paths, ["".into()]);
    assert!(collection.targets(&releases()).is_none(), "nothing is signed by it");
    let error = team.owner.client(&team.house).add_signer(&name("carol"), &[]).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::SignerWithoutKey)), "{error:?}");
    // The same again is nothing new.
    let again =
        team.owner.client(&team.house).add_signer(&name("bob"), std::slice::from_ref(&team.bob.1)).await.unwrap();
    assert!(matches!(again.published, Published::Unchanged(_)));
}

#[tokio::test]
async fn a_signer_who_did_not_sign_last_goes_for_real() {
    let team = Team::of_two().await;
    team.bob.0.sign(&team.house, "v1").await.unwrap();
    let removal = team.owner.client(&team.house).signer_removal(&name("alice")).await.unwrap();
    assert_eq!((removal.consequence, removal.released_alone), (Consequence::StaysReleased, vec![]));
    let removed = team.owner.client(&team.house).remove_signer(&name("alice")).await.unwrap();
    assert_eq!(removed.consequence, Consequence::StaysReleased);
    Person::new().find(&team.house, "v1").await.unwrap();
    let (signers, collection) = Person::new().client(&team.house).signers().await.unwrap();
    assert_eq!(signers.len(), 1);
    let described = collection.targets(&RoleName::Targets).unwrap().delegations.get(&releases()).unwrap();
    assert_eq!(described.keys.key_ids, [team.bob.1.id()]);
    let error = team.alice.0.sign(&team.house, "v2").await.unwrap_err();
    assert!(matches!(error, TrustError::NoDelegationKey { .. }), "{error:?}");
    let error = team.owner.client(&team.house).remove_signer(&name("alice")).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NoSigner { .. })), "{error:?}");
}

#[tokio::test]
async fn what_the_removed_signer_released_alone_is_made_anew_by_whoever_signs_next() {
    let team = Team::of_two().await;
    team.bob.0.client(&team.house).sign(&["v1", "old"].map(request)).await.unwrap();
    team.alice.0.client(&team.house).sign(&["v2", "v3"].map(request)).await.unwrap();
    let moved = SignRequest { sha256: content("moved"), ..request("old") };
    team.alice.0.client(&team.house).sign(&[moved]).await.unwrap();
    let removal = team.owner.client(&team.house).signer_removal(&name("alice")).await.unwrap();
    let alone = ["old", "v2", "v3"].map(str::to_owned).to_vec();
    assert_eq!((removal.consequence, removal.released_alone), (Consequence::Unpullable, alone));
    team.owner.client(&team.house).remove_signer(&name("alice")).await.unwrap();
    let error = Person::new().find(&team.house, "v1").await.unwrap_err();
    assert!(matches!(error, TrustError::Lookup(LookupError::Broken { .. })), "{error:?}");
    // Bob signs, also from a machine that has never been here: what he signed himself is released again, the rest is not.
    let fresh = Person::new();
    std::fs::create_dir_all(fresh.trust_dir()).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(team.bob.0.trust_dir().join("private"))
        .arg(fresh.trust_dir())
        .status();
    assert!(copied.unwrap().success());
    let signed = fresh.sign(&team.house, "v4").await.unwrap();
    let gone = |name: &str| GivenUp { role: releases(), name: name.to_owned() };
    assert_eq!((signed.news, signed.given_up), (News::Published, vec![gone("old"), gone("v2"), gone("v3")]));
    let collection = Person::new().client(&team.house).update(Purpose::Read).await.unwrap();
    assert_eq!(collection.targets(&releases()).unwrap().version.get(), 4, "on top of the invalid one");
    for tag in ["v1", "v4"] {
        assert_eq!(Person::new().find(&team.house, tag).await.unwrap().sha256, content(tag));
    }
    team.bob.0.sign(&team.house, "v5").await.unwrap();
}

#[tokio::test]
async fn a_remaining_key_that_is_here_keeps_everything_pullable() {
    let (house, owner) = (House::open(), Person::new());
    let (alice, bob) = (Person::new(), owner.make_key("bob"));
    let of_alice = alice.make_key("alice");
    owner.client(&house).add_signer(&name("alice"), &[of_alice]).await.unwrap();
    owner.client(&house).add_signer(&name("bob"), std::slice::from_ref(&bob)).await.unwrap();
    alice.sign(&house, "v1").await.unwrap();
    let removed = owner.client(&house).remove_signer(&name("alice")).await.unwrap();
    assert_eq!(removed.consequence, Consequence::SignedAnew);
    let tag = Person::new().find(&house, "v1").await.unwrap();
    assert_eq!((tag.sha256, tag.key_ids), (content("v1"), vec![bob.id()]));
    owner.sign(&house, "v2").await.unwrap();
}

#[tokio::test]
async fn after_the_last_signer_the_repository_key_signs_and_signers_may_come_back() {
    let (house, owner) = (House::open(), Person::new());
    let alice = owner.make_key("alice");
    owner.client(&house).add_signer(&name("alice"), std::slice::from_ref(&alice)).await.unwrap();
    for tag in ["v1", "v2", "v3"] {
        owner.sign(&house, tag).await.unwrap();
    }
    owner.client(&house).remove_signer(&name("alice")).await.unwrap();
    let signed = owner.sign(&house, "v4").await.unwrap();
    assert_eq!(signed.tags[0].role, RoleName::Targets);
    // The roles come again: their files go on after the versions that the service had.
    owner.client(&house).add_signer(&name("alice"), &[alice]).await.unwrap();
    let signed = owner.sign(&house, "v5").await.unwrap();
    assert_eq!(signed.tags[0].role, releases());
    assert_eq!(signed.collection.targets(&releases()).unwrap().version.get(), 4);
    Person::new().find(&house, "v5").await.unwrap();
}

#[tokio::test]
async fn a_key_that_another_signer_has_too_stays() {
    let (house, owner) = (House::open(), Person::new());
    let (one, shared) = (owner.make_key("one"), owner.make_key("shared"));
    owner.client(&house).add_signer(&name("alice"), &[one.clone(), shared.clone()]).await.unwrap();
    owner.client(&house).add_signer(&name("bob"), std::slice::from_ref(&shared)).await.unwrap();
    owner.client(&house).remove_signer(&name("alice")).await.unwrap();
    let collection = owner.client(&house).update(Purpose::Read).await.unwrap();
    let targets = collection.targets(&RoleName::Targets).unwrap();
    assert_eq!(targets.delegations.get(&releases()).unwrap().keys.key_ids, [shared.id()]);
    owner.sign(&house, "v1").await.unwrap();
}

#[tokio::test]
async fn a_released_tag_is_signed_with_the_digest_of_releases_not_of_targets() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let (alice, bob) = (owner.make_key("alice"), Person::new());
    let of_bob = bob.make_key("bob");
    owner.client(&house).add_signer(&name("alice"), &[alice]).await.unwrap();
    let newer = SignRequest { sha256: content("newer"), ..request("v1") };
    owner.client(&house).sign(&[newer]).await.unwrap();
    owner.client(&house).add_signer(&name("bob"), &[of_bob]).await.unwrap();
    let signed = bob.client(&house).sign_released("v1").await.unwrap();
    assert_eq!(signed.tags[0].sha256, content("newer"));
    assert_eq!(Person::new().find(&house, "v1").await.unwrap().sha256, content("newer"));
    let error = bob.client(&house).sign_released("nothing").await.unwrap_err();
    assert!(matches!(error, TrustError::Lookup(LookupError::NotFound(_))), "{error:?}");
}

#[tokio::test]
async fn removing_a_signer_from_nothing_is_an_error() {
    let house = House::open();
    let error = Person::new().client(&house).remove_signer(&name("alice")).await.unwrap_err();
    assert!(matches!(error, TrustError::Update(_)), "{error:?}");
    assert_eq!(house.count("POST"), 0);
}

#[tokio::test]
async fn the_key_for_a_signer_s_name_is_made_once() {
    let (house, owner) = (House::open(), Person::new());
    let client = owner.client(&house);
    let key = client.signer_key(&name("dave")).unwrap();
    assert_eq!(client.signer_key(&name("dave")).unwrap(), key);
    client.add_signer(&name("dave"), &[key]).await.unwrap();
    let signed = owner.sign(&house, "v1").await.unwrap();
    assert_eq!(signed.tags[0].role, releases());
}

/// Of a file whose signers were removed, an older version may hold what was revoked since: nobody goes on from it who has
/// seen a newer one.
#[tokio::test]
async fn an_older_release_of_a_removed_signer_is_not_gone_on_from() {
    let team = Team::of_two().await;
    team.bob.0.sign(&team.house, "v1").await.unwrap();
    team.alice.0.client(&team.house).sign(&["v2"].map(request)).await.unwrap();
    let older = team.house.archive().files["targets/releases"].clone();
    team.alice.0.client(&team.house).revoke(Some("v1")).await.unwrap();
    team.bob.0.client(&team.house).update(Purpose::Read).await.unwrap();
    team.owner.client(&team.house).remove_signer(&name("alice")).await.unwrap();
    let mut archive = team.house.archive();
    archive.replace("targets/releases", &older);
    team.house.restore(archive);
    let error = team.bob.0.sign(&team.house, "v4").await.unwrap_err();
    assert!(matches!(error, TrustError::Edit(EditError::Broken { .. })), "{error:?}");
}
