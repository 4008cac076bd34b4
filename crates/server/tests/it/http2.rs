//! Floods over HTTP/2, in frames made by hand (RFC 9113).

use std::sync::Arc;
use std::time::Duration;

use countersign_server::Tls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::service::TestService;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// `GET https://x/`, written with the static table (RFC 7541).
const REQUEST: &[u8] = &[0x82, 0x87, 0x84, 0x41, 1, b'x'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

async fn service() -> TestService {
    TestService::with(|config| {
        config.tls = Tls::OwnAuthority { names: Vec::new() };
        config.limits.header = Duration::from_millis(500);
        config.limits.drain = Duration::from_millis(500);
    })
    .await
}

fn authority(service: &TestService) -> Vec<u8> {
    fs_err::read(service.running.authority().unwrap()).unwrap()
}

/// Opens a connection and exchanges the preface and empty settings.
async fn connect(service: &TestService) -> TlsStream<TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&authority(service)).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(service.running.address()).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// Writes and reads until the service ends the connection; panics when it bears it for ever.
async fn flood(stream: TlsStream<TcpStream>, mut next: impl FnMut(u32) -> Vec<u8>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let reading = async {
        let mut buffer = vec![0; 64 * 1024];
        while matches!(reader.read(&mut buffer).await, Ok(1..)) {}
    };
    let writing = async {
        for n in 0.. {
            if writer.write_all(&next(n)).await.is_err() {
                return;
            }
        }
    };
    let flood = async {
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(20), flood).await.is_ok(), "the flood is not ended");
}

async fn alive(service: &TestService) {
    let authority = reqwest::Certificate::from_pem(&authority(service)).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client = reqwest::Client::builder().tls_certs_only([authority]).no_proxy().build().unwrap();
    let answer = client.get(format!("{}/v2/", service.running.url())).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_reset_at_once_end_the_connection() {
    let service = service().await;
    flood(connect(&service).await, |n| {
        let stream = n * 2 + 1;
        [frame(HEADERS, END_STREAM | END_HEADERS, stream, REQUEST), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())]
            .concat()
    })
    .await;
    alive(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_continued_for_ever_end_the_connection() {
    let service = service().await;
    // One more header line in every frame: a literal without indexing, with a name and a value of one byte.
    let line = [0x00, 1, b'a', 1, b'b'].repeat(1000);
    flood(connect(&service).await, |n| match n {
        0 => frame(HEADERS, END_STREAM, 1, REQUEST),
        _ => frame(CONTINUATION, 0, 1, &line),
    })
    .await;
    alive(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_header_that_unpacks_to_a_large_one_is_refused() {
    let service = service().await;
    let mut stream = connect(&service).await;
    // A line of 4000 bytes goes into the dynamic table, and is then named again and again with one byte each.
    let mut block = REQUEST.to_vec();
    block.extend([0x40, 1, b'a', 0x7f, 0xa1, 0x1e]);
    block.extend([b'b'; 4000]);
    block.extend([0xbe; 8000]);
    stream.write_all(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block)).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection is not ended");
    alive(&service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_do_not_keep_a_connection_open() {
    let service = service().await;
    let mut stream = connect(&service).await;
    let pinging = async {
        while stream.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
            let mut buffer = vec![0; 4096];
            if matches!(stream.read(&mut buffer).await, Ok(0) | Err(_)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), pinging).await.is_ok(), "the connection is not ended");
    alive(&service).await;
}
