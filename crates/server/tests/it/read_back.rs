//! What is acknowledged and served is what was accepted, also when the database is not what it should be.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_server::Storage;
use countersign_storage::{
    Base, Change, ChangeQuery, Deletion, Follower, MetadataStore, NewMetadata, News, PageSize, Pointer, PublishError,
    SqliteStore, State, StoreError, Stored,
};
use countersign_tuf::{Gun, RoleName, Version};
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::owner::Owner;
use crate::service::TestService;

const GUN: &str = "example.com/read-back";

/// A database that is not what it should be.
struct Odd(SqliteStore, Oddity);

enum Oddity {
    /// It says it has stored a second publication, but has not stored these roles of it.
    Loses(&'static [RoleName]),
    /// It is followed, and after a publication was stored another process comes in between: the one notice says when, the
    /// other is waited for.
    IsShared(Arc<Notify>, Arc<Notify>),
    /// Nobody can follow it, but for the first look.
    IsUnheard,
}

/// Hears that anything may have happened, as often as this, and then nothing any more.
struct Anything(usize);

#[async_trait]
impl Follower for Anything {
    async fn news(&mut self) -> Result<News, StoreError> {
        self.0 =
            self.0.checked_sub(1).ok_or_else(|| StoreError::File(std::io::Error::other("the connection is gone")))?;
        Ok(News::Anything)
    }
}

#[async_trait]
impl MetadataStore for Odd {
    async fn current(&self, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError> {
        self.0.current(gun, role).await
    }
    async fn state(&self, gun: &Gun, roles: &BTreeSet<RoleName>) -> Result<State, StoreError> {
        self.0.state(gun, roles).await
    }
    async fn pointers(&self, gun: &Gun) -> Result<Vec<Pointer>, StoreError> {
        self.0.pointers(gun).await
    }
    async fn by_checksum(&self, gun: &Gun, role: &RoleName, sha: &Sha256Digest) -> Result<Option<Stored>, StoreError> {
        self.0.by_checksum(gun, role, sha).await
    }
    async fn by_version(&self, gun: &Gun, role: &RoleName, version: Version) -> Result<Option<Stored>, StoreError> {
        self.0.by_version(gun, role, version).await
    }
    async fn publish(&self, gun: &Gun, base: Base, files: &[NewMetadata], now: Timestamp) -> Result<(), PublishError> {
        match &self.1 {
            Oddity::Loses(roles) => {
                let kept = |file: &&NewMetadata| base == Base::Nothing || !roles.contains(file.role());
                let files: Vec<NewMetadata> = files.iter().filter(kept).cloned().collect();
                self.0.publish(gun, base, &files, now).await
            }
            Oddity::IsUnheard => self.0.publish(gun, base, files, now).await,
            Oddity::IsShared(stored, go_on) => {
                self.0.publish(gun, base, files, now).await?;
                stored.notify_one();
                go_on.notified().await;
                Ok(())
            }
        }
    }
    fn follow(&self) -> Option<Box<dyn Follower>> {
        match self.1 {
            Oddity::Loses(_) => None,
            Oddity::IsShared(..) => Some(Box::new(Anything(usize::MAX))),
            Oddity::IsUnheard => Some(Box::new(Anything(0))),
        }
    }
    async fn delete(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        self.0.delete(gun, now).await
    }
    async fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
        self.0.changes(query).await
    }
    async fn stale(
        &self,
        fresh: RangeInclusive<Timestamp>,
        after: Option<&Gun>,
        limit: PageSize,
    ) -> Result<Vec<Gun>, StoreError> {
        self.0.stale(fresh, after, limit).await
    }
    async fn health(&self) -> Result<(), StoreError> {
        self.0.health().await
    }
}

#[tokio::test]
async fn what_the_database_did_not_keep_is_not_acknowledged() {
    const LOSSES: [&[RoleName]; 4] = [
        &[RoleName::Targets],
        &[RoleName::Snapshot],
        &[RoleName::Timestamp],
        &[RoleName::Root, RoleName::Targets, RoleName::Snapshot, RoleName::Timestamp],
    ];
    for lost in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("shared.db")).await.unwrap();
        let service = TestService::in_folder(folder, |config| {
            let metadata = Arc::new(Odd(store.clone(), Oddity::Loses(lost)));
            config.storage = Storage::Shared { metadata, keys: Arc::new(store.clone()) };
        })
        .await;
        let owner = Owner::of(&service, GUN).await;
        owner.publish_first(&service).await;
        let answer = service.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await;
        assert_eq!(answer.status, 500, "{lost:?}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_publication_is_acknowledged_although_another_process_has_published_since() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("shared.db")).await.unwrap();
    let (stored, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let shared = |metadata: Arc<dyn MetadataStore>| Storage::Shared { metadata, keys: Arc::new(store.clone()) };
    let odd = Oddity::IsShared(Arc::clone(&stored), Arc::clone(&go_on));
    let first =
        TestService::in_folder(folder, |config| config.storage = shared(Arc::new(Odd(store.clone(), odd)))).await;
    let secret = std::fs::read(first.folder.path().join("data/secret")).unwrap();
    let second = TestService::with_secret(&secret, |config| config.storage = shared(Arc::new(store.clone()))).await;
    let owner = Owner::of(&first, GUN).await;
    let overtake = async {
        stored.notified().await;
        second.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await.ok();
        go_on.notify_one();
    };
    tokio::join!(owner.publish_first(&first), overtake);
    let overtake = async {
        stored.notified().await;
        second.upload(GUN, &[("targets", owner.targets(4, &["v4"]))]).await.ok();
        go_on.notify_one();
    };
    let upload = async { first.upload(GUN, &[("targets", owner.targets(3, &["v3"]))]).await.ok() };
    tokio::join!(upload, overtake);
    assert_eq!(first.file(GUN, "targets.json").await.ok().json()["signed"]["version"], 4);
}

#[tokio::test]
async fn whoever_does_not_hear_of_changes_asks_the_database_for_each_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(&folder.path().join("shared.db")).await.unwrap();
    let shared = |metadata: Arc<dyn MetadataStore>| Storage::Shared { metadata, keys: Arc::new(store.clone()) };
    let unheard = Arc::new(Odd(store.clone(), Oddity::IsUnheard));
    let deaf = TestService::in_folder(folder, |config| config.storage = shared(unheard)).await;
    let secret = std::fs::read(deaf.folder.path().join("data/secret")).unwrap();
    let other = TestService::with_secret(&secret, |config| config.storage = shared(Arc::new(store.clone()))).await;
    let owner = Owner::of(&deaf, GUN).await;
    owner.publish_first(&deaf).await;
    let names = ["timestamp.json", "targets.json", "1.targets.json", "1.root.json"];
    for version in 2..5 {
        for name in names {
            deaf.file(GUN, name).await.ok();
        }
        other.upload(GUN, &[("targets", owner.targets(version, &["v"]))]).await.ok();
        assert_eq!(deaf.file(GUN, "targets.json").await.ok().json()["signed"]["version"], version);
    }
    let path = format!("/v2/{GUN}/_trust/tuf/");
    assert_eq!(other.request("DELETE", &path).await.status, 200);
    for name in names {
        assert_eq!(deaf.file(GUN, name).await.status, 404, "{name}");
    }
}

#[tokio::test]
async fn a_state_that_is_no_chain_is_an_error_and_not_served() {
    for damage in [
        "UPDATE current_files SET file_id = (SELECT id FROM tuf_files WHERE role = 'targets' AND version = 1) WHERE role = 'targets'",
        "UPDATE current_files SET file_id = (SELECT id FROM tuf_files WHERE role = 'snapshot' AND version = 1) WHERE role = 'snapshot'",
        "UPDATE current_files SET file_id = (SELECT id FROM tuf_files WHERE role = 'timestamp' AND version = 1) WHERE role = 'timestamp'",
        "UPDATE tuf_files SET data = CAST(replace(data, 'Timestamp', 'timestamp') AS BLOB) WHERE role = 'timestamp'",
        "UPDATE tuf_files SET data = x'7b7d', sha256 = '44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a' WHERE role = 'snapshot'",
    ] {
        let service = TestService::start().await;
        let owner = Owner::of(&service, GUN).await;
        owner.publish_first(&service).await;
        service.upload(GUN, &[("targets", owner.targets(2, &["v2"]))]).await.ok();
        service.tamper(damage).await;
        let service = service.restart().await;
        for name in ["timestamp.json", "snapshot.json", "targets.json", "root.json"] {
            assert_eq!(service.file(GUN, name).await.error(), "500 UNKNOWN", "{name} after {damage}");
        }
    }
}
