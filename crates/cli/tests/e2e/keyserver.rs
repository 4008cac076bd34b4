//! The signing service as a program, beside the trust service as a program.

mod moving;
mod token;

use crate::docker::signed_by_one_and_verified_by_the_other;
use crate::stage::Stage;
use countersign_testkit::{Finished, Keyserver, NotaryClient, TrustService};
use std::process::Command;
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
const GUN: &str = "example.com/apart";
const SOON: Duration = Duration::from_secs(30);

/// A trust service whose keys are at a keyserver.
fn apart() -> TrustService {
    TrustService::builder(PROGRAM).apart().start()
}

fn add(owner: &NotaryClient, name: &str) {
    fs_err::write(owner.folder().join(name), name).unwrap();
    owner.run(&["add", GUN, name, name]).succeeded();
}

/// Publishes again and again until it succeeds.
fn publish(owner: &NotaryClient) {
    let begun = Instant::now();
    loop {
        let finished: Finished = owner.run(&["publish", GUN]);
        if finished.code == 0 {
            return;
        }
        assert!(begun.elapsed() < SOON, "{}{}", finished.stdout, finished.stderr);
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn tags(reader: &NotaryClient) -> usize {
    let listed = reader.run(&["list", GUN]).succeeded().stdout;
    listed.lines().filter(|line| line.starts_with("tag-")).count()
}

#[test]
fn the_keyserver_is_killed_again_and_again_and_nothing_is_lost_or_half_written() {
    let mut service = apart();
    let (owner, reader) = (service.notary_client(), service.notary_client());
    owner.run(&["init", GUN]).succeeded();
    owner.run(&["key", "rotate", GUN, "snapshot", "-r"]).succeeded();
    for round in 0..8_u64 {
        add(&owner, &format!("tag-{round}"));
        let finished = std::thread::scope(|threads| {
            let publishing = threads.spawn(|| owner.run(&["publish", GUN]));
            std::thread::sleep(Duration::from_millis(round * 15));
            service.keyserver().process().kill();
            publishing.join().unwrap()
        });
        // Published with the new tag, or not at all; and readers read on, also without the keyserver.
        if round > 0 {
            let seen = tags(&reader);
            let expected = usize::try_from(round).unwrap() + usize::from(finished.code == 0);
            assert!(seen == expected || (finished.code != 0 && seen == expected + 1), "{round}: {seen}");
        }
        service.keyserver().restart("first");
        publish(&owner);
        assert_eq!(tags(&reader), usize::try_from(round).unwrap() + 1);
    }
}

#[test]
fn the_passphrase_is_rotated_while_both_services_run_and_the_old_one_is_thrown_away() {
    let mut service = apart();
    let owner = service.notary_client();
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    let rotated = service.keyserver().command(&["rotate-alias", "second"]).output().unwrap();
    assert!(rotated.status.success(), "{}", String::from_utf8_lossy(&rotated.stderr));
    assert_eq!(String::from_utf8_lossy(&rotated.stdout), "1 key is encrypted under second now\n");
    let listed = service.keyserver().command(&["list", "--format", "json"]).output().unwrap();
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!((&listed[0]["gun"], &listed[0]["role"]), (&GUN.into(), &"timestamp".into()), "{listed}");
    assert_eq!((&listed[0]["alias"], &listed[0]["algorithm"]), (&"second".into(), &"ecdsa".into()), "{listed}");
    assert!(listed[0]["token"].is_null() && listed[0]["lastUsed"].is_string() && listed[1].is_null(), "{listed}");
    add(&owner, "tag-2");
    publish(&owner);
    assert_eq!(service.keyserver().process().stop().unwrap().code(), Some(0));
    fs_err::remove_file(service.keyserver().file("keys/passphrases/first")).unwrap();
    service.keyserver().restart("second");
    add(&owner, "tag-3");
    publish(&owner);
    assert_eq!(tags(&service.notary_client()), 3);
    service.keyserver().process().stop().unwrap();
    fs_err::remove_file(service.keyserver().file("keys/passphrases/second")).unwrap();
    let refused = service.keyserver().command(&["--alias", "second", "--listen", "127.0.0.1:0"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains("COUNTERSIGN_KEYSERVER_PASSPHRASE_SECOND"), "{said}");
}

#[test]
fn a_certificate_of_the_keyserver_that_ends_stops_publishing_until_there_is_another_and_nobody_restarts_it() {
    let mut service = apart();
    let owner = service.notary_client();
    owner.run(&["init", GUN]).succeeded();
    add(&owner, "tag-1");
    publish(&owner);
    let short = Duration::from_secs(2);
    service.keyserver().certify_for(short);
    std::thread::sleep(short + Duration::from_secs(1));
    // The connection that there was is not cut for it; a new one is not made.
    service.restart();
    add(&owner, "tag-2");
    let refused = owner.run(&["publish", GUN]);
    assert_ne!(refused.code, 0, "{refused}");
    assert!(service.log().contains("status=503") && service.log().contains("certificate expired"), "{}", service.log());
    assert_eq!(tags(&service.notary_client()), 1, "readers read on");
    service.keyserver().certify_for(Duration::from_hours(1));
    publish(&owner);
    assert_eq!(tags(&service.notary_client()), 2);
}

#[test]
fn docker_28_and_docker_20_sign_and_verify_with_the_keys_at_a_keyserver() {
    let stage = Stage::apart();
    let from_28 = ("from28", stage.docker28(), stage.docker20());
    signed_by_one_and_verified_by_the_other(&stage, [from_28, ("from20", stage.docker20(), stage.docker28())]);
}

#[test]
fn without_certificates_on_both_sides_nothing_starts_and_no_secret_is_an_argument() {
    let mut keyserver = Keyserver::start(PROGRAM);
    let data_dir = keyserver.file("others").display().to_string();
    let bare = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(["keyserver", "--data-dir", &data_dir]).args(arguments).env("HOME", keyserver.file(""));
        command.output().unwrap()
    };
    let (certificate, key) = (keyserver.file("keyserver.crt"), keyserver.file("keyserver.key"));
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    for (arguments, missing) in
        [(&[] as &[&str], "--tls-cert"), (&["--tls-cert", &certificate, "--tls-key", &key], "--client-ca")]
    {
        let refused = bare(arguments);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(refused.status.code() == Some(2) && said.contains(missing), "{said}");
    }
    let half = Command::new(PROGRAM).args(["serve", "--keyserver", "localhost:7899"]).output().unwrap();
    assert_eq!(half.status.code(), Some(2), "the trust service asks no keyserver without certificates");
    let process = keyserver.process();
    // The program is not dumpable: nobody else of the same user reads its memory, and no core is written.
    let status = fs_err::read_to_string(format!("/proc/{}/limits", process.id())).unwrap();
    let core = status.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}
