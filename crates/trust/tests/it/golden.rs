//! Collections made by docker 28 and 20.10 and by notary, read from a service that serves the golden files.

use crate::person::Person;
use countersign_testkit::fixtures::{self, Set};
use countersign_testkit::{FakeServer, TestCa};
use countersign_trust::TrustError;
use countersign_trust::report::Report;
use countersign_tuf::update::Purpose;

/// A day on which none of the golden timestamps has expired.
const THEN: &str = "2026-11-23T00:00:00Z";

fn serving(set: Set, folder: &str) -> (FakeServer, TestCa) {
    let ca = TestCa::new();
    (FakeServer::serving(ca.loopback_server().server_config(), set, folder), ca)
}

#[tokio::test]
async fn released_tags_are_those_that_docker_shows() {
    for name in ["docker28", "docker20"] {
        let set = Set::named(name);
        let (server, ca) = serving(set, "server/step-08");
        let reader = Person::new().at(THEN);
        let client = reader.collection(&server.url(), &ca.pem(), set.gun());
        let collection = client.update(Purpose::Read).await.unwrap();
        let report = Report::new(set.gun(), &collection, None).unwrap();
        let golden = fixtures::json(&format!("{name}/out/inspect.json"));
        assert_eq!(serde_json::to_value(&report).unwrap(), golden[0], "{name}");
        for tag in golden[0]["SignedTags"].as_array().unwrap() {
            let tag_name = tag["SignedTag"].as_str().unwrap();
            let (found, _) = client.find(tag_name).await.unwrap();
            assert_eq!(Some(found.sha256.hex().as_str()), tag["Digest"].as_str(), "{name} {tag_name}");
        }
        let error = client.find("unsigned").await.unwrap_err();
        assert!(matches!(error, TrustError::Lookup(_)), "{error:?}");
    }
}

#[tokio::test]
async fn trust_directories_of_the_golden_people_are_their_anchor() {
    for name in ["docker28", "docker20"] {
        let set = Set::named(name);
        let (server, ca) = serving(set, "server/step-08");
        for who in ["owner", "alice", "bob", "fresh"] {
            let person = Person::new().at(THEN);
            fixtures::copy_to(&format!("{name}/{who}/trust"), &person.trust_dir());
            let had_root = !person.cache().is_empty();
            let collection =
                person.collection(&server.url(), &ca.pem(), set.gun()).update(Purpose::Read).await.unwrap();
            let first = collection.notes().iter().any(|note| matches!(note, countersign_tuf::Note::FirstUse(_)));
            assert_eq!(first, !had_root, "{name} {who}");
        }
    }
}

#[tokio::test]
async fn every_step_of_a_golden_history_is_followed_and_none_is_undone() {
    let set = Set::named("docker28");
    let reader = Person::new().at(THEN);
    for step in 1..=8 {
        let (server, ca) = serving(set, &format!("server/step-{step:02}"));
        reader.collection(&server.url(), &ca.pem(), set.gun()).update(Purpose::Read).await.unwrap();
    }
    for step in 1..=7 {
        let (server, ca) = serving(set, &format!("server/step-{step:02}"));
        let error = reader.collection(&server.url(), &ca.pem(), set.gun()).update(Purpose::Read).await.unwrap_err();
        assert!(matches!(&error, TrustError::Update(error) if error.is_suspicious()), "{step}: {error:?}");
    }
}
