//! Trust services: away, slow, something else, not to be believed, not to be used by this person, or in another time.

use super::{Clinic, Examined, commands};
use crate::client::Client;
use countersign_testkit::digest::sha256_hex;
use countersign_testkit::token_service::TokenService;
use countersign_testkit::{Account, FakeServer, MemoryRegistry, Reply, TestCa};
use jiff::{Timestamp, ToSpan};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// A service of a test's own making, and a person with a certificate authority for it.
fn fake(certificate: impl FnOnce(&TestCa) -> countersign_testkit::TestCertificate) -> (FakeServer, Client) {
    let ca = TestCa::new();
    let server = FakeServer::tls(certificate(&ca).server_config());
    server.on("/v2/", Reply::json("{}"));
    let client = Client::new().of_fake(&server, &ca);
    (server, client)
}

const IMAGE: &str = "registry.test/team/app";

#[test]
fn a_service_that_is_away_and_comes_back() {
    let Clinic { mut shop, owner } = Clinic::open();
    shop.service.kill();
    let found = owner.examined();
    let finding = found.only("service-unreachable");
    assert_eq!(finding["subject"], shop.service.url());
    let left = found.report["notChecked"].to_string();
    assert!(left.contains(&shop.gun()), "what was not looked at is said: {left}");
    shop.service.restart();
    owner.examined().nothing();
}

#[test]
fn an_unknown_authority_and_files_that_are_no_certificates() {
    let Clinic { shop, owner } = Clinic::open();
    let folder = owner.config_dir().join("tls").join(shop.service.url().trim_start_matches("https://"));
    let (authority, kept) = (folder.join("ca.crt"), owner.folder().join("ca.pem"));
    fs::rename(&authority, &kept).unwrap();
    let mended = |finding: &serde_json::Value| {
        let named = commands(finding).join("\n").replace("CA_FILE", kept.to_str().unwrap());
        owner.mended_by(&[named], &[]).nothing();
    };
    let found = owner.examined();
    mended(found.only("tls-unknown-authority"));
    fs::write(&authority, "no certificate").unwrap();
    let found = owner.examined();
    mended(found.only("tls-file-unusable"));
    fs::write(&authority, TestCa::new().expired_server().certificate_pem + &fs::read_to_string(&kept).unwrap())
        .unwrap();
    let found = owner.examined();
    mended(found.only("tls-file-expired"));
    fs::write(folder.join("me.cert"), TestCa::new().client("me").certificate_pem).unwrap();
    let found = owner.examined();
    let named = commands(found.only("client-certificate-incomplete"));
    assert!(named[0].ends_with("me.key"), "{named:?}");
    fs::remove_file(folder.join("me.cert")).unwrap();
    owner.examined().nothing();
    let found = owner.examined_with(&["--warn-before", "36000d", "--offline"]);
    assert!(found.ids().contains(&"tls-file-expires-soon"), "{}", found.finished);
}

#[test]
fn certificates_that_prove_nothing() {
    let (_expired, client) = fake(TestCa::expired_server);
    assert!(commands(client.examined().only("tls-certificate-expired"))[0].contains("timedatectl"));
    let (_other, client) = fake(|ca| ca.server(&["other.test"]));
    client.examined().only("tls-wrong-name");
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().mutual_server_config(&ca));
    server.on("/v2/", Reply::json("{}"));
    let client = Client::new().of_fake(&server, &ca);
    let found = client.examined();
    let named = commands(found.only("tls-refused")).join("\n");
    let own = ca.client("me");
    let (certificate, key) = (client.folder().join("me.pem"), client.folder().join("me-key.pem"));
    fs::write(&certificate, own.certificate_pem).unwrap();
    fs::write(&key, own.key_pem).unwrap();
    let named = named.replace("CLIENT_CERTIFICATE", "me.pem").replace("CLIENT_KEY", "me-key.pem");
    client.mended_by(&[named], &[]).nothing();
    let plain = MemoryRegistry::start().unwrap();
    let client = Client::new().env("DOCKER_CONTENT_TRUST_SERVER", &format!("https://{}", plain.host()));
    client.examined().only("tls-not-spoken");
}

#[test]
fn what_answers_is_no_trust_service() {
    let (server, client) = fake(TestCa::loopback_server);
    server.on("/v2/", Reply::ok("<html>Welcome</html>").header("Content-Type", "text/html"));
    client.examined().only("not-a-trust-service");
    server.on("/v2/", Reply::status(404));
    client.examined().only("not-a-trust-service");
    // A registry: it answers at the entrance as a trust service does, but knows no trust data.
    server.on("/v2/", Reply::json("{}"));
    client.examined().nothing();
    server.otherwise(Reply::status(404).then("404 page not found"));
    let found = client.examined_with(&[IMAGE]);
    assert!(commands(found.only("not-a-trust-service"))[0].contains("DOCKER_CONTENT_TRUST_SERVER"));
    server.on("/v2/", Reply::status(503));
    client.examined().only("service-unwell");
}

#[test]
fn a_service_that_never_answers_is_not_waited_for() {
    let (server, client) = fake(TestCa::loopback_server);
    server.on("/v2/", Reply::silence());
    let began = Instant::now();
    let found = client.examined_with(&["--timeout", "1s", IMAGE, "registry.test/team/other"]);
    found.only("service-slow");
    // It greets, and is silent about every collection.
    server.on("/v2/", Reply::json("{}"));
    server.otherwise(Reply::silence());
    let images: Vec<String> = (0..40).map(|number| format!("{IMAGE}{number}")).collect();
    let arguments: Vec<&str> = ["--timeout", "1s"].into_iter().chain(images.iter().map(String::as_str)).collect();
    let found = client.examined_with(&arguments);
    found.only("service-slow");
    assert!(began.elapsed() < Duration::from_mins(1), "it took {:?}", began.elapsed());
}

#[test]
fn access_that_is_refused_or_not_enough_to_sign() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    server.on("/v2/", Reply::json("{}"));
    let client = Client::new().of_fake(&server, &ca);
    let tokens = TokenService::start_tls(&ca);
    let challenge = tokens.challenge(&format!("repository:{IMAGE}:pull"));
    server.handle(move |request| match (request.path.as_str(), request.header("authorization")) {
        ("/v2/", _) => None,
        (_, None) => Some(Reply::status(401).header("WWW-Authenticate", &challenge)),
        (_, Some(_)) => Some(Reply::status(403)),
    });
    let found = client.examined_with(&[IMAGE]);
    let finding = found.only("access-refused");
    assert_eq!(commands(finding), ["docker login registry.test"]);
    let said = finding["message"].as_str().unwrap();
    assert!(said.contains(&format!("repository:{IMAGE}:pull was asked for")), "{said}");
}

/// Answers as a service does whose files somebody has cached.
fn replayed(person: &Client, gun: &str) -> BTreeMap<String, Reply> {
    let mut replies = BTreeMap::new();
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let file = fs::read(person.metadata(gun).join(format!("{role}.json"))).unwrap();
        let hash = sha256_hex(&file);
        for name in [role.to_owned(), format!("{role}.{hash}")] {
            replies.insert(format!("/v2/{gun}/_trust/tuf/{name}.json"), Reply::json(file.clone()));
        }
    }
    replies
}

#[test]
fn a_signer_who_may_only_read() {
    let Clinic { shop, owner } = Clinic::open();
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    let tokens = TokenService::start_tls(&ca);
    let replies = replayed(&owner, &shop.gun());
    let challenge = tokens.challenge(&format!("repository:{}:push,pull", shop.gun()));
    server.handle(move |request| match (request.path.as_str(), request.header("authorization")) {
        ("/v2/", _) => Some(Reply::json("{}")),
        (_, None) => Some(Reply::status(401).header("WWW-Authenticate", &challenge)),
        (path, Some(_)) => replies.get(path).cloned(),
    });
    let login = |account: Account| {
        let pair = format!("{}:{}", account.name, account.password);
        let auth = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pair);
        serde_json::json!({"auths": {shop.registry.host(): {"auth": auth}}}).to_string()
    };
    let signer = |account: Account| owner.again().of_fake(&server, &ca).env("DOCKER_AUTH_CONFIG", &login(account));
    let found = signer(Account::BOB).examined();
    let finding = found.only("access-read-only");
    assert!(finding["message"].as_str().unwrap().contains("push,pull was asked for"), "{finding}");
    assert_eq!(commands(finding), [format!("docker login {}", shop.registry.host())]);
    signer(Account::ALICE).examined().nothing();
}

#[test]
fn clocks_that_differ() {
    let (server, client) = fake(TestCa::loopback_server);
    let date = |off: jiff::Span| {
        let then = Timestamp::now().checked_add(off).unwrap();
        Reply::json("{}").header("Date", &then.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string())
    };
    for (off, id) in [
        (0.minutes(), None),
        (4.minutes(), None),
        ((-10).minutes(), Some("clock-off")),
        (50.minutes(), Some("clock-off")),
        (25.hours(), Some("clock-far-off")),
        ((-800).hours(), Some("clock-far-off")),
    ] {
        server.on("/v2/", date(off));
        match (client.examined(), id) {
            (found, None) => found.nothing(),
            (found, Some(id)) => assert_eq!(commands(found.only(id)), ["timedatectl set-ntp true"]),
        }
    }
}

#[test]
fn dockers_own_service_closes() {
    let client = Client::new();
    let found = client.examined_with(&["--offline", "acme/app"]);
    let finding =
        found.only(if Timestamp::now().as_second() < 1_796_688_000 { "service-closes" } else { "service-closed" });
    assert!(finding["message"].as_str().unwrap().contains("2026-12-08"), "{finding}");
    let named = commands(finding).join("\n").replace("YOUR_TRUST_SERVICE", "trust.example.test");
    client.mended_by(&[named], &["--offline", "acme/app"]).nothing();
}
