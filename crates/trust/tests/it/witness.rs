//! Witnessing: the caller sees what would be signed, and what is different in it.

use crate::house::House;
use crate::person::{Person, request};
use countersign_trust::{Decision, DelegationRemoval, PathEdit, RequestError, SignerName, TrustError, WitnessSubject};
use countersign_tuf::editor::EditError;
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::update::Purpose;
use countersign_tuf::{BrokenReason, RoleName};
use std::cell::RefCell;

fn role(name: &str) -> RoleName {
    RoleName::parse(name).unwrap()
}

/// An owner with two delegation keys; `targets/team` is signed with the first, which then is taken from it.
async fn orphaned(house: &House) -> Person {
    let owner = Person::new();
    let (first, second) = (owner.make_key("first"), owner.make_key("second"));
    let client = owner.client(house);
    client.stage_delegation(&role("targets/team"), std::slice::from_ref(&first), &PathEdit::All).unwrap();
    client.stage_target("a", &FileMeta::of(b"a"), &[role("targets/team")]).unwrap();
    client.publish_staged(&|_| Decision::Refuse).await.unwrap();
    client.stage_delegation(&role("targets/team"), &[second], &PathEdit::None).unwrap();
    let removal = DelegationRemoval::Parts { keys: vec![first.canonical_id()], paths: PathEdit::None };
    client.stage_delegation_removal(&role("targets/team"), &removal).unwrap();
    client.publish_staged(&|_| Decision::Refuse).await.unwrap();
    owner
}

#[tokio::test]
async fn what_is_signed_anew_is_shown_first_with_what_was_verified_last() {
    let house = House::open();
    let owner = orphaned(&house).await;
    let team = role("targets/team");
    let subjects = owner.client(&house).witness_subjects(&[team.clone(), role("targets/none")]).await.unwrap();
    let [subject] = subjects.as_slice() else { panic!("{subjects:?}") };
    assert!(matches!(subject.reason, Some(BrokenReason::Threshold(_))));
    assert!(subject.last_verified.is_some() && subject.differences().is_empty() && !subject.delegations_differ());

    // A stranger verifies nothing of it: everything is new to them.
    let stranger = Person::new();
    let subjects = stranger.client(&house).witness_subjects(std::slice::from_ref(&team)).await.unwrap();
    assert!(subjects[0].last_verified.is_none());
    let differences = subjects[0].differences();
    assert_eq!((differences.len(), differences[0].before.as_ref()), (1, None));

    // Refused, nothing happens and the change stays; confirmed, it is signed with the next version.
    owner.client(&house).stage_witness(std::slice::from_ref(&team)).unwrap();
    let posts = house.count("POST");
    let error = owner.client(&house).publish_staged(&|_| Decision::Refuse).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::WitnessDeclined { .. })), "{error:?}");
    assert_eq!((house.count("POST"), owner.client(&house).staged().unwrap().entries.len()), (posts, 1));
    let shown: RefCell<Vec<WitnessSubject>> = RefCell::default();
    let review = |subjects: &[WitnessSubject]| {
        shown.borrow_mut().extend_from_slice(subjects);
        Decision::Sign
    };
    let published = owner.client(&house).publish_staged(&review).await.unwrap();
    assert_eq!((published.changes.len(), shown.borrow().len()), (1, 1));
    let collection = Person::new().client(&house).update(Purpose::Read).await.unwrap();
    assert_eq!(collection.targets(&team).unwrap().version.get(), 2);
    assert_eq!(collection.targets(&team).unwrap().entries.get("a"), Some(FileMeta::of(b"a")));
}

#[tokio::test]
async fn a_role_that_can_be_verified_is_signed_anew_without_a_question() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    owner.client(&house).stage_witness(&[RoleName::Targets]).unwrap();
    owner.client(&house).publish_staged(&|_| Decision::Refuse).await.unwrap();
    let collection = Person::new().client(&house).update(Purpose::Read).await.unwrap();
    assert_eq!(collection.targets(&RoleName::Targets).unwrap().version.get(), 3);
    let error = owner.client(&house).stage_witness(&[RoleName::Snapshot]).unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NotWitnessed(_))), "{error:?}");
    owner.client(&house).stage_witness(&[role("targets/none")]).unwrap();
    let error = owner.client(&house).publish_staged(&|_| Decision::Sign).await.unwrap_err();
    assert!(matches!(error, TrustError::Edit(EditError::InvalidRole { .. })), "{error:?}");
}

#[tokio::test]
async fn staged_targets_are_not_built_on_what_cannot_be_verified() {
    let house = House::open();
    let owner = orphaned(&house).await;
    let team = role("targets/team");
    owner.client(&house).stage_target("b", &FileMeta::of(b"b"), std::slice::from_ref(&team)).unwrap();
    let error = owner.client(&house).publish_staged(&|_| Decision::Sign).await.unwrap_err();
    assert!(matches!(error, TrustError::Edit(EditError::Broken { .. })), "{error:?}");
    assert_eq!(owner.client(&house).staged().unwrap().entries.len(), 1);
    owner.client(&house).unstage(countersign_trust::Unstage::All).unwrap();
    owner.client(&house).stage_witness(std::slice::from_ref(&team)).unwrap();
    owner.client(&house).stage_target("b", &FileMeta::of(b"b"), &[team]).unwrap();
    owner.client(&house).publish_staged(&|_| Decision::Sign).await.unwrap();
    assert_eq!(owner.client(&house).list(&[]).await.unwrap().0.len(), 2);
}

/// A service that holds the snapshot key can put anything in a delegation's place; it is not valid, and never was.
#[tokio::test]
async fn what_was_never_valid_is_not_gone_on_from() {
    let (house, owner) = (House::open(), Person::new());
    let alice = owner.make_key("alice");
    let name = SignerName::parse("alice").unwrap();
    owner.client(&house).add_signer(&name, &[alice]).await.unwrap();
    owner.client(&house).sign(&["v1", "v2"].map(request)).await.unwrap();
    let mut archive = house.archive();
    let file = String::from_utf8(archive.files["targets/releases"].to_vec()).unwrap();
    let (signed, sig) = file.split_once("\"sig\":\"").unwrap();
    let other = sig.replacen(|c: char| c.is_ascii_lowercase(), "A", 3);
    archive.replace("targets/releases", &format!("{signed}\"sig\":\"{other}").into());
    house.restore(archive);
    let collection = owner.client(&house).update(Purpose::Read).await.unwrap();
    assert!(collection.broken().contains_key(&role("targets/releases")));
    for person in [&owner, &fresh_with_keys(&owner)] {
        let error = person.sign(&house, "v4").await.unwrap_err();
        assert!(matches!(error, TrustError::Edit(EditError::Broken { .. })), "{error:?}");
    }
}

fn fresh_with_keys(of: &Person) -> Person {
    let fresh = Person::new();
    std::fs::create_dir_all(fresh.trust_dir()).unwrap();
    let (from, to) = (of.trust_dir().join("private"), fresh.trust_dir());
    assert!(std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
    fresh
}
