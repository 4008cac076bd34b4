//! GitHub: expressions, a composite action, and files that steps write for later ones.

use super::machine::{ACCOUNT, Ended, Machine};
use super::yaml;
use serde_json::Value;
use std::collections::BTreeMap;

struct Job<'a> {
    machine: &'a Machine,
    /// What expressions can name: `secrets.X`, `github.run_number`, …
    known: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    ended: Ended,
}

pub(super) fn run(machine: &Machine) -> Ended {
    use base64::Engine;
    let file = yaml("github/workflows/signed-image.yml");
    let archive = base64::engine::general_purpose::STANDARD.encode(std::fs::read(machine.archive()).unwrap());
    let known = [
        ("secrets.DOCKER_TRUST_KEY_ARCHIVE", archive),
        ("secrets.DOCKER_TRUST_KEY_PASSPHRASE", machine.passphrase.clone()),
        ("secrets.DOCKERHUB_TOKEN", ACCOUNT.password.to_owned()),
        ("vars.DOCKERHUB_USERNAME", ACCOUNT.name.to_owned()),
        ("vars.COUNTERSIGN_URL", String::new()),
        ("vars.COUNTERSIGN_SHA256", String::new()),
        ("github.run_number", machine.number().to_owned()),
    ];
    let known = known.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let environment = BTreeMap::from([
        ("GITHUB_ACTIONS".to_owned(), "true".to_owned()),
        ("RUNNER_TEMP".to_owned(), machine.temporary().display().to_string()),
    ]);
    let mut job = Job { machine, known, environment, ended: Ended::default() };
    for (name, value) in file["env"].as_object().unwrap() {
        let value = job.machine.edited(name).unwrap_or_else(|| job.evaluated(value, &BTreeMap::new()));
        job.known.insert(format!("env.{name}"), value.clone());
        job.environment.insert(name.clone(), value);
    }
    let jobs = file["jobs"].as_object().unwrap();
    assert_eq!(jobs.len(), 1);
    for step in jobs.values().flat_map(|job| job["steps"].as_array().unwrap()) {
        job.step(step);
    }
    job.ended
}

impl Job<'_> {
    fn step(&mut self, step: &Value) {
        if self.ended.killed || !(step["if"] == "always()" || self.ended.succeeded()) {
            return;
        }
        match step["uses"].as_str() {
            // The repository is there already.
            Some("actions/checkout@v4") => {}
            Some(action) => {
                let path = action.strip_prefix("./.github/actions/").unwrap();
                let action = yaml(&format!("github/actions/{path}/action.yml"));
                let mut inputs = BTreeMap::new();
                for (name, input) in action["inputs"].as_object().unwrap() {
                    let value = step["with"].get(name).or(input.get("default"));
                    let value = value.unwrap_or_else(|| panic!("{name} is not given"));
                    inputs.insert(format!("inputs.{name}"), self.evaluated(value, &BTreeMap::new()));
                }
                for step in action["runs"]["steps"].as_array().unwrap() {
                    self.script(step, &inputs);
                }
            }
            None => self.script(step, &BTreeMap::new()),
        }
    }

    fn script(&mut self, step: &Value, inputs: &BTreeMap<String, String>) {
        let mut environment = self.environment.clone();
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            environment.insert(name.clone(), self.evaluated(value, inputs));
        }
        for name in ["GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_PATH"] {
            let file = self.machine.temporary().join(name);
            std::fs::write(&file, "").unwrap();
            environment.insert(name.to_owned(), file.display().to_string());
        }
        let script = step["run"].as_str().unwrap();
        assert!(!script.contains("${{"), "expressions do not belong into scripts: {script}");
        self.machine.step(&["bash", "--noprofile", "--norc", "-e"], script, &environment, &mut self.ended);
        for (name, value) in self.written("GITHUB_ENV") {
            self.environment.insert(name, value);
        }
        for (name, value) in self.written("GITHUB_OUTPUT") {
            self.known.insert(format!("steps.{}.outputs.{name}", step["id"].as_str().unwrap()), value);
        }
    }

    fn written(&self, file: &str) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.machine.temporary().join(file)).unwrap();
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().filter_map(pair).collect()
    }

    /// Replaces every `${{ … }}`.
    fn evaluated(&self, value: &Value, inputs: &BTreeMap<String, String>) -> String {
        let mut text = value.as_str().unwrap().to_owned();
        while let Some((before, rest)) = text.split_once("${{ ") {
            let (name, after) = rest.split_once(" }}").unwrap();
            let value = inputs.get(name).or(self.known.get(name)).unwrap_or_else(|| panic!("nothing is {name}"));
            text = format!("{before}{value}{after}");
        }
        text
    }
}
