//! Connections that are slow, broken, endless or many.

use std::time::{Duration, Instant};

use countersign_server::{Drained, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::service::TestService;

const SHORT: Duration = Duration::from_millis(400);
const CUT: Duration = Duration::from_secs(10);

async fn impatient() -> TestService {
    TestService::with(|config| {
        config.limits.header = SHORT;
        config.limits.body = SHORT;
        config.limits.drain = SHORT;
    })
    .await
}

async fn connect(service: &TestService) -> TcpStream {
    TcpStream::connect(service.running.address()).await.unwrap()
}

/// Reads until the service closes the connection; panics when it does not.
async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(CUT, stream.read_to_end(&mut answer)).await;
    assert!(read.is_ok(), "the connection was not cut: {:?}", String::from_utf8_lossy(&answer));
    String::from_utf8_lossy(&answer).into_owned()
}

async fn alive(service: &TestService) {
    service.get("/v2/").await.ok();
}

#[tokio::test]
async fn garbage_is_answered_or_cut_and_harms_nobody() {
    let service = impatient().await;
    let long_url = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(200_000));
    let long_header = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(4 << 20));
    let many_headers = format!("GET /v2/ HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(30_000));
    for (what, bytes) in [
        ("zeros", "\0".repeat(1000)),
        ("no host", "GET /v2/ HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", "GET /v2/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned()),
        ("another protocol", "GET /v2/ HTTP/9.9\r\nHost: x\r\n\r\n".to_owned()),
        ("a bad header name", "GET /v2/ HTTP/1.1\r\nHost: x\r\nbad name: y\r\n\r\n".to_owned()),
        ("a negative length", "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_owned()),
        (
            "two lengths",
            "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(),
        ),
        (
            "a length of 2^63",
            "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808\r\n\r\n".to_owned(),
        ),
        (
            "an unknown coding",
            "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: foo\r\n\r\n".to_owned(),
        ),
        ("a long URL", long_url),
        ("a long header", long_header),
        ("many headers", many_headers),
    ] {
        let mut stream = connect(&service).await;
        // The service may cut the connection before everything is written.
        let _ = stream.write_all(bytes.as_bytes()).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(CUT, stream.read_to_end(&mut answer))
            .await
            .unwrap_or_else(|_| unreachable!("{what}: not cut"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4"),
            "{what}: {answer}"
        );
        alive(&service).await;
    }
}

#[tokio::test]
async fn a_request_with_two_ends_gets_one_answer_and_a_closed_connection() {
    let service = impatient().await;
    let mut stream = connect(&service).await;
    let smuggled = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
    let request = format!(
        "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n\
         Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
        smuggled.len() + 5
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn chunks_that_are_garbage_are_refused() {
    let service = impatient().await;
    let mut stream = connect(&service).await;
    let request = "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n\
                   Transfer-Encoding: chunked\r\n\r\nZZZ\r\nxx\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    alive(&service).await;
}

#[tokio::test]
async fn headers_that_never_end_are_cut() {
    let service = impatient().await;
    let begun = Instant::now();
    let mut streams = Vec::new();
    for beginning in ["", "G", "GET /v2/ HTTP/1.1\r\n", "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-"] {
        for _ in 0..30 {
            let mut stream = connect(&service).await;
            stream.write_all(beginning.as_bytes()).await.unwrap();
            streams.push(stream);
        }
    }
    alive(&service).await;
    for stream in &mut streams {
        read_to_end(stream).await;
    }
    assert!(begun.elapsed() < CUT);
}

#[tokio::test]
async fn bodies_that_never_end_are_cut() {
    let service = impatient().await;
    for body in ["", "--B\r\n", "--B\r\nContent-Disposition: form-data; filename=\"root\"\r\n\r\n{"] {
        let mut stream = connect(&service).await;
        let request = format!(
            "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = read_to_end(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn bodies_that_drip_are_cut() {
    let service = impatient().await;
    let mut stream = connect(&service).await;
    let header = "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 100000\r\n\r\n";
    stream.write_all(header.as_bytes()).await.unwrap();
    let begun = Instant::now();
    while stream.write_all(b"x").await.is_ok() && begun.elapsed() < CUT {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(begun.elapsed() < CUT, "each byte came in time, the body did not");
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let service = TestService::with(|config| {
        config.limits.connections = 2;
        config.limits.header = SHORT;
    })
    .await;
    let silent = [connect(&service).await, connect(&service).await];
    alive(&service).await;
    drop(silent);
}

#[tokio::test]
async fn whoever_holds_a_place_in_silence_makes_room_for_those_who_wait() {
    // The limits of time are the usual ones: half a minute for a header.
    let service = TestService::with(|config| config.limits.connections = 2).await;
    let mut dripping = connect(&service).await;
    dripping.write_all(b"GET /v2/ HTTP/1.1\r\nX-Slow: ").await.unwrap();
    let mut idle = connect(&service).await;
    idle.write_all(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    idle.read_exact(&mut [0; 12]).await.unwrap();
    let (begun, drip) = (Instant::now(), async {
        while dripping.write_all(b"x").await.is_ok() {
            tokio::time::sleep(SHORT / 10).await;
        }
    });
    let ((), ()) = tokio::join!(drip, alive(&service));
    assert!(begun.elapsed() < CUT, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn shutting_down_answers_what_was_asked_and_cuts_the_rest() {
    let service = TestService::with(|config| config.limits.drain = Duration::from_secs(2)).await;
    let address = service.running.address();
    let idle = connect(&service).await;
    let mut asking = connect(&service).await;
    let head = "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 9\r\n\r\n--B";
    asking.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let shut_down = tokio::spawn(service.running.shut_down());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(TcpStream::connect(address).await.is_err(), "no new connections");
    asking.write_all(b"--\r\n\r\n").await.unwrap();
    let answer = read_to_end(&mut asking).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("INVALID_UPDATE"), "{answer}");
    let begun = Instant::now();
    assert_eq!(shut_down.await.unwrap(), Drained::Completely);
    assert!(begun.elapsed() < CUT);
    drop(idle);
}

#[tokio::test]
async fn shutting_down_takes_a_bounded_time() {
    let service = TestService::with(|config| config.limits.drain = SHORT).await;
    let mut stuck = connect(&service).await;
    let head = "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 9\r\n\r\n";
    stuck.write_all(head.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = Instant::now();
    service.running.shut_down().await;
    assert!(begun.elapsed() < CUT);
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let service = TestService::start().await;
    let folder = tempfile::tempdir().unwrap();
    let config = countersign_server::Config::new(service.running.address(), folder.path().to_owned());
    let refused = Service::start(config).await.unwrap_err();
    assert!(matches!(refused, countersign_server::StartError::Listen { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_cut() {
    let service = impatient().await;
    let owner = crate::owner::Owner::of(&service, "example.com/large").await;
    let tags: Vec<String> = (0..20_000).map(|n| format!("tag{n}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let parts = [("root", owner.root(1)), ("targets", owner.targets(1, &tags))];
    service.upload("example.com/large", &parts).await.ok();
    let mut stream = connect(&service).await;
    let request = "GET /v2/example.com/large/_trust/tuf/targets.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(20);
    stream.write_all(request.as_bytes()).await.unwrap();
    let begun = Instant::now();
    while connections(&service).await > 0 {
        assert!(begun.elapsed() < CUT, "the connection is still open");
        tokio::time::sleep(SHORT).await;
    }
}

/// How many connections are open, beside the one that asks.
async fn connections(service: &TestService) -> u64 {
    let client = crate::service::client();
    let metrics = client.get(format!("{}/metrics", service.base)).header("Connection", "close").send().await.unwrap();
    let text = metrics.text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("countersign_connections ")).unwrap();
    line.parse::<u64>().unwrap() - 1
}

#[tokio::test]
async fn a_client_that_reads_slowly_but_steadily_is_served_to_the_end() {
    let service = impatient().await;
    let owner = crate::owner::Owner::of(&service, "example.com/large").await;
    let tags: Vec<String> = (0..60_000).map(|n| format!("tag{n}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    let parts = [("root", owner.root(1)), ("targets", owner.targets(1, &tags))];
    service.upload("example.com/large", &parts).await.ok();
    let length = service.file("example.com/large", "targets.json").await.ok().body.len();
    let mut stream = connect(&service).await;
    let request = "GET /v2/example.com/large/_trust/tuf/targets.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut received, mut buffer) = (0, vec![0; length / 20]);
    loop {
        match stream.read_exact(&mut buffer).await {
            Ok(count) => received += count,
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => unreachable!("cut after {received} of {length} bytes: {error}"),
        }
        tokio::time::sleep(SHORT / 4).await;
    }
    assert!(received + buffer.len() > length, "cut after {received} of {length} bytes");
}

#[tokio::test]
async fn a_client_has_so_many_connections_and_no_more() {
    let service = TestService::with(|config| {
        config.limits.client_connections = std::num::NonZeroUsize::new(2);
    })
    .await;
    let mut first = connect(&service).await;
    let _second = connect(&service).await;
    let mut third = connect(&service).await;
    assert_eq!(read_to_end(&mut third).await, "", "it is closed without a word");
    let ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    first.write_all(ask).await.unwrap();
    let metrics = read_to_end(&mut first).await;
    assert!(metrics.contains("countersign_connections_turned_away_total 1\n"), "{metrics}");
    // The first one has ended; its place is free as soon as the service has noticed.
    let begun = Instant::now();
    loop {
        let mut again = connect(&service).await;
        let mut answer = [0; 12];
        if again.write_all(ask).await.is_ok() && again.read_exact(&mut answer).await.is_ok() {
            assert_eq!(&answer, b"HTTP/1.1 200");
            break;
        }
        assert!(begun.elapsed() < CUT, "the place does not become free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
