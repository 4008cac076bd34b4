//! Contexts that the docker client made, and what the docker client makes of the same settings.

use countersign_engine::{EngineSelection, Environment, Verification};
use countersign_testkit::{DockerClient, TestCa};

fn selection(client: &DockerClient) -> EngineSelection {
    EngineSelection { config_dir: client.config_dir(), ..EngineSelection::default() }
}

#[test]
fn contexts_that_docker_made_are_found_by_flag_variable_and_configuration() {
    for client in [DockerClient::newest(), DockerClient::v20()] {
        client.run(&["context", "create", "near", "--docker", "host=unix:///run/near.sock"]).succeeded();
        client.run(&["context", "create", "far", "--docker", "host=ssh://me@far.test"]).succeeded();
        let mut selection = selection(&client);
        assert_eq!(selection.resolve().unwrap().to_string(), "unix:///var/run/docker.sock");
        client.run(&["context", "use", "near"]).succeeded();
        assert_eq!(selection.resolve().unwrap().to_string(), "unix:///run/near.sock");
        selection.env.docker_context = Some("far".to_owned());
        assert_eq!(selection.resolve().unwrap().to_string(), "ssh://me@far.test");
        selection.context_flag = Some("near".to_owned());
        assert_eq!(selection.resolve().unwrap().to_string(), "unix:///run/near.sock");
    }
}

#[test]
fn a_context_with_tls_that_docker_made_brings_its_files() {
    let (client, ca) = (DockerClient::newest(), TestCa::new());
    let certificate = ca.client("tester");
    for (name, text) in [("ca", ca.pem()), ("cert", certificate.certificate_pem), ("key", certificate.key_pem)] {
        std::fs::write(client.folder().join(name), text).unwrap();
    }
    let settings = "host=tcp://far.test:2376,ca=ca,cert=cert,key=key";
    client.run(&["context", "create", "far", "--docker", settings]).succeeded();
    let skipping = "host=tcp://far.test:2376,skip-tls-verify=true";
    client.run(&["context", "create", "blind", "--docker", skipping]).succeeded();
    let mut selection = selection(&client);
    selection.context_flag = Some("far".to_owned());
    let tls = selection.resolve().unwrap().tls.unwrap();
    assert_eq!(tls.verification, Verification::Required);
    assert_eq!(std::fs::read_to_string(tls.ca.unwrap()).unwrap(), ca.pem());
    assert!(tls.client.is_some());
    selection.context_flag = Some("blind".to_owned());
    assert_eq!(selection.resolve().unwrap().tls.unwrap().verification, Verification::Skipped);
}

/// Flags and variables.
type Row = (&'static [&'static str], &'static [(&'static str, &'static str)]);

#[test]
fn docker_chooses_the_same_host_for_the_same_settings() {
    let rows: [Row; 6] = [
        (&[], &[]),
        (&[], &[("DOCKER_HOST", "tcp://variable.test:1")]),
        (&[], &[("DOCKER_HOST", "tcp://variable.test:1"), ("DOCKER_CONTEXT", "near")]),
        (&[], &[("DOCKER_CONTEXT", "near")]),
        (&["--host", "tcp://flag.test:1"], &[("DOCKER_CONTEXT", "near")]),
        (&["--context", "near"], &[("DOCKER_HOST", "tcp://variable.test:1")]),
    ];
    for (flags, variables) in rows {
        let client = DockerClient::newest();
        client.run(&["context", "create", "near", "--docker", "host=unix:///run/near.sock"]).succeeded();
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        let flag = |name: &str| flags.iter().skip_while(|flag| **flag != name).nth(1).map(|value| (*value).to_owned());
        let ours = EngineSelection {
            host_flag: flag("--host"),
            context_flag: flag("--context"),
            env: Environment {
                docker_host: variable("DOCKER_HOST"),
                docker_context: variable("DOCKER_CONTEXT"),
                ..Environment::default()
            },
            ..selection(&client)
        };
        let client = variables.iter().fold(client, |client, (name, value)| client.with_env(name, value));
        let inspect = ["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"];
        let theirs = client.run(&[flags, &inspect[..]].concat()).succeeded();
        assert_eq!(ours.resolve().unwrap().to_string(), theirs.stdout.trim(), "{flags:?} {variables:?}");
    }
}

fn conflicting() -> EngineSelection {
    EngineSelection {
        host_flag: Some("unix:///a".to_owned()),
        context_flag: Some("near".to_owned()),
        ..EngineSelection::default()
    }
}

const CONFLICT: [&str; 5] = ["--host", "unix:///a", "--context", "near", "images"];

#[test]
fn docker_refuses_the_same_conflict() {
    for client in [DockerClient::newest(), DockerClient::v20()] {
        let refused = client.run(&CONFLICT).failed();
        assert!(refused.stderr.to_lowercase().starts_with("conflicting options: "), "{refused}");
    }
    assert!(conflicting().resolve().unwrap_err().to_string().starts_with("conflicting options: "));
}

#[test]
fn docker_28_refuses_the_same_conflict_in_the_same_words() {
    let refused = DockerClient::v28().run(&CONFLICT).failed();
    assert_eq!(refused.stderr.trim(), conflicting().resolve().unwrap_err().to_string());
}
