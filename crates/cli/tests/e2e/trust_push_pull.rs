//! `docker trust push`, `pull` and `sign`: what docker 29 took away, with a real engine and registry.

use crate::stage::{Stage, pushed_digest};
use countersign_testkit::memory_registry::Fault;

#[test]
fn push_and_pull_say_what_docker_said_and_docker_takes_over_from_both() {
    let stage = Stage::set();
    let (owner, reader) = (stage.countersign(), stage.countersign());
    let (app, name) = (stage.repository("acme/app"), format!("{}:v1", stage.repository("acme/app")));
    stage.engine.build(&name, "one");
    let pushed = owner.plugin(&["trust", "push", &name]).succeeded();
    let digest = pushed_digest(&pushed);
    let lines: Vec<&str> = pushed.stdout.lines().collect();
    assert_eq!(lines[0], format!("The push refers to repository [{app}]"));
    let signed = [
        "Signing and pushing trust metadata".to_owned(),
        format!("Finished initializing {app:?}"),
        format!("Successfully signed {name}"),
    ];
    assert_eq!(lines[lines.len() - 3..], signed);
    stage.docker().run(&["rmi", &name]).succeeded();
    let pulled = reader.plugin(&["trust", "pull", &name]).succeeded();
    let lines: Vec<&str> = pulled.stdout.lines().collect();
    assert_eq!(lines[0], format!("Pull (1 of 1): {name}@{digest}"));
    assert_eq!(lines[1], format!("{app}@{digest}: Pulling from acme/app"));
    assert_eq!(*lines.last().unwrap(), name);
    assert!(pulled.stderr.contains(&format!("Tagging {app}@{digest} as {name}\n")), "{pulled}");
    let quiet = reader.plugin(&["trust", "pull", "-q", &name]).succeeded();
    assert_eq!(quiet.stdout, format!("Pull (1 of 1): {name}@{digest}\n{name}\n"));
    for docker in [stage.docker(), stage.docker20()] {
        docker.run(&["pull", &name]).succeeded();
    }
}

#[test]
fn all_tags_are_signed_in_one_publication_and_pulled_together() {
    let stage = Stage::set();
    let (owner, reader) = (stage.countersign(), stage.countersign());
    let app = stage.repository("acme/app");
    for tag in ["1.9", "1.10", "latest"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    let pushed = owner.plugin(&["trust", "push", "-a", &app]).succeeded();
    for tag in ["1.9", "1.10", "latest"] {
        assert!(pushed.stdout.contains(&format!("Successfully signed {app}:{tag}\n")), "{pushed}");
    }
    reader.plugin(&["trust", "inspect", &app]).succeeded();
    let metadata = reader.metadata(&app).join("targets.json");
    let targets: serde_json::Value = serde_json::from_slice(&std::fs::read(metadata).unwrap()).unwrap();
    assert_eq!(targets["signed"]["version"], 2, "one publication");
    let pulled = reader.plugin(&["trust", "pull", "-a", "-q", &app]).succeeded();
    let starts: Vec<&str> = pulled.stdout.lines().map(|line| line.split('@').next().unwrap()).collect();
    let pull = |number: usize, tag: &str| format!("Pull ({number} of 3): {app}:{tag}");
    assert_eq!(starts, [pull(1, "1.9"), pull(2, "1.10"), pull(3, "latest"), app]);
}

#[test]
fn names_that_cannot_be_pushed_or_pulled_are_refused_before_anything_happens() {
    let stage = Stage::set();
    let person = stage.countersign();
    let app = stage.repository("acme/app");
    let digest = format!("{app}@sha256:{}", "a".repeat(64));
    for (words, said) in [
        (vec!["push", "-a", "x:v1"], "tag can't be used with --all-tags/-a"),
        (vec!["pull", "-a", "x:v1"], "tag can't be used with --all-tags/-a"),
        (vec!["push", &digest], "cannot push a digest reference"),
        (vec!["pull", &digest], "a digest is not signed"),
        (vec!["push", "UPPER CASE"], "invalid reference format"),
    ] {
        let refused = person.plugin(&[&["trust"], words.as_slice()].concat()).failed();
        assert!(refused.stderr.contains(said) && refused.stdout.is_empty(), "{refused}");
    }
    let missing = person.plugin(&["trust", "push", &app]).failed();
    assert!(missing.stdout.starts_with("Using default tag: latest\n"), "{missing}");
    assert!(missing.stderr.contains("An image does not exist locally with the tag"), "{missing}");
    assert!(!person.trust_dir().join("private").exists(), "no key was made");
}

#[test]
fn what_is_not_signed_is_not_pulled_and_ends_with_3() {
    let stage = Stage::set();
    let person = stage.countersign();
    let app = stage.repository("acme/app");
    stage.engine.build(&format!("{app}:v1"), "one");
    let unknown = person.plugin(&["trust", "pull", &format!("{app}:v1")]);
    assert_eq!(unknown.code, 3, "{unknown}");
    assert!(unknown.stderr.starts_with(&format!("Error: remote trust data does not exist for {app}: ")), "{unknown}");
    person.plugin(&["trust", "push", &format!("{app}:v1")]).succeeded();
    let unsigned = person.plugin(&["trust", "pull", &format!("{app}:v2")]);
    assert_eq!((unsigned.code, unsigned.stderr.lines().next()), (3, Some("No valid trust data for v2")), "{unsigned}");
    assert_eq!(unsigned.stdout, "");
}

#[test]
fn an_image_that_only_the_registry_has_is_signed_as_it_is_there() {
    let stage = Stage::set();
    let (owner, reader) = (stage.countersign(), stage.countersign());
    let app = stage.repository("acme/app");
    let index = crate::indexes::put_index(&stage.registry.host(), "acme/app", "v1");
    owner.plugin(&["trust", "key", "generate", "alice"]).succeeded();
    owner.plugin(&["trust", "signer", "add", "--key", "alice.pub", "alice", &app]).succeeded();
    let signed = owner.plugin(&["trust", "sign", &format!("{app}:v1")]).succeeded();
    assert!(signed.stdout.ends_with(&format!("Successfully signed {app}:v1\n")), "{signed}");
    assert!(!signed.stdout.contains("The push refers"), "{signed}");
    let pulled = reader.plugin(&["trust", "pull", &format!("{app}:v1")]).succeeded();
    assert!(pulled.stdout.contains(&format!("@{index}")), "{pulled}");
    // Now the engine has one platform of it: a push would replace the index.
    owner.plugin(&["trust", "revoke", &format!("{app}:v1")]).succeeded();
    let again = owner.plugin(&["trust", "sign", &format!("{app}:v1")]).succeeded();
    assert!(!again.stdout.contains("The push refers"), "{again}");
    let inspected = reader.plugin(&["trust", "inspect", &format!("{app}:v1")]).succeeded();
    assert!(inspected.stdout.contains(index.trim_start_matches("sha256:")), "{inspected}");
}

#[test]
fn a_registry_that_does_not_serve_what_the_engine_says_it_pushed_gets_no_signature() {
    let stage = Stage::set();
    let registry = countersign_testkit::MemoryRegistry::start().unwrap();
    let owner = stage.countersign();
    let name = format!("{}/acme/app:v1", registry.host());
    stage.engine.build(&name, "good");
    registry.inject(Fault::status(404).method("GET").path("/manifests/sha256:"));
    let refused = owner.plugin(&["trust", "push", &name]).failed();
    assert!(refused.stderr.contains("the engine says that it pushed this: not signed"), "{refused}");
    assert!(!refused.stdout.contains("Signing"), "{refused}");
    let nothing = owner.plugin(&["trust", "inspect", &name]).failed();
    assert_eq!(nothing.stdout, "[]\n", "{nothing}");
}
