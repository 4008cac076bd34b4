//! GitLab: one shell for what is before and what is in the script, another for what comes after in every case.

use super::machine::{ACCOUNT, Ended, Machine};
use super::yaml;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) fn run(machine: &Machine) -> Ended {
    use base64::Engine;
    let file = yaml("gitlab/.gitlab-ci.yml");
    // GitLab writes the variable's text into a file of the job's.
    let archive = machine.temporary().join("DOCKER_TRUST_KEY_ARCHIVE");
    let text = base64::engine::general_purpose::STANDARD.encode(std::fs::read(machine.archive()).unwrap());
    std::fs::write(&archive, text).unwrap();
    let job = &file["signed-image"];
    let mut environment = BTreeMap::new();
    for (name, value) in [
        ("GITLAB_CI", "true"),
        ("CI_PIPELINE_IID", machine.number()),
        ("CI_PROJECT_DIR", machine.workspace().to_str().unwrap()),
        ("DOCKER_TRUST_KEY_ARCHIVE", archive.to_str().unwrap()),
        ("DOCKER_TRUST_KEY_PASSPHRASE", &machine.passphrase),
        ("DOCKERHUB_TOKEN", ACCOUNT.password),
        ("DOCKERHUB_USERNAME", ACCOUNT.name),
    ] {
        environment.insert(name.to_owned(), value.to_owned());
    }
    for (name, value) in job["variables"].as_object().unwrap() {
        let mut value = value.as_str().unwrap().to_owned();
        for (known, content) in &environment {
            value = value.replace(&format!("${known}"), content);
        }
        environment.insert(name.clone(), machine.edited(name).unwrap_or(value));
    }
    let lines = |parts: &[&Value]| -> String {
        let lines = parts.iter().flat_map(|part| part.as_array().unwrap());
        lines.map(|line| line.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    };
    let shell = ["bash", "--noprofile", "--norc"];
    let mut ended = Ended::default();
    let script = format!("set -eo pipefail\n{}", lines(&[&job["before_script"], &job["script"]]));
    machine.step(&shell, &script, &environment, &mut ended);
    if !ended.killed {
        machine.step(&shell, &lines(&[&job["after_script"]]), &environment, &mut ended);
    }
    ended
}
