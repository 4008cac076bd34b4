//! The service's backup, as operators use it.

use crate::client::{Client, Ending, LOCAL, USER};
use countersign_testkit::{Deployment, DockerClient, TrustService};
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const GUN: &str = "backup.example.test/acme/app";

fn lose_the_database(service: &mut TrustService) {
    service.kill();
    for file in std::fs::read_dir(service.data_dir()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("trust.db") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
}

#[test]
fn after_the_loss_of_the_database_docker_28_verifies_what_was_restored_and_notary_publishes_on() {
    let mut service = TrustService::builder(PROGRAM).deployed(Deployment::Embedded).start();
    let owner = service.notary_client();
    std::fs::write(owner.folder().join("content"), "one").unwrap();
    owner.run(&["init", "--publish", GUN]).succeeded();
    owner.run(&["add", "--publish", GUN, "v1", "content"]).succeeded();
    let person = Client::new();
    let data_dir = service.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let saved = person.run(&["serve", "backup", "trust.backup", "--data-dir", data_dir]).succeeded();
    assert!(saved.stdout.starts_with("1 collections, ") && saved.stderr.contains("secret"), "{saved}");
    person.run(&["serve", "backup", "trust.backup", "--data-dir", data_dir]).refused(USER, "there already");
    let check = ["serve", "restore", "--check", "--format", "json", "trust.backup", "--data-dir", data_dir];
    let checked: serde_json::Value = serde_json::from_str(&person.run(&check).succeeded().stdout).unwrap();
    assert_eq!((&checked["findings"], &checked["secret"]), (&0.into(), &"present".into()), "{checked}");
    let restore = ["serve", "restore", "trust.backup", "--data-dir", data_dir];
    person.run(&restore).refused(LOCAL, "another process is using");
    lose_the_database(&mut service);
    let restored = person.run(&restore).succeeded();
    assert!(restored.stdout.starts_with("restored and verified: 1 collections, "), "{restored}");
    person.run(&restore).refused(USER, "holds something already");
    service.restart();
    let reader = service.trusting(DockerClient::v28());
    let inspected = reader.run(&["trust", "inspect", GUN]).succeeded();
    assert!(inspected.stdout.contains("\"v1\""), "{inspected}");
    owner.run(&["add", "--publish", GUN, "v2", "content"]).succeeded();
    let inspected = reader.run(&["trust", "inspect", GUN]).succeeded();
    assert!(inspected.stdout.contains("\"v1\"") && inspected.stdout.contains("\"v2\""), "{inspected}");
}

/// Attack catalogue E-234.
#[test]
fn docker_28_and_notary_go_on_after_an_older_backup_when_the_service_is_told_of_it() {
    let mut service = TrustService::builder(PROGRAM).deployed(Deployment::Embedded).start();
    let owner = service.notary_client();
    std::fs::write(owner.folder().join("content"), "one").unwrap();
    owner.run(&["init", "--publish", GUN]).succeeded();
    owner.run(&["key", "rotate", GUN, "snapshot", "-r"]).succeeded();
    owner.run(&["add", "--publish", GUN, "v1", "content"]).succeeded();
    let person = Client::new();
    let data_dir = service.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    person.run(&["serve", "backup", "trust.backup", "--data-dir", data_dir]).succeeded();
    let moved_ahead = |service: &TrustService| {
        let begun = Instant::now();
        while !service.log().contains("was moved ahead") {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}", service.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // More than a backup can know of.
    service.restart_with(&["--restored".to_owned()]);
    moved_ahead(&service);
    let reader = service.trusting(DockerClient::v28());
    assert!(reader.run(&["trust", "inspect", GUN]).succeeded().stdout.contains("\"v1\""));
    lose_the_database(&mut service);
    person.run(&["serve", "restore", "trust.backup", "--data-dir", data_dir]).succeeded();
    for _ in 0..2 {
        service.restart();
        moved_ahead(&service);
    }
    assert!(reader.run(&["trust", "inspect", GUN]).succeeded().stdout.contains("\"v1\""));
    owner.run(&["add", "--publish", GUN, "v2", "content"]).succeeded();
    let inspected = reader.run(&["trust", "inspect", GUN]).succeeded();
    assert!(inspected.stdout.contains("\"v1\"") && inspected.stdout.contains("\"v2\""), "{inspected}");
}

#[test]
fn a_backup_goes_through_pipes_and_what_is_none_is_told() {
    let service = TrustService::builder(PROGRAM).deployed(Deployment::Embedded).start();
    let owner = service.notary_client();
    owner.run(&["init", "--publish", GUN]).succeeded();
    let person = Client::new();
    let data_dir = service.data_dir();
    let mut save = person.command(&["serve", "backup", "-", "--data-dir", data_dir.to_str().unwrap()]);
    let saved = save.output().unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    let restore = |archive: &[u8], folder: &str| {
        let mut command = person.command(&["serve", "restore", "-", "--data-dir", folder]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(archive).unwrap();
        let ended = process.wait_with_output().unwrap();
        (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
    };
    let (code, told) = restore(&saved.stdout, "new");
    assert!(code == Some(0) && told.contains("put the file secret"), "{code:?} {told}");
    let cut = &saved.stdout[..saved.stdout.len() - 1];
    let (code, told) = restore(cut, "other");
    assert!(code == Some(LOCAL) && told.contains("altered or cut short"), "{code:?} {told}");
    let (code, told) = restore(b"a file that is something else, and long enough", "other");
    assert!(code == Some(USER) && told.contains("no backup"), "{code:?} {told}");
    assert!(!person.folder().join("other").exists());
}
