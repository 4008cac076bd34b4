//! Secrets that must not turn up anywhere: cores, logs, arguments, temporary files.

use crate::client::Client;
use crate::stage::Shop;
use countersign_testkit::fixtures;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROOT: &str = "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE";
const REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";

/// Somebody with a program that gives passphrases.
fn asking(client: Client, script: &str) -> Client {
    let program = client.folder().join("passphrases");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let name = program.to_str().unwrap().to_owned();
    client.env("COUNTERSIGN_PASSPHRASE_COMMAND", &name)
}

fn wait_for(path: &Path) -> String {
    let began = Instant::now();
    loop {
        match std::fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => return text,
            _ => assert!(began.elapsed() < Duration::from_mins(1), "nothing came in {}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every file below a folder.
fn everything(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push((path.clone(), std::fs::read(&path).unwrap())) }
        }
    }
    found
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes.windows(part.len()).any(|window| window == part.as_bytes())
}

#[test]
fn an_abort_while_a_key_is_open_leaves_no_core() {
    let shop = Shop::open();
    shop.put("v1", "one");
    // The root key is made and open while the passphrase of the next key is waited for.
    let script = "[ $COUNTERSIGN_KEY_ROLE = root ] && echo the-passphrase-of-root && exit\necho $PPID > $HOME/waiting; exec sleep 600";
    let client = asking(shop.client().without(ROOT).without(REPOSITORY), script);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -c unlimited 2>/dev/null; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_countersign")]);
    command.args(["sign", &shop.name("v1")]);
    client.set(&mut command);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let id = wait_for(&client.folder().join("waiting")).trim().to_owned();
    assert_eq!(id, child.id().to_string());
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
    assert!(Command::new("kill").args(["-ABRT", &id]).status().unwrap().success());
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.core_dumped()), (Some(6), false));
    for (path, bytes) in everything(client.folder()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with("core") && !contains(&bytes, "PRIVATE KEY-----\nM\n"), "{name}");
        assert!(name == "passphrases" || !contains(&bytes, "the-passphrase-of-root"), "{name}");
    }
}

#[test]
fn the_fullest_log_and_all_arguments_are_free_of_passphrases_and_keys() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let script =
        "cat /proc/$PPID/cmdline /proc/$$/cmdline | tr '\\0' ' ' >> $HOME/arguments\necho the-passphrase-of-a-key";
    let client = asking(shop.client().without(REPOSITORY), script).env("COUNTERSIGN_LOG", "trace");
    let first = client.run(&["-vvv", "sign", &shop.name("v1")]).succeeded();
    shop.put("v2", "two");
    let second = client.run(&["-vvv", "sign", &shop.name("v2")]).succeeded();
    let generated = client.run(&["-vvv", "key", "generate", "alice"]).succeeded();
    let mut log = format!("{first}{second}{generated}");
    assert!(log.contains("TRACE"), "the log is not the fullest");
    log += &std::fs::read_to_string(client.folder().join("arguments")).unwrap();
    for secret in [fixtures::ROOT_PASSPHRASE, "the-passphrase-of-a-key", "PRIVATE KEY"] {
        assert!(!log.contains(secret), "{secret:?} in\n{log}");
    }
    let keys = std::fs::read_dir(client.trust_dir().join("private")).unwrap();
    let mut lines = 0;
    for key in keys {
        let text = std::fs::read_to_string(key.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.len() == 64) {
            assert!(!log.contains(line), "a line of a key file is in the log");
            lines += 1;
        }
    }
    assert!(lines >= 3);
    // Nor does a passphrase lie anywhere in the home folder but in the program that gives it.
    for (path, bytes) in everything(client.folder()) {
        let is_program = path.ends_with("passphrases");
        assert!(is_program || !contains(&bytes, "the-passphrase-of-a-key"), "{}", path.display());
        assert!(!contains(&bytes, fixtures::ROOT_PASSPHRASE), "{}", path.display());
    }
}
