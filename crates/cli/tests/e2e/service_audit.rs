//! The trust service's audit log: who did what, and whether that is still what was written.

use crate::client::{Client, Ending, NETWORK, TAMPERED, USER};
use crate::stage::Shop;
use countersign_storage::{Category, ChangeQuery, MetadataStore, SqliteStore};
use countersign_testkit::{Finished, Image, MemoryRegistry, TrustService};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_countersign");

/// A shop whose service writes down who did what.
fn audited(to: &str) -> Shop {
    let service = TrustService::builder(PROGRAM).arg("--audit").arg(to).arg("--audit-name").arg("till").start();
    Shop { registry: MemoryRegistry::start().unwrap(), service }
}

fn entries(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn events(log: &str) -> BTreeSet<String> {
    entries(log).iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the log holds what nobody waited for.
fn read_until(log: &Path, wanted: &str) -> String {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        if text.contains(wanted) {
            return text;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "no {wanted} in {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn verified(person: &Client, arguments: &[&str]) -> (Finished, Value) {
    let text = person.run(&[&["audit", "verify"], arguments].concat()).succeeded();
    let json = person.run(&[&["audit", "verify", "--format", "json"], arguments].concat()).succeeded();
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json.get("intact"), Some(&true.into()));
    (text, json)
}

#[test]
fn what_clients_do_is_in_the_log_and_a_log_that_was_changed_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let file = log.to_str().unwrap();
    let shop = audited(file);
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    owner.run(&["key", "rotate", &shop.gun(), "snapshot", "--service"]);
    owner.run(&["revoke", &shop.name("v1")]).succeeded();
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let text = read_until(&log, "\"outcome\"");
    assert!(events(&text).is_superset(&["start", "key", "publish"].map(str::to_owned).into()), "{text}");
    drop(shop.service);

    let (told, json) = verified(&owner, &[file]);
    let chain = &json["chains"][0];
    let hash = chain["hash"].as_str().unwrap();
    assert!(told.stdout.contains(hash) && chain["chain"].as_str().unwrap().starts_with("till."), "{told}");
    verified(&owner, &[file, "--expect", hash]);

    let whole = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let check = |text: &str, arguments: &[&str], message: &str| {
        let changed = folder.path().join("changed");
        std::fs::write(&changed, text).unwrap();
        let arguments = [&["audit", "verify", changed.to_str().unwrap()], arguments].concat();
        owner.run(&arguments).refused(TAMPERED, message);
        let json = owner.run(&[&arguments[..], &["--format", "json"]].concat());
        assert_eq!(
            (json.code, serde_json::from_str::<Value>(&json.stdout).unwrap()["intact"].clone()),
            (TAMPERED, false.into())
        );
    };
    check(&whole.replacen("acme/app", "acme/ape", 1), &[], "was changed");
    let without = [&lines[..2], &lines[3..]].concat().join("\n") + "\n";
    check(&without, &[], "line 3 (entry 4 of till.");
    let swapped = [&lines[..1], &[lines[2], lines[1]], &lines[3..]].concat().join("\n") + "\n";
    check(&swapped, &[], "another order");
    let cut = lines[..lines.len() - 1].join("\n") + "\n";
    check(&cut, &["--expect", hash], "no entry has the hash");
    check("", &[], "no entry");
    check("{\"time\":\"2026-11-22T16:20:01Z\",\"action\":\"sign\"}\n{}\n", &[], "no entry of a chained log");
    owner.run(&["audit", "verify"]).refused(USER, "name the files");
    owner.run(&["audit", "verify", file, "--expect", "abc"]).refused(USER, "");
}

#[test]
fn rotated_files_are_one_log_in_whatever_order_they_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let (log, old) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
    let shop = audited(log.to_str().unwrap());
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    std::fs::rename(&log, &old).unwrap();
    shop.signed_by(&owner, "v2", "two");
    drop(shop.service);
    let (log, old) = (log.to_str().unwrap(), old.to_str().unwrap());
    let (_, json) = verified(&owner, &[log, old]);
    assert_eq!((json["chains"].as_array().unwrap().len(), &json["chains"][0]["first"]), (1, &1.into()));
    let (told, _) = verified(&owner, &[log]);
    assert!(told.stderr.contains("are not in here"), "{told}");
    let piped = Finished::of(&mut owner.command(&["audit", "verify", "-"]), &std::fs::read(old).unwrap());
    piped.succeeded();
}

#[test]
fn the_log_in_the_database_is_read_and_verified_while_the_service_runs() {
    let shop = audited("database");
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    let data = shop.service.data_dir();
    let data = data.to_str().unwrap();
    let shown = owner.run(&["audit", "show", "--data-dir", data]).succeeded();
    assert!(events(&shown.stdout).is_superset(&["start", "key", "publish"].map(str::to_owned).into()), "{shown}");
    let published = entries(&shown.stdout).into_iter().find(|entry| entry["event"] == "publish").unwrap();
    assert_eq!((&published["gun"], &published["outcome"]), (&shop.gun().into(), &"done".into()));
    let (told, json) = verified(&owner, &["--data-dir", data]);
    assert!(told.stdout.starts_with("till: entries 1 to "), "{told}");
    verified(&owner, &["--data-dir", data, "--chain", "till", "--expect", json["chains"][0]["hash"].as_str().unwrap()]);
    owner.run(&["audit", "verify", "--data-dir", data, "--chain", "other"]).refused(USER, "no chain other");
    // What `show` prints is a log that can be kept and verified elsewhere.
    let kept = Finished::of(&mut owner.command(&["audit", "verify", "-"]), shown.stdout.as_bytes());
    kept.succeeded();
}

#[test]
fn stdout_is_for_the_audit_log_alone_when_that_is_asked_for() {
    let shop = audited("stdout");
    let owner = shop.client();
    shop.signed_by(&owner, "v1", "one");
    // Both of the service's outputs are in one file here.
    let printed = shop.service.log();
    assert!(!printed.contains("export DOCKER_CONTENT_TRUST"), "{printed}");
    let lines: Vec<&str> = printed.lines().filter(|line| line.starts_with("{\"chain\"")).collect();
    let log = lines.join("\n") + "\n";
    assert!(events(&log).contains("publish"), "{printed}");
    let twice = Finished::of(&mut owner.command(&["audit", "verify", "-"]), log.as_bytes()).succeeded();
    assert!(twice.stdout.starts_with("till."), "{twice}");
}

#[test]
fn whatever_was_stored_when_the_service_was_killed_is_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let mut shop = audited(log.to_str().unwrap());
    let person = shop.client();
    let (ended, signed) = (AtomicBool::new(false), AtomicU64::new(0));
    for round in 0..3 {
        ended.store(false, Ordering::Relaxed);
        std::thread::scope(|scope| {
            for number in 0..3 {
                let (shop, ended, signed) = (&shop, &ended, &signed);
                let client = shop.client();
                let name = format!("acme/{round}-{number}");
                scope.spawn(move || {
                    let mut tag = 0;
                    while !ended.load(Ordering::Relaxed) {
                        shop.registry.put_image(&name, &format!("v{tag}"), &Image::with_message("x")).unwrap();
                        let image = format!("{}/{name}:v{tag}", shop.registry.host());
                        if client.run(&["sign", &image]).code != 0 {
                            return;
                        }
                        signed.fetch_add(1, Ordering::Relaxed);
                        tag += 1;
                    }
                });
            }
            let wanted = signed.load(Ordering::Relaxed) + 4;
            let begun = Instant::now();
            while signed.load(Ordering::Relaxed) < wanted {
                assert!(begun.elapsed() < Duration::from_mins(1), "nothing is signed");
                std::thread::sleep(Duration::from_millis(5));
            }
            let process = rustix::process::Pid::from_raw(shop.service.replica(0).id().try_into().unwrap()).unwrap();
            rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
            ended.store(true, Ordering::Relaxed);
        });
        shop.service.kill();
        verified(&person, &[log.to_str().unwrap()]);
        let stored = stored(&shop.service.data_dir().join("trust.db"));
        let text = std::fs::read_to_string(&log).unwrap();
        let written: BTreeSet<String> = entries(&text)
            .iter()
            .flat_map(|entry| entry["files"].as_array().cloned().unwrap_or_default())
            .filter(|file| file["role"] == "timestamp")
            .map(|file| file["sha256"].as_str().unwrap().to_owned())
            .collect();
        assert!(stored.len() as u64 >= signed.load(Ordering::Relaxed) && stored.is_subset(&written), "{text}");
        shop.service.restart();
    }
    verified(&person, &[log.to_str().unwrap()]);
}

/// The digests of all timestamps that were ever published.
fn stored(database: &Path) -> BTreeSet<String> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = SqliteStore::open(database).await.unwrap();
        let changes = store.changes(&ChangeQuery::new(None, 0, 1000)).await.unwrap();
        store.close().await;
        let digest = |category: &Category| match category {
            Category::Update { sha256, .. } => Some(sha256.hex()),
            Category::Deletion => None,
        };
        changes.iter().filter_map(|change| digest(&change.category)).collect()
    })
}

#[test]
fn on_a_full_disk_nothing_is_published_and_everything_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let program = folder.path().join("countersign");
    let mount = format!("mount -t tmpfs -o size=64k audit {} && exec {PROGRAM} \"$@\"", logs.display());
    std::fs::write(&program, format!("#!/bin/sh\nexec unshare --mount sh -c '{mount}' sh \"$@\"\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let log = logs.join("audit.jsonl");
    let service = TrustService::builder(program.to_str().unwrap()).arg("--audit").arg(log.to_str().unwrap()).start();
    let shop = Shop { registry: MemoryRegistry::start().unwrap(), service };
    let (owner, reader) = (shop.client(), shop.client());
    shop.signed_by(&owner, "v0", "zero");
    let inside = Path::new("/proc").join(shop.service.replica(0).id().to_string()).join("root");
    let filler = inside.join(logs.strip_prefix("/").unwrap()).join("filler");
    // As much as there is room for.
    let full = std::fs::write(&filler, vec![0; 1024 * 1024]).unwrap_err();
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull);
    let sign = |tag: &str| {
        shop.put(tag, tag);
        owner.run(&["sign", &shop.name(tag)])
    };
    // What is left of the last page takes a few entries.
    let refused = (1..20).map(|number| sign(&format!("v{number}"))).find(|ended| ended.code != 0).unwrap();
    refused.refused(NETWORK, "");
    reader.run(&["verify", &shop.name("v0")]).succeeded();
    assert!(shop.service.log().contains("the audit log cannot be written"), "{}", shop.service.log());
    std::fs::remove_file(&filler).unwrap();
    let begun = Instant::now();
    while sign("again").code != 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "it does not recover");
    }
    let kept = folder.path().join("kept");
    std::fs::copy(inside.join(log.strip_prefix("/").unwrap()), &kept).unwrap();
    verified(&owner, &[kept.to_str().unwrap()]);
    assert!(events(&std::fs::read_to_string(&kept).unwrap()).contains("resumed"));
}

#[test]
fn settings_say_where_the_log_is_and_what_it_calls_the_service() {
    let person = Client::new();
    let settings = person.folder().join("serve.toml");
    let text = "data-dir = \"d\"\n[audit]\nto = \"audit.jsonl\"\nname = \"trust-1\"\nrenewals = false\n";
    std::fs::write(&settings, text).unwrap();
    let file = settings.to_str().unwrap();
    let explained = person.run(&["serve", "config", "explain", "--config", file]).succeeded().stdout;
    for (key, value, line) in
        [("audit.to", "audit.jsonl", 3), ("audit.name", "trust-1", 4), ("audit.renewals", "left out", 5)]
    {
        let row = explained.lines().find(|row| row.starts_with(key)).unwrap();
        assert!(row.contains(value) && row.ends_with(&format!("(line {line})")), "{row}");
    }
    let explained =
        person.run(&["serve", "config", "explain", "--config", file, "--audit", "stdout"]).succeeded().stdout;
    assert!(explained.contains("stdout  (--audit)"), "{explained}");
    person.run(&["audit", "verify", "--config", file]).refused(crate::client::LOCAL, "audit.jsonl");
    person.run(&["serve", "--audit-name", "x", "--data-dir", "d"]).refused(USER, "--audit");
}
