//! The pipelines of `integrations`: each file is checked by the services' own rules, and its steps are run.

pub(super) mod azure;
mod github;
mod gitlab;
pub(super) mod jenkins;
pub(super) mod machine;

use countersign_testkit::Finished;
use machine::{Ended, Machine};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn integrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../integrations")
}

fn text(path: &str) -> String {
    std::fs::read_to_string(integrations().join(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&text(path)).unwrap()
}

/// What is wrong with a file by a service's schema.
fn faults(schema: &str, file: &Value) -> Vec<String> {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/ci-schemas").join(schema);
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.iter_errors(file).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

#[test]
fn the_yaml_files_are_valid_by_the_services_schemas() {
    for (path, schema, planted) in [
        ("azure-devops/azure-pipelines.yml", "azure-pipelines.json", "pool"),
        ("azure-devops/azure/countersign-sign.yml", "azure-pipelines.json", "steps"),
        ("github/workflows/signed-image.yml", "github-workflows.json", "jobs"),
        ("github/actions/countersign-sign/action.yml", "github-actions.json", "runs"),
        ("gitlab/.gitlab-ci.yml", "gitlab-ci.json", "stages"),
    ] {
        let mut file = yaml(path);
        assert_eq!(faults(schema, &file), Vec::<String>::new(), "{path}");
        file[planted] = Value::from(17);
        assert_ne!(faults(schema, &file), Vec::<String>::new(), "{path}: the schema should see a fault in {planted}");
    }
}

#[test]
fn the_groovy_files_are_valid_groovy() {
    let folder = tempfile::tempdir().unwrap();
    let java = std::fs::canonicalize("/usr/bin/java").unwrap();
    let java_home = java.parent().unwrap().parent().unwrap();
    let compiled = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new("groovyc");
        command.env("JAVA_HOME", java_home).arg("-d").arg(folder.path().join("classes")).arg(path);
        Finished::of(&mut command, b"")
    };
    let jenkinsfile = text("jenkins/Jenkinsfile");
    compiled("Jenkinsfile.groovy", &jenkinsfile).succeeded();
    compiled("countersignSign.groovy", &text("jenkins/vars/countersignSign.groovy")).succeeded();
    compiled("Broken.groovy", &jenkinsfile.replacen("stages {", "stages {{(", 1)).failed();
}

#[test]
fn init_writes_the_documented_files_and_replaces_nothing_unasked() {
    use crate::client::{Client, Ending, USER};
    let files = [
        ("jenkins", "Jenkinsfile", "jenkins/Jenkinsfile"),
        ("azure", "azure-pipelines.yml", "azure-devops/azure-pipelines.yml"),
        ("azure", "azure/countersign-sign.yml", "azure-devops/azure/countersign-sign.yml"),
        ("github", ".github/workflows/signed-image.yml", "github/workflows/signed-image.yml"),
        ("github", ".github/actions/countersign-sign/action.yml", "github/actions/countersign-sign/action.yml"),
        ("gitlab", ".gitlab-ci.yml", "gitlab/.gitlab-ci.yml"),
    ];
    let client = Client::new();
    for (system, written, source) in files {
        let _ = std::fs::remove_dir_all(client.folder().join("repository"));
        std::fs::create_dir(client.folder().join("repository")).unwrap();
        let init = ["ci", "init", system, "--dir", "repository"];
        let done = client.run(&init).succeeded();
        assert!(done.stdout.contains(written) && done.stderr.contains("DOCKER_CONTENT_TRUST_SERVER"), "{done}");
        let path = client.folder().join("repository").join(written);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text(source));
        client.run(&init).succeeded();
        std::fs::write(&path, "mine").unwrap();
        client.run(&init).refused(USER, "is there already");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
        client.run(&[&init[..], &["--force"]].concat()).succeeded();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text(source));
    }
    client.run(&["ci", "init", "github", "--dir", "nowhere"]).refused(USER, "is no folder");
}

/// Runs a pipeline in every way that it can end, and looks what is left each time.
fn runs_and_leaves_nothing(pipeline: impl Fn(&Machine) -> Ended) {
    let mut machine = Machine::set();
    machine.begin("1");
    let ended = pipeline(&machine);
    assert!(ended.succeeded(), "{ended}");
    machine.is_clean_after(&ended);
    machine.is_signed("1");

    machine.begin("2");
    "not the passphrase at all".clone_into(&mut machine.passphrase);
    let ended = pipeline(&machine);
    assert!(!ended.succeeded(), "{ended}");
    machine.is_clean_after(&ended);
    machine.right_passphrase();

    // The job is cancelled while it signs: the steps for every case still run.
    machine.begin("3");
    machine.silent_service(rustix::process::Signal::TERM);
    let ended = pipeline(&machine);
    assert!(!ended.succeeded(), "{ended}");
    machine.is_clean_after(&ended);

    // It is killed while it signs, and nothing runs any more: the next job cleans up.
    machine.begin("4");
    machine.silent_service(rustix::process::Signal::KILL);
    let ended = pipeline(&machine);
    assert!(!ended.succeeded(), "{ended}");
    assert!(machine.has_keys_in_memory(), "{ended}");
    machine.begin("5");
    let ended = pipeline(&machine);
    assert!(ended.succeeded(), "{ended}");
    machine.is_clean_after(&ended);
    machine.is_signed("5");
}

#[test]
fn the_jenkins_pipeline_runs_and_leaves_nothing() {
    runs_and_leaves_nothing(|machine| jenkins::run(machine, &text("jenkins/Jenkinsfile")));
}

#[test]
fn the_azure_pipeline_runs_and_leaves_nothing() {
    runs_and_leaves_nothing(azure::run);
}

#[test]
fn the_github_pipeline_runs_and_leaves_nothing() {
    runs_and_leaves_nothing(github::run);
}

#[test]
fn the_gitlab_pipeline_runs_and_leaves_nothing() {
    runs_and_leaves_nothing(gitlab::run);
}

#[test]
fn the_step_of_the_shared_library_signs() {
    let mut machine = Machine::set();
    machine.begin("1");
    machine.push_by_hand();
    let image = format!("{}:1", machine.image());
    let ended = jenkins::run_library_step(&machine, &text("jenkins/vars/countersignSign.groovy"), &image);
    assert!(ended.succeeded(), "{ended}");
    machine.is_clean_after(&ended);
    machine.is_signed("1");
}
