//! How docker calls the plugin.

use crate::client::Client;
use crate::stage::{Shop, Stage};
use countersign_testkit::{Finished, Tool};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn the_metadata_call_opens_no_file_of_the_persons_and_makes_no_thread() {
    let person = Client::new();
    let log = person.folder().join("calls");
    let mut command = std::process::Command::new("strace");
    command.args(["-f", "-o"]).arg(&log).arg(env!("CARGO_BIN_EXE_countersign"));
    command.args(["docker-trust", "docker-cli-plugin-metadata"]);
    person.set(&mut command);
    let answer = Finished::of(&mut command, b"").succeeded();
    let metadata: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    let calls = std::fs::read_to_string(log).unwrap();
    let touched = |call: &&str| {
        let mine = call.contains(&person.folder().display().to_string()) && !call.contains("execve(");
        mine || ["socket(", "clone(", "clone3(", "epoll_create", "connect("].iter().any(|name| call.contains(name))
    };
    assert_eq!(calls.lines().find(touched), None);
}

#[test]
fn every_global_flag_reaches_the_command() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let stranger = Client::new();
    let config = owner.config_dir().display().to_string();
    let asked = stranger.env("DOCKER_CONTENT_TRUST_SERVER", &shop.service.url());
    let words = [
        "-H",
        "unix:///nobody",
        "--config",
        &config,
        "-D",
        "-l",
        "warn",
        "--tls=false",
        "trust",
        "inspect",
        &shop.gun(),
    ];
    let inspected = asked.plugin(&words).succeeded();
    assert!(inspected.stdout.contains("\"SignedTag\": \"v1\""), "{inspected}");
    let refused = asked.plugin(&["-H", "unix:///a", "-c", "b", "trust", "sign", &shop.name("v9")]);
    assert!(refused.failed().stderr.contains("conflicting options: cannot specify both --host and --context"));
}

#[test]
fn an_engine_that_only_docker_reaches_is_reached_through_docker() {
    let stage = Stage::set();
    let owner = stage.countersign().without("DOCKER_HOST");
    let name = format!("{}:v1", stage.repository("acme/app"));
    stage.engine.build(&name, "one");
    // What docker is for the plugin: here it leads to the engine of the stage, wherever it is told to go.
    let docker = owner.folder().join("docker");
    let heard = owner.folder().join("heard");
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {}\nexec env DOCKER_HOST={} {} system dial-stdio\n",
        heard.display(),
        stage.engine.host(),
        Tool::DOCKER_20.path().display()
    );
    std::fs::write(&docker, script).unwrap();
    std::fs::set_permissions(&docker, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let owner = owner.env("DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", docker.to_str().unwrap());
    let pushed = owner.plugin(&["-H", "ssh://far.test", "trust", "push", &name]).succeeded();
    assert!(pushed.stdout.ends_with(&format!("Successfully signed {name}\n")), "{pushed}");
    let heard = std::fs::read_to_string(heard).unwrap();
    assert!(heard.lines().all(|line| line == "-H ssh://far.test system dial-stdio") && !heard.is_empty(), "{heard}");
}

/// Starts a command that waits for an answer, with docker's socket in its environment, and returns how it ended once the
/// socket was closed.
fn ended_by_socket(person: &Client, image: &str) -> (std::process::ExitStatus, Duration) {
    let name = format!("docker_cli_{}", image.replace(['/', ':', '.'], "_"));
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let mut command = person.command_as("docker-trust", &["trust", "revoke", image]);
    command.env("DOCKER_CLI_PLUGIN_SOCKET", format!("@{name}"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Kept open while it is waited for: the end of the input would be an answer.
    let _input = child.stdin.take().unwrap();
    let (socket, _) = listener.accept().unwrap();
    let mut question = [0; 7];
    child.stdout.as_mut().unwrap().read_exact(&mut question).unwrap();
    assert_eq!(&question, b"Confirm");
    let began = Instant::now();
    drop(socket);
    let status = child.wait().unwrap();
    (status, began.elapsed())
}

#[test]
fn the_end_of_dockers_socket_ends_a_command_even_while_it_asks() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let (status, took) = ended_by_socket(&owner, &shop.gun());
    assert_eq!(status.code(), Some(130), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let inspected = owner.plugin(&["trust", "inspect", &shop.gun()]).succeeded();
    assert!(inspected.stdout.contains("\"SignedTag\": \"v1\""), "{inspected}");
}

#[test]
fn a_socket_that_cannot_be_reached_is_no_hindrance() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    for socket in ["@nobody_listens_there", "/no/such/file", "", "@"] {
        let owner = shop.client().env("DOCKER_CLI_PLUGIN_SOCKET", socket);
        owner.plugin(&["trust", "inspect", &shop.gun()]).succeeded();
    }
}

#[test]
fn a_question_is_answered_by_a_pipe_and_only_y_is_yes() {
    let shop = Shop::open();
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    for (answer, code) in [("yes\n", 1), ("n\n", 1), ("\n", 1), ("y\n", 0)] {
        let mut command = owner.command_as("docker-trust", &["trust", "revoke", &shop.gun()]);
        let finished = Finished::of(&mut command, answer.as_bytes());
        assert_eq!(finished.code, code, "{answer:?}\n{finished}");
    }
    let mut nothing_left = owner.command_as("docker-trust", &["trust", "revoke", "-y", &shop.gun()]);
    let refused = Finished::of(&mut nothing_left, b"").failed();
    assert!(refused.stderr.contains("no signed tags to remove"), "{refused}");
}

#[test]
fn output_that_nobody_reads_is_an_error_and_no_crash() {
    let person = Client::new();
    let mut command = person.command_as("docker-trust", &["trust", "--help"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    command.stdout(full).stderr(Stdio::piped()).stdin(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    assert!(said.contains("stdout") && !said.contains("panicked"), "{said}");
    let _ = std::io::stdout().flush();
}

mod docker_28 {
    use super::*;

    const COMMANDS: [&[&str]; 7] = [
        &["inspect"],
        &["sign"],
        &["revoke"],
        &["key", "generate"],
        &["key", "load"],
        &["signer", "add"],
        &["signer", "remove"],
    ];

    fn both(person: &Client, words: &[&str]) -> [Finished; 2] {
        let words = [&["trust"], words].concat();
        let mut docker = std::process::Command::new(Tool::DOCKER_28.path());
        person.set(docker.args(&words));
        [Finished::of(&mut docker, b""), person.plugin(&words)]
    }

    #[test]
    fn help_usage_and_wrong_arguments_are_byte_for_byte_dockers() {
        let person = Client::new();
        let endings: [&[&str]; 7] =
            [&["--help"], &["-h"], &[], &["--bogus"], &["-x", "a"], &["a", "b", "--bogus=1"], &["-D", "a"]];
        for command in COMMANDS {
            for ending in endings {
                let [docker, ours] = both(&person, &[command, ending].concat());
                assert_eq!((&docker.stdout, &docker.stderr), (&ours.stdout, &ours.stderr), "{docker}\n{ours}");
                assert_eq!(docker.code, ours.code, "{docker}\n{ours}");
            }
        }
        for words in
            [&["key"][..], &["signer"], &["key", "bogus"], &["signer", "--help"], &["key", "help"], &["key", "-x"]]
        {
            let [docker, ours] = both(&person, words);
            assert_eq!((&docker.stdout, &docker.stderr), (&ours.stdout, &ours.stderr), "{docker}\n{ours}");
            assert_eq!(docker.code, ours.code, "{docker}\n{ours}");
        }
        for words in [
            &["revoke", "--", "-x", "b"][..],
            &["sign", "--local=maybe", "a"],
            &["key", "load", "--name"],
            &["inspect", "--pretty=2", "x"],
        ] {
            let [docker, ours] = both(&person, words);
            assert_eq!(
                (&docker.stdout, &docker.stderr, docker.code),
                (&ours.stdout, &ours.stderr, ours.code),
                "{docker}\n{ours}"
            );
        }
    }

    #[test]
    fn an_empty_repository_and_a_digest_are_inspected_byte_for_byte() {
        let shop = Shop::open();
        let (owner, reader, gun) = (shop.service.notary_client(), shop.client(), shop.gun());
        owner.run(&["init", "-p", &gun]).succeeded();
        let digest = "a".repeat(64);
        let images =
            [gun.clone(), format!("{gun}:v1"), format!("{gun}@sha256:{digest}"), format!("{gun}:v1@sha256:{digest}")];
        for tags in 0..2 {
            for image in &images {
                for words in [&["inspect"][..], &["inspect", "--pretty"]] {
                    let [docker, ours] = both(&reader, &[words, &[image]].concat());
                    assert_eq!(
                        (&docker.stdout, docker.code),
                        (&ours.stdout, ours.code),
                        "{tags} tags\n{docker}\n{ours}"
                    );
                }
            }
            owner.run(&["addhash", "-p", &gun, "v1", "524", "--sha256", &digest]).succeeded();
        }
    }

    /// Docker 28 has a `docker trust` of its own: it says that the plugin is not used, and the plugin works beside it.
    #[test]
    fn docker_28_keeps_its_own_command_and_takes_the_plugin_under_another_name() {
        use std::os::unix::fs::PermissionsExt;
        let shop = Shop::open();
        let owner = shop.client();
        shop.signed_by(&owner, "v1", "one");
        owner.run(&["install", "--user"]).succeeded();
        let plugins = owner.config_dir().join("cli-plugins");
        let wrapper = plugins.join("docker-countersigned");
        let script = format!("#!/bin/sh\nexec {} docker-trust \"$@\"\n", env!("CARGO_BIN_EXE_countersign"));
        std::fs::write(&wrapper, script).unwrap();
        std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
        for tool in [Tool::DOCKER_28, Tool::DOCKER_20] {
            let docker = |words: &[&str]| {
                let mut command = std::process::Command::new(tool.path());
                owner.set(command.args(words));
                Finished::of(&mut command, b"")
            };
            let help = docker(&["--help"]).succeeded();
            let line = help.stdout.lines().find(|line| line.contains("countersigned*"));
            assert!(line.is_some_and(|line| line.contains("Manage trust on Docker images")), "{help}");
            assert!(help.stdout.contains("plugin \"trust\" duplicates builtin command"), "{help}");
            let own = docker(&["trust", "inspect", &shop.gun()]).succeeded();
            let mut called = std::process::Command::new(plugins.join("docker-trust"));
            owner.set(called.args(["inspect", &shop.gun()]));
            let ours = Finished::of(&mut called, b"").succeeded();
            assert_eq!(own.stdout, ours.stdout);
        }
    }
}
