//! The service with its keys at a signing service of their own, which comes and goes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use countersign_keyservice::{Clients, KeyAlias, KeyService, Passphrases, Variables};
use countersign_server::{Keys, KeyserverConfig, KeyserverIdentity, Service, StartError, Tls};
use countersign_testkit::{Port, TestCa, TestCertificate};
use jiff::SignedDuration;

use crate::owner::Owner;
use crate::service::{Answered, TestService};

const GUN: &str = "example.com/apart";

/// Certificates and a place for a signing service.
pub(crate) struct Place {
    pub(crate) folder: tempfile::TempDir,
    port: Port,
}

impl Place {
    pub(crate) fn new() -> Self {
        let (folder, authority) = (tempfile::tempdir().unwrap(), TestCa::new());
        fs_err::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        write(folder.path(), "keyserver", &authority.loopback_server());
        write(folder.path(), "service", &authority.client("trust-service"));
        Self { folder, port: Port::take() }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.port.address()
    }

    pub(crate) fn keys(&self) -> Keys {
        Keys::Keyserver(KeyserverConfig {
            host: self.address().ip().to_string(),
            port: self.address().port(),
            authority: self.file("ca.pem"),
            identity: KeyserverIdentity { certificate: self.file("service.crt"), key: self.file("service.key") },
            timeout: Duration::from_secs(5),
        })
    }

    pub(crate) async fn start(&self) -> countersign_keyservice::Running {
        self.start_with(|_| {}).await
    }

    async fn start_with(
        &self,
        change: impl FnOnce(&mut countersign_keyservice::Limits),
    ) -> countersign_keyservice::Running {
        let mut limits = countersign_keyservice::Limits { drain: Duration::from_secs(5), ..Default::default() };
        change(&mut limits);
        let data_dir = self.file("keys");
        let config = countersign_keyservice::Config {
            listen: self.address(),
            storage: countersign_keyservice::KeyStorage::Folder,
            identity: KeyserverIdentity { certificate: self.file("keyserver.crt"), key: self.file("keyserver.key") },
            clients: Clients { authority: self.file("ca.pem"), names: vec!["trust-service".to_owned()] },
            alias: KeyAlias::parse("one").unwrap(),
            passphrases: Passphrases::new(BTreeMap::new(), Variables::new(|_| None), &data_dir),
            metrics: Some("127.0.0.1:0".parse().unwrap()),
            tokens: countersign_keyservice::KeyTokens::default(),
            clock: countersign_keyservice::Clock::system(),
            limits,
            data_dir,
        };
        KeyService::start(config).await.unwrap()
    }

    async fn service(&self) -> TestService {
        TestService::with(|config| config.keys = self.keys()).await
    }
}

fn write(folder: &Path, name: &str, pair: &TestCertificate) {
    fs_err::write(folder.join(format!("{name}.crt")), &pair.certificate_pem).unwrap();
    fs_err::write(folder.join(format!("{name}.key")), &pair.key_pem).unwrap();
}

/// Repeats a request until the keyserver is believed to be back; a refusal for any other reason fails.
async fn once_back<F: Future<Output = Answered>>(request: impl Fn() -> F) -> Answered {
    let begun = Instant::now();
    loop {
        let answer = request().await;
        if answer.status != 503 {
            return answer.ok();
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", answer.text());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn unavailable(answer: &Answered) {
    assert_eq!(answer.error(), "503 UNAVAILABLE");
    assert!(!answer.header("retry-after").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_keys_of_invented_collections_keeps_nobody_from_publishing() {
    let place = Place::new();
    let _keyserver = place.start_with(|limits| limits.pending_keys = 2).await;
    let service = place.service().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let asking = async {
        let mut refused = 0;
        for number in 0..40 {
            let answer = service.file(&format!("example.com/invented{number}"), "timestamp.key").await;
            refused += usize::from(answer.status == 503);
        }
        refused
    };
    let publishing = async {
        for version in 2..20 {
            service.upload(GUN, &[("targets", owner.targets(version, &["v"]))]).await.ok();
        }
    };
    let (refused, ()) = tokio::join!(asking, publishing);
    assert!(refused > 30, "only {refused} were refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_private_key_and_no_secret_is_where_the_service_is() {
    let place = Place::new();
    let _keyserver = place.start().await;
    let service = place.service().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    service.upload(GUN, &[("targets", owner.targets(2, &["v1", "v2"]))]).await.ok();
    assert_eq!(service.file(GUN, "timestamp.json").await.ok().json()["signed"]["version"], 2);
    assert!(!service.folder.path().join("data/secret").exists());
    let path = service.folder.path().join("data/trust.db");
    let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.unwrap();
    let (here,): (i64,) = sqlx::query_as("SELECT count(*) FROM service_keys WHERE private <> 'at the keyserver'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(here, 0);
    let audit = fs_err::read_to_string(place.file("keys/audit.log")).unwrap();
    assert_eq!(audit.matches(r#""event":"sign","client":"trust-service""#).count(), 4, "{audit}");
    assert_eq!(service.get("/_notary_server/health").await.ok().text(), "{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_keyserver_is_away_reads_go_on_and_nothing_is_published() {
    let place = Place::new();
    let keyserver = place.start().await;
    let service = place.service().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let files = ["root.json", "targets.json", "snapshot.json", "timestamp.json", "snapshot.key", "timestamp.key"];
    let mut before = Vec::new();
    for name in files {
        before.push(service.file(GUN, name).await.ok().body);
    }
    keyserver.shut_down().await;
    unavailable(&service.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await);
    unavailable(&service.file("example.com/new", "timestamp.key").await);
    unavailable(&service.request("POST", &format!("/v2/{GUN}/_trust/tuf/snapshot.key")).await);
    assert_eq!(service.get("/_notary_server/health").await.status, 503);
    for (name, before) in files.iter().zip(&before) {
        assert_eq!(service.file(GUN, name).await.ok().body, *before, "{name}");
    }
    let changes = service.get(&format!("/v2/{GUN}/_trust/changefeed?records=10")).await.ok().json();
    assert_eq!(changes["count"], 1, "nothing half-written");
    assert_eq!(service.file(GUN, "2.targets.json").await.status, 404);
    let _keyserver = place.start().await;
    let upload = [("targets", owner.targets(2, &["v2"]))];
    once_back(|| service.upload(GUN, &upload)).await;
    assert_eq!(service.file(GUN, "targets.json").await.ok().json()["signed"]["version"], 2);
    assert_eq!(service.file(GUN, "timestamp.json").await.ok().json()["signed"]["version"], 2);
    once_back(|| service.file("example.com/new", "timestamp.key")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_timestamp_waits_for_the_keyserver_and_no_longer() {
    let place = Place::new();
    let keyserver = place.start().await;
    let service = place.service().await;
    Owner::of(&service, GUN).await.publish_first(&service).await;
    keyserver.shut_down().await;
    service.time.pass(SignedDuration::from_hours(24 * 13));
    service.file(GUN, "timestamp.json").await.ok();
    assert_eq!(service.running.renew_now().await, 0);
    service.time.pass(SignedDuration::from_hours(24 * 2));
    for _ in 0..3 {
        unavailable(&service.file(GUN, "timestamp.json").await);
    }
    service.file(GUN, "root.json").await.ok();
    let _keyserver = place.start().await;
    let renewed = once_back(|| service.file(GUN, "timestamp.json")).await;
    assert_eq!(renewed.json()["signed"]["version"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyserver_that_takes_calls_and_never_answers_keeps_nobody_longer_than_the_time_limit() {
    let place = Place::new();
    let keyserver = place.start().await;
    let service = place.service().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    keyserver.shut_down().await;
    let silent = tokio::net::TcpListener::bind(place.address()).await.unwrap();
    let begun = Instant::now();
    let upload = [("targets", owner.targets(2, &["v2"]))];
    let (published, read) = tokio::join!(service.upload(GUN, &upload), async {
        let read = service.file(GUN, "timestamp.json").await;
        (read, begun.elapsed())
    });
    unavailable(&published);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(read.1 < Duration::from_secs(2), "reads do not wait: {:?}", read.1);
    read.0.ok();
    drop(silent);
    let _keyserver = place.start().await;
    once_back(|| service.upload(GUN, &upload)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_collection_cannot_be_signed_for_with_anothers_key() {
    let place = Place::new();
    let _keyserver = place.start().await;
    let service = place.service().await;
    let victim = Owner::of(&service, GUN).await;
    victim.publish_first(&service).await;
    let thief =
        Owner::with("example.com/thief", service.time.now(), victim.snapshot_key.clone(), victim.timestamp_key.clone());
    let parts = [("root", thief.root(1)), ("targets", thief.targets(1, &["v1"]))];
    let refused = service.upload("example.com/thief", &parts).await;
    assert_eq!(refused.error(), "400 INVALID_UPDATE");
    assert_eq!(service.file("example.com/thief", "root.json").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_were_made_here_sign_on_and_new_ones_are_made_at_the_keyserver() {
    let place = Place::new();
    let service = TestService::start().await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    let TestService { running, folder, .. } = service;
    running.shut_down().await;
    let _keyserver = place.start().await;
    let service = TestService::in_folder(folder, |config| config.keys = place.keys()).await;
    service.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await.ok();
    assert!(!place.file("keys/audit.log").exists() || fs_err::read(place.file("keys/audit.log")).unwrap().is_empty());
    let rotated = service.request("POST", &format!("/v2/{GUN}/_trust/tuf/timestamp.key")).await.ok().json();
    let owner = Owner { timestamp_key: rotated, ..owner };
    let parts = [("root", owner.root(2)), ("targets", owner.targets(3, &["v3"]))];
    service.upload(GUN, &parts).await.ok();
    let audit = fs_err::read_to_string(place.file("keys/audit.log")).unwrap();
    assert_eq!(audit.matches(r#""event":"sign""#).count(), 1, "{audit}");
    // Without the keyserver, the service does not start on what it could not sign for.
    let TestService { running, folder, time, .. } = service;
    running.shut_down().await;
    fs_err::remove_file(folder.path().join("data/secret")).unwrap();
    let mut config = countersign_server::Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
    (config.tls, config.clock) = (Tls::None, time.clock());
    let refused = Service::start(config).await;
    assert!(matches!(refused, Err(StartError::MissingSecret | StartError::NoKeyserver)), "{refused:?}");
}

/// Restored from a backup, or for want of room: what it has lost is handed out no more, and its collection goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_keyserver_has_lost_before_its_first_use_gives_way_to_another() {
    let place = Place::new();
    let mut keyserver = place.start().await;
    let service = place.service().await;
    let unlucky = Owner::of(&service, GUN).await;
    let rotating = Owner::of(&service, "example.com/rotating").await;
    rotating.publish_first(&service).await;
    let rotate = format!("/v2/{}/_trust/tuf/timestamp.key", "example.com/rotating");
    let lost = service.request("POST", &rotate).await.ok().json();
    keyserver.shut_down().await;
    // Asked for while nobody can tell, it is the key that there was.
    assert_eq!(service.request("POST", &rotate).await.ok().json(), lost);
    let path = place.file("keys/keys.db");
    let pool = sqlx::SqlitePool::connect_with(sqlx::sqlite::SqliteConnectOptions::new().filename(path)).await.unwrap();
    sqlx::query("DELETE FROM private_keys WHERE last_used IS NULL").execute(&pool).await.unwrap();
    pool.close().await;
    keyserver = place.start().await;
    // The service does not ask again for a moment.
    let begun = Instant::now();
    let found = loop {
        let found = service.request("POST", &rotate).await.ok().json();
        if found != lost {
            break found;
        }
        assert!(begun.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(service.request("POST", &rotate).await.ok().json(), found, "the same until it has signed");
    let rotating = Owner { timestamp_key: found, ..rotating };
    let parts = [("root", rotating.root(2)), ("targets", rotating.targets(2, &["v2"]))];
    service.upload("example.com/rotating", &parts).await.ok();
    let lucky = Owner::of(&service, GUN).await;
    assert_ne!(lucky.timestamp_key, unlucky.timestamp_key);
    lucky.publish_first(&service).await;
    keyserver.shut_down().await;
}
