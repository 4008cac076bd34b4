//! The compromise drill where somebody else acts meanwhile, and by thresholds.

use crate::house::House;
use crate::person::{Person, content, request};
use countersign_trust::{
    Confirmed, Exposure, RequestError, SignRequest, Signatures, SignerName, TrustError, keys_named, released_names,
};
use countersign_tuf::update::Purpose;
use countersign_tuf::{Change, DelegationEdit, RoleName};
use std::collections::BTreeMap;

async fn exposure(owner: &Person, house: &House, who: &str) -> Exposure {
    let client = owner.client(house);
    let collection = client.update(Purpose::Publish).await.unwrap();
    client.exposure(&collection, &keys_named(&collection, who).unwrap()).unwrap()
}

fn all(exposure: &Exposure) -> Confirmed {
    let names = exposure.names.iter().map(|(name, exposed)| (name.clone(), exposed.sha256().unwrap()));
    Confirmed { names: names.collect(), described: BTreeMap::new() }
}

/// An owner with a signer, whose key the thief has as well.
async fn robbed(house: &House) -> (Person, Person) {
    let (owner, thief) = (Person::new(), Person::new());
    owner.sign(house, "old").await.unwrap();
    let name = SignerName::parse("alice").unwrap();
    let stolen = thief.make_key("alice");
    owner.client(house).add_signer(&name, &[stolen]).await.unwrap();
    let bob = owner.make_key("bob");
    owner.client(house).add_signer(&SignerName::parse("bob").unwrap(), &[bob]).await.unwrap();
    thief.sign(house, "v1").await.unwrap();
    (owner, thief)
}

/// What was looked at is what is signed: a digest that the thief put in its place meanwhile is not.
#[tokio::test]
async fn what_the_thief_changes_after_it_was_confirmed_is_not_signed_anew() {
    let house = House::open();
    let (owner, thief) = robbed(&house).await;
    let seen = exposure(&owner, &house, "alice").await;
    assert_eq!(seen.names.keys().collect::<Vec<_>>(), ["v1"]);
    let changed = SignRequest { sha256: content("worse"), ..request("v1") };
    thief.client(&house).sign(&[changed, request("v2")]).await.unwrap();
    let purged = owner.client(&house).purge(&seen, &all(&seen)).await.unwrap();
    assert!(purged.signed.is_empty(), "{:?}", purged.signed);
    assert_eq!(purged.dropped.iter().collect::<Vec<_>>(), ["v1", "v2"]);
    let names = released_names(&Person::new().client(&house).update(Purpose::Read).await.unwrap());
    assert_eq!(names.keys().collect::<Vec<_>>(), ["old"], "the owner's own stays");
    assert!(matches!(thief.sign(&house, "v3").await.unwrap_err(), TrustError::NoDelegationKey { .. }));
}

/// What another signer says, too, needs no question, and a publication is all or nothing.
#[tokio::test]
async fn what_others_have_signed_stays_and_a_failure_changes_nothing() {
    let house = House::open();
    let (owner, thief) = robbed(&house).await;
    owner.sign(&house, "both").await.unwrap();
    thief.sign(&house, "both").await.unwrap();
    thief.sign(&house, "v1").await.unwrap();
    let seen = exposure(&owner, &house, "alice").await;
    assert_eq!(seen.names.keys().collect::<Vec<_>>(), ["v1"]);
    let stored = house.archive().stored;
    house.lie(|request, _| {
        let publishing = request.method == "POST" && request.path.ends_with("/tuf/");
        publishing.then(|| countersign_testkit::Reply::status(503))
    });
    owner.client(&house).purge(&seen, &all(&seen)).await.unwrap_err();
    house.repent();
    assert_eq!(house.archive().stored, stored);
    let purged = owner.client(&house).purge(&seen, &all(&seen)).await.unwrap();
    assert_eq!(house.archive().stored, stored + 1, "everything in one publication");
    assert!(purged.signed.contains("v1") && purged.dropped.is_empty(), "{purged:?}");
    for name in ["v1", "both", "old"] {
        assert_eq!(Person::new().find(&house, name).await.unwrap().sha256, content(name));
    }
}

/// A role that needs two signatures and is left with one key can never sign again: it goes.
#[tokio::test]
async fn a_role_that_is_left_below_its_threshold_goes() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let role = RoleName::parse("targets/both").unwrap();
    let (first, second) = (owner.make_key("first"), owner.make_key("second"));
    let add_keys = vec![first.clone(), second];
    let edit = DelegationEdit { threshold: Some(2), add_keys, add_paths: vec!["".into()], ..DelegationEdit::default() };
    let create = [Change::CreateDelegation { role: role.clone(), edit }];
    owner.client(&house).publish(&|_| Ok(create.to_vec())).await.unwrap();
    let id = first.canonical_id().to_string();
    let seen = exposure(&owner, &house, &id).await;
    let exposed = &seen.delegations[0];
    assert!(exposed.is_finished() && exposed.left.len() == 1 && exposed.signatures == Signatures::Stay);
    let purged = owner.client(&house).purge(&seen, &Confirmed::default()).await.unwrap();
    assert_eq!(purged.gone, [role]);
    owner.sign(&house, "v2").await.unwrap();
    Person::new().find(&house, "v2").await.unwrap();
}

/// Who cannot sign targets here cannot take a signer out of it, and is told so before anything is published.
#[tokio::test]
async fn a_signer_cannot_take_another_out() {
    let house = House::open();
    let (owner, thief) = robbed(&house).await;
    let seen = exposure(&owner, &house, "bob").await;
    let stored = house.archive().stored;
    let error = thief.client(&house).purge(&seen, &all(&seen)).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NobodyLeft { role: RoleName::Targets })), "{error:?}");
    assert_eq!(house.archive().stored, stored);
}
