use std::time::Duration;

use countersign_signer_rpc::{ClientConfig, SignerClient};
use countersign_testkit::TestCa;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{House, key, write};

#[tokio::test]
async fn a_client_of_another_authority_or_without_a_certificate_is_refused_at_the_handshake() {
    let house = House::new();
    let service = house.start("one").await;
    let stranger = TestCa::new().client("server");
    let refused = house.client_with(&service, &stranger).health().await.unwrap_err();
    assert!(refused.is_away(), "{refused}");
    // A certificate for servers is none for clients.
    let server = house.client_with(&service, &house.authority.loopback_server());
    server.health().await.unwrap_err();
    let expired = house.client_with(&service, &house.authority.expired_server());
    expired.health().await.unwrap_err();
    let mut plain = TcpStream::connect(service.address()).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.windows(4).any(|window| window == b"HTTP"), "{answer:?}");
    house.client(&service, "server").health().await.unwrap();
}

#[tokio::test]
async fn a_client_that_is_not_on_the_list_is_refused_although_its_authority_is_right() {
    let house = House { names: vec!["trust.example.com".to_owned()], ..House::new() };
    let service = house.start("one").await;
    house.client(&service, "trust.example.com").health().await.unwrap();
    for other in ["trust.example.org", "TRUST.example.com", "trust.example.com.evil.org", ""] {
        assert!(house.client(&service, other).health().await.is_err(), "{other}");
    }
}

#[tokio::test]
async fn a_client_believes_only_a_service_of_its_authority_and_of_its_name() {
    let house = House::new();
    let service = house.start("one").await;
    let other = house.folder.path().join("other.pem");
    fs_err::write(&other, TestCa::new().pem()).unwrap();
    let identity = countersign_signer_rpc::Identity {
        certificate: house.folder.path().join("client.crt"),
        key: house.folder.path().join("client.key"),
    };
    house.client(&service, "server").health().await.unwrap();
    let config = |host: &str, authority| ClientConfig {
        host: host.to_owned(),
        port: service.address().port(),
        authority,
        identity: identity.clone(),
        timeout: Duration::from_secs(20),
    };
    let right = house.folder.path().join("ca.pem");
    SignerClient::new(&config("localhost", right.clone())).unwrap().health().await.unwrap();
    assert!(SignerClient::new(&config("127.0.0.1", other)).unwrap().health().await.unwrap_err().is_away());
    assert!(SignerClient::new(&config("127.0.0.2", right)).unwrap().health().await.unwrap_err().is_away());
}

#[tokio::test]
async fn without_an_authority_for_clients_nothing_starts() {
    let house = House::new();
    let mut config = house.config("one");
    config.clients.authority = house.folder.path().join("nothing.pem");
    assert!(countersign_keyservice::KeyService::start(config.clone()).await.is_err());
    fs_err::write(&config.clients.authority, "").unwrap();
    assert!(countersign_keyservice::KeyService::start(config).await.is_err());
}

#[tokio::test]
async fn messages_and_names_beyond_the_limits_are_refused_and_the_service_lives() {
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let mine = key(&client, "a", "timestamp").await;
    let beginning = br#"{"_type":"Timestamp","x":""#;
    let of = |length: usize| [beginning, "x".repeat(length - beginning.len() - 2).as_bytes(), b"\"}"].concat();
    let largest = of(countersign_signer_rpc::MAX_CONTENT);
    client.sign(&mine, &crate::house::gun("a"), &largest).await.unwrap();
    for length in [countersign_signer_rpc::MAX_CONTENT + 1, 2 * countersign_signer_rpc::MAX_MESSAGE] {
        client.sign(&mine, &crate::house::gun("a"), &of(length)).await.unwrap_err();
    }
    client.health().await.unwrap();
}

#[tokio::test]
async fn changed_certificates_are_taken_up_by_both_ends_and_broken_ones_are_not() {
    let mut house = House::new();
    let service = house.start("one").await;
    let old = house.client(&service, "server");
    old.health().await.unwrap();
    let (folder, renewed) = (house.folder.path().to_owned(), TestCa::new());
    let before = std::mem::replace(&mut house.authority, renewed);
    fs_err::write(folder.join("ca.pem"), house.authority.pem()).unwrap();
    write(&folder, "server", &house.authority.loopback_server());
    // The client of before has a connection still; without it, it needs what is in the files now.
    old.health().await.unwrap();
    house.client(&service, "server").health().await.unwrap();
    house.client_with(&service, &before.client("server")).health().await.unwrap_err();
    fs_err::write(folder.join("server.crt"), "broken").unwrap();
    house.client(&service, "server").health().await.unwrap();
    let address = service.address();
    service.shut_down().await;
    write(&folder, "server", &house.authority.loopback_server());
    let mut config = house.config("one");
    config.listen = address;
    let _service = countersign_keyservice::KeyService::start(config).await.unwrap();
    old.health().await.unwrap();
}

/// A connection of an admitted client, on which a test says what it likes.
async fn admitted(
    house: &House,
    service: &countersign_keyservice::Running,
) -> tokio_rustls::client::TlsStream<TcpStream> {
    use rustls::pki_types::pem::PemObject;
    let pair = house.authority.client("server");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_slice(house.authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![rustls::pki_types::CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()],
            rustls::pki_types::PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(service.address()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await.unwrap()
}

#[tokio::test]
async fn garbage_frames_end_their_connection_and_disturb_nobody() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let house = House::new();
    let service = house.start("one").await;
    let client = house.client(&service, "server");
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        // A frame of 16 MiB, a header block that is none, data for a stream that was never begun.
        &[PREFACE, b"\xff\xff\xff\0\0\0\0\0\x01"].concat(),
        &[PREFACE, b"\0\0\x08\x01\x05\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff"].concat(),
        &[PREFACE, b"\0\0\x01\0\0\0\0\0\x07x"].concat(),
    ];
    for bytes in garbage {
        let mut stream = admitted(&house, &service).await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "{bytes:?}");
        client.health().await.unwrap();
    }
    // Silent connections take nobody's turn.
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(service.address()).await.unwrap());
        silent.push(admitted(&house, &service).await.into_inner().0);
    }
    client.health().await.unwrap();
    key(&client, "a", "timestamp").await;
}
