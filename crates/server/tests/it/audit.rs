//! Who did what: entries in a file and in the database, for every change and every refusal, and nothing without them.

use std::collections::BTreeSet;
use std::path::Path;

use countersign_audit::{Chains, Ending, Report, Verifier};
use countersign_server::{
    Access, AuditChainName, AuditConfig, AuditError, AuditReader, AuditSink, AuditedRenewals, Config, Mode, OwnHost,
    Reading, RetainError, Retention, Service, StartError, Storage, Tls, TokenAccess,
};
use countersign_testkit::token_service::{KeyReference, TokenAlgorithm, TokenKey};
use countersign_testkit::{DatabaseServer, Product};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::owner::Owner;
use crate::service::{TestService, multipart};

const GUN: &str = "example.com/audited";

fn audited(sink: AuditSink) -> AuditConfig {
    AuditConfig::new(sink, AuditChainName::parse("test").unwrap())
}

async fn with_file(folder: &Path) -> TestService {
    let sink = AuditSink::File(folder.join("audit.jsonl"));
    TestService::with(|config| config.audit = Some(audited(sink))).await
}

/// Checks files as one log, and returns their entries.
fn read(files: &[&Path]) -> (Report, Vec<Value>) {
    let (mut verifier, mut entries) = (Verifier::new(Chains::One, BTreeSet::new()), Vec::new());
    for (number, path) in files.iter().enumerate() {
        if number > 0 {
            verifier.next_file();
        }
        for line in fs_err::read(path).unwrap().split_inclusive(|byte| *byte == b'\n') {
            let (line, ending) =
                line.strip_suffix(b"\n").map_or((line, Ending::Nothing), |line| (line, Ending::Newline));
            verifier.line(line, ending).unwrap();
            entries.extend(serde_json::from_slice::<Value>(line));
        }
    }
    (verifier.finish().unwrap(), entries)
}

fn brief(entries: &[Value]) -> Vec<String> {
    let word = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    entries
        .iter()
        .map(|entry| format!("{} {}", word(entry, "event"), word(entry, "outcome")).trim().to_owned())
        .collect()
}

#[tokio::test]
async fn every_change_is_announced_made_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let service = with_file(folder.path()).await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let published = service.file(GUN, "root.json").await.ok().body;
    let path = format!("/v2/{GUN}/_trust/tuf/timestamp.key");
    service.request("POST", &path).await.ok();
    service.delete(GUN).await.ok();
    // The answers do not wait for the entries about outcomes; the end of the service does.
    service.running.shut_down().await;
    let log = folder.path().join("audit.jsonl");
    let (report, entries) = read(&[&log]);
    let steps = ["key", "key", "publish", "key", "delete"].map(|step| [format!("{step} begun"), "outcome done".into()]);
    let expected = [vec!["start".to_owned()], steps.concat(), vec!["stop".to_owned()]].concat();
    assert_eq!(brief(&entries), expected, "{entries:#?}");
    assert_eq!((report.chains[0].first, report.chains[0].head.seq), (1, 12));
    let publish = &entries[5];
    assert_eq!(
        (&publish["gun"], &publish["kind"], &publish["address"]),
        (&json!(GUN), &json!("anonymous"), &json!("127.0.0.1"))
    );
    assert!(publish["request"].as_str().is_some_and(|id| !id.is_empty()), "{publish}");
    let roles: Vec<_> =
        publish["files"].as_array().unwrap().iter().map(|file| file["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["root", "snapshot", "targets", "timestamp"]);
    let root = &publish["files"][0];
    assert_eq!(root["sha256"], countersign_crypto::digest::sha256(&published).hex());
    assert_eq!(entries[6]["of"], publish["seq"]);
    assert!(entries[1]["key"].as_str().is_some_and(|key| key.len() == 64), "{}", entries[1]);
}

#[tokio::test]
async fn who_a_token_names_is_in_the_entries_and_who_is_refused_too() {
    let (folder, key) = (tempfile::tempdir().unwrap(), TokenKey::new(TokenAlgorithm::Es256, KeyReference::Certificate));
    let bundle = folder.path().join("bundle.pem");
    fs_err::write(&bundle, key.certificate_pem()).unwrap();
    let tokens = TokenAccess {
        realm: "https://auth.test/token".to_owned(),
        service: "s".to_owned(),
        issuer: "i".to_owned(),
        certificates: Some(bundle),
        keys: None,
        own_host: OwnHost::No,
        reading: Reading::Allowed,
    };
    let sink = AuditSink::File(folder.path().join("audit.jsonl"));
    let service = TestService::with(|config| {
        config.access = Access::Tokens(tokens);
        config.audit = Some(audited(sink));
    })
    .await;
    let now = service.time.now().as_second();
    let hostile = "alice\n{\"seq\":1}\u{1b}[31m\u{202e}";
    let claims = |actions: &[&str]| {
        json!({"iss": "i", "sub": hostile, "aud": "s", "exp": now + 300, "nbf": now - 10,
            "access": [{"type": "repository", "name": GUN, "actions": actions}]})
    };
    let path = format!("/v2/{GUN}/_trust/tuf/timestamp.key");
    let ask = async |method: &str, token: &str| {
        let url = format!("{}{path}", service.base);
        let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
        service.send(service.client.request(method, url).header("Authorization", format!("Bearer {token}"))).await
    };
    ask("POST", &key.sign(&claims(&["*"]))).await.ok();
    for _ in 0..5 {
        assert_eq!(ask("POST", &key.sign(&claims(&["pull"]))).await.status, 401);
        assert_eq!(service.request("POST", &path).await.status, 401);
    }
    service.running.shut_down().await;
    let (_, entries) = read(&[&folder.path().join("audit.jsonl")]);
    assert_eq!((&entries[1]["who"], &entries[1]["kind"]), (&json!(hostile), &json!("token")));
    let refusals: Vec<&Value> = entries.iter().filter(|entry| entry["event"] == "refuse").collect();
    let first = refusals[0];
    assert_eq!((&first["status"], &first["gun"], &first["operation"]), (&json!(401), &json!(GUN), &json!("RotateKey")));
    assert!(first["reason"].as_str().unwrap().contains("does not reach so far"), "{first}");
    // Alike in all but what brought them here, the others are one entry.
    assert_eq!(refusals.len(), 2, "{refusals:#?}");
    assert_eq!(refusals[1]["count"], 9);
}

#[tokio::test]
async fn a_change_that_is_not_right_is_written_down_as_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = with_file(folder.path()).await;
    let owner = Owner::of(&service, GUN).await;
    let parts = [("root", owner.root(1)), ("targets", b"{}".to_vec())];
    assert_eq!(service.upload(GUN, &parts).await.status, 400);
    service.running.shut_down().await;
    let (_, entries) = read(&[&folder.path().join("audit.jsonl")]);
    let refused = entries.iter().find(|entry| entry["event"] == "refuse").unwrap();
    assert_eq!((&refused["operation"], &refused["status"]), (&json!("UpdateTUF"), &json!(400)));
    assert!(!brief(&entries).contains(&"publish begun".to_owned()), "{entries:#?}");
}

#[tokio::test]
async fn the_chain_goes_on_in_new_files_and_after_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let (log, first, second) =
        (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.2"), folder.path().join("audit.jsonl.1"));
    let service = with_file(folder.path()).await;
    service.delete("example.com/a").await.ok();
    fs_err::rename(&log, &first).unwrap();
    service.delete("example.com/b").await.ok();
    service.running.shut_down().await;
    fs_err::rename(&log, &second).unwrap();
    let service = with_file(folder.path()).await;
    service.delete("example.com/c").await.ok();
    service.running.shut_down().await;
    let (report, entries) = read(&[&first, &second, &log]);
    assert_eq!((report.chains.len(), report.chains[0].first), (1, 1));
    let guns: Vec<_> = entries.iter().filter(|entry| entry["event"] == "delete").map(|entry| &entry["gun"]).collect();
    assert_eq!(guns, [&json!("example.com/a"), &json!("example.com/b"), &json!("example.com/c")]);
    let (report, _) = read(&[&log]);
    assert!(report.chains[0].first > 1);
}

#[tokio::test]
async fn a_line_that_was_cut_short_is_vouched_for_and_a_changed_one_stops_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    with_file(folder.path()).await.running.shut_down().await;
    let whole = fs_err::read_to_string(&log).unwrap();
    fs_err::write(&log, format!("{whole}{}", &whole[..50])).unwrap();
    with_file(folder.path()).await.running.shut_down().await;
    assert_eq!(read(&[&log]).0.chains[0].torn, 1);
    let changed = fs_err::read_to_string(&log).unwrap().replace("\"stop\"", "\"stoq\"");
    fs_err::write(&log, changed).unwrap();
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
    (config.tls, config.audit) = (Tls::None, Some(audited(AuditSink::File(log))));
    let refused = Service::start(config).await.unwrap_err();
    assert!(matches!(refused, StartError::Audit(AuditError::NotOurs(_))), "{refused:?}");
}

#[tokio::test]
async fn without_an_entry_nothing_is_changed_and_reading_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("logs");
    fs_err::create_dir(&place).unwrap();
    let service = with_file(&place).await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let before = service.file(GUN, "timestamp.json").await.ok();
    // Nowhere to write.
    let away = folder.path().join("away");
    fs_err::rename(&place, &away).unwrap();
    let parts = [("targets", owner.targets(2, &["v2"]))];
    for _ in 0..2 {
        let refused = service.upload(GUN, &parts).await;
        assert_eq!((refused.error().as_str(), refused.header("retry-after")), ("503 UNAVAILABLE", "5"));
        assert!(refused.text().contains("audit log"), "{}", refused.text());
        assert_eq!(service.delete(GUN).await.status, 503);
        assert_eq!(service.request("POST", &format!("/v2/{GUN}/_trust/tuf/snapshot.key")).await.status, 503);
    }
    assert_eq!(service.file(GUN, "timestamp.json").await.ok().body, before.body);
    assert!(service.get("/readyz").await.text().contains("audit"));
    service.get("/readyz?exclude=audit").await.ok();
    service.get("/_notary_server/health").await.ok();
    let metrics = service.get("/metrics").await.ok().text();
    assert!(
        metrics.contains("countersign_audit_up 0\n") && metrics.contains("countersign_audit_refused_total 6\n"),
        "{metrics}"
    );
    fs_err::rename(&away, &place).unwrap();
    let begun = std::time::Instant::now();
    while service.upload(GUN, &parts).await.status != 200 {
        assert!(begun.elapsed().as_secs() < 20, "it does not recover");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    service.get("/readyz").await.ok();
    assert!(service.get("/metrics").await.ok().text().contains("countersign_audit_up 1\n"));
    service.running.shut_down().await;
    let (_, entries) = read(&[&place.join("audit.jsonl")]);
    assert!(brief(&entries).contains(&"resumed".to_owned()), "{entries:#?}");
    assert_eq!(entries.iter().filter(|entry| entry["event"] == "publish").count(), 2);
}

#[tokio::test]
async fn two_services_do_not_share_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let _first = with_file(folder.path()).await;
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
    (config.tls, config.audit) = (Tls::None, Some(audited(AuditSink::File(folder.path().join("audit.jsonl")))));
    let refused = Service::start(config).await.unwrap_err();
    assert!(matches!(refused, StartError::Audit(AuditError::InUse(_))), "{refused:?}");
}

#[tokio::test]
async fn renewals_and_retention_are_the_services_own_doing() {
    for renewals in [AuditedRenewals::Recorded, AuditedRenewals::LeftOut] {
        let folder = tempfile::tempdir().unwrap();
        let sink = AuditSink::File(folder.path().join("audit.jsonl"));
        let config = AuditConfig { renewals, ..audited(sink) };
        let service = TestService::with(|settings| settings.audit = Some(config)).await;
        Owner::of(&service, GUN).await.publish_first(&service).await;
        service.time.pass(SignedDuration::from_hours(24 * 10));
        assert_eq!(service.running.renew_now().await, 1);
        service.running.retain_now(Retention::Versions(1.try_into().unwrap())).await;
        service.running.reload();
        service.running.shut_down().await;
        let (_, entries) = read(&[&folder.path().join("audit.jsonl")]);
        let of_service: Vec<_> = entries.iter().filter(|entry| entry["kind"] == "service").collect();
        let events: Vec<_> = of_service.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
        match renewals {
            AuditedRenewals::Recorded => assert_eq!(events, ["renew", "retention", "reload"]),
            AuditedRenewals::LeftOut => assert_eq!(events, ["retention", "reload"]),
        }
    }
}

/// Checks all chains in the database.
async fn chains(config: &Config) -> Vec<(String, Vec<Value>)> {
    let reader = AuditReader::open(config).await.unwrap();
    let mut all = Vec::new();
    for (chain, head) in reader.heads().await.unwrap() {
        let lines = reader.lines(&chain, 0, 1000).await.unwrap();
        let mut verifier = Verifier::new(Chains::One, [head.hash].into());
        for line in &lines {
            verifier.line(line.as_bytes(), Ending::Newline).unwrap();
        }
        assert!(verifier.finish().unwrap().missing.is_empty());
        let entries = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        all.push((chain.to_string(), entries));
    }
    reader.close().await;
    all
}

#[tokio::test]
async fn in_the_database_a_publication_and_its_entry_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("elsewhere");
    let place = data.clone();
    let service = TestService::with(move |config| {
        (config.data_dir, config.audit) = (place, Some(audited(AuditSink::Database)));
    })
    .await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    service.delete(GUN).await.ok();
    service.running.shut_down().await;
    let chains = chains(&Config::new("127.0.0.1:0".parse().unwrap(), data)).await;
    assert_eq!((chains.len(), chains[0].0.as_str()), (1, "test"));
    let mut events = brief(&chains[0].1);
    assert_eq!((events.remove(0), events.pop()), ("start".to_owned(), Some("stop".to_owned())));
    events.sort();
    let expected =
        ["delete begun", "key begun", "key begun", "outcome done", "outcome done", "outcome done", "publish done"];
    assert_eq!(events, expected);
}

async fn replicas_have_a_chain_each(product: Product) {
    let server = tokio::task::spawn_blocking(move || DatabaseServer::start(product)).await.unwrap();
    let server = std::sync::Arc::new(server);
    let asked = std::sync::Arc::clone(&server);
    let text = tokio::task::spawn_blocking(move || asked.database()).await.unwrap();
    let url = countersign_server::DatabaseUrl::parse(&text).unwrap();
    let settings = |name: &str, url: &countersign_server::DatabaseUrl, config: &mut Config| {
        let url = Box::new(url.clone());
        config.storage = Storage::Database { url, connections: countersign_server::Connections::default() };
        config.audit = Some(AuditConfig::new(AuditSink::Database, AuditChainName::parse(name).unwrap()));
    };
    let one = TestService::with(|config| settings("one", &url, config)).await;
    let secret = fs_err::read(one.folder.path().join("data/secret")).unwrap();
    let two = TestService::with_secret(&secret, |config| settings("two", &url, config)).await;
    let mut running = Vec::new();
    for number in 0..8 {
        let service = if number % 2 == 0 { &one } else { &two };
        running.push(async move {
            let owner = Owner::of(service, &format!("example.com/{number}")).await;
            owner.publish_first(service).await;
            for version in 2..=4 {
                let parts = [("targets", owner.targets(version, &["v1"]))];
                service
                    .send(
                        service
                            .client
                            .post(format!("{}/v2/{}/_trust/tuf/", service.base, owner.gun))
                            .header("Content-Type", "multipart/form-data; boundary=BOUNDARY")
                            .body(multipart(&parts)),
                    )
                    .await
                    .ok();
            }
        });
    }
    futures_util::future::join_all(running).await;
    one.running.shut_down().await;
    two.running.shut_down().await;
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), "/nowhere".into());
    config.storage = Storage::Database { url: Box::new(url), connections: countersign_server::Connections::default() };
    let chains = chains(&config).await;
    assert_eq!(chains.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    for (name, entries) in chains {
        let published = entries.iter().filter(|entry| entry["event"] == "publish").count();
        assert_eq!(published, 16, "{name}: {entries:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_over_postgresql_have_a_chain_each() {
    replicas_have_a_chain_each(Product::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn replicas_over_mariadb_have_a_chain_each() {
    replicas_have_a_chain_each(Product::MariaDb).await;
}

#[tokio::test]
async fn an_operators_command_is_written_down_and_not_done_while_a_service_holds_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let service = with_file(folder.path()).await;
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), service.folder.path().join("data"));
    config.audit = Some(audited(AuditSink::File(log.clone())));
    let (rules, now) = (Retention::Versions(1.try_into().unwrap()), service.time.now());
    Service::retain(&config, rules, now, Mode::DryRun).await.unwrap();
    let refused = Service::retain(&config, rules, now, Mode::Apply).await.unwrap_err();
    assert!(matches!(refused, RetainError::Audit(AuditError::InUse(_))), "{refused:?}");
    service.running.shut_down().await;
    Service::retain(&config, rules, now, Mode::Apply).await.unwrap();
    let (_, entries) = read(&[&log]);
    let of_operator: Vec<_> = brief(&entries).split_off(2);
    assert_eq!(of_operator, ["command", "retention done", "stop"], "{entries:#?}");
}
