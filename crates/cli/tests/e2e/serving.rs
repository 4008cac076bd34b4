//! The trust service as a program: how it ends, and how it lives with little.

use crate::client::Client;
use crate::stage::Shop;
use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{Port, TrustService};
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

#[test]
fn asked_to_end_it_ends_well_and_soon() {
    let (person, port) = (Client::new(), Port::take());
    let address = port.address().to_string();
    for signal in [Signal::TERM, Signal::INT] {
        let mut command = person.command(&["serve", "--data-dir", "data", "--listen", &address]);
        let mut service =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while accepts(port.address()) == Answer::No {
            assert!(begun.elapsed() < SOON && service.try_wait().unwrap().is_none(), "it does not serve");
            std::thread::sleep(Duration::from_millis(20));
        }
        kill_process(Pid::from_child(&service), signal).unwrap();
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = service.try_wait().unwrap() {
                break status;
            }
            if asked.elapsed() > SOON {
                service.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert_eq!(status.code(), Some(0), "{signal:?}: {status}");
        assert_eq!(accepts(port.address()), Answer::No);
    }
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
    for _ in 0..2 {
        // More connections than it can ever have, none of which says anything.
        let silent: Vec<_> = (0..200).map_while(connect).collect();
        assert!(silent.len() > 64, "{}", silent.len());
        std::thread::sleep(Duration::from_millis(500));
        drop(silent);
        let verified = reader.run(&["verify", &shop.name("v1")]).succeeded();
        assert!(verified.stdout.contains(&digest), "{verified}");
        assert!(!verified.stderr.contains("cached"), "the service itself has answered: {verified}");
    }
    shop.signed_by(&owner, "v2", "two");
}
