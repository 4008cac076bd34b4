use std::fs;
use std::os::unix::fs::PermissionsExt;

use countersign_testkit::port::{Answer, accepts};
use countersign_testkit::{TestCa, Tool, TrustService};

use crate::http::get;

/// A program that takes the arguments of `countersign serve`, and serves with docker-registry.
fn stand_in(folder: &tempfile::TempDir) -> String {
    let (ca, program) = (TestCa::new(), folder.path().join("countersign"));
    fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
    let script = format!(
        "#!/bin/sh\nset -e\n[ \"$1 $2 $4 $6\" = 'serve --data-dir --listen --renew' ]\nmkdir -p \"$3\"\n\
         cp {place}/ca.pem \"$3\"\necho \"$EXTRA\"\n\
         printf 'version: 0.1\\nstorage:\\n  inmemory:\\nhttp:\\n  addr: %s\\n' \"$5\" >\"$3/config.yml\"\n\
         exec {registry} serve \"$3/config.yml\"\n",
        place = folder.path().display(),
        registry = Tool::DOCKER_REGISTRY.path().display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program.to_str().unwrap().to_owned()
}

#[test]
fn a_service_is_started_killed_and_restarted_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = TrustService::builder(&stand_in(&folder)).arg("--renew").env("EXTRA", "extra text").start();
    let host = service.url().trim_start_matches("https://").to_owned();
    assert!(service.authority_pem().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(service.log().contains("extra text"), "{}", service.log());
    assert!(get(&host, "/v2/", &[]).starts_with("HTTP/1.1 200"));
    service.kill();
    assert_eq!(accepts(host.parse().unwrap()), Answer::No);
    service.restart();
    assert!(get(&host, "/v2/", &[]).starts_with("HTTP/1.1 200"));
    drop(service);
    assert_eq!(accepts(host.parse().unwrap()), Answer::No);
}
