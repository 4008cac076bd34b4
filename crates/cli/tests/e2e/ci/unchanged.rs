//! Pipelines that people have, as they are: gpg, tar, `docker login`, `docker build`, `docker push`, `rm -rf ~/.docker/trust`.

use super::pipelines::machine::{Docker, Ended, Machine};
use super::pipelines::{azure, jenkins};
use crate::stage::Stage;

const JENKINSFILE: &str = include_str!("unchanged/Jenkinsfile");
const AZURE: &str = include_str!("unchanged/azure-pipelines.yml");

fn runs(docker: Docker, pipeline: impl Fn(&Machine) -> Ended) {
    let mut machine = Machine::with(docker);
    machine.begin("1");
    let ended = pipeline(&machine).masked_by_the_service(&machine);
    assert!(ended.succeeded(), "{ended}");
    machine.is_clean_after(&ended);
    machine.verifies("1");
    machine.begin("2");
    "not the passphrase at all".clone_into(&mut machine.passphrase);
    let ended = pipeline(&machine).masked_by_the_service(&machine);
    assert!(!ended.succeeded(), "{ended}");
    machine.is_clean_after(&ended);
}

fn jenkins(machine: &Machine) -> Ended {
    jenkins::run(machine, JENKINSFILE)
}

fn azure(machine: &Machine) -> Ended {
    azure::run_file(machine, &serde_yaml_ng::from_str(AZURE).unwrap())
}

#[test]
fn the_jenkins_pipeline_that_people_have_runs_with_the_shim() {
    runs(Docker::Shim, jenkins);
}

#[test]
fn the_azure_pipeline_that_people_have_runs_with_the_shim() {
    runs(Docker::Shim, azure);
}

mod docker_28 {
    use super::{Docker, azure, jenkins, runs};

    #[test]
    fn the_jenkins_pipeline_that_people_have_runs() {
        runs(Docker::Real, jenkins);
    }

    #[test]
    fn the_azure_pipeline_that_people_have_runs() {
        runs(Docker::Real, azure);
    }
}

/// `tar czf x ~/.docker/trust/private/` keeps all the folders: unpacked by hand the keys are not where docker looks.
#[test]
fn an_archive_with_the_whole_path_in_it_is_put_in_place_by_restore() {
    use countersign_testkit::Finished;
    let stage = Stage::set();
    let owner = stage.countersign();
    let app = stage.repository("acme/app");
    stage.engine.build(&format!("{app}:v1"), "one");
    owner.run(&["push", &format!("{app}:v1")]).succeeded();
    let archive = owner.folder().join("keys.tar.gz");
    let mut tar = std::process::Command::new("tar");
    tar.arg("czf").arg(&archive).arg(owner.trust_dir().join("private/"));
    Finished::of(&mut tar, b"").succeeded();

    let other = stage.countersign();
    let by_hand = other.folder().join(".docker");
    std::fs::create_dir(&by_hand).unwrap();
    let mut tar = std::process::Command::new("tar");
    tar.arg("xzf").arg(&archive).arg("-C").arg(&by_hand);
    Finished::of(&mut tar, b"").succeeded();
    assert!(!by_hand.join("trust").exists(), "docker would find nothing");
    assert!(by_hand.join(owner.trust_dir().strip_prefix("/").unwrap()).is_dir(), "they are here instead");

    other.run(&["key", "restore", archive.to_str().unwrap()]).succeeded();
    stage.engine.build(&format!("{app}:v2"), "two");
    other.run(&["push", &format!("{app}:v2")]).succeeded();
}
