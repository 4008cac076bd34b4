//! What a trust service and others on the way get to see.

use crate::client::{Client, Ending, NETWORK, TRUST};
use countersign_testkit::{FakeServer, Reply, TestCa};

const IMAGE: &str = "127.0.0.1:5/acme/app";

#[test]
fn only_what_is_needed_is_asked_for_and_nothing_of_ones_own_is_sent_along() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    server.otherwise(Reply::status(404));
    let client = Client::new().of_fake(&server, &ca);
    let config = r#"{"HttpHeaders":{"X-Mine":"secret","User-Agent":"mine","Authorization":"Bearer mine"}}"#;
    std::fs::write(client.config_dir().join("config.json"), config).unwrap();
    client.run(&["verify", IMAGE]).refused(TRUST, "does not have trust data");
    client.plugin(&["trust", "inspect", IMAGE]).failed();
    let requests = server.requests();
    assert!(requests.len() >= 2, "{requests:?}");
    let known = ["accept", "connection", "host", "user-agent"];
    for request in requests {
        assert!(request.path.starts_with(&format!("/v2/{IMAGE}/_trust/tuf/")), "no ping: {}", request.path);
        for (name, value) in &request.headers {
            assert!(known.contains(&name.to_lowercase().as_str()), "{name}: {value}");
            assert!(!value.contains("mine"), "{name}: {value}");
        }
        assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("countersign/")));
    }
}

#[test]
fn a_service_that_knows_its_readers_by_certificate_is_shown_the_one_in_dockers_folder() {
    let (ca, readers) = (TestCa::new(), TestCa::new());
    let server = FakeServer::tls(ca.loopback_server().mutual_server_config(&readers));
    server.otherwise(Reply::status(404));
    let client = Client::new().of_fake(&server, &ca);
    client.run(&["verify", IMAGE]).refused(NETWORK, "");
    assert!(server.requests().is_empty());
    let folder = client.config_dir().join("tls").join(server.host());
    let reader = readers.client("alice");
    std::fs::write(folder.join("me.cert"), reader.certificate_pem).unwrap();
    std::fs::write(folder.join("me.key"), reader.key_pem).unwrap();
    client.run(&["verify", IMAGE]).refused(TRUST, "does not have trust data");
    client.plugin(&["trust", "inspect", IMAGE]).failed();
    assert!(server.requests().len() >= 2);
}

/// Docker does not look at the service's certificate if the registry's name leads to this machine.
#[test]
fn the_service_of_a_registry_on_this_machine_is_verified_like_any_other() {
    let server = FakeServer::tls(TestCa::new().loopback_server().server_config());
    let client = Client::new().env("DOCKER_CONTENT_TRUST_SERVER", &server.url());
    for registry in ["127.0.0.1:5", "localhost", "LocalHost:5", "[::1]:5", "ip6-localhost:5"] {
        let refused = client.run(&["verify", &format!("{registry}/acme/app")]);
        refused.refused(NETWORK, "signed by an unknown authority");
    }
    assert!(server.requests().is_empty(), "nothing is told to a stranger");
}
