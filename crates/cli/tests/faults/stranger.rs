//! Clients that misbehave: none of them may keep others from being served.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use countersign_testkit::{Dice, TrustService};
use flate2::Compression;
use flate2::write::GzEncoder;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use crate::report::{Part, Report};

/// How long one misdeed goes on.
const PATIENCE: Duration = Duration::from_secs(3);
const DRIP: Duration = Duration::from_millis(50);
/// Connections that are opened at once and left alone.
const CROWD: usize = 100;

/// Somebody who has no good intentions.
#[derive(Clone)]
pub(crate) struct Stranger {
    address: String,
    connector: TlsConnector,
}

impl Stranger {
    pub(crate) fn of(service: &TrustService) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(service.authority_pem().as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let address = service.url().trim_start_matches("https://").to_owned();
        Self { address, connector: TlsConnector::from(Arc::new(config)) }
    }

    /// Does one bad thing after another until told to stop.
    pub(crate) async fn misbehave(&self, seed: u64, report: &Report, go_on: impl Fn() -> bool) {
        let mut dice = Dice::of(seed);
        while go_on() {
            let what = match dice.below(6) {
                0 => self.drip("slow headers", "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nX-Slow: ").await,
                1 => {
                    let head = "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\
                        Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n";
                    self.drip("slow bodies", head).await
                }
                2 => self.endless_body().await,
                3 => self.malformed(&mut dice).await,
                4 => self.crowd().await,
                _ => self.bomb().await,
            };
            report.count(Part::Injected, what);
        }
    }

    async fn connect(&self) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(&self.address).await?;
        self.connector.connect(ServerName::try_from("127.0.0.1").unwrap(), stream).await
    }

    /// Sends the beginning of a request, and then a byte at a time. What comes of it does not matter to a stranger.
    async fn drip(&self, what: &'static str, beginning: &str) -> &'static str {
        let _ = timeout(PATIENCE, async {
            let mut stream = self.connect().await?;
            stream.write_all(beginning.as_bytes()).await?;
            loop {
                sleep(DRIP).await;
                stream.write_all(b"x").await?;
                stream.flush().await?;
            }
            #[expect(unreachable_code, reason = "says what the block returns")]
            std::io::Result::Ok(())
        })
        .await;
        what
    }

    async fn endless_body(&self) -> &'static str {
        let _ = timeout(PATIENCE, async {
            let mut stream = self.connect().await?;
            let head = "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\
                Content-Type: multipart/form-data; boundary=b\r\n\r\n";
            stream.write_all(head.as_bytes()).await?;
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            loop {
                stream.write_all(chunk.as_bytes()).await?;
                sleep(Duration::from_millis(5)).await;
            }
            #[expect(unreachable_code, reason = "says what the block returns")]
            std::io::Result::Ok(())
        })
        .await;
        "endless bodies"
    }

    async fn malformed(&self, dice: &mut Dice) -> &'static str {
        let bodies: [&[u8]; 4] = [
            b"--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"../../root\"\r\n\r\n{}\r\n--b--\r\n",
            b"--b\r\n\r\n--b\r\n\r\n--b--",
            b"--c\r\nContent-Disposition: form-data\r\n\r\n\xff\xfe\r\n",
            b"--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"root\"\r\n\r\n[[[[[[[[[[[[[[[[[[[[[[[[",
        ];
        let body = bodies[usize::try_from(dice.below(4)).unwrap()];
        self.ask("", body).await;
        "malformed uploads"
    }

    /// A hundred megabytes of zeros in a hundred kilobytes: the service has to refuse the encoding, or to count what comes out.
    async fn bomb(&self) -> &'static str {
        let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
        let zeros = vec![0; 1_000_000];
        (0..100).for_each(|_| bomb.write_all(&zeros).unwrap());
        self.ask("Content-Encoding: gzip\r\n", &bomb.finish().unwrap()).await;
        "compressed bombs"
    }

    async fn ask(&self, header: &str, body: &[u8]) {
        let _ = timeout(PATIENCE, async {
            let mut stream = self.connect().await?;
            let head = format!(
                "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}Content-Length: {}\r\n\
                 Content-Type: multipart/form-data; boundary=b\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await
        })
        .await;
    }

    async fn crowd(&self) -> &'static str {
        let connections = (0..CROWD).map(|_| TcpStream::connect(&self.address));
        let open = futures_util::future::join_all(connections).await;
        sleep(Duration::from_secs(1)).await;
        drop(open);
        "crowds of silent connections"
    }
}
