//! Metadata files and the pointers to the current ones.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use fail::fail_point;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::{SqliteStore, change, keys, pieces};
use crate::columns::{micros, number, read_digest, read_gun, read_role, read_time, read_version, verified};
use crate::{
    Base, Change, ChangeQuery, Deletion, MetadataStore, NewMetadata, PageSize, Pointer, PublishError, State,
    StoreError, Stored,
};

/// Reads a file's row and further pieces, within the transaction of both; the bytes must be those that were stored.
async fn stored(connection: &mut SqliteConnection, row: Option<FileRow>) -> Result<Option<Stored>, StoreError> {
    let Some((id, role, version, sha256, stored_at, first)) = row else { return Ok(None) };
    let (role, version, sha256) = (read_role(&role)?, read_version(version)?, read_digest(&sha256)?);
    let bytes = verified(pieces::read(connection, id, first).await?, sha256).await?;
    Ok(Some(Stored { role, version, sha256, bytes, stored_at: read_time(stored_at)? }))
}

/// Id, role, version, digest, time and first piece of a file.
type FileRow = (i64, String, i64, String, i64, Vec<u8>);

#[async_trait]
impl MetadataStore for SqliteStore {
    async fn current(&self, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError> {
        let mut tx = self.begin_read().await?;
        current(&mut tx, gun, role).await
    }

    async fn state(&self, gun: &Gun, roles: &BTreeSet<RoleName>) -> Result<State, StoreError> {
        let mut tx = self.begin_read().await?;
        let timestamp = current_timestamp(&mut tx, gun).await?;
        let mut state = State { timestamp, ..State::default() };
        for role in roles {
            if let Some(file) = current(&mut tx, gun, role).await? {
                state.files.insert(role.clone(), file);
            }
        }
        Ok(state)
    }

    async fn pointers(&self, gun: &Gun) -> Result<Vec<Pointer>, StoreError> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT f.role, f.version, f.sha256 FROM current_files c JOIN tuf_files f ON f.id = c.file_id WHERE c.gun = ?",
        )
        .bind(gun.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("listed current files"))?;
        let mut pointers = Vec::with_capacity(rows.len());
        for (role, version, sha256) in rows {
            let (role, version, sha256) = (read_role(&role)?, read_version(version)?, read_digest(&sha256)?);
            pointers.push(Pointer { role, version, sha256 });
        }
        pointers.sort_by(|a, b| a.role.cmp(&b.role));
        Ok(pointers)
    }

    async fn by_checksum(
        &self,
        gun: &Gun,
        role: &RoleName,
        sha256: &Sha256Digest,
    ) -> Result<Option<Stored>, StoreError> {
        let mut tx = self.begin_read().await?;
        let row = sqlx::query_as(
            "SELECT id, role, version, sha256, created_at, data FROM tuf_files WHERE gun = ? AND role = ? AND sha256 = ? LIMIT 1",
        )
        .bind(gun.as_str())
        .bind(role.as_str())
        .bind(sha256.hex())
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("looked a file up by checksum"))?;
        stored(&mut tx, row).await
    }

    async fn by_version(&self, gun: &Gun, role: &RoleName, version: Version) -> Result<Option<Stored>, StoreError> {
        let mut tx = self.begin_read().await?;
        let row = sqlx::query_as(
            "SELECT id, role, version, sha256, created_at, data FROM tuf_files WHERE gun = ? AND role = ? AND version = ?",
        )
        .bind(gun.as_str())
        .bind(role.as_str())
        .bind(number(version))
        .fetch_optional(&mut *tx)
        .await
        .map_err(StoreError::database("looked a file up by version"))?;
        stored(&mut tx, row).await
    }

    async fn publish(&self, gun: &Gun, base: Base, files: &[NewMetadata], now: Timestamp) -> Result<(), PublishError> {
        let result = self.publish_once(gun, base, files, now).await;
        if let Err(PublishError::Store(_)) = result {
            self.condition.failed();
        }
        result
    }

    async fn delete(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        self.delete_once(gun, now).await.inspect_err(|_| self.condition.failed())
    }

    async fn changes(&self, query: &ChangeQuery) -> Result<Vec<Change>, StoreError> {
        change::changes(&self.readers, query).await
    }

    async fn stale(
        &self,
        fresh: RangeInclusive<Timestamp>,
        after: Option<&Gun>,
        limit: PageSize,
    ) -> Result<Vec<Gun>, StoreError> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "SELECT c.gun FROM current_files c JOIN tuf_files f ON f.id = c.file_id \
             WHERE c.role = 'timestamp' AND c.gun > ? AND (f.created_at < ? OR f.created_at > ?) ORDER BY c.gun LIMIT ?",
        )
        .bind(after.map_or("", Gun::as_str))
        .bind(micros(*fresh.start()))
        .bind(micros(*fresh.end()))
        .bind(i64::from(limit.get()))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("looked for old timestamps"))?;
        rows.iter().map(|(gun,)| read_gun(gun)).collect()
    }

    async fn health(&self) -> Result<(), StoreError> {
        for statement in [
            "SELECT count(*) FROM (SELECT id FROM tuf_files LIMIT 1)",
            "SELECT count(*) FROM (SELECT file_id FROM file_pieces LIMIT 1)",
            "SELECT count(*) FROM (SELECT gun FROM current_files LIMIT 1)",
            "SELECT count(*) FROM (SELECT id FROM changefeed LIMIT 1)",
            "SELECT count(*) FROM (SELECT key_id FROM service_keys LIMIT 1)",
        ] {
            sqlx::query(statement).execute(&self.readers).await.map_err(StoreError::database("checked its tables"))?;
        }
        self.check_writing().await
    }
}

impl SqliteStore {
    async fn publish_once(
        &self,
        gun: &Gun,
        base: Base,
        files: &[NewMetadata],
        now: Timestamp,
    ) -> Result<(), PublishError> {
        let mut tx = self.begin_write().await?;
        fail_point!("publish-begun");
        check_base(&mut tx, gun, base).await?;
        for file in files {
            check_version(&mut tx, gun, base, file).await?;
            store_file(&mut tx, gun, file, now).await?;
            fail_point!("publish-file-written");
        }
        for file in files.iter().filter(|file| *file.role() == RoleName::Timestamp) {
            change::record_update(&mut tx, gun, file, now).await?;
            fail_point!("publish-change-written");
        }
        fail_point!("publish-before-commit");
        self.commit(tx, "committed a publication").await?;
        fail_point!("publish-committed");
        Ok(())
    }

    async fn delete_once(&self, gun: &Gun, now: Timestamp) -> Result<Deletion, StoreError> {
        let mut tx = self.begin_write().await?;
        sqlx::query("DELETE FROM current_files WHERE gun = ?")
            .bind(gun.as_str())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("deleted pointers"))?;
        fail_point!("delete-pointers-gone");
        let deleted = sqlx::query("DELETE FROM tuf_files WHERE gun = ?")
            .bind(gun.as_str())
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("deleted files"))?
            .rows_affected();
        if deleted == 0 {
            return Ok(Deletion::NothingThere);
        }
        keys::retire(&mut tx, gun, now).await?;
        change::record_deletion(&mut tx, gun, now).await?;
        fail_point!("delete-before-commit");
        self.commit(tx, "committed a deletion").await?;
        fail_point!("delete-committed");
        Ok(Deletion::Deleted)
    }
}

async fn current(connection: &mut SqliteConnection, gun: &Gun, role: &RoleName) -> Result<Option<Stored>, StoreError> {
    let row = sqlx::query_as(
        "SELECT f.id, f.role, f.version, f.sha256, f.created_at, f.data FROM current_files c JOIN tuf_files f ON f.id = c.file_id \
         WHERE c.gun = ? AND c.role = ?",
    )
    .bind(gun.as_str())
    .bind(role.as_str())
    .fetch_optional(&mut *connection)
    .await
    .map_err(StoreError::database("looked a current file up"))?;
    stored(connection, row).await
}

async fn current_timestamp(connection: &mut SqliteConnection, gun: &Gun) -> Result<Option<Sha256Digest>, StoreError> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT f.sha256 FROM current_files c JOIN tuf_files f ON f.id = c.file_id WHERE c.gun = ? AND c.role = 'timestamp'",
    )
    .bind(gun.as_str())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("looked the current timestamp up"))?;
    row.map(|(hex,)| read_digest(&hex)).transpose()
}

async fn check_base(connection: &mut SqliteConnection, gun: &Gun, base: Base) -> Result<(), PublishError> {
    let expected = match base {
        Base::Anything => return Ok(()),
        Base::Nothing => None,
        Base::Timestamp(digest) => Some(digest),
    };
    if current_timestamp(connection, gun).await? == expected { Ok(()) } else { Err(PublishError::Superseded) }
}

async fn check_version(
    connection: &mut SqliteConnection,
    gun: &Gun,
    base: Base,
    file: &NewMetadata,
) -> Result<(), PublishError> {
    let (highest,): (Option<i64>,) = sqlx::query_as("SELECT max(version) FROM tuf_files WHERE gun = ? AND role = ?")
        .bind(gun.as_str())
        .bind(file.role().as_str())
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("looked the highest version up"))?;
    file.check_version(base, highest.map(read_version).transpose()?)
}

async fn store_file(
    connection: &mut SqliteConnection,
    gun: &Gun,
    file: &NewMetadata,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (first, rest) = pieces::split(file.bytes());
    let (id,): (i64,) = sqlx::query_as(
        "INSERT INTO tuf_files (gun, role, version, sha256, created_at, data) VALUES (?, ?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(gun.as_str())
    .bind(file.role().as_str())
    .bind(number(file.version()))
    .bind(file.sha256().hex())
    .bind(micros(now))
    .bind(first)
    .fetch_one(&mut *connection)
    .await
    .map_err(StoreError::database("stored a file"))?;
    pieces::write(connection, id, rest).await?;
    sqlx::query(
        "INSERT INTO current_files (gun, role, file_id) VALUES (?, ?, ?) \
         ON CONFLICT (gun, role) DO UPDATE SET file_id = excluded.file_id",
    )
    .bind(gun.as_str())
    .bind(file.role().as_str())
    .bind(id)
    .execute(connection)
    .await
    .map_err(StoreError::database("made a file current"))?;
    Ok(())
}
