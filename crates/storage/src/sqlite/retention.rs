//! Taking old versions away.

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use fail::fail_point;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use super::metadata::current_timestamp;
use crate::columns::{number, read_digest, read_gun, read_role, read_size, read_time, read_version};
use crate::{Held, PageSize, Pruning, RetentionStore, StoreError};

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn collections(&self, after: Option<&Gun>, limit: PageSize) -> Result<Vec<Gun>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT DISTINCT gun FROM current_files WHERE gun > ? ORDER BY gun LIMIT ?")
                .bind(after.map_or("", Gun::as_str))
                .bind(i64::from(limit.get()))
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("listed collections"))?;
        rows.iter().map(|(gun,)| read_gun(gun)).collect()
    }

    async fn history(&self, gun: &Gun) -> Result<Vec<Held>, StoreError> {
        let rows: Vec<(String, i64, String, i64, i64, i64)> = sqlx::query_as(
            "SELECT role, version, sha256, created_at, base, length(data) \
             + coalesce((SELECT sum(length(p.data)) FROM file_pieces p WHERE p.file_id = f.id), 0) \
             FROM tuf_files f WHERE gun = ? ORDER BY role, version DESC",
        )
        .bind(gun.as_str())
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("listed versions"))?;
        let held = |(role, version, sha256, stored_at, base, bytes): &(String, i64, String, i64, i64, i64)| {
            Ok(Held {
                role: read_role(role)?,
                version: read_version(*version)?,
                sha256: read_digest(sha256)?,
                stored_at: read_time(*stored_at)?,
                bytes: read_size(*bytes)?,
                base: if *base == 0 { None } else { Some(read_version(*base)?) },
            })
        };
        rows.iter().map(held).collect()
    }

    async fn prune(
        &self,
        gun: &Gun,
        timestamp: Option<Sha256Digest>,
        files: &[(RoleName, Version)],
    ) -> Result<Pruning, StoreError> {
        let mut tx = self.begin_write().await?;
        if current_timestamp(&mut tx, gun).await? != timestamp {
            return Ok(Pruning::Superseded);
        }
        for (role, version) in files.iter().filter(|(role, _)| *role != RoleName::Root) {
            remove(&mut tx, gun, role, *version).await?;
            fail_point!("prune-file-gone");
        }
        fail_point!("prune-before-commit");
        self.commit(tx, "committed a retention").await?;
        fail_point!("prune-committed");
        Ok(Pruning::Done)
    }
}

/// Removes a version that is not current and that no other is a difference from.
async fn remove(
    connection: &mut SqliteConnection,
    gun: &Gun,
    role: &RoleName,
    version: Version,
) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM tuf_files WHERE gun = ?1 AND role = ?2 AND version = ?3 \
         AND id NOT IN (SELECT file_id FROM current_files WHERE gun = ?1 AND role = ?2) \
         AND NOT EXISTS (SELECT 1 FROM tuf_files d WHERE d.gun = ?1 AND d.role = ?2 AND d.base = ?3 \
         AND d.base <> 0)",
    )
    .bind(gun.as_str())
    .bind(role.as_str())
    .bind(number(version))
    .execute(connection)
    .await
    .map(drop)
    .map_err(StoreError::database("removed an old version"))
}
