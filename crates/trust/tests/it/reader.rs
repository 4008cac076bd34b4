//! Whoever verifies, and a service that lies, fails, or never ends.

use crate::house::{Archive, GUN, House};
use crate::person::{Person, content};
use countersign_testkit::fake_server::Request;
use countersign_testkit::{FakeServer, Reply};
use countersign_trust::TrustError;
use countersign_tuf::Note;
use countersign_tuf::update::{Absence, UpdateError};
use std::time::{Duration, Instant};

const ROLES: [&str; 4] = ["timestamp", "root", "snapshot", "targets"];
/// Longer than any of these answers may be waited for, on a busy machine.
const BOUNDED: Duration = Duration::from_secs(30);

/// Replies to every request for a role's file.
fn for_role(role: &'static str, reply: Reply) -> impl Fn(&Request, &mut Archive) -> Option<Reply> + Send + Sync {
    move |request, _| {
        let name = request.path.rsplit_once('/').map(|(_, name)| name)?;
        name.split('.').any(|part| part == role).then(|| reply.clone())
    }
}

async fn house_with_a_tag() -> (House, Person) {
    let (house, owner) = (House::open(), Person::new());
    owner.sign(&house, "v1").await.unwrap();
    (house, owner)
}

/// A cold client asks for every role's file; it must refuse, keep nothing, and work again once the service is honest.
async fn refused_for_every_role(what: &str, reply: impl Fn() -> Reply) {
    let (house, _) = house_with_a_tag().await;
    for role in ROLES {
        let reader = Person::new();
        house.lie(for_role(role, reply()));
        let began = Instant::now();
        let refused = reader.find(&house, "v1").await;
        assert!(refused.is_err(), "{what} as {role}: {refused:?}");
        assert!(began.elapsed() < BOUNDED, "{what} as {role} took {:?}", began.elapsed());
        assert!(reader.cache().is_empty(), "{what} as {role} left something behind");
        house.repent();
        assert_eq!(reader.find(&house, "v1").await.unwrap().sha256, content("v1"), "{what} as {role}");
    }
}

#[tokio::test]
async fn endless_files_are_cut_off() {
    refused_for_every_role("an endless file", || Reply::status(200).then_endlessly(vec![b' '; 1 << 16])).await;
}

#[tokio::test]
async fn files_that_announce_too_much_are_not_read() {
    refused_for_every_role("10 GB announced", || Reply::ok("{").announcing(10 << 30).then_hang()).await;
}

#[tokio::test]
async fn compressed_files_are_refused() {
    let bomb = [0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3];
    refused_for_every_role("a gzip bomb", || Reply::ok(bomb.to_vec()).header("Content-Encoding", "gzip")).await;
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let reply = || {
        let many =
            (0..2000).fold(Reply::ok("{}"), |reply, number| reply.header(&format!("X-{number}"), &"a".repeat(4000)));
        many.header("Content-Type", "application/json")
    };
    refused_for_every_role("8 MB of headers", reply).await;
}

#[tokio::test]
async fn silence_and_dripping_are_given_up() {
    refused_for_every_role("silence", Reply::silence).await;
    refused_for_every_role("a byte now and then", || {
        Reply::status(200).announcing(600).then_dripping(&[b' '; 100], Duration::from_millis(300))
    })
    .await;
}

#[tokio::test]
async fn cut_and_junk_bodies_are_refused() {
    refused_for_every_role("a cut body", || Reply::ok("{\"signed\":").announcing(1000).then_cut()).await;
    refused_for_every_role("a reset", || Reply::raw("").then_cut()).await;
    refused_for_every_role("no HTTP", || Reply::raw("SSH-2.0-OpenSSH_9.2\r\n")).await;
    refused_for_every_role("a captive portal", || Reply::ok("<html>pay</html>").header("Content-Type", "text/html"))
        .await;
    for junk in ["", "null", "[]", "{}", "\u{0}", "{\"signed\":{},\"signatures\":[]}"] {
        refused_for_every_role("junk", || Reply::json(junk)).await;
    }
}

#[tokio::test]
async fn statuses_that_are_no_success_are_no_files() {
    for status in [204, 206, 300, 301, 304, 400, 401, 403, 404, 410, 418, 500, 502, 503] {
        refused_for_every_role(&status.to_string(), || Reply::status(status).header("Location", "/v2/").then("{}"))
            .await;
    }
}

#[tokio::test]
async fn redirects_lead_nowhere() {
    let (house, _) = house_with_a_tag().await;
    let elsewhere = FakeServer::plain();
    let archive = house.archive();
    elsewhere.handle(move |request| Some(archive.clone().answer(request)));
    for status in [301, 302, 303, 307, 308] {
        let place = format!("{}/v2/{GUN}/_trust/tuf/timestamp.json", elsewhere.url());
        house.lie(for_role("timestamp", Reply::status(status).header("Location", &place)));
        assert!(Person::new().find(&house, "v1").await.is_err(), "{status}");
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a_large_error_body_is_not_read_to_its_end() {
    let (house, _) = house_with_a_tag().await;
    house.lie(|_, _| Some(Reply::status(403).then_endlessly(vec![b'a'; 1 << 16])));
    let began = Instant::now();
    let error = Person::new().find(&house, "v1").await.unwrap_err().to_string();
    assert!(began.elapsed() < BOUNDED);
    assert!(error.len() < 1500, "{} bytes of error", error.len());
}

#[tokio::test]
async fn after_junk_five_times_an_honest_answer_works() {
    let (house, _) = house_with_a_tag().await;
    let reader = Person::new();
    for _ in 0..5 {
        house.lie(|_, _| Some(Reply::json("{\"signed\":{\"_type\":\"Timestamp\"},\"signatures\":[]}")));
        reader.find(&house, "v1").await.unwrap_err();
    }
    house.repent();
    assert_eq!(reader.find(&house, "v1").await.unwrap().sha256, content("v1"));
}

#[tokio::test]
async fn only_a_service_that_is_away_lets_the_cache_speak() {
    let (house, owner) = house_with_a_tag().await;
    let away = [
        ("503", Reply::status(503)),
        ("429", Reply::status(429)),
        ("silence", Reply::silence()),
        ("cut", Reply::json("{\"sig").announcing(500).then_cut()),
        ("not found", Reply::status(404)),
    ];
    for (what, reply) in away {
        house.lie(move |_, _| Some(reply.clone()));
        let (tag, collection) = owner.client(&house).find("v1").await.unwrap();
        assert_eq!(tag.sha256, content("v1"), "{what}");
        let told = collection.notes().iter().any(|note| matches!(note, Note::CachedTimestamp(_)));
        assert!(told, "{what}: {:?}", collection.notes());
    }
    let interference = [
        ("301", Reply::status(301)),
        ("401", Reply::status(401)),
        ("403", Reply::status(403)),
        ("204", Reply::status(204)),
        ("206", Reply::status(206)),
        ("junk", Reply::ok("<html>")),
        ("compressed", Reply::ok("x").header("Content-Encoding", "gzip")),
        ("endless", Reply::status(200).then_endlessly(vec![b' '; 1 << 16])),
    ];
    for (what, reply) in interference {
        house.lie(move |_, _| Some(reply.clone()));
        let before = owner.cache();
        let refused = owner.find(&house, "v1").await;
        assert!(refused.is_err(), "{what}: {refused:?}");
        assert!(owner.cache() == before, "{what} changed the cache");
    }
}

#[tokio::test]
async fn an_expired_cache_does_not_speak_for_an_absent_service() {
    let (house, owner) = house_with_a_tag().await;
    house.lie(|_, _| Some(Reply::status(503)));
    let owner = owner.at("2026-12-05T12:00:00Z");
    owner.find(&house, "v1").await.unwrap();
    let owner = owner.at("2026-12-07T12:00:00Z");
    let error = owner.find(&house, "v1").await.unwrap_err();
    assert!(
        matches!(error, TrustError::Update(UpdateError::Away { absence: Absence::Unreachable(_), .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn an_older_state_is_refused_for_ever_once_a_newer_was_seen() {
    let (house, owner) = house_with_a_tag().await;
    let reader = Person::new();
    let old = house.archive();
    owner.sign(&house, "v2").await.unwrap();
    reader.find(&house, "v2").await.unwrap();
    let new = house.archive();
    house.restore(old);
    for _ in 0..3 {
        let error = reader.find(&house, "v1").await.unwrap_err();
        assert!(matches!(&error, TrustError::Update(error) if error.is_suspicious()), "{error:?}");
    }
    house.restore(new);
    reader.find(&house, "v2").await.unwrap();
}

#[tokio::test]
async fn a_cache_that_others_move_on_meanwhile_is_no_rollback() {
    for with_record in [true, false] {
        let (house, owner) = house_with_a_tag().await;
        let reader = Person::new();
        reader.find(&house, "v1").await.unwrap();
        let old = house.archive();
        owner.sign(&house, "v2").await.unwrap();
        let newer: Vec<_> =
            owner.cache().into_iter().filter(|(path, _)| with_record || !path.ends_with("seen.json")).collect();
        let (from, to) = (owner.trust_dir(), reader.trust_dir());
        // The service answers with what was true, and before the answer is looked at another process has the new state.
        house.lie_times(1, move |request, _| {
            request.path.ends_with("/timestamp.json").then(|| {
                for (path, bytes) in &newer {
                    std::fs::write(to.join(path.strip_prefix(&from).unwrap()), bytes).unwrap();
                }
                old.clone().answer(request)
            })
        });
        assert_eq!(reader.find(&house, "v2").await.unwrap().sha256, content("v2"), "{with_record}");
    }
}

#[tokio::test]
async fn other_server_keys_need_a_root_that_says_so() {
    let (house, owner) = house_with_a_tag().await;
    // Another service with the same name has keys of its own; its timestamp and snapshot are well signed, by them.
    let other = House::open();
    Person::new().sign(&other, "v1").await.unwrap();
    let foreign = other.archive();
    house.lie(move |request, _| Some(foreign.clone().answer(request)));
    let before = owner.cache();
    let error = owner.find(&house, "v1").await.unwrap_err();
    assert!(matches!(&error, TrustError::Update(_)), "{error:?}");
    owner.sign(&house, "v2").await.unwrap_err();
    assert!(owner.cache() == before);
    let only_timestamp = other.archive();
    house.lie(move |request, _| {
        request.path.ends_with("/timestamp.json").then(|| only_timestamp.clone().answer(request))
    });
    owner.find(&house, "v1").await.unwrap_err();
    assert!(owner.cache() == before);
}

#[tokio::test]
async fn a_token_server_on_plain_http_gets_nothing() {
    let (house, _) = house_with_a_tag().await;
    let thief = FakeServer::plain();
    thief.otherwise(Reply::json(r#"{"token":"t"}"#));
    for realm in
        [format!("{}/token", thief.url()), "file:///etc/passwd".to_owned(), "https://169.254.169.254/t".to_owned()]
    {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"s\"");
        house.lie(move |_, _| Some(Reply::status(401).header("WWW-Authenticate", &challenge)));
        let reader = Person::new().logged_in("alice", "wonderland");
        let began = Instant::now();
        let error = reader.find(&house, "v1").await.unwrap_err().to_string();
        assert!(began.elapsed() < BOUNDED && !error.contains("wonderland"), "{error}");
    }
    assert!(thief.requests().is_empty(), "{:?}", thief.take_request_lines());
}

#[tokio::test]
async fn refusals_for_ever_are_a_bounded_number_of_requests() {
    let (house, _) = house_with_a_tag().await;
    for challenge in ["Basic realm=\"r\"", "Bearer realm=\"r\"", "junk"] {
        let _ = house.server.take_request_lines();
        house.lie(move |_, _| Some(Reply::status(401).header("WWW-Authenticate", challenge)));
        let reader = Person::new().logged_in("alice", "wonderland");
        reader.find(&house, "v1").await.unwrap_err();
        assert!(house.count("GET") <= 4, "{challenge}: {} requests", house.count("GET"));
    }
    let (gate, ca) = (house.server.url(), house.ca.pem());
    let realm = format!("Bearer realm=\"{gate}/token\",service=\"s\"");
    let _ = house.server.take_request_lines();
    house.lie(move |request, _| {
        let token = request.path == "/token";
        Some(if token {
            Reply::json(r#"{"token":"t"}"#)
        } else {
            Reply::status(401).header("WWW-Authenticate", &realm)
        })
    });
    let reader = Person::new().logged_in("alice", "wonderland");
    reader.collection(&gate, &ca, GUN).find("v1").await.unwrap_err();
    assert!(house.count("GET") <= 6, "{} requests", house.count("GET"));
}

#[tokio::test]
async fn tokens_that_would_forge_headers_or_never_end_are_refused() {
    let (house, _) = house_with_a_tag().await;
    let realm = format!("Bearer realm=\"{}/token\",service=\"s\"", house.server.url());
    for token in [
        Reply::json(r#"{"token":"a\r\nX-Evil: yes"}"#),
        Reply::json("{}"),
        Reply::status(200).then_endlessly(vec![b' '; 1 << 16]),
    ] {
        let realm = realm.clone();
        house.lie(move |request, _| {
            let asked = request.path == "/token";
            Some(if asked { token.clone() } else { Reply::status(401).header("WWW-Authenticate", &realm) })
        });
        let began = Instant::now();
        Person::new().logged_in("alice", "wonderland").find(&house, "v1").await.unwrap_err();
        assert!(began.elapsed() < BOUNDED);
    }
    let evil = house.server.requests().iter().any(|request| request.header("X-Evil").is_some());
    assert!(!evil);
}

/// Says yes, and remembers what it was asked.
#[derive(Default)]
struct Yes(std::sync::Mutex<Vec<Vec<countersign_crypto::KeyId>>>);

impl countersign_trust::FirstUseConsent for Yes {
    fn consents(&self, _: &countersign_tuf::Gun, root_keys: &[countersign_crypto::KeyId]) -> bool {
        self.0.lock().unwrap().push(root_keys.to_vec());
        true
    }
}

#[tokio::test]
async fn a_yes_to_one_root_is_none_to_another() {
    let (house, _) = house_with_a_tag().await;
    let yes = Yes::default();
    let mut reader = Person::new();
    reader.pinning = countersign_tuf::Pinning::new(countersign_tuf::FirstUse::Deny);
    let client = reader.client(&house).asking(&yes);
    // A trust directory that keeps nothing asks at every look.
    let forget = || std::fs::remove_dir_all(reader.trust_dir().join("tuf")).unwrap();
    client.find("v1").await.unwrap();
    forget();
    client.find("v1").await.unwrap();
    assert_eq!(yes.0.lock().unwrap().len(), 1, "the same root again is no new question");
    forget();
    house.restore(house_with_a_tag().await.0.archive());
    client.find("v1").await.unwrap();
    let asked = yes.0.lock().unwrap().clone();
    assert!(asked.len() == 2 && asked[0] != asked[1], "{asked:?}");
}
