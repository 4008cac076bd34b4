//! The publisher as victim: what a service or a rival does to whoever signs.

use crate::house::{Archive, House, conflict, rejection};
use crate::person::{Person, content, request};
use countersign_notary::ServiceError;
use countersign_testkit::fake_server::Request;
use countersign_testkit::{Reply, fixtures};
use countersign_trust::{News, TrustError};
use countersign_tuf::update::UpdateError;
use countersign_tuf::{FirstUse, Note, Pinning, RoleName};
use serde_json::json;
use std::sync::Arc;

fn publishing(request: &Request) -> bool {
    request.method == "POST"
}

fn for_a_key(request: &Request) -> bool {
    ["timestamp.key", "snapshot.key"].iter().any(|name| request.path.ends_with(name))
}

#[tokio::test]
async fn signing_is_published_once_and_proved_by_what_is_served() {
    let (house, owner) = (House::open(), Person::new());
    let signed = owner.sign(&house, "v1").await.unwrap();
    assert_eq!((signed.news, signed.tags[0].sha256), (News::NewCollection, content("v1")));
    let signed = owner.sign(&house, "v2").await.unwrap();
    assert_eq!(signed.news, News::Published);
    let signed = owner.sign(&house, "v2").await.unwrap();
    assert_eq!(signed.news, News::AlreadySigned);
    assert_eq!((house.count("POST"), house.archive().stored), (2, 2));
    assert_eq!(Person::new().find(&house, "v1").await.unwrap().sha256, content("v1"));
}

#[tokio::test]
async fn a_publication_that_is_confirmed_but_not_stored_is_no_signature() {
    let (house, owner) = (House::open(), Person::new());
    house.lie(|request, _| publishing(request).then(|| Reply::status(200)));
    let error = owner.sign(&house, "v1").await.unwrap_err();
    assert!(matches!(error, TrustError::NotStored(_)), "{error:?}");
    assert!(owner.cache().is_empty());
    house.repent();
    owner.sign(&house, "v1").await.unwrap();

    house.lie(|request, _| publishing(request).then(|| Reply::status(200)));
    let error = owner.sign(&house, "v2").await.unwrap_err();
    assert!(matches!(error, TrustError::NotStored(_)), "{error:?}");
    let error = owner.client(&house).revoke(Some("v1")).await.unwrap_err();
    assert!(matches!(error, TrustError::NotStored(_)), "{error:?}");
    house.repent();
    owner.sign(&house, "v2").await.unwrap();
}

#[tokio::test]
async fn a_success_that_is_not_200_is_no_confirmation() {
    for status in [201, 202, 204, 206] {
        let (house, owner) = (House::open(), Person::new());
        house.lie(move |request, _| publishing(request).then(|| Reply::status(status)));
        let error = owner.sign(&house, "v1").await.unwrap_err();
        assert!(matches!(error, TrustError::Service(ServiceError::Hostile(_))), "{status}: {error:?}");
    }
}

#[tokio::test]
async fn somebody_elses_collection_under_our_name_does_not_become_our_anchor() {
    // The service says yes to our first publication and serves one that the attacker made, the same tag included.
    let (theirs, attacker) = (House::open(), Person::new());
    attacker.sign(&theirs, "v1").await.unwrap();
    attacker.sign(&theirs, "v2").await.unwrap();
    let archive = theirs.archive();
    let (house, owner) = (House::open(), Person::new());
    let said_yes = Arc::new(std::sync::atomic::AtomicBool::new(false));
    house.lie(move |request, _| {
        use std::sync::atomic::Ordering::SeqCst;
        if publishing(request) {
            said_yes.store(true, SeqCst);
            return Some(Reply::status(200));
        }
        said_yes.load(SeqCst).then(|| archive.clone().answer(request))
    });
    let error = owner.sign(&house, "v1").await.unwrap_err();
    assert!(matches!(error, TrustError::NotStored(_)), "{error:?}");
    assert!(owner.cache().is_empty(), "nothing of it was kept");
}

#[tokio::test]
async fn an_answer_that_is_lost_after_storing_is_found_out() {
    for (what, reply) in [
        ("a cut connection", Reply::raw("").then_cut()),
        ("silence", Reply::silence()),
        ("500", Reply::status(500)),
        ("504", Reply::status(504)),
        ("junk", Reply::raw("junk\r\n\r\n")),
    ] {
        let (house, owner) = (House::open(), Person::new());
        for tag in ["v1", "v2"] {
            let reply = reply.clone();
            house.lie_times(1, move |request, archive: &mut Archive| {
                publishing(request).then(|| {
                    archive.answer(request);
                    reply.clone()
                })
            });
            let signed = owner.sign(&house, tag).await.unwrap();
            assert_eq!(signed.tags[0].sha256, content(tag), "{what}");
        }
        assert_eq!((house.count("POST"), house.archive().stored), (2, 2), "{what}: never twice");
    }
}

#[tokio::test]
async fn a_publication_that_may_have_been_stored_can_be_repeated() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    // Stored, the answer lost, and the service away when it is asked again.
    let stored = Arc::new(std::sync::atomic::AtomicBool::new(false));
    house.lie(move |request, archive| {
        use std::sync::atomic::Ordering::SeqCst;
        if publishing(request) {
            archive.answer(request);
            stored.store(true, SeqCst);
            return Some(Reply::silence());
        }
        stored.load(SeqCst).then(|| Reply::status(503))
    });
    let error = owner.sign(&house, "v2").await.unwrap_err();
    assert!(matches!(error, TrustError::Service(ServiceError::Away(_))), "{error:?}");
    house.repent();
    let signed = owner.sign(&house, "v2").await.unwrap();
    assert_eq!(signed.news, News::AlreadySigned);
    assert_eq!(house.archive().stored, 2);

    // Confirmed, but what is served cannot be looked at.
    let stored = Arc::new(std::sync::atomic::AtomicBool::new(false));
    house.lie(move |request, archive| {
        use std::sync::atomic::Ordering::SeqCst;
        if publishing(request) {
            stored.store(true, SeqCst);
            return Some(archive.answer(request));
        }
        stored.load(SeqCst).then(|| Reply::status(503))
    });
    let error = owner.sign(&house, "v3").await.unwrap_err();
    assert!(matches!(error, TrustError::NotReadBack { .. }), "{error:?}");
}

#[tokio::test]
async fn a_publication_that_was_not_stored_fails() {
    let (house, owner) = (House::open(), Person::new());
    for reply in [Reply::raw("").then_cut(), Reply::silence(), Reply::status(503), Reply::status(413)] {
        house.lie(move |request, _| publishing(request).then(|| reply.clone()));
        owner.sign(&house, "v1").await.unwrap_err();
    }
    assert_eq!(house.archive().stored, 0);
    assert!(owner.cache().is_empty());
}

#[tokio::test]
async fn a_conflict_is_rebased_and_both_are_published() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    // The same keys elsewhere publish in the very moment between our reading and our publishing.
    let rival = Person::new();
    let copied = std::process::Command::new("cp").arg("-a").arg(owner.trust_dir()).arg(rival.trust_dir()).status();
    assert!(copied.unwrap().success());
    let published = {
        let other = House::open();
        other.restore(house.archive());
        rival.sign(&other, "rival").await.unwrap();
        other.archive()
    };
    house.lie_times(1, move |request, archive| {
        publishing(request).then(|| {
            *archive = published.clone();
            archive.answer(request)
        })
    });
    let signed = owner.sign(&house, "v2").await.unwrap();
    assert_eq!(signed.news, News::Published);
    let base = signed.base.unwrap();
    assert!(base.targets(&RoleName::Targets).unwrap().entries.get("rival").is_some(), "on top of the rival's");
    for tag in ["v1", "v2", "rival"] {
        assert_eq!(Person::new().find(&house, tag).await.unwrap().sha256, content(tag));
    }
}

#[tokio::test]
async fn a_conflict_with_nothing_newer_is_not_tried_for_ever() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let _ = house.server.take_request_lines();
    house.lie(|request, _| publishing(request).then(conflict));
    let error = owner.sign(&house, "v2").await.unwrap_err();
    assert!(matches!(error, TrustError::ConflictWithNothing(_)), "{error:?}");
    assert!(house.count("POST") <= 3, "{}", house.count("POST"));
}

#[tokio::test]
async fn a_rejected_upload_says_why_and_changes_nothing() {
    let (house, owner) = (House::open(), Person::new());
    house.lie(|request, _| publishing(request).then(|| rejection("because\u{1b}[2J")));
    let error = owner.sign(&house, "v1").await.unwrap_err();
    assert!(matches!(error, TrustError::Service(ServiceError::Rejected(_))), "{error:?}");
    assert!(error.to_string().contains("because\\u{1b}[2J"), "{error}");
    assert!(owner.cache().is_empty());
    assert_eq!(house.count("POST"), 1);
}

#[tokio::test]
async fn a_fresh_machine_hears_what_it_signs_on_top_of_and_a_known_one_has_a_floor() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let old = house.archive();
    owner.sign(&house, "v2").await.unwrap();
    house.restore(old);
    // Whoever was here before does not sign on top of an older state.
    let error = owner.sign(&house, "v3").await.unwrap_err();
    assert!(matches!(&error, TrustError::Update(error) if error.is_suspicious()), "{error:?}");
    assert_eq!(house.count("POST"), 2);
    // Whoever has only the keys cannot know; they are told from where they start.
    let fresh = Person::new();
    std::fs::create_dir_all(fresh.trust_dir()).unwrap();
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(owner.trust_dir().join("private"))
        .arg(fresh.trust_dir())
        .status();
    assert!(copied.unwrap().success());
    let signed = fresh.sign(&house, "v3").await.unwrap();
    let base = signed.base.unwrap();
    assert!(base.notes().iter().any(|note| matches!(note, Note::FirstUse(_))), "{:?}", base.notes());
    assert!(base.targets(&RoleName::Targets).unwrap().entries.get("v2").is_none());
}

/// A key as the service gives it out.
fn key(golden: &str, keytype: &str) -> String {
    let pem = fixtures::text(&format!("key-bundles/inputs/{golden}.pub"));
    let public: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
    json!({"keytype": keytype, "keyval": {"private": null, "public": public}}).to_string()
}

#[tokio::test]
async fn keys_that_no_service_should_have_are_refused_before_they_get_into_a_root() {
    let good = key("ec-p256", "ecdsa");
    let small_rsa = {
        let made = std::process::Command::new("sh")
            .args(["-c", "openssl genrsa 1024 2>/dev/null | openssl rsa -pubout -outform DER 2>/dev/null | base64 -w0"])
            .output()
            .unwrap();
        let public = String::from_utf8(made.stdout).unwrap();
        json!({"keytype": "rsa", "keyval": {"private": null, "public": public}}).to_string()
    };
    let identity = json!({"keytype": "ed25519", "keyval": {"private": null, "public": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}});
    let mut with_private: serde_json::Value = serde_json::from_str(&good).unwrap();
    with_private["keyval"]["private"] = json!("c2VjcmV0");
    let padded = format!("{good}{}", " ".repeat(300 << 10));
    for (what, answer) in [
        ("not JSON", "<html>".to_owned()),
        ("empty", String::new()),
        ("null", "null".to_owned()),
        ("an empty object", "{}".to_owned()),
        ("junk for a key", json!({"keytype": "ecdsa", "keyval": {"private": null, "public": "AAAA"}}).to_string()),
        ("a key under the wrong type", key("ec-p256", "rsa")),
        ("an unknown type", key("ec-p256", "quantum")),
        ("RSA with 1024 bits", small_rsa),
        ("the identity of Ed25519", identity.to_string()),
        ("a private half", with_private.to_string()),
        ("300 kB", padded),
        ("two members of one name", good.replacen("\"keytype\":", "\"keytype\":\"rsa\",\"keytype\":", 1)),
    ] {
        for role in ["timestamp", "snapshot"] {
            let (house, owner) = (House::open(), Person::new());
            let answer = answer.clone();
            house.lie(move |request, _| {
                request.path.ends_with(&format!("{role}.key")).then(|| Reply::json(answer.clone()))
            });
            let error = owner.sign(&house, "v1").await.unwrap_err();
            assert!(matches!(error, TrustError::Service(_) | TrustError::Signing(_)), "{what}: {error:?}");
            assert_eq!(house.count("POST"), 0, "{what}");
            assert!(owner.cache().is_empty(), "{what}");
        }
    }
    // One key for two roles shows; another collection's key does not, it fails when the service signs with its own.
    let (house, owner) = (House::open(), Person::new());
    let same = good.clone();
    house.lie(move |request, _| for_a_key(request).then(|| Reply::json(same.clone())));
    owner.sign(&house, "v1").await.unwrap_err();
    assert_eq!(house.count("POST"), 0);
}

#[tokio::test]
async fn a_service_that_gives_no_keys_costs_none_here() {
    for reply in [Reply::status(404), Reply::status(401), Reply::status(500), Reply::silence()] {
        let (house, owner) = (House::open(), Person::new());
        house.lie(move |request, _| for_a_key(request).then(|| reply.clone()));
        owner.sign(&house, "v1").await.unwrap_err();
        assert_eq!((owner.keys(), house.count("POST")), (0, 0));
    }
}

#[tokio::test]
async fn a_published_collection_that_vanishes_is_not_begun_anew() {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    let before = owner.cache();
    house.lie(|request, _| (!publishing(request)).then(|| Reply::status(404)));
    let _ = house.server.take_request_lines();
    let error = owner.sign(&house, "v2").await.unwrap_err();
    assert!(matches!(error, TrustError::Vanished(_)), "{error:?}");
    assert_eq!(house.count("POST"), 0);
    assert!(owner.cache() == before);
}

#[tokio::test]
async fn a_new_collection_is_held_against_the_pins_before_it_is_published() {
    let (house, mut owner) = (House::open(), Person::new());
    owner.pinning = Pinning::new(FirstUse::Allow);
    owner.pinning.pin_certificates(crate::house::GUN, ["0".repeat(64).parse().unwrap()]);
    let error = owner.sign(&house, "v1").await.unwrap_err();
    assert!(matches!(error, TrustError::Unpinned { .. }), "{error:?}");
    assert_eq!(house.count("POST"), 0);
    // One's own root is no first use.
    owner.pinning = Pinning::new(FirstUse::Deny);
    owner.sign(&house, "v1").await.unwrap();
    owner.find(&house, "v1").await.unwrap();
    let mut stranger = Person::new();
    stranger.pinning = Pinning::new(FirstUse::Deny);
    let error = stranger.find(&house, "v1").await.unwrap_err();
    assert!(matches!(error, TrustError::Update(UpdateError::Root(_))), "{error:?}");
}

#[tokio::test]
async fn several_tags_are_one_publication_and_all_or_none() {
    let (house, owner) = (House::open(), Person::new());
    let tags: Vec<_> = ["a", "b", "c"].map(request).into();
    let signed = owner.client(&house).sign(&tags).await.unwrap();
    assert_eq!((signed.tags.len(), house.archive().stored), (3, 1));
    let bad = [request("d"), request("e\nf")];
    let error = owner.client(&house).sign(&bad).await.unwrap_err();
    assert!(matches!(error, TrustError::Edit(_)), "{error:?}");
    owner.find(&house, "d").await.unwrap_err();
    assert_eq!(house.archive().stored, 1);
}

#[tokio::test]
async fn a_revocation_ends_the_release_and_is_read_back() {
    let (house, owner) = (House::open(), Person::new());
    owner.client(&house).sign(&["a", "b"].map(request)).await.unwrap();
    let revoked = owner.client(&house).revoke(Some("a")).await.unwrap();
    assert_eq!(revoked.names.into_iter().collect::<Vec<_>>(), ["a"]);
    Person::new().find(&house, "a").await.unwrap_err();
    Person::new().find(&house, "b").await.unwrap();
    let posts = house.count("POST");
    owner.client(&house).revoke(Some("a")).await.unwrap_err();
    assert_eq!(house.count("POST"), posts);
    let unknown = House::open();
    let error = Person::new().client(&unknown).revoke(None).await.unwrap_err();
    assert!(matches!(error, TrustError::Update(UpdateError::NoTrustData(_))), "{error:?}");
    assert_eq!(unknown.count("POST"), 0);
}
