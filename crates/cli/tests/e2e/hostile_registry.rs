//! A registry that serves something else than what was signed.

use countersign_testkit::memory_registry::Fault;
use countersign_testkit::{Image, MemoryRegistry};

use crate::stage::{Stage, pushed_digest};

#[test]
fn a_tag_that_was_moved_on_the_registry_does_not_change_what_is_pulled() {
    let (stage, registry) = (Stage::set(), MemoryRegistry::start().unwrap());
    let (signer, verifier) = (stage.docker(), stage.docker());
    let name = format!("{}/acme/app:v1", registry.host());
    stage.engine.build(&name, "good");
    let digest = pushed_digest(&signer.run(&["push", &name]).succeeded());
    signer.run(&["rmi", &name]).succeeded();
    registry.put_image("acme/app", "v1", &Image::with_message("evil")).unwrap();
    assert_ne!(registry.tag("acme/app", "v1").as_ref(), Some(&digest));
    let pulled = verifier.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&format!("Digest: {digest}")), "{pulled}");
}

#[test]
fn a_manifest_with_other_bytes_is_refused_and_not_tagged() {
    let (stage, registry) = (Stage::set(), MemoryRegistry::start().unwrap());
    let (signer, verifier) = (stage.docker(), stage.docker());
    let name = format!("{}/acme/app:v1", registry.host());
    stage.engine.build(&name, "good");
    let digest = pushed_digest(&signer.run(&["push", &name]).succeeded());
    signer.run(&["rmi", &name]).succeeded();
    registry.put_image("acme/app", "evil", &Image::with_message("evil")).unwrap();
    let evil = registry.manifest("acme/app", "evil").unwrap();
    registry.corrupt_manifest("acme/app", &digest, evil.bytes).unwrap();
    registry.inject(Fault::lying_digest(&digest).path("/manifests/"));
    verifier.run(&["pull", &name]).failed();
    verifier.run(&["image", "inspect", &name]).failed();
}
