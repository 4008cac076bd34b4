//! Push, pull, run, create, build and service with real clients that have no content trust of their own.

use super::Shim;
use crate::stage::{Stage, pushed_digest};
use countersign_testkit::Tool;

/// The shim before the docker client 20.10, which reads no variable about trust any more when the shim calls it.
fn shim(stage: &Stage) -> Shim {
    Shim::before(stage.countersign(), &Tool::DOCKER_20.path())
}

fn context(shim: &Shim, dockerfile: &str) -> String {
    let folder = shim.path("context");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(folder.join("hello2"), "hello").unwrap();
    folder.display().to_string()
}

/// The pipeline that people have.
fn the_pipeline_works(stage: &Stage, shim: &Shim) {
    let app = stage.repository("acme/app");
    let (v1, v2) = (format!("{app}:1.0"), format!("{app}:1.1"));
    let scratch = context(shim, "FROM scratch\nCOPY hello2 /hello\n");
    shim.run(&["build", "-t", &v1, &scratch]).succeeded();
    let pushed = shim.run(&["push", &v1]).succeeded();
    assert!(pushed.stdout.ends_with(&format!("Successfully signed {v1}\n")), "{pushed}");
    let digest = pushed_digest(&pushed);

    // Another person, who knows nothing yet, builds upon it.
    let upon = context(shim, &format!("FROM {v1} AS base\nFROM base\nCOPY hello2 /hello2\n"));
    shim.run(&["rmi", &v1]).succeeded();
    let built = shim.run(&["build", "-t", &v2, &upon]).succeeded();
    assert!(built.stdout.contains(&format!("FROM {app}@{digest}")), "{built}");
    assert!(built.stderr.contains(&format!("Tagging {app}@{digest} as {v1}")), "{built}");
    let unsigned = shim.run(&["pull", &v2]);
    assert_eq!(unsigned.code, 3, "a build signs nothing: {unsigned}");
    shim.run(&["push", &v2]).succeeded();
    shim.run(&["rmi", &v2, &v1]).succeeded();
    let pulled = shim.run(&["pull", &v1]).succeeded();
    assert!(pulled.stdout.contains(&format!("Pull (1 of 1): {v1}@{digest}")), "{pulled}");
    assert!(pulled.stderr.contains(&format!("Tagging {app}@{digest} as {v1}")), "{pulled}");
}

#[test]
fn the_pipeline_works_with_docker_20() {
    let stage = Stage::set();
    the_pipeline_works(&stage, &shim(&stage));
}

mod docker_28 {
    use super::*;

    #[test]
    fn the_pipeline_works_unchanged() {
        let stage = Stage::set();
        let shim = Shim::before(stage.countersign(), &Tool::DOCKER_28.path());
        the_pipeline_works(&stage, &shim);
        let app = stage.repository("acme/app");
        let inspected = shim.run(&["trust", "inspect", "--pretty", &app]).succeeded();
        assert!(inspected.stdout.contains("1.0") && inspected.stdout.contains("1.1"), "{inspected}");
        let created = shim.run(&["create", "--name", "made", &format!("{app}:1.0"), "/hello"]).succeeded();
        assert_eq!(created.stdout.trim().len(), 64, "{created}");
        let image = shim.run(&["inspect", "--format", "{{.Config.Image}}", "made"]).succeeded();
        assert!(image.stdout.starts_with(&format!("{app}@sha256:")), "{image}");
    }
}

#[test]
fn a_tag_that_was_moved_after_signing_is_not_what_one_gets() {
    let stage = Stage::set();
    let shim = shim(&stage);
    let app = stage.repository("acme/app");
    let name = format!("{app}:v1");
    stage.engine.build(&name, "good");
    let digest = pushed_digest(&shim.run(&["push", &name]).succeeded());
    stage.engine.build(&name, "evil");
    let evil = pushed_digest(&shim.run(&["push", "--disable-content-trust", &name]).succeeded());
    assert_ne!(digest, evil);

    let pulled = shim.run(&["pull", &name]).succeeded();
    assert!(pulled.stdout.contains(&digest) && !pulled.stdout.contains(&evil), "{pulled}");
    // The engine has the evil one under the tag; the container is made from the signed one all the same.
    stage.engine.build(&name, "evil");
    shim.run(&["create", "--name", "made", &name, "x"]).succeeded();
    let image = shim.run(&["inspect", "--format", "{{.Config.Image}}", "made"]).succeeded();
    assert_eq!(image.stdout.trim(), format!("{app}@{digest}"));
    let upon = context(&shim, &format!("FROM {name}\nCOPY hello2 /x\n"));
    let built = shim.run(&["build", &upon]).succeeded();
    assert!(built.stdout.contains(&format!("FROM {app}@{digest}")), "{built}");
    for by_digest in [format!("{app}@{evil}"), format!("{name}@{evil}")] {
        for command in [["pull"], ["create"]] {
            let refused = shim.run(&[command[0], &by_digest]);
            assert_eq!(refused.code, 3, "{refused}");
            assert!(refused.stderr.contains("it is not what is signed"), "{refused}");
        }
    }
    for by_digest in [format!("{app}@{digest}"), format!("{name}@{digest}")] {
        shim.run(&["pull", &by_digest]).succeeded();
        shim.run(&["create", &by_digest, "x"]).succeeded();
    }
}

#[test]
fn nothing_unsigned_is_pulled_run_or_built_upon() {
    let stage = Stage::set();
    let shim = shim(&stage);
    let app = stage.repository("acme/app");
    let (signed, unsigned) = (format!("{app}:v1"), format!("{app}:v2"));
    for name in [&signed, &unsigned] {
        stage.engine.build(name, name);
    }
    shim.run(&["push", &signed]).succeeded();
    shim.run(&["push", "--disable-content-trust", &unsigned]).succeeded();
    let unknown = format!("{}:v1", stage.repository("acme/unknown"));
    let id = shim.run(&["images", "-q", "--no-trunc", &unsigned]).succeeded().stdout.trim().to_owned();
    for image in [unsigned.as_str(), &unknown, &id] {
        assert_eq!(shim.run(&["create", image, "x"]).code, 3, "{image}");
        let refused = shim.run(&["run", "--rm", image]);
        assert_eq!((refused.code, refused.stdout.as_str()), (125, ""), "{refused}");
        assert!(refused.stderr.starts_with("docker: "), "{refused}");
        assert!(refused.stderr.contains("\n\nRun 'docker run --help' for more information\n"), "{refused}");
        if !image.starts_with("sha256:") {
            assert_eq!(shim.run(&["pull", image]).code, 3, "{image}");
            assert_eq!(shim.run(&["service", "create", image]).code, 3, "{image}");
        }
    }
    for dockerfile in [
        format!("FROM {unsigned}\n"),
        format!("FROM {signed}\nCOPY --from={unsigned} /hello /x\n"),
        format!("ARG TAG=v2\nFROM {app}:$TAG\n"),
        format!("FROM scratch\nRUN --mount=from={unsigned},target=/x y\n"),
        format!("# syntax={unsigned}\nFROM {signed}\n"),
    ] {
        let refused = shim.run(&["build", &context(&shim, &dockerfile)]);
        assert_eq!(refused.code, 3, "{dockerfile}{refused}");
    }
    let containers = shim.run(&["ps", "-aq"]).succeeded();
    assert_eq!(containers.stdout, "");
}

#[test]
fn what_is_missing_is_pulled_by_digest_and_tagged_before_a_container_is_made() {
    let stage = Stage::set();
    let shim = shim(&stage);
    let app = stage.repository("acme/app");
    let name = format!("{app}:v1");
    stage.engine.build(&name, "one");
    let digest = pushed_digest(&shim.run(&["push", &name]).succeeded());
    let forget = || shim.run(&["rmi", "-f", &name, &format!("{app}@{digest}")]);
    forget();
    let created = shim.run(&["create", &name, "x"]).succeeded();
    let expected = [format!("Unable to find image '{name}' locally"), format!("Tagging {app}@{digest} as {name}")];
    for line in &expected {
        assert!(created.stderr.contains(line), "{created}");
    }
    assert_eq!(created.stdout.trim().len(), 64, "{created}");
    let again = shim.run(&["create", &name, "x"]).succeeded();
    assert_eq!(again.stderr.lines().filter(|line| !line.starts_with("  hint")).count(), 0, "{again}");
    let always = shim.run(&["create", "--pull", "always", &name, "x"]).succeeded();
    assert_eq!(always.stderr.matches("Status: ").count(), 1, "{always}");
    let quiet = shim.run(&["create", "-q", "--pull=always", "--", &name, "x"]);
    assert!(!quiet.stderr.contains("Status: "), "{quiet}");
    let service = shim.run(&["service", "create", &name]);
    assert!(service.stderr.contains("not a swarm manager"), "{service}");
}

#[test]
fn builders_get_a_dockerfile_from_standard_input_and_buildkit_too() {
    let stage = Stage::set();
    let shim = shim(&stage);
    let app = stage.repository("acme/app");
    let name = format!("{app}:v1");
    stage.engine.build(&name, "one");
    let digest = pushed_digest(&shim.run(&["push", &name]).succeeded());
    let dockerfile = format!("FROM {name}\n");
    let mut command = shim.command(&["build", "-"]);
    let built = countersign_testkit::Finished::of(&mut command, dockerfile.as_bytes()).succeeded();
    assert!(built.stdout.contains(&format!("FROM {app}@{digest}")), "{built}");
    let folder = context(&shim, "FROM evil\n");
    let mut command = shim.command(&["build", "-f", "-", &folder]);
    let text = format!("FROM {name}\nCOPY hello2 /x\n");
    let built = countersign_testkit::Finished::of(&mut command, text.as_bytes()).succeeded();
    assert!(built.stdout.contains(&format!("FROM {app}@{digest}")), "{built}");
    let mut archive = shim.command(&["build", "-"]);
    let refused = countersign_testkit::Finished::of(&mut archive, &[0x1f, 0x8b, 8, 0]);
    assert_eq!(refused.code, 3, "{refused}");
    assert_eq!(shim.run(&["build", "https://example.com/x.git"]).code, 3);
}

#[test]
fn all_tags_are_signed_by_one_push_and_pulled_by_one_pull() {
    let stage = Stage::set();
    let shim = shim(&stage);
    let app = stage.repository("acme/app");
    for tag in ["v1", "v2"] {
        stage.engine.build(&format!("{app}:{tag}"), tag);
    }
    let pushed = shim.run(&["push", "-a", &app]).succeeded();
    for tag in ["v1", "v2"] {
        assert!(pushed.stdout.contains(&format!("Successfully signed {app}:{tag}")), "{pushed}");
    }
    let pulled = shim.run(&["pull", "-q", "-a", &app]).succeeded();
    assert!(pulled.stdout.contains("Pull (2 of 2)"), "{pulled}");
    let refused = shim.run(&["pull", "-a", &format!("{app}:v1")]).failed();
    assert!(refused.stderr.contains("tag can't be used with --all-tags/-a"), "{refused}");
}
