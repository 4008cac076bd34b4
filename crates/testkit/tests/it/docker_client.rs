use countersign_testkit::fixtures::Set;
use countersign_testkit::{Account, DockerClient, DockerRegistry, Dockerd, FakeServer, TestCa};

#[test]
fn a_login_is_what_the_registry_asks_for() {
    let (engine, registry) = (Dockerd::start(), DockerRegistry::builder().passwords().start());
    let name = format!("{}/acme/app:v1", registry.host());
    engine.build(&name, "one");
    for client in [DockerClient::newest(), DockerClient::v20()] {
        let client = client.with_engine(&engine);
        let refused = client.run(&["push", &name]).failed();
        assert!(refused.stderr.contains("no basic auth credentials"), "{refused}");
        client.with_login(&registry.host(), Account::BOB).run(&["push", &name]).succeeded();
    }
}

#[test]
fn content_trust_asks_the_server_with_the_golden_cache() {
    let (ca, set) = (TestCa::new(), Set::named("docker28"));
    let server = FakeServer::serving(ca.loopback_server().server_config(), set, "server/step-08");
    let base = format!("GET /v2/{}/_trust/tuf", set.gun());
    for client in [DockerClient::newest(), DockerClient::v20()] {
        let client = client.with_golden_trust("docker28/owner/trust").with_content_trust(&server.url(), &ca.pem());
        // Whether the golden metadata is still fresh depends on the day, so the test looks at the requests.
        let pulled = client.run(&["pull", &format!("{}:1.0", set.gun())]);
        let lines = server.take_request_lines();
        assert_eq!(lines.first().map(String::as_str), Some("GET /v2/"), "{pulled}");
        assert!(lines.contains(&format!("{base}/timestamp.json")), "{lines:?}");
        assert!(!lines.contains(&format!("{base}/targets.json")), "{lines:?}");
    }
}
