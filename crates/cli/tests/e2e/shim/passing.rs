//! What goes to the real docker goes as it is.

use super::{Shim, script};
use crate::client::Client;
use countersign_testkit::Finished;
use std::process::{Command, Stdio};

fn stub() -> Shim {
    Shim::before_stub(Client::new())
}

#[test]
fn with_content_trust_off_everything_is_passed_on_as_it_is() {
    for lines in [
        &[][..],
        &["run", "--rm", "-e", "A= b\n\t'\"", "--unknown", "alpine", "--flag", "", "ünï"],
        &["push", "x"],
        &["--bogus", "--", "run", "x"],
        &["build", "-"],
        &["compose", "up"],
        &["exec", "c", "x", "--disable-content-trust"],
    ] {
        let shim = stub().off().env("ODD", "a\nb=c ");
        shim.run(lines).succeeded();
        assert_eq!(shim.arguments(), lines);
        let mut expected: Vec<String> = nul_environment(&shim);
        expected.sort();
        let mut seen = shim.environment();
        seen.retain(|variable| !variable.starts_with("COUNTERSIGN_SHIM_GUARD="));
        assert_eq!(seen, expected);
    }
}

/// The environment that the shim gets.
fn nul_environment(shim: &Shim) -> Vec<String> {
    let mut command = Command::new("env");
    shim.client.set(&mut command);
    let output = command.arg("-0").output().unwrap();
    super::nul_separated(&output.stdout)
}

#[test]
fn each_spelling_of_no_in_the_variable_is_off_and_all_else_is_on() {
    for (value, on) in
        [("", false), ("0", false), ("False", false), ("f", false), ("1", true), ("no", true), ("0 ", true)]
    {
        let shim = stub().env("DOCKER_CONTENT_TRUST", value).env("DOCKER_CONTENT_TRUST_SERVER", "https://127.0.0.1:1");
        let finished = shim.run(&["pull", "reg.test/a:1"]);
        assert_eq!((finished.code == 0, shim.calls() == 1), (!on, !on), "{value:?}\n{finished}");
    }
}

#[test]
fn commands_that_touch_no_image_pass_with_content_trust_on() {
    for line in [
        "ps -a",
        "exec -it c sh",
        "images",
        "trust inspect x",
        "system dial-stdio",
        "buildx ls",
        "compose ps",
        "run --help",
    ] {
        let shim = stub();
        let words: Vec<&str> = line.split(' ').collect();
        shim.run(&words).succeeded();
        assert_eq!(
            (shim.arguments(), shim.calls()),
            (words.iter().map(|word| (*word).to_owned()).collect(), 1),
            "{line}"
        );
    }
}

#[test]
fn bytes_that_are_no_text_pass_as_they_are() {
    use std::os::unix::ffi::OsStrExt;
    let shim = stub().off();
    let mut command = shim.command(&["run"]);
    command.arg(std::ffi::OsStr::from_bytes(b"\xff\xfe")).arg("x");
    Finished::of(&mut command, b"in\0put\xff").succeeded();
    assert_eq!(shim.stub("arguments"), b"run\0\xff\xfe\0x\0");
    assert_eq!(shim.stub("input"), b"in\0put\xff");
}

#[test]
fn exit_codes_are_the_real_dockers() {
    for code in [0, 1, 7, 125, 255] {
        let shim = stub();
        std::fs::write(shim.path("stub/code"), code.to_string()).unwrap();
        assert_eq!(shim.run(&["ps"]).code, code);
        let off = shim.off();
        assert_eq!(off.run(&["run", "x"]).code, code);
    }
}

#[test]
fn the_flag_switches_content_trust_off_and_is_not_passed_on() {
    for (line, passed) in [
        ("pull --disable-content-trust -q x", "pull -q x"),
        ("pull -q --disable-content-trust=true x", "pull -q x"),
        ("run --disable-content-trust x --disable-content-trust", "run x --disable-content-trust"),
        ("--config C image push --disable-content-trust x", "--config C image push x"),
        ("build --disable-content-trust .", "build ."),
        ("create --disable-content-trust=false --disable-content-trust x", "create x"),
        ("plugin install --disable-content-trust x", "plugin install x"),
        ("run --disable-content-trust --new-flag y x", "run --new-flag y x"),
    ] {
        for shim in [stub(), stub().off()] {
            shim.run(&line.split(' ').collect::<Vec<_>>()).succeeded();
            assert_eq!(shim.arguments().join(" "), passed, "{line}");
            assert!(!shim.environment().iter().any(|variable| variable.starts_with("DOCKER_CONTENT_TRUST=")), "{line}");
        }
    }
}

#[test]
fn the_flag_switches_content_trust_on_too() {
    let shim = stub().off().env("DOCKER_CONTENT_TRUST_SERVER", "https://127.0.0.1:1");
    let refused = shim.run(&["pull", "--disable-content-trust=false", "127.0.0.1:5/a:1"]);
    assert_eq!((refused.code, shim.calls()), (1, 0), "{refused}");
    assert!(refused.stderr.contains("error contacting notary server"), "{refused}");
}

#[test]
fn the_real_docker_takes_the_process_over_and_gets_its_signals() {
    let shim = stub().off();
    shim.answering("trap 'echo caught >> \"$here/signal\"; exit 9' TERM\necho ready > \"$here/ready\"\nwhile :; do sleep 0.05; done");
    let mut child = shim.command(&["run", "x"]).stdin(Stdio::null()).spawn().unwrap();
    while !shim.path("stub/ready").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(String::from_utf8(shim.stub("process")).unwrap().trim(), child.id().to_string());
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(shim.stub("signal"), b"caught\n");
}

#[test]
fn a_terminal_stays_a_terminal() {
    let shim = stub();
    let mut command = Command::new("script");
    shim.client.set(&mut command);
    command.args(["-qec", "docker ps", "/dev/null"]);
    Finished::of(&mut command, b"").succeeded();
    assert_eq!(shim.stub("input"), b"terminal\n");
}

#[test]
fn nothing_but_the_shim_in_the_path_is_a_clear_error() {
    let shim = stub().off();
    let only = shim.path("bin").display().to_string();
    let shim = shim.env("PATH", &only);
    let refused = shim.run(&["ps"]);
    assert_eq!(refused.code, 1, "{refused}");
    assert!(refused.stderr.contains("there is no docker in PATH behind Countersign"), "{refused}");
}

#[test]
fn the_named_docker_wins() {
    let shim = stub().off();
    let other = shim.path("other");
    script(&other, "#!/bin/sh\necho other \"$@\"\n");
    let shim = shim.env("COUNTERSIGN_DOCKER", other.to_str().unwrap());
    assert_eq!(shim.run(&["ps", "-a"]).succeeded().stdout, "other ps -a\n");
    let itself = shim.path("bin/docker").display().to_string();
    let shim = shim.env("COUNTERSIGN_DOCKER", &itself);
    assert!(shim.run(&["ps"]).failed().stderr.contains("which is Countersign itself"));
}

#[test]
fn wrappers_that_call_docker_again_never_loop() {
    let shim = stub().off();
    let wrappers = shim.path("wrappers");
    std::fs::create_dir(&wrappers).unwrap();
    script(&wrappers.join("docker"), "#!/bin/sh\nexec docker \"$@\"\n");
    let path = |parts: &[&str]| {
        let parts: Vec<String> = parts.iter().map(|part| shim.path(part).display().to_string()).collect();
        format!("{}:/usr/bin:/bin", parts.join(":"))
    };
    let (through, alone) =
        (path(&["bin", "wrappers", "real"]), path(&["bin", "wrappers"]).replace(":/usr/bin:/bin", ""));
    let shim = shim.env("PATH", &through);
    shim.run(&["ps", "-a"]).succeeded();
    assert_eq!(shim.arguments(), ["ps", "-a"]);
    // A wrapper that starts docker as a process of its own cannot be passed over, but it ends.
    script(&wrappers.join("docker"), "#!/bin/sh\ndocker \"$@\"\n");
    let shim = shim.env("PATH", &alone);
    let refused = shim.run(&["ps"]).failed();
    assert!(refused.stderr.contains("called each other"), "{refused}");
}

#[test]
fn the_native_name_leads_to_the_shim_too() {
    let shim = stub().off();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    shim.client.set(&mut command);
    let path = format!("{}:/usr/bin:/bin", shim.path("real").display());
    Finished::of(command.env("PATH", path).args(["docker", "run", "x"]), b"").succeeded();
    assert_eq!(shim.arguments(), ["run", "x"]);
}

#[test]
fn passing_on_opens_no_file_of_trust_and_no_socket() {
    let shim = stub().off();
    let log = shim.path("strace");
    let mut command = Command::new("strace");
    shim.client.set(&mut command);
    command.args(["-e", "trace=openat,open,socket,connect,clone,clone3,execve", "-o"]).arg(&log);
    Finished::of(command.arg(shim.path("bin/docker")).args(["run", "x"]), b"").succeeded();
    let text = std::fs::read_to_string(&log).unwrap();
    let before_exec: Vec<&str> = text.lines().skip(1).take_while(|line| !line.starts_with("execve")).collect();
    for line in &before_exec {
        assert!(!line.contains("socket(") && !line.contains("clone") && !line.contains(".docker"), "{text}");
        assert!(!line.contains("trust") && !line.contains("config"), "{text}");
    }
}
