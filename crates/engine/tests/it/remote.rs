//! Engines behind TCP and TLS.

use countersign_engine::{Endpoint, Engine, EngineError, Limits, TlsSettings, Verification};
use countersign_testkit::{FakeServer, Port, Reply, TestCa};
use tempfile::TempDir;

use crate::endpoint;

fn pong(server: &FakeServer) {
    server.on("/_ping", Reply::ok("OK").header("Api-Version", "1.45"));
}

fn secured(server: &FakeServer, tls: TlsSettings) -> Endpoint {
    Endpoint { tls: Some(tls), ..endpoint(&server.url().replace("https://", "tcp://")) }
}

async fn try_to_connect(endpoint: Endpoint) -> Result<Engine, EngineError> {
    Engine::connect(endpoint, Limits::default()).await
}

/// A folder with these PEM files, and settings that use them.
fn settings(verification: Verification, ca: &TestCa, client: Option<&TestCa>) -> (TlsSettings, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        folder.path().join(name)
    };
    let client = client.map(|ca| {
        let certificate = ca.client("tester");
        (file("cert.pem", &certificate.certificate_pem), file("key.pem", &certificate.key_pem))
    });
    (TlsSettings { verification, ca: Some(file("ca.pem", &ca.pem())), client }, folder)
}

#[tokio::test]
async fn a_plain_port_is_reached() {
    let server = FakeServer::plain();
    pong(&server);
    let engine = try_to_connect(endpoint(&server.url().replace("http://", "tcp://"))).await.unwrap();
    assert_eq!(engine.facts().version.to_string(), "1.45");
    let request = &server.requests()[0];
    assert_eq!((request.line().as_str(), request.header("host")), ("GET /_ping", Some(server.host().as_str())));
}

#[tokio::test]
async fn nobody_at_a_port_or_socket_is_unreachable() {
    let port = Port::take();
    for host in [format!("tcp://{}", port.address()), "unix:///nowhere/docker.sock".to_owned()] {
        let error = try_to_connect(endpoint(&host)).await.unwrap_err();
        assert!(matches!(&error, EngineError::Unreachable { endpoint, .. } if *endpoint == host), "{error}");
    }
}

#[tokio::test]
async fn client_and_engine_show_each_other_certificates() {
    let (engines, clients) = (TestCa::new(), TestCa::new());
    let server = FakeServer::tls(engines.loopback_server().mutual_server_config(&clients));
    pong(&server);
    let (tls, _folder) = settings(Verification::Required, &engines, Some(&clients));
    try_to_connect(secured(&server, tls)).await.unwrap();
    let (tls, _folder) = settings(Verification::Required, &engines, None);
    assert!(try_to_connect(secured(&server, tls)).await.is_err());
    let (tls, _folder) = settings(Verification::Required, &engines, Some(&engines));
    assert!(try_to_connect(secured(&server, tls)).await.is_err());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_engine_of_another_authority_or_name_is_refused() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    let (tls, _folder) = settings(Verification::Required, &TestCa::new(), None);
    let error = try_to_connect(secured(&server, tls)).await.unwrap_err();
    assert!(matches!(error, EngineError::Tls { .. }), "{error}");
    let misnamed = FakeServer::tls(ca.server(&["engine.test"]).server_config());
    let (tls, _folder) = settings(Verification::Required, &ca, None);
    let error = try_to_connect(secured(&misnamed, tls)).await.unwrap_err();
    assert!(matches!(error, EngineError::Tls { .. }), "{error}");
    assert!(server.requests().is_empty() && misnamed.requests().is_empty());
}

#[tokio::test]
async fn verification_is_skipped_only_where_it_is_said() {
    let server = FakeServer::tls(TestCa::new().server(&["engine.test"]).server_config());
    pong(&server);
    let (tls, _folder) = settings(Verification::Skipped, &TestCa::new(), None);
    try_to_connect(secured(&server, tls)).await.unwrap();
}

#[tokio::test]
async fn certificate_files_that_are_none_are_refused() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        let (tls, folder) = settings(Verification::Required, &ca, None);
        std::fs::write(folder.path().join("ca.pem"), text).unwrap();
        let error = try_to_connect(secured(&server, tls)).await.unwrap_err();
        assert!(matches!(error, EngineError::Tls { .. }), "{error}");
    }
    let (tls, folder) = settings(Verification::Required, &ca, None);
    std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
    let error = try_to_connect(secured(&server, tls)).await.unwrap_err();
    assert!(error.to_string().contains("ca.pem is missing"), "{error}");
}
