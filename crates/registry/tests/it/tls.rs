//! Who is believed, and which certificate is shown to whom.

use std::path::Path;

use countersign_registry::http::{HttpError, TlsFault, TlsOptions, Verification};
use countersign_testkit::{DockerRegistry, FakeServer, Reply, TestCa, TestCertificate};

use crate::support::{client_for, client_trusting, get};

fn write(directory: &Path, name: &str, text: &str) {
    std::fs::write(directory.join(name), text).unwrap();
}

fn trusting(ca: &TestCa) -> TlsOptions {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "ca.crt", &ca.pem());
    TlsOptions::from_directory(directory.path()).unwrap()
}

fn with_identity(ca: &TestCa, identity: &TestCertificate) -> TlsOptions {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "ca.crt", &ca.pem());
    write(directory.path(), "me.cert", &identity.certificate_pem);
    write(directory.path(), "me.key", &identity.key_pem);
    TlsOptions::from_directory(directory.path()).unwrap()
}

fn server(certificate: &TestCertificate) -> FakeServer {
    let server = FakeServer::tls(certificate.server_config());
    server.otherwise(Reply::ok("hello"));
    server
}

async fn fault(server: &FakeServer, tls: TlsOptions) -> TlsFault {
    match client_trusting(&server.url(), tls).send(get(&server.url())).await {
        Err(HttpError::Tls { fault, .. }) => fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_authority_is_refused_and_is_not_absence() {
    let server = server(&TestCa::new().loopback_server());
    let error = client_for(&server.url()).send(get(&server.url())).await.unwrap_err();
    assert!(matches!(&error, HttpError::Tls { fault: TlsFault::UnknownAuthority, .. }), "{error:?}");
    assert!(!error.is_absence() && !error.is_transient());
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_authority_from_dockers_directory_is_believed() {
    let ca = TestCa::new();
    let server = server(&ca.loopback_server());
    let response = client_trusting(&server.url(), trusting(&ca)).send(get(&server.url())).await.unwrap();
    assert_eq!(response.bytes(10).await.unwrap(), "hello");
    assert_eq!(fault(&server, trusting(&TestCa::new())).await, TlsFault::UnknownAuthority);
}

#[tokio::test]
async fn only_the_configured_authority_is_believed_where_one_is_configured() {
    let (ca, other) = (TestCa::new(), TestCa::new());
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "root-ca.pem", &ca.pem());
    let only = || TlsOptions::only_authorities_in(&directory.path().join("root-ca.pem")).unwrap();
    assert!(
        client_trusting(&server(&ca.loopback_server()).url(), only()).send(get("https://127.0.0.1:1")).await.is_err()
    );
    let good = server(&ca.loopback_server());
    assert!(client_trusting(&good.url(), only()).send(get(&good.url())).await.is_ok());
    assert_eq!(fault(&server(&other.loopback_server()), only()).await, TlsFault::UnknownAuthority);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let ca = TestCa::new();
    assert_eq!(fault(&server(&ca.server(&["other.test"])), trusting(&ca)).await, TlsFault::WrongName);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused() {
    let ca = TestCa::new();
    let server = server(&ca.expired_server());
    assert_eq!(fault(&server, trusting(&ca)).await, TlsFault::Expired);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn plain_http_on_the_port_is_refused() {
    let plain = DockerRegistry::start();
    let address = plain.url().replace("http://", "https://");
    let error = client_for(&address).send(get(&address)).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { fault: TlsFault::NotTls, .. }), "{error:?}");
}

#[tokio::test]
async fn verification_is_skipped_only_where_configured_and_only_at_home() {
    let stranger = server(&TestCa::new().loopback_server());
    let insecure = TlsOptions::system().verification(Verification::Skipped);
    let client = client_trusting(&stranger.url(), insecure);
    assert!(client.send(get(&stranger.url())).await.is_ok());
    let elsewhere = server(&TestCa::new().loopback_server());
    let error = client.send(get(&elsewhere.url())).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { fault: TlsFault::UnknownAuthority, .. }), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_at_home() {
    let (ca, clients) = (TestCa::new(), TestCa::new());
    let server = FakeServer::tls(ca.loopback_server().mutual_server_config(&clients));
    server.otherwise(Reply::ok("hello"));
    let tls = with_identity(&ca, &clients.client("alice"));
    assert!(client_trusting(&server.url(), tls).send(get(&server.url())).await.is_ok());
}

#[tokio::test]
async fn a_missing_client_certificate_is_a_tls_fault() {
    let (ca, clients) = (TestCa::new(), TestCa::new());
    let server = FakeServer::tls(ca.loopback_server().mutual_server_config(&clients));
    server.otherwise(Reply::ok("hello"));
    let error = client_trusting(&server.url(), trusting(&ca)).send(get(&server.url())).await.unwrap_err();
    assert!(!error.is_absence(), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_is_not_shown_to_other_hosts() {
    let (ca, clients) = (TestCa::new(), TestCa::new());
    let home = server(&ca.loopback_server());
    let other = FakeServer::tls(ca.loopback_server().mutual_server_config(&clients));
    other.otherwise(Reply::ok("hello"));
    let client = client_trusting(&home.url(), with_identity(&ca, &clients.client("alice")));
    assert!(client.send(get(&home.url())).await.is_ok());
    assert!(client.send(get(&other.url())).await.is_err());
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    let ca = TestCa::new();
    let (home, plain) = (server(&ca.loopback_server()), FakeServer::plain());
    home.on("/x", Reply::status(307).header("Location", &format!("{}/y", plain.url())));
    let address = format!("{}/x", home.url());
    let error = client_trusting(&home.url(), trusting(&ca)).send_following(get(&address)).await.unwrap_err();
    assert!(matches!(error, HttpError::Redirect { .. }), "{error:?}");
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn a_key_that_does_not_fit_its_certificate_is_refused() {
    let ca = TestCa::new();
    let (a, b) = (ca.client("a"), ca.client("b"));
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "x.cert", &a.certificate_pem);
    write(directory.path(), "x.key", &b.key_pem);
    assert!(TlsOptions::from_directory(directory.path()).is_err());
}

#[tokio::test]
async fn a_connection_that_is_cut_in_the_handshake_or_later_is_an_absence() {
    let ca = TestCa::new();
    let server = FakeServer::tls(ca.loopback_server().server_config());
    // Neither says goodbye as TLS wants it; the second has shown its certificate before.
    for reply in [Reply::raw("").then_cut(), Reply::ok("half").announcing(100).then_cut()] {
        server.otherwise(reply);
        let answer = client_trusting(&server.url(), trusting(&ca)).send(get(&server.url())).await;
        let error = match answer {
            Ok(response) => response.bytes(1000).await.unwrap_err(),
            Err(error) => error,
        };
        assert!(error.is_absence(), "{error:?}");
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::Read;
        let (mut stream, _) = listener.accept().unwrap();
        let mut hello = [0; 4096];
        let _ = stream.read(&mut hello);
    });
    let error = client_trusting(&url, trusting(&ca)).send(get(&url)).await.unwrap_err();
    assert!(matches!(error, HttpError::Tls { fault: TlsFault::CutOff, .. }) && error.is_absence(), "{error:?}");
}
