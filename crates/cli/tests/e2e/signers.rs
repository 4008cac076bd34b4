//! People who may sign, with docker's own commands.

use crate::stage::{Stage, pushed_digest};

#[test]
fn a_signer_signs_with_a_key_of_her_own_and_is_removed_again() {
    let stage = Stage::set();
    // Removing signers does nothing with docker 26 to 28, so the owner has an older one.
    let (owner, alice, reader) = (stage.docker20(), stage.docker(), stage.docker());
    let app = stage.repository("acme/app");
    stage.engine.build(&format!("{app}:v1"), "one");
    owner.run(&["push", &format!("{app}:v1")]).succeeded();
    alice.run(&["trust", "key", "generate", "alice"]).succeeded();
    let public = alice.folder().join("alice.pub");
    let added = ["trust", "signer", "add", "--key", public.to_str().unwrap(), "alice", &app];
    owner.run(&added).succeeded();

    stage.engine.build(&format!("{app}:v2"), "two");
    let signed = alice.run(&["trust", "sign", &format!("{app}:v2")]).succeeded();
    let digest = pushed_digest(&signed);
    let pulled = reader.run(&["pull", &format!("{app}:v2")]).succeeded();
    assert!(pulled.stdout.contains(&digest), "{pulled}");
    let inspected = reader.run(&["trust", "inspect", "--pretty", &app]).succeeded();
    assert!(inspected.stdout.contains("alice"), "{inspected}");

    let stranger = stage.docker();
    stranger.run(&["trust", "sign", &format!("{app}:v2")]).failed();

    owner.run(&["trust", "signer", "remove", "--force", "alice", &app]).succeeded();
    stage.engine.build(&format!("{app}:v3"), "three");
    alice.run(&["trust", "sign", &format!("{app}:v3")]).failed();
    let refused = reader.run(&["pull", &format!("{app}:v3")]).failed();
    assert!(refused.stderr.contains("No valid trust data for v3"), "{refused}");
}
