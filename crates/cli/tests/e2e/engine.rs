//! Push and pull with our client through a real engine and a real registry.

use crate::client::{Client, Ending, TRUST, USER};
use crate::stage::{Stage, first_line_with};

#[test]
fn push_signs_and_everybody_pulls_exactly_that() {
    let stage = Stage::set();
    let (owner, reader) = (stage.countersign(), stage.countersign());
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    let pushed = owner.run(&["push", &name]).succeeded();
    let signed = first_line_with(&pushed.stdout, "Successfully signed ");
    let digest = signed.rsplit_once('@').unwrap().1;
    assert!(pushed.stderr.contains("Finished initializing"), "{pushed}");
    stage.docker().run(&["rmi", &name]).succeeded();

    let pulled = reader.run(&["pull", &name]).succeeded();
    assert_eq!(pulled.stdout, format!("{name}@{digest}\n"), "{pulled}");
    assert!(pulled.stderr.contains("first use of"), "{pulled}");
    for docker in [stage.docker(), stage.docker20()] {
        let pulled = docker.run(&["pull", &name]).succeeded();
        assert!(pulled.stdout.contains(&format!("Digest: {digest}")), "{pulled}");
    }
}

#[test]
fn the_same_digest_again_is_not_published_again() {
    let stage = Stage::set();
    let owner = stage.countersign();
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    owner.run(&["push", &name]).succeeded();
    let targets = || std::fs::read(owner.metadata(name.strip_suffix(":v1").unwrap()).join("targets.json")).unwrap();
    let before = targets();
    let again = owner.run(&["push", &name]).succeeded();
    assert!(again.stdout.starts_with("Already signed, nothing published: "), "{again}");
    assert_eq!(targets(), before);

    stage.engine.build(&name, "two");
    let changed = owner.run(&["push", &name]).succeeded();
    assert!(changed.stdout.starts_with("Successfully signed "), "{changed}");
    assert!(!changed.stderr.contains("Finished initializing"), "{changed}");
    let digest = changed.stdout.trim().rsplit_once('@').unwrap().1.to_owned();
    let pulled = stage.docker().run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
}

#[test]
fn a_tag_that_was_moved_in_the_registry_still_gives_the_signed_image() {
    let stage = Stage::set();
    let (owner, reader) = (stage.countersign(), stage.countersign());
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "good");
    let pushed = owner.run(&["push", &name]).succeeded();
    let digest = pushed.stdout.trim().rsplit_once('@').unwrap().1.to_owned();
    stage.engine.build(&name, "evil");
    let unsigned = owner.run(&["push", "--disable-content-trust", &name]).succeeded();
    assert!(unsigned.stdout.starts_with("Pushed unsigned "), "{unsigned}");
    assert!(!unsigned.stdout.contains(&digest), "{unsigned}");

    let pulled = reader.run(&["pull", &name]).succeeded();
    assert_eq!(pulled.stdout, format!("{name}@{digest}\n"), "{pulled}");
    let untrusting = reader.run(&["pull", "--disable-content-trust", &name]).succeeded();
    assert!(untrusting.stderr.contains("warning: content trust is off (--disable-content-trust)"), "{untrusting}");
    assert!(!untrusting.stdout.contains(&digest), "{untrusting}");
    // The local tag now names the other image: verification goes by the signature, not by what is here.
    let again = reader.run(&["pull", &name]).succeeded();
    assert!(again.stdout.contains(&digest), "{again}");
}

#[test]
fn nothing_unsigned_comes_by_accident() {
    let stage = Stage::set();
    let (owner, reader) = (stage.countersign(), stage.countersign());
    let app = stage.repository("acme/app");
    for tag in ["v1", "v2"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    let unsigned = format!("{app}:v2");
    owner.run(&["push", "--disable-content-trust", &unsigned]).succeeded();
    stage.docker().run(&["rmi", &unsigned]).succeeded();
    for command in ["pull", "verify", "inspect"] {
        reader.run(&[command, &unsigned]).refused(TRUST, "does not have trust data for");
    }
    owner.run(&["push", &format!("{app}:v1")]).succeeded();
    for command in ["pull", "verify"] {
        reader.run(&[command, &unsigned]).refused(TRUST, "No valid trust data for v2");
    }
    stage.docker().run(&["image", "inspect", &unsigned]).failed();
    owner.run(&["push", &format!("{app}:none")]).refused(USER, "does not exist");
}

#[test]
fn a_revoked_tag_is_pulled_no_more() {
    let stage = Stage::set();
    let (owner, reader) = (stage.countersign(), stage.countersign());
    let app = stage.repository("acme/app");
    for tag in ["v1", "v2", "v3"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
        owner.run(&["push", &format!("{app}:{tag}")]).succeeded();
    }
    reader.run(&["pull", &format!("{app}:v1")]).succeeded();
    owner.run(&["revoke", &format!("{app}:v1")]).succeeded();
    reader.run(&["pull", &format!("{app}:v1")]).refused(TRUST, "No valid trust data for v1");
    stage.docker().run(&["pull", &format!("{app}:v1")]).failed();
    reader.run(&["pull", &format!("{app}:v2")]).succeeded();

    owner.run(&["revoke", &app]).refused(USER, "not confirmed");
    reader.run(&["verify", &format!("{app}:v2")]).succeeded();
    owner.run(&["revoke", "--yes", &app]).succeeded();
    for tag in ["v2", "v3"] {
        reader.run(&["verify", &format!("{app}:{tag}")]).refused(TRUST, "No valid trust data for");
    }
    owner.run(&["revoke", "--yes", &app]).refused(USER, "no signed tags to remove");
    owner.run(&["revoke", &format!("{app}:v1")]).refused(TRUST, "No valid trust data for v1");
    let stranger = stage.countersign();
    stranger.run(&["revoke", "--yes", &stage.repository("acme/other")]).refused(TRUST, "does not have trust data");
    assert!(!stranger.trust_dir().join("private").exists(), "no key is made for a revocation");
}

#[test]
fn an_engine_that_is_away_is_said_to_be() {
    let stage = Stage::set();
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    stage.countersign().run(&["push", &name]).succeeded();
    let alone = Client::new().of(&stage.service).env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let refused = alone.run(&["pull", &name]).refused(crate::client::NETWORK, "/nowhere/docker.sock");
    assert!(refused.stderr.contains("--to"), "{refused}");
}
