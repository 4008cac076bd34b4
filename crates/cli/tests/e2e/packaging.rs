//! The files in `packaging/`: what they say is what the program understands, and what they watch is what it measures.

use crate::client::Client;
use countersign_testkit::{Deployment, Finished, KeyPlace, Keyserver, Port, Process, TrustService};
use serde_yaml_ng::Value;
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");
/// What a histogram's or a summary's samples have after the family's name.
const ENDINGS: [&str; 3] = ["_bucket", "_sum", "_count"];
/// What begins the names of measures that are ours to give.
const OURS: [&str; 4] = ["countersign_", "notary_server_http_", "process_", "http_"];

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(packaging(path)).unwrap()
}

fn yaml(path: &str) -> Value {
    serde_yaml_ng::from_str(&text(path)).unwrap()
}

/// The families that a service has.
fn families(address: SocketAddr) -> BTreeSet<String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let types = answer.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    types.map(str::to_owned).collect()
}

/// The families of both services.
fn all_families() -> BTreeSet<String> {
    let (of_keys, of_trust) = (Port::take(), Port::take());
    let mut keyserver = Keyserver::start_with(PROGRAM, KeyPlace::Token);
    let settings = keyserver.file("keyserver.toml");
    let said = std::fs::read_to_string(&settings).unwrap();
    std::fs::write(&settings, format!("metrics-listen = \"{}\"\n{said}", of_keys.address())).unwrap();
    keyserver.restart(Keyserver::ON_TOKEN);
    let mut builder = TrustService::builder(PROGRAM).deployed(Deployment::Embedded);
    for argument in keyserver.arguments() {
        builder = builder.arg(&argument);
    }
    let _service =
        builder.arg("--audit").arg("database").arg("--metrics-listen").arg(&of_trust.address().to_string()).start();
    families(of_trust.address()).into_iter().chain(families(of_keys.address())).collect()
}

/// The measures that an expression names.
fn named(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| OURS.iter().any(|beginning| word.starts_with(beginning)))
}

/// All values of a key, at any depth.
fn values<'a>(document: &'a Value, key: &str) -> Vec<&'a str> {
    match document {
        Value::Mapping(mapping) => {
            let here = mapping.get(key).and_then(Value::as_str);
            here.into_iter().chain(mapping.values().flat_map(|value| values(value, key))).collect()
        }
        Value::Sequence(list) => list.iter().flat_map(|value| values(value, key)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn dashboard_and_alerts_name_measures_that_there_are_and_every_measure_of_ours_is_documented() {
    let families = all_families();
    let known = |name: &str| {
        families.contains(name)
            || ENDINGS.iter().any(|end| name.strip_suffix(end).is_some_and(|name| families.contains(name)))
    };
    // JSON is YAML.
    for (file, least) in [("grafana/countersign.json", 18), ("prometheus/alerts.yaml", 14)] {
        let document = yaml(file);
        let expressions = values(&document, "expr");
        assert!(expressions.len() >= least, "{file}: {expressions:?}");
        for expression in expressions {
            for name in named(expression) {
                assert!(known(name), "{file}: there is no {name}, named in {expression}");
            }
        }
    }
    assert!(!known("countersign_made_up_total"));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/metrics.md");
    let page = std::fs::read_to_string(page).unwrap();
    for family in &families {
        assert!(page.contains(&format!("`{family}`")), "{family} is not in the page");
    }
}

#[test]
fn every_alert_is_explained_in_the_guide() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/operating-the-service.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let document = yaml("prometheus/alerts.yaml");
    let alerts = values(&document, "alert");
    assert!(alerts.len() >= 14);
    for alert in alerts {
        assert!(guide.contains(&format!("`{alert}`")), "{alert}");
    }
}

/// Lines of arguments in the files, from the subcommand on.
fn command_lines() -> Vec<(&'static str, Vec<String>)> {
    let mut lines = Vec::new();
    for file in ["systemd/countersign.service", "systemd/countersign-keyserver.service"] {
        let unit = text(file);
        let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/countersign ")).unwrap();
        lines.push((file, started.split(' ').map(str::to_owned).collect()));
    }
    let compose = yaml("compose/compose.yaml");
    for service in ["serve", "keyserver"] {
        let services = compose.get("services").unwrap();
        let command = services.get(service).unwrap().get("command").unwrap().as_sequence().unwrap();
        let words = command.iter().map(|word| word.as_str().unwrap().to_owned()).collect();
        lines.push(("compose/compose.yaml", words));
    }
    for file in ["helm/countersign/templates/serve.yaml", "helm/countersign/templates/keyserver.yaml"] {
        let template = text(file);
        let arguments = template.lines().skip_while(|line| line.trim() != "args:").skip(1);
        let arguments = arguments.map_while(|line| line.trim().strip_prefix("- ")).map(str::to_owned);
        lines.push((file, arguments.collect()));
    }
    let container = text("container/Containerfile");
    let command = container.lines().find_map(|line| line.strip_prefix("CMD ")).unwrap();
    lines.push(("container/Containerfile", serde_json::from_str(command).unwrap()));
    lines
}

#[test]
fn every_option_of_units_containers_and_charts_is_one_that_the_program_knows() {
    let person = Client::new();
    for (file, words) in command_lines() {
        let (subcommand, arguments) = words.split_first().unwrap();
        let help = person.run(&[subcommand, "--help"]).succeeded().stdout;
        let options: Vec<_> = arguments.iter().filter(|word| word.starts_with("--")).collect();
        assert!(!options.is_empty(), "{file}: {words:?}");
        for option in options {
            let name = option.split(['=', ' ']).next().unwrap();
            let is_known = help.split([' ', ',', '\n', '[', ']']).any(|word| word == name);
            assert!(is_known, "{file}: {subcommand} has no {name}");
        }
    }
}

#[test]
fn every_settings_file_is_understood() {
    let person = Client::new();
    let values = yaml("helm/countersign/values.yaml");
    let of = |document: &Value| document.as_str().unwrap().to_owned();
    let of_trust = [text("systemd/serve.toml"), of(&values["serve"]["settings"]), text("compose/serve.toml")];
    let file = person.folder().join("serve.toml");
    let explain = ["serve", "config", "explain", "--config", "serve.toml"];
    for settings in of_trust {
        std::fs::write(&file, &settings).unwrap();
        let explained = person.run(&explain).succeeded().stdout;
        assert!(explained.contains("metrics.listen") && explained.contains(":9464  (line"), "{explained}");
    }
    std::fs::write(&file, "[metrics]\nlisen = \"127.0.0.1:1\"\n").unwrap();
    person.run(&explain).failed();

    let of_keys =
        [text("systemd/keyserver.toml"), of(&values["keyserver"]["settings"]), text("compose/keyserver.toml")];
    let file = person.folder().join("keyserver.toml");
    // Understood, it fails at what the file names, which is not here.
    for settings in of_keys {
        std::fs::write(&file, settings.replace("/var/lib/", "var/lib/")).unwrap();
        let started = person.run(&["keyserver", "--settings", "keyserver.toml"]).failed();
        assert!(started.stderr.contains(".crt") || started.stderr.contains(".pem"), "{started}");
        assert!(!started.stderr.contains("keyserver.toml"), "{started}");
    }
}

/// Who the programs are in containers.
const NOBODY: &str = "65532";

/// What `compose/prepare` lays out, in folders of a test.
fn prepared(folder: &Path) -> PathBuf {
    std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    let from = folder.join("from");
    std::fs::create_dir(&from).unwrap();
    for name in ["keyserver.toml", "serve.toml"] {
        std::fs::write(from.join(name), text(&format!("compose/{name}"))).unwrap();
    }
    std::fs::write(from.join("database-password"), "secret").unwrap();
    for name in ["keyserver", "service"] {
        std::fs::create_dir(folder.join(name)).unwrap();
    }
    for _ in 0..2 {
        let mut prepare = Command::new("sh");
        Finished::of(prepare.arg(packaging("compose/prepare")).arg(folder).env("TMPDIR", &from), b"").succeeded();
    }
    folder.join("service")
}

/// A command of the program as nobody's user.
fn as_nobody(arguments: &[&str]) -> Command {
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={NOBODY}")).arg(format!("--regid={NOBODY}")).args(["--clear-groups", "--", PROGRAM]);
    command.args(arguments).env("HOME", "/nonexistent");
    command
}

fn explain(settings: &Path) -> Finished {
    Finished::of(&mut as_nobody(&["serve", "config", "explain", "--config", settings.to_str().unwrap()]), b"")
}

#[test]
fn what_compose_prepares_can_be_read_by_the_programs_and_by_nobody_else() {
    let folder = tempfile::tempdir().unwrap();
    let service = prepared(folder.path());
    for name in ["serve.toml", "database-password", "ca.pem", "service.crt", "service.key"] {
        let file = service.join(name).metadata().unwrap();
        assert_eq!((file.mode() & 0o777, file.uid().to_string()), (0o400, NOBODY.to_owned()), "{name}");
    }
    explain(&service.join("serve.toml")).succeeded();
    let mut keys =
        text("compose/keyserver.toml").replace("/settings/", &format!("{}/keyserver/", folder.path().display()));
    keys = keys.replace("/var/lib/countersign", &format!("{}/keyserver", folder.path().display()));
    let port = Port::take();
    keys = keys.replace("0.0.0.0:7899", &port.address().to_string()).replace("0.0.0.0:9464", "127.0.0.1:0");
    let settings = folder.path().join("keyserver.toml");
    std::fs::write(&settings, keys).unwrap();
    std::fs::set_permissions(&settings, Permissions::from_mode(0o644)).unwrap();
    let settings = settings.to_str().unwrap();
    // Everything is there but an alias's passphrase, which the program makes; it listens until it is ended.
    let command = as_nobody(&["keyserver", "--settings", settings]);
    let mut started = Process::start(&command, &folder.path().join("log"), Duration::from_secs(5));
    started.wait_until(Duration::from_secs(30), || TcpStream::connect(port.address()).is_ok().into());
}

#[test]
fn a_settings_file_of_the_chart_is_believed_by_itself_and_not_in_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let of_map = folder.path().join("map");
    std::fs::create_dir(&of_map).unwrap();
    // As the kubelet makes it: everybody may write, and the mount does not let anybody.
    std::fs::set_permissions(&of_map, Permissions::from_mode(0o2777)).unwrap();
    let values = yaml("helm/countersign/values.yaml");
    for file in [of_map.join("serve.toml"), folder.path().join("serve.toml")] {
        std::fs::write(&file, values["serve"]["settings"].as_str().unwrap()).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    }
    explain(&of_map.join("serve.toml")).failed();
    explain(&folder.path().join("serve.toml")).succeeded();
    let chart = text("helm/countersign/templates/serve.yaml");
    assert!(chart.contains("--config=/etc/countersign/serve.toml"));
    assert!(chart.contains("mountPath: /etc/countersign/serve.toml, subPath: serve.toml, readOnly: true"));
}

#[test]
fn the_alerts_know_the_jobs_by_the_names_that_the_chart_gives_them() {
    let monitor = text("helm/countersign/templates/podmonitor.yaml");
    for (component, job) in [("serve", "countersign"), ("keyserver", "countersign-keyserver")] {
        let rule = format!("regex: {component}\n          targetLabel: job\n          replacement: {job}\n");
        assert!(monitor.contains(&rule), "{job}");
        let pods = text(&format!("helm/countersign/templates/{component}.yaml"));
        assert!(pods.contains(&format!("app.kubernetes.io/component: {component}")));
    }
}
