//! Starting again, dying, and what must be there afterwards.
//!
//! The crash tests start this binary again as a child with a service in it, which kills itself (SIGKILL) at a failpoint.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use countersign_server::{Config, Service, StartError, Tls};

use crate::owner::Owner;
use crate::service::{TestService, multipart};

const GUN: &str = "example.com/lifecycle";
const FAILPOINT: &str = "COUNTERSIGN_TEST_FAILPOINT";
const FOLDER: &str = "COUNTERSIGN_TEST_FOLDER";

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let files = ["root.json", "targets.json", "snapshot.json", "timestamp.json", "1.root.json"];
    let mut before = Vec::new();
    for name in files {
        before.push(service.file(GUN, name).await.ok().body);
    }
    let service = service.restart().await;
    for (name, bytes) in files.into_iter().zip(before) {
        assert!(service.file(GUN, name).await.ok().body == bytes, "{name}");
    }
    assert_eq!(service.get("/v2/_trust/changefeed?records=0").await.ok().json()["count"], 1);
}

#[tokio::test]
async fn a_second_service_on_the_same_folder_is_refused() {
    let service = TestService::start().await;
    let config = Config::new("127.0.0.1:0".parse().unwrap(), service.folder.path().join("data"));
    let refused = Service::start(config).await.unwrap_err();
    assert!(matches!(refused, StartError::DataDir(_)), "{refused:?}");
    service.get("/v2/").await.ok();
}

/// The child: serves until the failpoint. In a plain test run it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(failpoint), Ok(folder)) = (std::env::var(FAILPOINT), std::env::var(FOLDER)) else { return };
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), Path::new(&folder).to_owned());
    config.tls = Tls::None;
    config.clock = crate::service::Time::new().clock();
    let running = Service::start(config).await.unwrap();
    let kill = || rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
    fail::cfg_callback(failpoint, kill).unwrap();
    println!("listening on http://{}", running.address());
    std::future::pending::<()>().await;
}

/// Publishes twice; the second time the service dies at the failpoint. Returns the service started again, the second
/// publication, and whether it had been acknowledged.
async fn survive(failpoint: &str) -> (TestService, Vec<u8>, bool) {
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let TestService { running, folder, client, .. } = service;
    running.shut_down().await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "lifecycle::child", "--nocapture"])
        .env(FAILPOINT, failpoint)
        .env(FOLDER, folder.path().join("data"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let base =
        lines.map_while(Result::ok).find_map(|line| Some(line.split_once("listening on ")?.1.to_owned())).unwrap();
    let targets = owner.targets(2, &["second"]);
    let upload = client
        .post(format!("{base}/v2/{GUN}/_trust/tuf/"))
        .header("Content-Type", "multipart/form-data; boundary=BOUNDARY")
        .body(multipart(&[("targets", targets.clone())]));
    let acknowledged = upload.send().await.is_ok_and(|answer| answer.status() == 200);
    assert_eq!(child.wait().unwrap().signal(), Some(9), "{failpoint}");
    (TestService::in_folder(folder, |_| {}).await, targets, acknowledged)
}

#[tokio::test]
async fn killed_anywhere_in_a_publication_the_old_or_the_new_state_is_whole() {
    for (failpoint, survives) in [
        ("publication-prepared", false),
        ("publish-begun", false),
        ("publish-file-written", false),
        ("publish-change-written", false),
        ("publish-before-commit", false),
        ("publish-committed", true),
        ("publication-stored", true),
    ] {
        let (service, targets, acknowledged) = survive(failpoint).await;
        assert!(!acknowledged, "{failpoint}: acknowledged by a dead service");
        let current = service.file(GUN, "targets.json").await.ok().body;
        assert_eq!(current == targets, survives, "{failpoint}");
        let version = if survives { 2 } else { 1 };
        for role in ["snapshot", "timestamp"] {
            let file = service.file(GUN, &format!("{role}.json")).await.ok().json();
            assert_eq!(file["signed"]["version"], version, "{failpoint} {role}");
        }
        let again = service.upload(GUN, &[("targets", targets)]).await;
        assert_eq!(again.status, if survives { 400 } else { 200 }, "{failpoint}: {}", again.text());
    }
}
