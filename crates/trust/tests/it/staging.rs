//! The change list: what is staged is published once, or stays.

use crate::house::House;
use crate::person::{OnePassphrase, Person, content, request};
use countersign_crypto::{Algorithm, PrivateKey};
use countersign_testkit::{Reply, fixtures};
use countersign_trust::{
    Beginning, Decision, Published, RequestError, TrustError, Unstage, WitnessSubject, read_public_key,
};
use countersign_tuf::metadata::FileMeta;
use countersign_tuf::update::Purpose;
use countersign_tuf::{Change, Note, RoleName};
use countersign_vault::{KeyLabel, TrustDirectory};

fn refuse(_: &[WitnessSubject]) -> Decision {
    Decision::Refuse
}

fn meta(name: &str) -> FileMeta {
    FileMeta::of(name.as_bytes())
}

fn change_list(person: &Person) -> std::path::PathBuf {
    person.trust_dir().join("tuf").join(crate::house::GUN).join("changelist")
}

#[tokio::test]
async fn what_the_service_did_not_accept_stays_staged_and_is_published_once() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    owner.client(&house).stage_target("a", &meta("a"), &[]).unwrap();
    for reply in [Reply::status(503), crate::house::rejection("no"), Reply::status(200)] {
        house.lie(move |request, _| (request.method == "POST").then(|| reply.clone()));
        owner.client(&house).publish_staged(&refuse).await.unwrap_err();
        assert_eq!(owner.client(&house).staged().unwrap().entries.len(), 1);
    }
    // Stored, and the answer lost: published all the same, and not again.
    house.lie_times(1, |request, archive| {
        (request.method == "POST").then(|| {
            archive.answer(request);
            Reply::status(500)
        })
    });
    owner.client(&house).publish_staged(&refuse).await.unwrap();
    assert!(owner.client(&house).staged().unwrap().entries.is_empty());
    assert_eq!(house.archive().stored, 2);
    let idle = owner.client(&house).publish_staged(&refuse).await.unwrap();
    assert!(matches!(idle.published, Published::Unchanged(_)) && idle.changes.is_empty());
    assert_eq!(house.archive().stored, 2);
}

#[tokio::test]
async fn what_was_published_before_a_crash_is_not_published_twice() {
    let (house, owner) = (House::open(), Person::new());
    owner.client(&house).stage_target("a", &meta("a"), &[]).unwrap();
    let copy = std::fs::read_dir(change_list(&owner)).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read(&copy).unwrap();
    owner.client(&house).publish_staged(&refuse).await.unwrap();
    std::fs::write(&copy, text).unwrap();
    let again = owner.client(&house).publish_staged(&refuse).await.unwrap();
    assert!(matches!(again.published, Published::Unchanged(_)));
    assert!(owner.client(&house).staged().unwrap().entries.is_empty());
    assert_eq!(house.archive().stored, 1);
}

/// The state of a trust directory at the moment when the service has stored an upload and nobody knows it yet.
async fn killed_after_the_upload(house: &House, owner: &Person) {
    let trust = owner.trust_dir();
    let copy = tempfile::tempdir().unwrap();
    let (from, to) = (trust.clone(), copy.path().join("trust"));
    let kept = to.clone();
    house.lie_times(1, move |request, archive| {
        (request.method == "POST").then(|| {
            let reply = archive.answer(request);
            let copied = std::process::Command::new("cp").arg("-a").arg(&from).arg(&to).status().unwrap();
            assert!(copied.success());
            reply
        })
    });
    owner.client(house).publish_staged(&refuse).await.unwrap();
    std::fs::remove_dir_all(&trust).unwrap();
    let moved = std::process::Command::new("cp").arg("-a").arg(&kept).arg(&trust).status().unwrap();
    assert!(moved.success());
}

#[tokio::test]
async fn what_was_published_before_a_crash_does_not_undo_what_came_after_it() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v0").await.unwrap();
    owner.client(&house).stage_target("v1", &meta("first"), &[]).unwrap();
    killed_after_the_upload(&house, &owner).await;
    assert_eq!(owner.client(&house).staged().unwrap().entries.len(), 1, "the list is not emptied yet");
    // Somebody with the same keys moves the tag on.
    let colleague = Person::new();
    let keys = [owner.trust_dir(), colleague.trust_dir()];
    let copied = std::process::Command::new("cp").arg("-a").args(&keys).status().unwrap();
    assert!(copied.success());
    colleague.client(&house).unstage(Unstage::All).unwrap();
    colleague.client(&house).stage_target("v1", &meta("second"), &[]).unwrap();
    colleague.client(&house).publish_staged(&refuse).await.unwrap();
    let stored = house.archive().stored;
    let published = owner.client(&house).publish_staged(&refuse).await.unwrap();
    assert!(matches!(published.published, Published::Unchanged(_)) && published.changes.is_empty());
    assert!(owner.client(&house).staged().unwrap().entries.is_empty());
    assert_eq!(house.archive().stored, stored, "nothing was published anew");
    // What is staged from then on is published as always.
    owner.client(&house).stage_target("v2", &meta("third"), &[]).unwrap();
    assert_eq!(owner.client(&house).publish_staged(&refuse).await.unwrap().changes.len(), 1);
}

#[tokio::test]
async fn a_note_of_an_upload_that_was_never_stored_takes_nothing_out() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v0").await.unwrap();
    let before = house.archive();
    owner.client(&house).stage_target("v1", &meta("first"), &[]).unwrap();
    killed_after_the_upload(&house, &owner).await;
    house.restore(before);
    let published = owner.client(&house).publish_staged(&refuse).await.unwrap();
    assert_eq!(published.changes.len(), 1);
    assert!(matches!(published.published, Published::Stored { .. }));
}

#[tokio::test]
async fn what_is_staged_while_others_publish_is_kept_or_published_never_lost() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    owner.client(&house).stage_target("a", &meta("a"), &[]).unwrap();
    // Somebody stages while the upload is on its way.
    let list = change_list(&owner);
    let late = Change::AddTarget { role: RoleName::Targets, name: "late".to_owned(), meta: meta("late") }.write();
    house.lie_times(1, move |request, archive| {
        (request.method == "POST").then(|| {
            std::fs::write(list.join("09999999999999999999_late.change"), &late).unwrap();
            archive.answer(request)
        })
    });
    let published = owner.client(&house).publish_staged(&refuse).await.unwrap();
    assert_eq!(published.changes.len(), 1);
    assert_eq!(owner.client(&house).staged().unwrap().entries.len(), 1);
    owner.client(&house).publish_staged(&refuse).await.unwrap();
    assert_eq!(owner.client(&house).list(&[]).await.unwrap().0.len(), 3);
}

#[tokio::test]
async fn a_list_with_anything_unreadable_is_not_published_in_part() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    owner.client(&house).stage_target("a", &meta("a"), &[]).unwrap();
    for (name, text) in [
        ("1.change", "{"),
        ("2.change", r#"{"action":"create","role":"targets","type":"target","path":"x","data":null}"#),
        ("3.change", r#"{"action":"rename","role":"targets","type":"target","path":"x","data":null}"#),
        (".hidden", "{}"),
        ("a\u{1b}b", "{}"),
    ] {
        let path = change_list(&owner).join(name);
        std::fs::write(&path, text).unwrap();
        let error = owner.client(&house).publish_staged(&refuse).await.unwrap_err();
        let expected =
            matches!(error, TrustError::Request(RequestError::StagedChange { .. } | RequestError::StagedJunk { .. }));
        assert!(expected && !error.to_string().contains('\u{1b}'), "{name}: {error:?}");
        std::fs::remove_file(path).unwrap();
    }
    assert_eq!((house.archive().stored, owner.client(&house).staged().unwrap().entries.len()), (1, 1));
    // One that is unreadable can be taken out by its number.
    std::fs::write(change_list(&owner).join("0.change"), "junk").unwrap();
    assert!(owner.client(&house).staged().unwrap().entries[0].change.is_err());
    assert_eq!(owner.client(&house).unstage(Unstage::Numbers(&[0])).unwrap().len(), 1);
    owner.client(&house).publish_staged(&refuse).await.unwrap();
}

/// Rotations are never staged: one in the list was put there by somebody who cannot sign it.
#[tokio::test]
async fn a_rotation_in_the_list_is_not_signed() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let keys = vec![Person::new().make_key("delegation")];
    owner.client(&house).stage(&[Change::ReplaceKeys { role: RoleName::Targets, keys }]).unwrap();
    let error = owner.client(&house).publish_staged(&refuse).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::StagedRotation { .. })), "{error:?}");
    assert_eq!(house.archive().stored, 1);
}

#[tokio::test]
async fn what_cannot_be_staged_is_said_at_once() {
    let (house, owner) = (House::open(), Person::new());
    let client = owner.client(&house);
    let error = client.stage_target("a", &meta("a"), &[RoleName::Snapshot]).unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NoTargetsRole(_))), "{error:?}");
    let error = client.stage_delegation(&RoleName::Targets, &[], &countersign_trust::PathEdit::All).unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NoDelegation(_))), "{error:?}");
    assert!(client.staged().unwrap().entries.is_empty());
}

#[tokio::test]
async fn reading_works_from_the_cache_while_the_service_is_away() {
    let (house, owner) = (House::open(), Person::new());
    owner.client(&house).sign(&["v1", "v2"].map(request)).await.unwrap();
    house.lie(|_, _| Some(Reply::status(503)));
    let (names, collection) = owner.client(&house).list(&[]).await.unwrap();
    assert_eq!(names.len(), 2);
    assert!(collection.notes().iter().any(|note| matches!(note, Note::CachedTimestamp(_))));
    assert_eq!(owner.client(&house).lookup("v1", &[]).await.unwrap().0.meta.sha256, Some(content("v1")));
    assert!(owner.client(&house).delegations().await.unwrap().0.is_empty());
    let late = owner.at("2027-01-22T12:00:00Z");
    late.client(&house).list(&[]).await.unwrap_err();
}

#[tokio::test]
async fn a_collection_that_exists_is_not_initialised_again() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let before = owner.cache();
    for person in [&owner, &Person::new()] {
        let error = person.client(&house).init(&Beginning::docker()).await.unwrap_err();
        assert!(matches!(error, TrustError::Request(RequestError::Initialised(_))), "{error:?}");
    }
    assert!(owner.cache() == before);
}

#[tokio::test]
async fn a_service_that_is_away_costs_no_key_and_leaves_nothing_half_made() {
    let (house, owner) = (House::open(), Person::new());
    house.lie(|request, _| request.path.ends_with("/timestamp.key").then(|| Reply::status(503)));
    owner.client(&house).init(&Beginning::notary()).await.unwrap_err();
    assert!(owner.cache().is_empty());
    assert_eq!(owner.keys(), 0);
}

#[tokio::test]
async fn a_damaged_root_key_is_not_passed_over() {
    let (house, owner) = (House::open(), Person::new());
    let store = owner.trust_dir().join("private");
    std::fs::create_dir_all(&store).unwrap();
    let path = store.join(format!("{}.key", "ab".repeat(32)));
    std::fs::write(&path, "-----BEGIN ENCRYPTED PRIVATE KEY-----\nrole: root\n\njunk").unwrap();
    for error in [
        owner.sign(&house, "v1").await.unwrap_err(),
        owner.client(&house).init(&Beginning::notary()).await.unwrap_err(),
        owner.client(&house).present_root_key().unwrap_err(),
    ] {
        let TrustError::UnusableKeyFile { path: named, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*named, path);
    }
    assert_eq!((owner.keys(), house.count("POST")), (1, 0));
    std::fs::remove_file(path).unwrap();
    owner.sign(&house, "v1").await.unwrap();
}

#[tokio::test]
async fn of_several_root_keys_the_one_with_the_smallest_id_begins_a_collection() {
    let (house, owner) = (House::open(), Person::new());
    let ids: Vec<_> = (0..4).map(|_| owner.make_key("root").canonical_id()).collect();
    let smallest = ids.iter().copied().min_by_key(ToString::to_string).unwrap();
    assert_eq!(owner.client(&house).present_root_key().unwrap(), Some(smallest));
    owner.sign(&house, "v1").await.unwrap();
    let collection = owner.client(&house).update(Purpose::Read).await.unwrap();
    let root = collection.root().trusted(&RoleName::Root).unwrap();
    let keys: Vec<_> = root.key_ids.iter().map(|id| collection.root().keys.get(id).unwrap().canonical_id()).collect();
    assert_eq!(keys, [smallest]);
    assert_ne!(root.key_ids[0], smallest, "the certificate has an id of its own");
}

#[tokio::test]
async fn certificates_and_keys_that_do_not_belong_together_make_no_collection() {
    let (house, owner) = (House::open(), Person::new());
    let directory = TrustDirectory::create(owner.trust_dir()).unwrap();
    let add = |label: &KeyLabel| {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        directory.keys().add(&key, label, &OnePassphrase).unwrap();
        key
    };
    let (first, second) = (add(&KeyLabel::root()), add(&KeyLabel::root()));
    let delegate = add(&KeyLabel::new("alice", None).unwrap());
    let id = |key: &PrivateKey| countersign_crypto::Signer::public_key(key).canonical_id();
    let pem = countersign_crypto::certificate::self_signed(crate::house::GUN, &first, house.now()).unwrap();
    let client = owner.client(&house);
    let certificate = countersign_trust::read_root_certificate(&pem, client.gun(), house.now()).unwrap();
    let with = |root_keys: &[&PrivateKey]| Beginning {
        root_keys: root_keys.iter().map(|key| id(key)).collect(),
        certificates: vec![certificate.clone()],
        ..Beginning::docker()
    };
    for beginning in [with(&[&second]), with(&[&first, &second])] {
        let error = client.init(&beginning).await.unwrap_err();
        assert!(matches!(error, TrustError::Request(RequestError::CertificateKey(_))), "{error:?}");
    }
    let error = client.init(&Beginning { root_keys: vec![id(&delegate)], ..Beginning::docker() }).await.unwrap_err();
    assert!(matches!(error, TrustError::Request(RequestError::NoRootKey(_))), "{error:?}");
    assert!(owner.cache().is_empty());
    client.init(&with(&[&first])).await.unwrap();
    owner.sign(&house, "v1").await.unwrap();
    let read = Person::new().client(&house).update(Purpose::Read).await.unwrap();
    assert_eq!(read.root().trusted(&RoleName::Root).unwrap().key_ids, [certificate.id()]);
}

#[test]
fn public_keys_come_from_harmless_files_only() {
    let now = "2026-11-22T12:00:00Z".parse().unwrap();
    let input = |name: &str| fixtures::text(&format!("key-bundles/inputs/{name}"));
    for good in ["ec-p256.pub", "ec-p256.crt", "rsa2048.pub", "rsa2048.crt"] {
        read_public_key(input(good).as_bytes(), now).unwrap();
    }
    let two = input("ec-p256.pub") + &input("rsa2048.pub");
    for (what, text) in [
        ("nothing", String::new()),
        ("no PEM", "hello".to_owned()),
        ("two keys", two),
        ("a cut file", input("ec-p256.pub").chars().take(80).collect()),
        ("another kind", "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n".to_owned()),
        ("junk", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n".to_owned()),
        ("huge", format!("{}{}", input("ec-p256.pub"), " ".repeat(300 << 10))),
    ] {
        let error = read_public_key(text.as_bytes(), now).unwrap_err();
        assert!(matches!(error, RequestError::PublicKey(_)), "{what}: {error:?}");
    }
    for private in ["ec-p256.key", "ec-p256.traditional.key", "ec-p256.pkcs8-enc.key"] {
        let both = input("ec-p256.pub") + &input(private);
        let error = read_public_key(both.as_bytes(), now).unwrap_err();
        assert!(matches!(error, RequestError::PrivateForPublic), "{error:?}");
    }
    let later = "2126-11-22T12:00:00Z".parse().unwrap();
    read_public_key(input("ec-p256.crt").as_bytes(), later).unwrap_err();
}

#[tokio::test]
async fn a_list_beyond_reading_can_be_emptied() {
    let (house, owner) = (House::open(), Person::new());
    owner.client(&house).stage_target("a", &meta("a"), &[]).unwrap();
    let huge = std::fs::File::create(change_list(&owner).join("huge.change")).unwrap();
    huge.set_len(1 << 30).unwrap();
    owner.client(&house).staged().unwrap_err();
    owner.client(&house).publish_staged(&refuse).await.unwrap_err();
    owner.client(&house).unstage(Unstage::All).unwrap();
    assert!(owner.client(&house).staged().unwrap().entries.is_empty());
}

#[tokio::test]
async fn two_who_publish_one_list_at_once_publish_it_once() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    for name in ["a", "b", "c"] {
        owner.client(&house).stage_target(name, &meta(name), &[]).unwrap();
    }
    let (one, other) = (owner.client(&house), owner.client(&house));
    let (one, other) = tokio::join!(one.publish_staged(&refuse), other.publish_staged(&refuse));
    let stored = [one.unwrap(), other.unwrap()]
        .into_iter()
        .filter(|published| matches!(published.published, Published::Stored { .. }));
    assert_eq!((stored.count(), house.archive().stored), (1, 2));
    assert_eq!(owner.client(&house).list(&[]).await.unwrap().0.len(), 4);
    assert!(owner.client(&house).staged().unwrap().entries.is_empty());
}

/// What lies in the cache as the snapshot of a new collection decides what the first one lists.
#[tokio::test]
async fn a_snapshot_that_somebody_put_into_the_cache_is_not_gone_on_from() {
    let (house, owner) = (House::open(), Person::new());
    owner.client(&house).init(&Beginning::notary()).await.unwrap();
    let path = owner.trust_dir().join("tuf").join(crate::house::GUN).join("metadata/snapshot.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"version\":1", "\"version\":7", 1)).unwrap();
    owner.client(&house).publish_staged(&refuse).await.unwrap_err();
    assert_eq!(house.archive().stored, 0);
    std::fs::write(&path, text).unwrap();
    owner.client(&house).publish_staged(&refuse).await.unwrap();
}
