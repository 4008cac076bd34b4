//! Command lines that could run or fetch what nobody has signed.

use super::Shim;
use crate::client::Client;

#[track_caller]
fn refused(line: &str, code: i32, message: &str) {
    let shim = Shim::before_stub(Client::new()).env("DOCKER_CONTENT_TRUST_SERVER", "https://127.0.0.1:1");
    let finished = shim.run(&line.split(' ').collect::<Vec<_>>());
    assert_eq!((finished.code, finished.stdout.as_str(), shim.calls()), (code, "", 0), "{line}\n{finished}");
    assert!(finished.stderr.contains(message), "{line}\n{finished}");
}

#[test]
fn flags_that_are_not_known_are_refused_with_the_way_out() {
    for line in [
        "run --new x",
        "--new run x",
        "create -y x",
        "pull --new x",
        "push --new x",
        "build --new .",
        "compose --new up",
        "compose up --new",
    ] {
        let flag = if line.contains("-y") { "-y" } else { "--new" };
        refused(line, 125, &format!("in {flag}").replace("in --new", "unknown flag: --new"));
        refused(line, 125, "hint: content trust is on");
    }
    refused("run --new x", 125, "--disable-content-trust");
    refused("service create --new x", 125, "DOCKER_CONTENT_TRUST=0");
    // As with docker, services have the variable and no flag.
    for line in ["service create --disable-content-trust x", "service update --disable-content-trust --image x y"] {
        refused(line, 125, "unknown flag: --disable-content-trust");
    }
}

#[test]
fn commands_that_cannot_be_checked_are_refused() {
    for line in [
        "stack deploy -c x y",
        "plugin install x",
        "plugin upgrade x",
        "plugin push x",
        "buildx bake",
        "bake",
        "buildx create",
        "buildx inspect --bootstrap",
        "buildx debug build .",
        "model run x",
        "unknown",
        "image unknown",
        "compose build",
        "compose push",
        "compose watch",
        "compose publish",
        "compose alpha x",
        "compose up --build",
    ] {
        refused(line, 3, "refused with content trust on");
    }
}

#[test]
fn images_that_come_in_by_other_ways_are_refused() {
    refused("create --mount type=image,source=x,target=/y z", 3, "mounts of images are not verified");
    refused("run --mount source=x,type=image,target=/y z", 125, "mounts of images are not verified");
    refused("build --build-arg BUILDKIT_SYNTAX=x .", 3, "BUILDKIT_SYNTAX");
    refused("buildx build --build-context a=oci-layout://x .", 3, "not verified");
    refused("build -f https://example.com/Dockerfile .", 3, "not a local file");
    refused(&format!("create {}", "a".repeat(64)), 3, "ids are not signed");
    refused(&format!("create sha256:{}", "a".repeat(64)), 3, "ids are not signed");
}

#[test]
fn wrong_numbers_of_arguments_are_told_as_docker_tells_them() {
    refused("pull", 1, "docker: 'docker pull' requires 1 argument");
    refused("pull a b", 1, "docker: 'docker pull' requires 1 argument");
    refused("image push", 1, "docker: 'docker image push' requires 1 argument");
    refused("create", 1, "docker: 'docker create' requires at least 1 argument");
    refused("run", 125, "docker: 'docker run' requires at least 1 argument");
    refused("build", 1, "docker: 'docker build' requires 1 argument");
    refused("push a@sha256:aa", 1, "invalid reference format");
}

#[test]
fn what_is_moved_without_a_signature_is_told() {
    for line in ["manifest push x", "buildx imagetools create -t x y"] {
        let shim = Shim::before_stub(Client::new());
        let finished = shim.run(&line.split(' ').collect::<Vec<_>>()).succeeded();
        assert_eq!(shim.arguments().join(" "), line);
        assert!(finished.stderr.contains("without a signature"), "{finished}");
    }
}
