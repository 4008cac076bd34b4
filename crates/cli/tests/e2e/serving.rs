//! The trust service as a program: how it ends, and how it lives with little.

use crate::client::{Client, NETWORK};
use crate::stage::Shop;
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{Port, TrustService};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

/// Whether silent connections stay while somebody else wants to be served.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Held {
    Shortly,
    Throughout,
}

/// Starts the service and waits until it serves.
fn start(person: &Client, port: &Port) -> Child {
    let mut command = person.command(&["serve", "--data-dir", "data", "--listen", &port.address().to_string()]);
    let mut service = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while accepts(port.address()) == Answer::No {
        assert!(begun.elapsed() < SOON && service.try_wait().unwrap().is_none(), "it does not serve");
        std::thread::sleep(Duration::from_millis(20));
    }
    service
}

/// Waits until the service has ended; ends it when it does not.
fn end(service: &mut Child) -> ExitStatus {
    let asked = Instant::now();
    loop {
        if let Some(status) = service.try_wait().unwrap() {
            return status;
        }
        if asked.elapsed() > SOON {
            service.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn asked_to_end_it_ends_well_and_soon() {
    let (person, port) = (Client::new(), Port::take());
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = start(&person, &port);
        kill_process(Pid::from_child(&service), signal).unwrap();
        let status = end(&mut service);
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        assert_eq!(accepts(port.address()), Answer::No);
    }
}

#[test]
fn asked_twice_to_end_it_ends_at_once() {
    let (person, port) = (Client::new(), Port::take());
    let mut service = start(&person, &port);
    // An upload that never comes to its end.
    let mut upload = Command::new("openssl");
    upload.args(["s_client", "-quiet", "-connect", &port.address().to_string()]);
    let mut upload = upload.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let request = "POST /v2/x/_trust/tuf/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n\
                   Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n";
    let mut stdin = upload.stdin.take().unwrap();
    stdin.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(upload.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
    assert!(answer.contains("100 Continue"), "{answer}");

    let process = Pid::from_child(&service);
    kill_process(process, Signal::TERM).unwrap();
    let mut said = String::new();
    let mut words = BufReader::new(service.stderr.take().unwrap());
    while !said.contains("once more ends at once") {
        assert_ne!(words.read_line(&mut said).unwrap(), 0, "{said}");
    }
    assert!(service.try_wait().unwrap().is_none(), "the upload has time to end");
    let asked = Instant::now();
    kill_process(process, Signal::TERM).unwrap();
    assert_eq!(end(&mut service).code(), Some(NETWORK));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    upload.kill().unwrap();
    upload.wait().unwrap();
}

#[test]
fn with_few_descriptors_it_waits_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("countersign");
    let script = format!("#!/bin/sh\nulimit -n 64\nexec {} \"$@\"\n", env!("CARGO_BIN_EXE_countersign"));
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let shop = Shop { service: TrustService::start(program.to_str().unwrap()), ..Shop::open() };
    let (owner, reader) = (shop.client(), shop.client());
    let digest = shop.signed_by(&owner, "v1", "one");
    let address = shop.service.url().trim_start_matches("https://").parse().unwrap();
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    for held in [Held::Shortly, Held::Throughout] {
        // More connections than it can ever have, none of which says anything.
        let silent: Vec<_> = (0..120).map_while(connect).collect();
        assert!(silent.len() > 64, "{}", silent.len());
        let silent = (held == Held::Throughout).then_some(silent);
        let verified = reader.run(&["verify", &shop.name("v1")]).succeeded();
        assert!(verified.stdout.contains(&digest), "{verified}");
        assert!(!verified.stderr.contains("cached"), "the service itself has answered: {verified}");
        drop(silent);
    }
    assert!(!shop.service.log().contains("Too many open files"), "{}", shop.service.log());
    shop.signed_by(&owner, "v2", "two");
}
