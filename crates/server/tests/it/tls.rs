//! Certificates.

use std::path::Path;
use std::time::Duration;

use countersign_server::{Config, Service, StartError, Tls, TlsError};
use countersign_testkit::TestCa;
use reqwest::{Certificate, Client};

use crate::service::TestService;

fn trusting(authority: &str) -> Client {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let certificate = Certificate::from_pem(authority.as_bytes()).unwrap();
    Client::builder().tls_certs_only([certificate]).no_proxy().build().unwrap()
}

fn config(folder: &Path, tls: Tls) -> Config {
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.join("data"));
    config.tls = tls;
    config
}

#[tokio::test]
async fn the_own_authority_is_made_once_and_vouches_for_loopback() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::OwnAuthority { names: vec!["trust.example".to_owned()] };
    let running = Service::start(config(folder.path(), tls.clone())).await.unwrap();
    let first = fs_err::read_to_string(running.authority().unwrap()).unwrap();
    let key = folder.path().join("data/ca.key");
    assert_eq!(fs_err::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let port = running.address().port();
    for host in ["127.0.0.1", "localhost"] {
        let answer = trusting(&first).get(format!("https://{host}:{port}/v2/")).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "{}", "{host}");
    }
    assert!(running.url().starts_with("https://localhost:"));
    running.shut_down().await;
    let running = Service::start(config(folder.path(), tls)).await.unwrap();
    assert_eq!(fs_err::read_to_string(running.authority().unwrap()).unwrap(), first);
    let url = format!("https://127.0.0.1:{}/v2/", running.address().port());
    trusting(&first).get(&url).send().await.unwrap();
    let other = TestCa::new();
    assert!(trusting(&other.pem()).get(&url).send().await.is_err(), "another authority is not believed");
}

#[tokio::test]
async fn http2_is_spoken_where_the_client_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let running = Service::start(config(folder.path(), Tls::OwnAuthority { names: vec![] })).await.unwrap();
    let authority = fs_err::read_to_string(running.authority().unwrap()).unwrap();
    let url = format!("{}/v2/", running.url());
    let answer = trusting(&authority).get(&url).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
}

#[tokio::test]
async fn an_authority_without_its_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let tls = Tls::OwnAuthority { names: vec![] };
    Service::start(config(folder.path(), tls.clone())).await.unwrap().shut_down().await;
    fs_err::remove_file(folder.path().join("data/ca.pem")).unwrap();
    let refused = Service::start(config(folder.path(), tls)).await.unwrap_err();
    assert!(matches!(refused, StartError::Tls(TlsError::Authority(_))), "{refused:?}");
}

#[tokio::test]
async fn files_that_cannot_be_used_are_refused_and_never_replaced_by_plain_http() {
    let folder = tempfile::tempdir().unwrap();
    let ca = TestCa::new();
    let (one, two) = (ca.server(&["localhost"]), ca.server(&["localhost"]));
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| fs_err::write(path(name), text).unwrap();
    write("one.pem", &one.certificate_pem);
    write("one.key", &one.key_pem);
    write("two.key", &two.key_pem);
    write("empty", "");
    write("junk", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (certificate, key) in [
        ("missing", "one.key"),
        ("one.pem", "missing"),
        ("one.pem", "two.key"),
        ("empty", "one.key"),
        ("one.pem", "empty"),
        ("junk", "one.key"),
        ("one.key", "one.key"),
        ("one.pem", "one.pem"),
    ] {
        let tls = Tls::Files { certificate: path(certificate), key: path(key) };
        let refused = Service::start(config(folder.path(), tls)).await.unwrap_err();
        assert!(matches!(refused, StartError::Tls(_)), "{certificate} {key}: {refused:?}");
    }
    let tls = Tls::Files { certificate: path("one.pem"), key: path("one.key") };
    let running = Service::start(config(folder.path(), tls)).await.unwrap();
    assert_eq!(running.authority(), None);
    let url = format!("https://localhost:{}/v2/", running.address().port());
    trusting(&ca.pem()).get(url).send().await.unwrap();
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    fs_err::write(path("old.pem"), parameters.self_signed(&key).unwrap().pem()).unwrap();
    fs_err::write(path("old.key"), key.serialize_pem()).unwrap();
    let tls = Tls::Files { certificate: path("old.pem"), key: path("old.key") };
    let refused = Service::start(config(folder.path(), tls)).await.unwrap_err();
    assert!(matches!(refused, StartError::Tls(TlsError::NotValidNow { .. })), "{refused:?}");
}

#[tokio::test]
async fn plain_http_on_the_tls_port_harms_nobody() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let service = TestService::with(|config| {
        config.tls = Tls::OwnAuthority { names: vec![] };
        config.limits.handshake = Duration::from_millis(300);
    })
    .await;
    let address = service.running.address();
    for noise in [&b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 4096], b"\x16\x03\x01"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(noise).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(read.is_ok(), "the connection is cut");
        assert!(!answer.starts_with(b"HTTP/1.1 200"));
    }
    let authority = fs_err::read_to_string(service.running.authority().unwrap()).unwrap();
    trusting(&authority).get(format!("{}/v2/", service.running.url())).send().await.unwrap();
}

#[tokio::test]
async fn a_name_that_is_none_is_refused_before_anything_listens() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
    config.tls = Tls::OwnAuthority { names: vec!["foo bar$(x)".to_owned()] };
    let refused = Service::start(config).await.unwrap_err();
    assert!(matches!(refused, StartError::Tls(TlsError::Name(_))), "{refused:?}");
    assert!(refused.to_string().contains("foo bar$(x)"), "{refused}");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (before, after) = (TestCa::new(), TestCa::new());
    let (certificate, key) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
    let write = |ca: &TestCa| {
        let pair = ca.server(&["localhost"]);
        fs_err::write(&certificate, &pair.certificate_pem).unwrap();
        fs_err::write(&key, &pair.key_pem).unwrap();
    };
    write(&before);
    let tls = Tls::Files { certificate: certificate.clone(), key: key.clone() };
    let running = Service::start(config(folder.path(), tls)).await.unwrap();
    let url = format!("{}/v2/", running.url());
    trusting(&before.pem()).get(&url).send().await.unwrap();
    fs_err::write(&certificate, "half of a certificate").unwrap();
    running.reload();
    trusting(&before.pem()).get(&url).send().await.unwrap();
    write(&after);
    running.reload();
    trusting(&after.pem()).get(&url).send().await.unwrap();
    assert!(trusting(&before.pem()).get(&url).send().await.is_err(), "the old one is served no more");
}
