//! Metadata files and the pointers to the current ones.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use fail::fail_point;
use jiff::Timestamp;

use super::files::{self, Which};
use super::follow::NetworkedFollower;
use super::group::{Outcome, Publication};
use super::publication::Failed;
use super::session::Session;
use super::{NetworkedStore, change, keys, publication};
use crate::columns::{micros, read_digest, read_gun, read_role, read_version};
use crate::{
    AuditStore, Base, Change, ChangeQuery, Deletion, Follower, MetadataStore, NewMetadata, PageSize, Pointer,
    PublishError, Record, RetentionStore, State, StoreError, Stored,
};

/// How often a change is tried again that the server ended because two waited for each other.
pub(crate) const ATTEMPTS: u32 = 8;

/// The current versions and digests of a collection.
pub(crate) type Heads = BTreeMap<RoleName, (Version, Sha256Digest)>;

#[async_trait]
impl MetadataStore for NetworkedStore {
    async fn current(&self, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError> {
        self.file(gun, role, Which::Current).await
    }

    async fn state(&self, gun: &Gun, roles: &BTreeSet<RoleName>) -> Result<State, StoreError> {
        let mut session = self.begin_read().await?;
        let timestamp = heads(&mut session, gun).await?.get(&RoleName::Timestamp).map(|(_, sha256)| *sha256);
        let mut state = State { timestamp, ..State::default() };
        for role in roles {
            if let Some(file) = files::file(&mut session, gun, role, &Which::Current).await? {
                state.files.insert(role.clone(), file);
            }
        }
        Ok(state)
    }

    async fn pointers(&self, gun: &Gun) -> Result<Vec<Pointer>, StoreError> {
        let heads = heads(&mut self.pool.session().await?, gun).await?;
        Ok(heads.into_iter().map(|(role, (version, sha256))| Pointer { role, version, sha256 }).collect())
    }

    async fn by_checksum(
        &self,
        gun: &Gun,
        role: &RoleName,
        sha256: &Sha256Digest,
    ) -> Result<Option<Stored>, StoreError> {
        self.file(gun, role, Which::Checksum(sha256)).await
    }

    async fn by_version(&self, gun: &Gun, role: &RoleName, version: Version) -> Result<Option<Stored>, StoreError> {
        self.file(gun, role, Which::Version(version)).await
    }

    async fn publish(&self, gun: &Gun, base: Base, files: &[NewMetadata], now: Timestamp) -> Result<(), PublishError> {
        self.publish_with(gun, base, files, now, None).await
    }

    async fn delete(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        let mut result = self.delete_once(gun, now).await;
        for _ in 1..ATTEMPTS {
            match &result {
                Err(error) if error.is_deadlock() => result = self.delete_once(gun, now).await,
                _ => break,
            }
        }
        result.inspect_err(|_| self.condition.failed())
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
        change::changes(&mut self.pool.session().await?, query).await
    }

    async fn stale(
        &self,
        fresh: RangeInclusive<Timestamp>,
        after: Option<&Gun>,
        limit: PageSize,
    ) -> Result<Vec<Gun>, StoreError> {
        let statement = "SELECT gun FROM countersign_current WHERE role = 'timestamp' AND gun > ? \
            AND (stored_at < ? OR stored_at > ?) ORDER BY gun LIMIT ?";
        let values = [
            after.map_or("", Gun::as_str).into(),
            micros(*fresh.start()).into(),
            micros(*fresh.end()).into(),
            i64::from(limit.get()).into(),
        ];
        let rows = self.pool.session().await?.rows("looked for old timestamps", statement, &values).await?;
        rows.iter().map(|row| read_gun(&row.text(0)?)).collect()
    }

    fn audit(&self) -> Option<&dyn AuditStore> {
        Some(self)
    }

    fn follow(&self) -> Option<Box<dyn Follower>> {
        Some(Box::new(NetworkedFollower::new(self)))
    }

    fn retention(&self) -> Option<&dyn RetentionStore> {
        Some(self)
    }

    async fn health(&self) -> Result<(), StoreError> {
        let mut session = self.pool.session().await?;
        for statement in [
            "SELECT count(*) FROM (SELECT gun FROM countersign_collections LIMIT 1) x",
            "SELECT count(*) FROM (SELECT gun FROM countersign_files LIMIT 1) x",
            "SELECT count(*) FROM (SELECT gun FROM countersign_pieces LIMIT 1) x",
            "SELECT count(*) FROM (SELECT gun FROM countersign_current LIMIT 1) x",
            "SELECT count(*) FROM (SELECT id FROM countersign_changes LIMIT 1) x",
            "SELECT count(*) FROM (SELECT key_id FROM countersign_keys LIMIT 1) x",
        ] {
            session.row("checked its tables", statement, &[]).await?;
        }
        let attempt = async {
            let statement = "UPDATE countersign_counters SET value = value + 1 WHERE name = 'health'";
            session.execute("tried to write", statement, &[]).await.map(drop)
        };
        self.condition.check(attempt).await
    }
}

impl NetworkedStore {
    /// Publishes, with what the audit log says of it.
    pub(super) async fn publish_with(
        &self,
        gun: &Gun,
        base: Base,
        files: &[NewMetadata],
        now: Timestamp,
        record: Option<&Record>,
    ) -> Result<(), PublishError> {
        let packed = self.pack(gun, files).await?;
        let (files, record) = (files.to_vec(), record.cloned());
        let publication = Publication { gun: gun.clone(), base, files, packed, now, record };
        let result = if publication.is_small() {
            match self.publish_in_group(publication.clone()).await {
                Outcome::Done(result) => result,
                Outcome::Alone => self.publish_alone(&publication).await,
            }
        } else {
            self.publish_alone(&publication).await
        };
        if let Err(PublishError::Store(_)) = result {
            self.condition.failed();
        }
        result
    }

    async fn publish_alone(&self, publication: &Publication) -> Result<(), PublishError> {
        let mut result = self.publish_once(publication).await;
        for _ in 1..ATTEMPTS {
            match &result {
                Err(PublishError::Store(error)) if error.is_deadlock() => {}
                _ => break,
            }
            result = self.publish_once(publication).await;
        }
        result
    }

    async fn publish_once(&self, publication: &Publication) -> Result<(), PublishError> {
        match self.store_together(&self.pool, &[publication]).await {
            Ok(results) => results.into_iter().collect(),
            Err(Failed::Before(error) | Failed::AtCommit(error)) => Err(error.into()),
        }
    }

    async fn delete_once(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        let mut session = self.begin_write().await?;
        publication::lock(&mut session, &[gun]).await?;
        let values = [gun.as_str().into()];
        session.execute("deleted pointers", "DELETE FROM countersign_current WHERE gun = ?", &values).await?;
        fail_point!("delete-pointers-gone");
        let deleted = session.execute("deleted files", "DELETE FROM countersign_files WHERE gun = ?", &values).await?;
        if deleted == 0 {
            return Ok(Deletion::NothingThere);
        }
        keys::retire(&mut session, gun, now).await?;
        change::record_deletion(&mut session, gun, now).await?;
        fail_point!("delete-before-commit");
        self.commit(session, "committed a deletion").await?;
        fail_point!("delete-committed");
        Ok(Deletion::Deleted)
    }
}

pub(super) async fn heads(session: &mut Session, gun: &Gun) -> Result<Heads, StoreError> {
    let statement = "SELECT role, version, sha256 FROM countersign_current WHERE gun = ?";
    let rows = session.rows("listed current files", statement, &[gun.as_str().into()]).await?;
    let head = |row: &super::session::Row| {
        Ok((read_role(&row.text(0)?)?, (read_version(row.integer(1)?)?, read_digest(&row.text(2)?)?)))
    };
    rows.iter().map(head).collect()
}

/// Holds a publication against the current state; a role's current version is the highest it has.
pub(crate) fn check(base: Base, heads: &Heads, new: &[NewMetadata]) -> Result<(), PublishError> {
    let timestamp = heads.get(&RoleName::Timestamp).map(|(_, sha256)| *sha256);
    let expected = match base {
        Base::Anything => timestamp,
        Base::Nothing | Base::Moved => None,
        Base::Timestamp(digest) => Some(digest),
    };
    if timestamp != expected {
        return Err(PublishError::Superseded);
    }
    let mut highest: BTreeMap<&RoleName, Version> = heads.iter().map(|(role, (version, _))| (role, *version)).collect();
    for file in new {
        file.check_version(base, highest.get(file.role()).copied())?;
        highest.insert(file.role(), file.version());
    }
    Ok(())
}
