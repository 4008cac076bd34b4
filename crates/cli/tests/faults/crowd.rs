//! Ten thousand connections of people who say nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use countersign_testkit::{Deployment, TrustService};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpSocket, TcpStream};

use crate::http::{Answered, Http};
use crate::publisher::Collection;
use crate::reader::Reader;
use crate::report::{Part, Report};

const CONNECTIONS: u32 = 10_000;
/// Connections from one loopback address: each has so many ports to come from, and to spare.
const PER_ADDRESS: u32 = 5_000;
/// How long somebody with something to say may have to wait.
const BOUND: Duration = Duration::from_secs(20);

/// Opens a connection from an address of this machine; none when the service's queue is full.
async fn silent(service: SocketAddr, number: u32) -> Option<TcpStream> {
    let [a, b, c, _] = [127, 0, 1, 0];
    let source = SocketAddr::from(([a, b, c, 1 + u8::try_from(number / PER_ADDRESS).unwrap()], 0));
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(source).ok()?;
    tokio::time::timeout(Duration::from_secs(2), socket.connect(service)).await.ok()?.ok()
}

#[test]
fn ten_thousand_silent_connections_keep_nobody_from_being_served() {
    let mut files = getrlimit(Resource::Nofile);
    files.current = files.maximum;
    setrlimit(Resource::Nofile, files).unwrap();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let service = TrustService::builder(env!("CARGO_BIN_EXE_countersign")).deployed(Deployment::Embedded).start();
    let address: SocketAddr = service.url().trim_start_matches("https://").parse().unwrap();
    let (http, report) = (Http::of(&service), Report::default());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let collection = Collection::begin(&http, "crowd.example.test/app").await;
        let mut crowd = Vec::new();
        let begun = Instant::now();
        let mut served = Vec::new();
        for number in 0..CONNECTIONS {
            crowd.extend(silent(address, number).await);
            if number % 2_500 == 2_499 {
                let asked = Instant::now();
                Reader::default().read_once(&http, &collection, &report).await;
                assert!(matches!(http.get("/_notary_server/health").await, Answered::Ok(_)), "at {number}");
                served.push(asked.elapsed());
            }
        }
        println!(
            "{} connections were open at once in {:?}; readers in between were served within {served:?}",
            crowd.len(),
            begun.elapsed()
        );
        assert!(crowd.len() > 5_000, "hardly anybody came: {}", crowd.len());
        assert!(served.iter().all(|time| *time < BOUND), "{served:?}");
    });
    assert!(report.violations().is_empty(), "{:?}", report.violations());
    assert_eq!(report.number(Part::Happened, "reads"), u64::from(CONNECTIONS / 2_500));
}
