//! Azure: variables, macros, a template, a secure file, and commands on the output.

use super::machine::{ACCOUNT, Ended, Machine};
use super::yaml;
use serde_json::Value;
use std::collections::BTreeMap;

/// A job: its variables, some of them secret, and its path.
struct Job<'a> {
    machine: &'a Machine,
    variables: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    ended: Ended,
}

pub(super) fn run(machine: &Machine) -> Ended {
    run_file(machine, &yaml("azure-devops/azure-pipelines.yml"))
}

/// Runs this pipeline.
pub(in crate::ci) fn run_file(machine: &Machine, file: &Value) -> Ended {
    let mut variables = BTreeMap::from([
        ("Build.BuildId".to_owned(), machine.number().to_owned()),
        ("Agent.TempDirectory".to_owned(), machine.temporary().display().to_string()),
        ("Build.SourcesDirectory".to_owned(), machine.workspace().display().to_string()),
        ("DOCKERHUB_USERNAME".to_owned(), ACCOUNT.name.to_owned()),
        ("TF_BUILD".to_owned(), "True".to_owned()),
    ]);
    for (name, value) in file["variables"].as_object().unwrap() {
        let value = machine.edited(name).unwrap_or_else(|| expand(value.as_str().unwrap(), &variables));
        variables.insert(name.clone(), value);
    }
    let secrets = BTreeMap::from([
        ("DOCKER_TRUST_PASSPHRASE".to_owned(), machine.passphrase.clone()),
        ("DOCKERHUB_TOKEN".to_owned(), ACCOUNT.password.to_owned()),
    ]);
    let mut job = Job { machine, variables, secrets, ended: Ended::default() };
    job.steps(&file["steps"], &BTreeMap::new());
    job.ended
}

impl Job<'_> {
    fn steps(&mut self, steps: &Value, parameters: &BTreeMap<String, String>) {
        for step in steps.as_array().unwrap() {
            let always = step["condition"] == "always()";
            if self.ended.killed || !(always || self.ended.succeeded()) {
                // A template's own steps decide for themselves.
                if !step["template"].is_string() || self.ended.killed {
                    continue;
                }
            }
            if let Some(template) = step["template"].as_str() {
                self.template(template, &step["parameters"]);
            } else if step["task"] == "DownloadSecureFile@1" {
                assert_eq!(
                    insert(step["inputs"]["secureFile"].as_str().unwrap(), parameters),
                    "docker-trust-backup.tar.gz.gpg"
                );
                let copy = self.machine.temporary().join("docker-trust-backup.tar.gz.gpg");
                std::fs::copy(self.machine.archive(), &copy).unwrap();
                let variable = format!("{}.secureFilePath", step["name"].as_str().unwrap());
                self.variables.insert(variable, copy.display().to_string());
            } else {
                self.script(step, parameters);
            }
        }
    }

    fn template(&mut self, path: &str, given: &Value) {
        let file = yaml(&format!("azure-devops/{path}"));
        let mut parameters = BTreeMap::new();
        for parameter in file["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let value = given.get(name).or(parameter.get("default")).unwrap_or_else(|| panic!("{name} is not given"));
            parameters.insert(name.to_owned(), value.as_str().unwrap().to_owned());
        }
        self.steps(&file["steps"], &parameters);
    }

    fn script(&mut self, step: &Value, parameters: &BTreeMap<String, String>) {
        // Secrets reach a script only where its step maps them.
        let upper = |name: &String| name.to_uppercase().replace('.', "_");
        let mut environment: BTreeMap<_, _> =
            self.variables.iter().map(|(name, value)| (upper(name), value.clone())).collect();
        let all: BTreeMap<_, _> = self.variables.clone().into_iter().chain(self.secrets.clone()).collect();
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            environment.insert(name.clone(), expand(&insert(value.as_str().unwrap(), parameters), &all));
        }
        let script = expand(&insert(step["script"].as_str().unwrap(), parameters), &self.variables);
        self.machine.step(&["bash", "--noprofile", "--norc"], &script, &environment, &mut self.ended);
        for line in self.ended.last_output().lines() {
            if let Some((name, value)) =
                line.strip_prefix("##vso[task.setvariable variable=").and_then(|rest| rest.split_once(']'))
            {
                self.variables.insert(name.to_owned(), value.to_owned());
            }
        }
    }
}

/// Replaces `$(NAME)`, also in what was put in.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for _ in 0..3 {
        for (name, value) in variables {
            text = text.replace(&format!("$({name})"), value);
        }
    }
    text
}

/// Replaces `${{ parameters.NAME }}`.
fn insert(text: &str, parameters: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in parameters {
        text = text.replace(&format!("${{{{ parameters.{name} }}}}"), value);
    }
    assert!(!text.contains("${{"), "{text}");
    text
}
