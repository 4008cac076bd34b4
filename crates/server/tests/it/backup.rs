//! Backups of a running service, restored and verified.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_server::{
    BackupError, Config, Connections, DatabaseUrl, Despite, Restored, SecretState, Service, StartError, Storage, Tls,
};
use countersign_testkit::clock::FIXTURE_CLOCK;
use countersign_testkit::{DatabaseServer, Product};
use countersign_tuf::update::UpdateError;
use jiff::SignedDuration;
use sha2::{Digest, Sha256};

use crate::owner::Owner;
use crate::reader::{Reader, names};
use crate::service::{TestService, Time};

const GUN: &str = "example.com/backup";
const OTHER: &str = "example.com/backup/other";
/// Bytes of the digest at the end.
const DIGEST: usize = 32;
/// The line that an archive begins with.
const MAGIC: usize = "countersign service backup 1\n".len();

fn config(folder: &Path, storage: Storage) -> Config {
    let mut config = Config::new("127.0.0.1:0".parse().unwrap(), folder.join("data"));
    config.tls = Tls::None;
    config.storage = storage;
    config.clock = Time::new().clock();
    config
}

async fn on(server: &Arc<DatabaseServer>) -> Storage {
    let server = Arc::clone(server);
    let text = tokio::task::spawn_blocking(move || server.database()).await.unwrap();
    Storage::Database { url: Box::new(DatabaseUrl::parse(&text).unwrap()), connections: Connections::default() }
}

async fn backup(config: &Config) -> Vec<u8> {
    let (archive, contents, bytes) = Service::backup(config, Vec::new(), FIXTURE_CLOCK).await.unwrap();
    assert_eq!(archive.len() as u64, bytes);
    assert!(contents.files > 0);
    archive
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

async fn restore(config: &Config, archive: &[u8]) -> Result<Restored, BackupError> {
    Service::restore(config, file(archive), FIXTURE_CLOCK, Despite::Nothing).await
}

/// Checks an archive by itself.
async fn check(archive: &[u8]) -> Result<Restored, BackupError> {
    let folder = tempfile::tempdir().unwrap();
    Service::check_backup(file(archive), folder.path(), None, FIXTURE_CLOCK).await
}

/// A service with two collections and a deleted one.
async fn published(folder: &Path, storage: Storage) -> (TestService, Owner) {
    let service = TestService::with(|settings| {
        settings.data_dir = folder.join("data");
        settings.storage = storage;
    })
    .await;
    let owner = Owner::of(&service, GUN).await;
    owner.publish_first(&service).await;
    for version in 2..5 {
        service.upload(GUN, &[("targets", owner.targets(version, &["latest"]))]).await.ok();
    }
    for gun in [OTHER, "example.com/backup/gone"] {
        Owner::of(&service, gun).await.publish_first(&service).await;
    }
    service.delete("example.com/backup/gone").await.ok();
    (service, owner)
}

fn put_secret(from: &Path, to: &Path) {
    fs_err::create_dir_all(to.join("data")).unwrap();
    fs_err::copy(from.join("data/secret"), to.join("data/secret")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_goes_from_database_to_database_and_its_owners_publish_on() {
    let servers = [Product::Postgres, Product::MariaDb].map(|product| Arc::new(DatabaseServer::start(product)));
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let storages = [on(&servers[0]).await, on(&servers[1]).await, Storage::Sqlite];
    let (service, owner) = published(folders[0].path(), Storage::Sqlite).await;
    let files = async |service: &TestService| {
        let mut files = Vec::new();
        for name in ["timestamp.json", "snapshot.json", "targets.json", "root.json", "2.targets.json", "1.root.json"] {
            files.push(service.file(GUN, name).await.ok().body);
        }
        files.push(service.get("/v2/_trust/changefeed?records=100").await.ok().body);
        files
    };
    let mut before = files(&service).await;
    let mut archive = backup(&config(folders[0].path(), Storage::Sqlite)).await;
    drop(service);
    for ((folder, storage), version) in folders[1..].iter().zip(storages).zip(5..) {
        put_secret(folders[0].path(), folder.path());
        let settings = config(folder.path(), storage.clone());
        let restored = restore(&settings, &archive).await.unwrap();
        assert!(restored.is_sound(), "{:?}", restored.findings);
        assert_eq!((restored.contents.collections, restored.contents.deletions), (2, 1));
        assert_eq!(restored.secret, SecretState::Present);
        let refused = restore(&settings, &archive).await;
        assert!(matches!(refused, Err(BackupError::NotEmpty)), "{refused:?}");
        let service = TestService::with(|config| *config = settings.clone()).await;
        assert_eq!(files(&service).await, before);
        service.upload(GUN, &[("targets", owner.targets(version, &["latest", "new"]))]).await.ok();
        before = files(&service).await;
        archive = backup(&settings).await;
    }
}

/// Attack catalogue E-234 and G-263.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_older_backup_readers_go_on_once_the_service_has_moved_ahead() {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (service, owner) = published(folders[0].path(), Storage::Sqlite).await;
    let archive = backup(&config(folders[0].path(), Storage::Sqlite)).await;
    for _ in 0..3 {
        service.time.pass(SignedDuration::from_hours(8 * 24));
        assert_eq!(service.running.renew_now().await, 2);
    }
    let mut readers = [(GUN, Reader::default()), (OTHER, Reader::default())];
    for (gun, reader) in &mut readers {
        reader.read(&service, gun).await.unwrap();
    }
    let TestService { running, time, .. } = service;
    running.shut_down().await;
    put_secret(folders[0].path(), folders[1].path());
    let mut settings = config(folders[1].path(), Storage::Sqlite);
    settings.clock = time.clock();
    restore(&settings, &archive).await.unwrap();
    let plain = TestService { time, ..TestService::with(|config| *config = settings.clone()).await };
    plain.running.renew_now().await;
    for (gun, reader) in &readers {
        let refused = reader.clone().read(&plain, gun).await;
        assert!(matches!(refused, Err(UpdateError::Regression(_))), "{gun}: {refused:?}");
    }
    let TestService { running, time, .. } = plain;
    running.shut_down().await;
    settings.renewal.restored = true;
    let ahead = TestService { time, ..TestService::with(|config| *config = settings.clone()).await };
    let version = async |gun: &str, role: &str| {
        let file = ahead.file(gun, &format!("{role}.json")).await.ok().json();
        file["signed"]["version"].as_u64().unwrap()
    };
    // The last of the collections.
    while version(OTHER, "timestamp").await < 1000 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (gun, reader) in &mut readers {
        assert!(version(gun, "snapshot").await > 1000);
        reader.read(&ahead, gun).await.unwrap();
    }
    ahead.upload(GUN, &[("targets", owner.targets(5, &["latest", "new"]))]).await.ok();
    let collection = readers[0].1.read(&ahead, GUN).await.unwrap();
    assert!(names(&collection, "targets").unwrap().contains("new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_publications_is_sound() {
    let folder = tempfile::tempdir().unwrap();
    let (service, owner) = published(folder.path(), Storage::Sqlite).await;
    let done = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn({
        let done = Arc::clone(&done);
        async move {
            let mut version = 5;
            while !done.load(Ordering::Relaxed) {
                service.upload(GUN, &[("targets", owner.targets(version, &["latest"]))]).await.ok();
                version += 1;
            }
            (service, version)
        }
    });
    for _ in 0..5 {
        let checked = check(&backup(&config(folder.path(), Storage::Sqlite)).await).await.unwrap();
        assert!(checked.is_sound(), "{:?}", checked.findings);
        assert_eq!(checked.secret, SecretState::Missing);
    }
    done.store(true, Ordering::Relaxed);
    let (service, version) = publishing.await.unwrap();
    assert!(version > 6);
    drop(service);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_or_truncated_backup_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (service, _) = published(folder.path(), Storage::Sqlite).await;
    let archive = backup(&config(folder.path(), Storage::Sqlite)).await;
    drop(service);
    let target = tempfile::tempdir().unwrap();
    let settings = config(target.path(), Storage::Sqlite);
    for position in 0..archive.len() {
        let mut altered = archive.clone();
        altered[position] ^= 1 << (position % 8);
        let refused = restore(&settings, &altered).await.unwrap_err();
        assert!(matches!(refused, BackupError::Altered | BackupError::NoBackup), "{position}: {refused:?}");
        let refused = restore(&settings, &archive[..position]).await.unwrap_err();
        assert!(matches!(refused, BackupError::Altered | BackupError::NoBackup), "{position}: {refused:?}");
    }
    for more in [&b"x"[..], &archive] {
        assert!(matches!(restore(&settings, &[&archive[..], more].concat()).await, Err(BackupError::Altered)));
    }
    assert!(!target.path().join("data").exists(), "nothing was written");
    assert!(check(&archive).await.unwrap().is_sound());
}

/// Whoever alters an archive may also write its last digest anew: the parts have theirs.
#[tokio::test(flavor = "multi_thread")]
async fn an_archive_with_a_right_digest_over_altered_bytes_is_refused_too() {
    let folder = tempfile::tempdir().unwrap();
    let (service, _) = published(folder.path(), Storage::Sqlite).await;
    let archive = backup(&config(folder.path(), Storage::Sqlite)).await;
    drop(service);
    let body = archive.len() - DIGEST;
    let contents = check(&archive).await.unwrap().contents;
    let mut taken = 0;
    for position in (MAGIC..body).step_by(3) {
        let mut altered = archive.clone();
        altered[position] ^= 1 << (position % 8);
        let digest = Sha256::digest(&altered[..body]);
        altered[body..].copy_from_slice(&digest);
        // Some bits of compressed data say nothing: then it is the same backup.
        if let Ok(checked) = check(&altered).await {
            assert!(checked.is_sound() && checked.contents == contents, "{position}");
            taken += 1;
        }
    }
    assert!(taken < 20, "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_archive_costs_little_memory_and_is_refused() {
    let sealed = |frame: &[u8]| {
        let mut archive = b"countersign service backup 1\n".to_vec();
        archive.extend_from_slice(frame);
        let digest = Sha256::digest(&archive);
        archive.extend_from_slice(&digest);
        archive
    };
    let packed = |bytes: &[u8]| sealed(&zstd::encode_all(bytes, 3).unwrap());
    let endless = [&[0xff; 8][..], &vec![b' '; 1 << 20]].concat();
    for archive in [sealed(b""), sealed(b"no frame"), packed(b""), packed(&vec![0; 1 << 20]), packed(&endless)] {
        let refused = check(&archive).await.unwrap_err();
        assert!(matches!(refused, BackupError::Altered | BackupError::Malformed(_)), "{refused:?}");
    }
    let mut far = zstd::Encoder::new(Vec::new(), 3).unwrap();
    far.window_log(27).unwrap();
    far.write_all(&[7; 64]).unwrap();
    assert!(check(&sealed(&far.finish().unwrap())).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_order_is_named_and_not_served_unless_the_operator_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (service, _) = published(folder.path(), Storage::Sqlite).await;
    for statement in [
        "UPDATE tuf_files SET data = x'7b7d' WHERE gun = 'example.com/backup' AND role = 'targets' AND version = 2",
        "DELETE FROM service_keys WHERE gun = 'example.com/backup/other' AND role = 'timestamp'",
    ] {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("data/trust.db"));
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    let archive = backup(&config(folder.path(), Storage::Sqlite)).await;
    drop(service);
    let target = tempfile::tempdir().unwrap();
    put_secret(folder.path(), target.path());
    let settings = config(target.path(), Storage::Sqlite);
    let restored = restore(&settings, &archive).await.unwrap();
    assert_eq!(restored.findings.count, 2, "{:?}", restored.findings);
    let named: Vec<&str> = restored.findings.named.iter().map(|(_, what)| what.as_str()).collect();
    assert!(named[0].contains("version 2 of targets") && named[1].contains("timestamp key"), "{named:?}");
    let refused = Service::start(settings.clone()).await.unwrap_err();
    assert!(matches!(refused, StartError::UnfinishedRestore), "{refused:?}");
    let refused = Service::backup(&settings, Vec::new(), FIXTURE_CLOCK).await.unwrap_err();
    assert!(matches!(refused, BackupError::UnfinishedRestore), "{refused:?}");
    let restored = Service::restore(&settings, file(&archive), FIXTURE_CLOCK, Despite::Findings).await.unwrap();
    assert!(!restored.is_sound());
    let service = TestService::with(|config| *config = settings.clone()).await;
    service.file(GUN, "targets.json").await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_secret_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (service, _) = published(folder.path(), Storage::Sqlite).await;
    let archive = backup(&config(folder.path(), Storage::Sqlite)).await;
    drop(service);
    let target = tempfile::tempdir().unwrap();
    let settings = config(target.path(), Storage::Sqlite);
    fs_err::create_dir_all(&settings.data_dir).unwrap();
    fs_err::write(settings.data_dir.join("secret"), "0".repeat(64)).unwrap();
    let refused = restore(&settings, &archive).await;
    assert!(matches!(refused, Err(BackupError::AnotherSecret)), "{refused:?}");
    assert!(!settings.data_dir.join("trust.db").exists());
    fs_err::remove_file(settings.data_dir.join("secret")).unwrap();
    assert_eq!(restore(&settings, &archive).await.unwrap().secret, SecretState::Missing);
    let refused = Service::start(settings.clone()).await.unwrap_err();
    assert!(matches!(refused, StartError::MissingSecret), "{refused:?}");
    put_secret(folder.path(), target.path());
    drop(TestService::with(|config| *config = settings.clone()).await);
}
