//! The notary client and docker on the same collections.

use crate::stage::{Stage, pushed_digest};

#[test]
fn notary_lists_what_docker_signed() {
    let stage = Stage::set();
    let (docker, notary) = (stage.docker(), stage.notary());
    let app = stage.repository("acme/app");
    stage.engine.build(&format!("{app}:v1"), "one");
    let digest = pushed_digest(&docker.run(&["push", &format!("{app}:v1")]).succeeded());
    let listed = notary.run(&["list", &app]).succeeded();
    let row = listed.stdout.lines().find(|line| line.starts_with("v1")).unwrap_or_default();
    assert!(row.contains(digest.trim_start_matches("sha256:")) && row.contains("524"), "{listed}");
}

#[test]
fn notary_publishes_and_another_notary_verifies() {
    let stage = Stage::set();
    let (owner, reader) = (stage.notary(), stage.notary());
    std::fs::write(owner.folder().join("content"), "content\n").unwrap();
    owner.run(&["init", "--publish", "example.test/files"]).succeeded();
    owner.run(&["add", "--publish", "example.test/files", "one", "content"]).succeeded();
    let verified = reader.run_with_input(&["verify", "example.test/files", "one"], "content\n").succeeded();
    assert_eq!(verified.stdout, "content\n", "{verified}");
    reader.run_with_input(&["verify", "example.test/files", "one"], "other\n").failed();
}

#[test]
fn notary_rotates_keys_and_docker_follows() {
    let stage = Stage::set();
    let (docker, reader) = (stage.docker(), stage.docker());
    let app = stage.repository("acme/app");
    stage.engine.build(&format!("{app}:v1"), "one");
    docker.run(&["push", &format!("{app}:v1")]).succeeded();
    reader.run(&["pull", &format!("{app}:v1")]).succeeded();
    // The notary client works in the trust directory of the one who signed.
    let notary = stage.notary();
    let trust = docker.config_dir().join("trust");
    let with_trust =
        |arguments: &[&str]| notary.run(&[&["--trustDir", trust.to_str().unwrap()], arguments].concat()).succeeded();
    with_trust(&["key", "rotate", &app, "snapshot", "--server-managed"]);
    with_trust(&["key", "rotate", &app, "timestamp", "--server-managed"]);
    with_trust(&["key", "rotate", &app, "targets"]);
    reader.run(&["pull", &format!("{app}:v1")]).succeeded();
    stage.engine.build(&format!("{app}:v2"), "two");
    docker.run(&["push", &format!("{app}:v2")]).succeeded();
    reader.run(&["pull", &format!("{app}:v2")]).succeeded();
}

#[test]
fn a_deleted_collection_is_gone() {
    let stage = Stage::set();
    let owner = stage.notary();
    owner.run(&["init", "--publish", "example.test/files"]).succeeded();
    stage.notary().run(&["list", "example.test/files"]).succeeded();
    owner.run(&["delete", "--remote", "example.test/files"]).succeeded();
    let gone = stage.notary().run(&["list", "example.test/files"]).failed();
    assert!(gone.stdout.contains("does not have trust data for example.test/files"), "{gone}");
}
