//! The audit log: one line for every signing and verification, and nothing without it.

use crate::client::{Client, Ending, LOCAL, NETWORK, TRUST, USER};
use crate::stage::Shop;
use countersign_testkit::Finished;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

fn lines(log: &Path) -> Vec<Value> {
    std::fs::read_to_string(log).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_signing_verification_and_refusal_is_one_line() {
    let mut shop = Shop::open();
    let owner = shop.client();
    let log = owner.folder().join("audit.jsonl");
    let owner = owner.env("COUNTERSIGN_AUDIT_LOG", log.to_str().unwrap());
    let digest = shop.signed_by(&owner, "v1", "one");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
    owner.run(&["verify", &shop.name("v2")]).refused(TRUST, "No valid trust data");
    owner.run(&["sign", &shop.name("v1")]).succeeded();
    owner.run(&["revoke", &shop.name("v1")]).succeeded();
    shop.service.kill();
    owner.run(&["sign", &shop.name("v1")]).refused(NETWORK, "away");
    let other = owner.folder().join("other.jsonl");
    let wins = ["--audit-log", other.to_str().unwrap(), "verify", &shop.name("v1")];
    owner.run(&wins).refused(TRUST, "No valid trust data");

    let written = lines(&log);
    let brief = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} {} {}", text("action"), text("tag"), text("outcome"), text("digest"))
    };
    let brief: Vec<String> = written.iter().map(brief).collect();
    let ok = |action: &str| format!("{action} v1 ok {digest}");
    assert_eq!(
        brief,
        [&ok("sign"), &ok("verify"), "verify v2 refused ", &ok("sign"), "revoke v1 ok ", "sign v1 refused "],
        "{written:#?}"
    );
    for line in &written {
        assert_eq!(line["gun"].as_str(), Some(shop.gun().as_str()));
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
        let refused = line["outcome"] == "refused";
        assert_eq!(line["reason"].is_string(), refused, "{line}");
        let keys = line["keys"].as_array().unwrap();
        assert_eq!(keys.len(), usize::from(line["digest"].is_string()), "{line}");
    }
    assert_eq!(lines(&other).len(), 1, "the option wins over the variable");
}

#[test]
fn a_verification_that_rests_on_the_cache_is_told_apart() {
    let mut shop = Shop::open();
    shop.signed_by(&shop.client(), "v1", "one");
    let reader = shop.client();
    let log = reader.folder().join("audit.jsonl");
    let reader = reader.env("COUNTERSIGN_AUDIT_LOG", log.to_str().unwrap());
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    shop.service.kill();
    reader.run(&["verify", &shop.name("v1")]).succeeded();
    let written = lines(&log);
    assert_eq!(written.len(), 2);
    assert!(written[0].get("source").is_none(), "{written:?}");
    assert_eq!(written[1]["source"], "cache", "{written:?}");
}

#[test]
fn without_its_log_nothing_is_done() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let owner = shop.client();
    let folder = owner.folder().to_str().unwrap().to_owned();
    let link = owner.folder().join("link");
    std::os::unix::fs::symlink("/nowhere/at/all/log", &link).unwrap();
    let pipe = owner.folder().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for log in ["/nowhere/audit.log", &folder, link.to_str().unwrap(), pipe.to_str().unwrap()] {
        for command in ["sign", "verify", "pull", "push", "revoke"] {
            let refused = owner.run(&["--audit-log", log, command, &shop.name("v1")]);
            refused.refused(LOCAL, "the audit log cannot be opened, so nothing was done");
        }
    }
    assert!(!owner.trust_dir().exists());
    owner.run(&["verify", &shop.name("v1")]).refused(TRUST, "does not have trust data");
}

#[test]
fn what_was_done_but_not_written_down_is_an_error_that_says_so() {
    let shop = Shop::open();
    shop.put("v1", "one");
    let owner = shop.client();
    let failed = owner.run(&["--audit-log", "/dev/full", "sign", &shop.name("v1")]);
    failed.refused(LOCAL, "was signed and published, but the audit log cannot be written");
    let failed = owner.run(&["--audit-log", "/dev/full", "sign", &shop.name("v1")]);
    assert!(failed.stderr.contains("was signed already and nothing was published, but"), "{failed}");
    owner.run(&["verify", &shop.name("v1")]).succeeded();
    let refused = owner.run(&["--audit-log", "/dev/full", "verify", &shop.name("v2")]);
    let refused = refused.refused(TRUST, "No valid trust data for v2");
    assert!(refused.stderr.contains("this refusal is not in the audit log"), "{refused}");
    let verified = owner.run(&["--audit-log", "/dev/stderr", "verify", &shop.name("v1")]).succeeded();
    assert!(verified.stderr.contains("\"outcome\":\"ok\""), "a pipe is a log as well: {verified}");
}

#[test]
fn what_fails_before_signing_or_after_verifying_is_one_line_as_well() {
    let shop = Shop::open();
    let owner = shop.client();
    let digest = shop.signed_by(&owner, "v1", "one");
    let log = owner.folder().join("audit.jsonl");
    let owner = owner.env("COUNTERSIGN_AUDIT_LOG", log.to_str().unwrap());
    owner.run(&["sign", &shop.name("absent")]).refused(USER, "is not in the registry");
    owner.run(&["push", "--from", "missing.tar", &shop.name("v2")]).refused(LOCAL, "missing.tar");
    owner.run(&["pull", "--to", "oci:image", &shop.name("v1")]).succeeded();
    shop.registry.corrupt_manifest("acme/app", &digest, b"junk".to_vec()).unwrap();
    owner.run(&["pull", "--to", "oci:other", &shop.name("v1")]).refused(TRUST, "other content than asked for");
    let written = lines(&log);
    let brief = |line: &Value| format!("{} {} {}", line["action"], line["tag"], line["outcome"]).replace('"', "");
    let brief: Vec<String> = written.iter().map(brief).collect();
    assert_eq!(brief, ["sign absent refused", "sign v2 refused", "verify v1 ok", "verify v1 refused"], "{written:#?}");
}

#[test]
fn neither_the_log_nor_dockers_folder_for_authorities_is_open_to_others_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let shop = Shop::open();
    let owner = shop.client();
    owner.run_after("umask 0", &["--audit-log", "audit.log", "verify", &shop.name("v1")]);
    assert_eq!(mode(&owner.folder().join("audit.log")), 0o600);
    let host = Client::new();
    let mut serve = Command::new("sh");
    let script = "umask 0; exec timeout 2 \"$0\" serve --listen 127.0.0.1:0 --trust-ca --data-dir data";
    host.set(serve.args(["-c", script, env!("CARGO_BIN_EXE_countersign")]));
    let served = Finished::of(&mut serve, b"");
    let tls = host.config_dir().join("tls");
    let folders: Vec<_> = std::fs::read_dir(&tls).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!((mode(&tls), folders.len()), (0o700, 1), "{served}");
    assert_eq!(mode(&folders[0]), 0o700);
}
