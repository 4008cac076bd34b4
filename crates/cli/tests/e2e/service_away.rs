//! The trust service away, refusing, or somebody else: what may stand in for it and what may not.

use crate::client::{Client, Ending, NETWORK, TRUST};
use crate::stage::Shop;
use countersign_testkit::{FakeServer, Reply, TestCa, fixtures};
use serde_json::json;

#[test]
fn an_unexpired_cache_stands_in_for_a_service_that_is_away_for_reading_only() {
    let mut shop = Shop::open();
    let (owner, reader) = (shop.client(), shop.client());
    let digest = shop.signed_by(&owner, "v1", "one");
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    shop.put("v2", "two");
    shop.service.kill();

    let verified = reader.run(&["verify", &shop.name("v1")]).succeeded();
    assert_eq!(verified.stdout, format!("{}@{digest}\n", shop.gun()), "{verified}");
    assert!(verified.stderr.contains("the cached state of"), "{verified}");
    let inspected = reader.run(&["inspect", &shop.gun()]).succeeded();
    assert!(inspected.stdout.contains("v1"), "{inspected}");
    reader.run(&["verify", &shop.name("v2")]).refused(TRUST, "No valid trust data for v2");

    shop.client().run(&["verify", &shop.name("v1")]).refused(NETWORK, "the trust service is away");
    owner.run(&["sign", &shop.name("v2")]).refused(NETWORK, "the trust service is away");
    owner.run(&["revoke", &shop.name("v1")]).refused(NETWORK, "the trust service is away");
    let newcomer = shop.client();
    newcomer.run(&["sign", &shop.name("v2")]).refused(NETWORK, "the trust service is away");
    assert!(!newcomer.trust_dir().join("private").exists(), "no key is made in vain");

    shop.service.restart();
    owner.run(&["sign", &shop.name("v2")]).succeeded();
    let verified = reader.run(&["verify", &shop.name("v2")]).succeeded();
    assert!(!verified.stderr.contains("cached state"), "{verified}");
}

#[test]
fn a_foreign_certificate_is_refused_although_there_is_a_cache() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    // The same address as far as the client is concerned, with a certificate of somebody else.
    let foreign = FakeServer::tls(TestCa::new().loopback_server().server_config());
    foreign.otherwise(Reply::status(503));
    let reader = Client::new().sharing(owner.config_dir()).env("DOCKER_CONTENT_TRUST_SERVER", &foreign.url());
    let refused = reader.run(&["verify", &shop.name("v1")]).refused(NETWORK, "signed by an unknown authority");
    assert!(refused.stderr.contains("--trust-ca"), "{refused}");
    reader.run(&["sign", &shop.name("v1")]).refused(NETWORK, "signed by an unknown authority");
    assert_eq!(foreign.requests().len(), 0, "nothing is told to a stranger");

    let ca = TestCa::new();
    let elsewhere = FakeServer::tls(ca.server(&["trust.example"]).server_config());
    let reader = Client::new().sharing(owner.config_dir()).of_fake(&elsewhere, &ca);
    reader.run(&["verify", &shop.name("v1")]).refused(NETWORK, "for another name");

    let url = format!("https://{}", shop.registry.host());
    let reader = Client::new().sharing(owner.config_dir()).env("DOCKER_CONTENT_TRUST_SERVER", &url);
    reader.run(&["verify", &shop.name("v1")]).refused(NETWORK, "does not speak TLS");
}

#[test]
fn a_refusal_of_the_service_is_no_absence() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    let reader = Client::new().sharing(owner.config_dir()).of_fake(&server, &ca);
    for (status, code) in [(401, NETWORK), (403, NETWORK), (302, TRUST), (204, TRUST), (206, TRUST), (418, TRUST)] {
        server.otherwise(Reply::status(status).header("Location", "/elsewhere"));
        let refused = reader.run(&["verify", &shop.name("v1")]);
        assert_eq!(refused.code, code, "{status}: {refused}");
        assert_eq!(refused.stdout, "", "{status}: {refused}");
    }
    server.otherwise(Reply::status(401));
    let refused = reader.run(&["verify", &shop.name("v1")]);
    assert!(refused.stderr.contains("docker login"), "{refused}");
    // A captive portal answers everything with a page.
    server.otherwise(Reply::ok("<html>please pay</html>").header("Content-Type", "text/html"));
    reader.run(&["verify", &shop.name("v1")]).refused(TRUST, "not a metadata file");
    // Troubles of the service's own are absence.
    for status in [500, 502, 503, 429] {
        server.otherwise(Reply::status(status));
        let verified = reader.run(&["verify", &shop.name("v1")]).succeeded();
        assert!(verified.stderr.contains("the cached state of"), "{status}: {verified}");
    }
}

#[test]
fn a_refusal_says_which_access_was_asked_for_and_which_was_granted() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    // A token that allows pulling, whatever was asked for.
    let token =
        "e30.eyJhY2Nlc3MiOlt7InR5cGUiOiJyZXBvc2l0b3J5IiwibmFtZSI6ImFjbWUvYXBwIiwiYWN0aW9ucyI6WyJwdWxsIl19XX0.c2ln";
    server.on("/token", Reply::json(json!({"token": token}).to_string()));
    let challenge = format!("Bearer realm=\"{}/token\",service=\"trust\"", server.url());
    server.otherwise(Reply::status(401).header("WWW-Authenticate", &challenge));
    let client = Client::new().of_fake(&server, &ca);
    for (command, actions) in [("sign", "push,pull"), ("verify", "pull")] {
        let refused = client.run(&[command, &shop.name("v1")]).refused(NETWORK, "401 Unauthorized");
        let asked = format!("repository:{}:{actions} was asked for, repository:acme/app:pull was granted", shop.gun());
        assert!(refused.stderr.contains(&asked) && refused.stderr.contains("docker login"), "{refused}");
        assert!(!refused.stderr.contains("e30."), "{refused}");
    }
}

#[test]
fn an_unknown_authority_is_told_the_exact_file_and_a_wrong_clock_is_not() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let client = Client::new().env("DOCKER_CONTENT_TRUST_SERVER", &shop.service.url());
    let refused = client.run(&["verify", &shop.name("v1")]).refused(NETWORK, "signed by an unknown authority");
    let host = shop.service.url().trim_start_matches("https://").to_owned();
    let file = client.config_dir().join("tls").join(host).join("ca.crt");
    assert!(refused.stderr.contains(file.to_str().unwrap()), "{refused}");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, shop.service.authority_pem()).unwrap();
    client.run(&["verify", &shop.name("v1")]).refused(TRUST, "does not have trust data");
}

#[test]
fn what_a_service_says_cannot_drive_the_terminal() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    server
        .otherwise(Reply::status(403).then("denied \u{1b}[2J\u{1b}]0;owned\u{7} \u{202e}\r\nSuccessfully signed all"));
    let reader = Client::new().of_fake(&server, &ca);
    for command in ["verify", "sign", "inspect"] {
        let refused = reader.run(&[command, &shop.name("v1")]);
        assert_eq!(refused.code, NETWORK, "{refused}");
        let printed = format!("{}{}", refused.stdout, refused.stderr);
        assert!(!printed.contains(['\u{1b}', '\u{7}', '\u{202e}', '\r']), "{printed:?}");
        assert!(!printed.lines().any(|line| line.starts_with("Successfully")), "{printed:?}");
    }
    let rejection = r#"{"errors":[{"code":"INVALID_UPDATE","message":"x","detail":{"Error":{"Name":"ErrValidation","Msg":"\u001b[31mno\nSuccessfully signed"}}}]}"#;
    server.otherwise(Reply::status(404));
    server.handle(move |request| (request.method == "POST").then(|| Reply::status(400).then(rejection)));
    for (role, file) in [("timestamp", "ec-p256"), ("snapshot", "ec-p384")] {
        let pem = fixtures::text(&format!("key-bundles/inputs/{file}.pub"));
        let public: String = pem.lines().filter(|line| !line.starts_with("---")).collect();
        let key = json!({"keytype": "ecdsa", "keyval": {"private": null, "public": public}});
        server.on(&format!("/v2/{}/_trust/tuf/{role}.key", shop.gun()), Reply::json(key.to_string()));
    }
    let refused = reader.run(&["sign", &shop.name("v1")]);
    assert_eq!(refused.code, TRUST, "{refused}");
    assert!(refused.stderr.contains("\\u{1b}[31mno"), "{refused}");
    assert!(!refused.stderr.lines().any(|line| line.starts_with("Successfully")), "{refused}");
}
