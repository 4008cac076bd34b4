use countersign_testkit::fixtures::Set;
use countersign_testkit::{FakeServer, NotaryClient, Reply, TestCa};

#[test]
fn notary_lists_the_keys_of_a_golden_trust_directory() {
    let set = Set::named("docker28");
    let client =
        NotaryClient::new("https://127.0.0.1:1", &TestCa::new().pem()).with_golden_trust("docker28/owner/trust");
    let listed = client.run(&["key", "list"]).succeeded();
    for key in set.facts()["private_keys"]["owner"].as_array().unwrap() {
        assert!(listed.stdout.contains(key["id"].as_str().unwrap()), "{listed}");
    }
}

#[test]
fn notary_asks_a_fake_server_for_metadata_over_tls() {
    let (ca, set) = (TestCa::new(), Set::named("docker28"));
    let server = FakeServer::serving(ca.loopback_server().server_config(), set, "server/step-08");
    let client = NotaryClient::new(&server.url(), &ca.pem());
    // Whether the timestamp is still fresh depends on the day, so the test looks at the requests.
    let listed = client.run(&["list", set.gun()]);
    let lines = server.take_request_lines();
    let base = format!("GET /v2/{}/_trust/tuf", set.gun());
    assert_eq!(
        &lines[..3],
        ["GET /v2/".to_owned(), format!("{base}/root.json"), format!("{base}/timestamp.json")],
        "{listed}"
    );
}

#[test]
fn notary_says_that_a_collection_is_unknown() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    server.on("/v2/", Reply::json("{}"));
    let listed = NotaryClient::new(&server.url(), &ca.pem()).run(&["list", "example.test/none"]).failed();
    assert!(listed.stdout.contains("does not have trust data for example.test/none"), "{listed}");
}

#[test]
fn notary_refuses_a_server_of_another_authority() {
    let server = FakeServer::tls(TestCa::new().loopback_server().server_config());
    let listed = NotaryClient::new(&server.url(), &TestCa::new().pem()).run(&["list", "example.test/none"]).failed();
    assert!(listed.stderr.contains("certificate signed by unknown authority"), "{listed}");
    assert_eq!(server.take_request_lines(), Vec::<String>::new());
}
