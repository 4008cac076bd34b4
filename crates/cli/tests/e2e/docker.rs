//! Trusted push and pull with docker's own clients.

use crate::stage::{Stage, pushed_digest};
use countersign_testkit::DockerClient;

#[test]
fn what_docker_20_signs_another_docker_20_verifies() {
    let stage = Stage::set();
    signed_by_one_and_verified_by_the_other(&stage, [("from20", stage.docker20(), stage.docker20())]);
}

#[test]
fn what_docker_20_and_docker_28_sign_the_other_verifies() {
    let stage = Stage::set();
    let from_28 = ("from28", stage.docker28(), stage.docker20());
    signed_by_one_and_verified_by_the_other(&stage, [from_28, ("from20", stage.docker20(), stage.docker28())]);
}

pub(crate) fn signed_by_one_and_verified_by_the_other<const N: usize>(
    stage: &Stage,
    pairs: [(&str, DockerClient, DockerClient); N],
) {
    let app = stage.repository("acme/app");
    for (text, signer, verifier) in pairs {
        let name = format!("{app}-{text}:v1");
        stage.engine.build(&name, text);
        let pushed = signer.run(&["push", &name]).succeeded();
        let digest = pushed_digest(&pushed);
        assert!(pushed.stdout.contains(&format!("Finished initializing \"{app}-{text}\"")), "{pushed}");
        assert!(pushed.stdout.contains(&format!("Successfully signed {name}")), "{pushed}");
        signer.run(&["rmi", &name]).succeeded();
        let pulled = verifier.run(&["pull", &name]).succeeded();
        assert!(pulled.stdout.contains(&format!("Pull (1 of 1): {name}@{digest}")), "{pulled}");
        let inspected = verifier.run(&["trust", "inspect", &name]).succeeded();
        assert!(inspected.stdout.contains(digest.trim_start_matches("sha256:")), "{inspected}");
    }
}

#[test]
fn each_push_is_a_new_version_that_everybody_sees() {
    let stage = Stage::set();
    let (signer, verifier) = (stage.docker(), stage.docker());
    let app = stage.repository("acme/app");
    for round in 1..=3 {
        let name = format!("{app}:v{round}");
        stage.engine.build(&name, &name);
        signer.run(&["push", &name]).succeeded();
        verifier.run(&["pull", &name]).succeeded();
    }
    let inspected = verifier.run(&["trust", "inspect", "--pretty", &app]).succeeded();
    for tag in ["v1", "v2", "v3"] {
        assert!(inspected.stdout.contains(tag), "{inspected}");
    }
    let name = format!("{app}:v1");
    stage.engine.build(&name, "changed");
    let digest = pushed_digest(&signer.run(&["push", &name]).succeeded());
    let pulled = verifier.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
}

#[test]
fn a_revoked_tag_is_not_pulled() {
    let stage = Stage::set();
    let (signer, verifier) = (stage.docker(), stage.docker());
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    signer.run(&["push", &name]).succeeded();
    verifier.run(&["pull", &name]).succeeded();
    signer.run(&["trust", "revoke", "--yes", &name]).succeeded();
    let refused = verifier.run(&["pull", &name]).failed();
    assert!(refused.stderr.contains("No valid trust data for v1"), "{refused}");
}

#[test]
fn an_unsigned_tag_and_an_unknown_repository_are_not_pulled() {
    let stage = Stage::set();
    let (signer, verifier) = (stage.docker(), stage.docker());
    let app = stage.repository("acme/app");
    for tag in ["v1", "v2"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    let unsigned = format!("{app}:v2");
    signer.run(&["push", "--disable-content-trust", &unsigned]).succeeded();
    let refused = verifier.run(&["pull", &unsigned]).failed();
    assert!(refused.stderr.contains("remote trust data does not exist"), "{refused}");
    signer.run(&["push", &format!("{app}:v1")]).succeeded();
    let refused = verifier.run(&["pull", &unsigned]).failed();
    assert!(refused.stderr.contains("No valid trust data for v2"), "{refused}");
}

#[test]
fn what_was_signed_survives_a_power_cut_and_nothing_is_signed_while_the_service_is_away() {
    let mut stage = Stage::set();
    let (signer, verifier) = (stage.docker(), stage.docker());
    let app = stage.repository("acme/app");
    for tag in ["v1", "v2"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    signer.run(&["push", &format!("{app}:v1")]).succeeded();
    stage.service.kill();
    let failed = signer.run(&["push", &format!("{app}:v2")]).failed();
    // What a balancer does with nobody behind it is said in other words.
    let words = ["connection refused", "connection reset", "EOF"];
    assert!(words.iter().any(|word| failed.stderr.contains(word)), "{failed}");
    stage.service.restart();
    verifier.run(&["pull", &format!("{app}:v1")]).succeeded();
    let refused = verifier.run(&["pull", &format!("{app}:v2")]).failed();
    assert!(refused.stderr.contains("No valid trust data for v2"), "{refused}");
    signer.run(&["push", &format!("{app}:v2")]).succeeded();
    verifier.run(&["pull", &format!("{app}:v2")]).succeeded();
}
