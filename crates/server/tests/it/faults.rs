//! A database that fails, hangs or panics; and what the log says.

use std::collections::BTreeSet;
use std::io::Write;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_server::Storage;
use countersign_storage::{
    Base, Change, ChangeQuery, Deletion, MetadataStore, NewMetadata, PageSize, Pointer, PublishError, SqliteStore,
    State, StoreError, Stored,
};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;
use sqlx::Connection;

use crate::owner::Owner;
use crate::service::TestService;

const GUN: &str = "example.com/faults";

/// What a store does instead of its work.
#[derive(Clone, Copy)]
enum Fault {
    Fail,
    Hang,
    Panic,
}

impl Fault {
    async fn strike<T>(self) -> Result<T, StoreError> {
        match self {
            Self::Fail => {
                Err(StoreError::Damaged { what: "SELECT secret FROM tuf_files", value: "/var/lib/x".to_owned() })
            }
            Self::Hang => std::future::pending().await,
            Self::Panic => unreachable!("the store panics on purpose"),
        }
    }
}

#[async_trait]
impl MetadataStore for Fault {
    async fn current(&self, _: &Gun, _: &RoleName) -> Result<Option<Stored>, StoreError> {
        self.strike().await
    }
    async fn state(&self, _: &Gun, _: &BTreeSet<RoleName>) -> Result<State, StoreError> {
        self.strike().await
    }
    async fn pointers(&self, _: &Gun) -> Result<Vec<Pointer>, StoreError> {
        self.strike().await
    }
    async fn by_checksum(&self, _: &Gun, _: &RoleName, _: &Sha256Digest) -> Result<Option<Stored>, StoreError> {
        self.strike().await
    }
    async fn by_version(&self, _: &Gun, _: &RoleName, _: Version) -> Result<Option<Stored>, StoreError> {
        self.strike().await
    }
    async fn publish(&self, _: &Gun, _: Base, _: &[NewMetadata], _: Timestamp) -> Result<(), PublishError> {
        Ok(self.strike().await?)
    }
    async fn delete(&self, _: &Gun, _: Timestamp) -> Result<Deletion, StoreError> {
        self.strike().await
    }
    async fn changes(&self, _: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
        self.strike().await
    }
    async fn stale(&self, _: RangeInclusive<Timestamp>, _: Option<&Gun>, _: PageSize) -> Result<Vec<Gun>, StoreError> {
        Ok(Vec::new())
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.strike().await
    }
}

async fn service(fault: Fault) -> TestService {
    let folder = tempfile::tempdir().unwrap();
    let keys = Arc::new(SqliteStore::open(&folder.path().join("keys.db")).await.unwrap());
    TestService::in_folder(folder, |config| {
        config.storage = Storage::Shared { metadata: Arc::new(fault), keys };
        config.limits.patience = Duration::from_millis(300);
        config.limits.drain = Duration::from_millis(300);
    })
    .await
}

#[tokio::test]
async fn a_failing_or_panicking_database_is_an_answer_that_gives_nothing_away() {
    for fault in [Fault::Fail, Fault::Panic] {
        let service = service(fault).await;
        for answer in [
            service.file(GUN, "root.json").await,
            service.file(GUN, "1.root.json").await,
            service.file(GUN, "timestamp.key").await,
            service.get("/v2/_trust/changefeed?records=1").await,
            service.upload(GUN, &[("targets", b"{}".to_vec())]).await,
            service.delete(GUN).await,
        ] {
            assert_eq!(answer.error(), "500 UNKNOWN");
            assert_eq!(answer.text(), "{\"errors\":[{\"code\":\"UNKNOWN\",\"message\":\"unknown error\"}]}\n");
        }
        service.get("/v2/").await.ok();
    }
}

#[tokio::test]
async fn health_says_that_the_database_fails_or_hangs() {
    for fault in [Fault::Fail, Fault::Hang] {
        let service = service(fault).await;
        let answer = service.get("/_notary_server/health").await;
        assert_eq!(answer.status, 503);
        let json = answer.json();
        let problem = json["DB operational"].as_str().unwrap();
        assert!(problem.starts_with("the database "), "{problem}");
        assert!(!answer.text().contains("SELECT") && !answer.text().contains("/var"));
    }
}

#[tokio::test]
async fn a_hanging_database_keeps_nobody_waiting_for_ever_at_the_end() {
    let service = service(Fault::Hang).await;
    let url = format!("{}/v2/{GUN}/_trust/tuf/root.json", service.base);
    let asked = tokio::spawn(service.client.get(url).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let drained = tokio::time::timeout(Duration::from_secs(5), service.running.shut_down()).await.unwrap();
    assert_eq!(drained, countersign_server::Drained::Partly);
    assert!(asked.await.unwrap().is_err());
}

/// What the service writes to its log, in this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Takes what is logged until the guard is dropped.
    pub(crate) fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let writer = self.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_request_is_one_line_whatever_is_in_it() {
    let service = TestService::start().await;
    let log = Log::default();
    let guard = log.listen();
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let request = service.client.get(format!("{}/v2/a%0d%0aforged%1b[31m/_trust/tuf/root.json", service.base));
    request.header("User-Agent", "agent\tone \"quoted\" \u{1b}".replace('\u{1b}', "")).send().await.unwrap();
    drop(guard);
    let text = log.text();
    let requests: Vec<&str> = text.lines().filter(|line| line.contains("request method=")).collect();
    assert_eq!(requests.len(), 4, "{text}");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    let last = requests.last().unwrap();
    assert!(
        last.contains("status=404") && last.contains("a%0d%0aforged%1b[31m") && last.contains("agent\\\\tone"),
        "{last}"
    );
}

#[tokio::test]
async fn a_database_that_somebody_else_holds_is_busy_and_no_fault() {
    let service = TestService::with(|config| config.limits.database = Duration::from_millis(100)).await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let path = service.folder.path().join("data/trust.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut backup = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut backup).await.unwrap();
    for answer in [
        service.upload(GUN, &[("targets", owner.targets(2, &["second"]))]).await,
        service.file("another", "timestamp.key").await,
        service.delete(GUN).await,
    ] {
        assert_eq!(answer.error(), "503 UNAVAILABLE", "{}", answer.text());
        assert_eq!(answer.header("Retry-After"), "5");
    }
    service.file(GUN, "targets.json").await.ok();
    sqlx::query("ROLLBACK").execute(&mut backup).await.unwrap();
    service.upload(GUN, &[("targets", owner.targets(2, &["second"]))]).await.ok();
    service.file("another", "timestamp.key").await.ok();
}
