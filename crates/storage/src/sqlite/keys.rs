//! The service's keys.

use async_trait::async_trait;
use countersign_crypto::{KeyId, KeyType};
use countersign_tuf::Gun;
use fail::fail_point;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use crate::columns::{micros, read_gun, read_service_role, read_time};
use crate::{
    EncryptedKey, KeptKey, KeyStore, NewServiceKey, PageSize, PendingKeyError, PendingLimits, Resealed, ServiceKey,
    ServiceRole, StoreError,
};

type KeyRow = (String, String, String, String, Vec<u8>, String, i64, Option<i64>);

/// A key's row with when it was retired.
type KeptRow = (String, String, String, String, Vec<u8>, String, i64, Option<i64>, Option<i64>);

fn service_key(
    (id, gun, role, algorithm, public, private, created_at, last_used): KeyRow,
) -> Result<ServiceKey, StoreError> {
    let role = read_service_role(&role)?;
    let key = NewServiceKey {
        id: id.parse().map_err(|_| StoreError::damaged("key_id", &id))?,
        gun: read_gun(&gun)?,
        role,
        algorithm: KeyType::from(algorithm.as_str()),
        public,
        private: EncryptedKey::new(private),
    };
    Ok(ServiceKey { key, created_at: read_time(created_at)?, last_used: last_used.map(read_time).transpose()? })
}

#[async_trait]
impl KeyStore for SqliteStore {
    async fn service_key(&self, gun: &Gun, id: &KeyId) -> Result<Option<ServiceKey>, StoreError> {
        sqlx::query_as(
            "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used FROM service_keys \
             WHERE key_id = ? AND gun = ? AND retired_at IS NULL",
        )
        .bind(id.to_string())
        .bind(gun.as_str())
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::database("looked a key up"))?
        .map(service_key)
        .transpose()
    }

    async fn pending_key(
        &self,
        gun: &Gun,
        role: ServiceRole,
        algorithm: &KeyType,
    ) -> Result<Option<ServiceKey>, StoreError> {
        let mut connection = self.readers.acquire().await.map_err(StoreError::database("waited to read"))?;
        pending(&mut connection, gun, role, algorithm).await
    }

    async fn insert_pending(
        &self,
        new: NewServiceKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<ServiceKey, PendingKeyError> {
        let result = self.insert_pending_once(new, limits, now).await;
        if let Err(PendingKeyError::Store(_)) = result {
            self.condition.failed();
        }
        result
    }

    async fn any_key(&self) -> Result<Option<ServiceKey>, StoreError> {
        sqlx::query_as(
            "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used FROM service_keys LIMIT 1",
        )
        .fetch_optional(&self.readers)
        .await
        .map_err(StoreError::database("looked for a key"))?
        .map(service_key)
        .transpose()
    }

    async fn mark_used(&self, gun: &Gun, id: &KeyId, now: Timestamp) -> Result<(), StoreError> {
        self.mark_used_once(gun, id, now).await.inspect_err(|_| self.condition.failed())
    }

    async fn keys(&self, after: Option<&KeyId>, size: PageSize) -> Result<Vec<ServiceKey>, StoreError> {
        let rows: Vec<KeyRow> = sqlx::query_as(
            "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used FROM service_keys \
             WHERE key_id > ? ORDER BY key_id LIMIT ?",
        )
        .bind(after.map(ToString::to_string).unwrap_or_default())
        .bind(i64::from(size.get()))
        .fetch_all(&self.readers)
        .await
        .map_err(StoreError::database("listed keys"))?;
        rows.into_iter().map(service_key).collect()
    }

    async fn bring_back(&self, gun: &Gun, id: &KeyId) -> Result<(), StoreError> {
        let done = sqlx::query("UPDATE service_keys SET retired_at = NULL WHERE gun = ? AND key_id = ?")
            .bind(gun.as_str())
            .bind(id.to_string())
            .execute(&self.writer)
            .await;
        done.map(drop).map_err(StoreError::database("brought a key back")).inspect_err(|_| self.condition.failed())
    }

    async fn replace_private(
        &self,
        id: &KeyId,
        from: &EncryptedKey,
        to: &EncryptedKey,
    ) -> Result<Resealed, StoreError> {
        let done = sqlx::query("UPDATE service_keys SET private = ? WHERE key_id = ? AND private = ?")
            .bind(to.as_str())
            .bind(id.to_string())
            .bind(from.as_str())
            .execute(&self.writer)
            .await
            .map_err(StoreError::database("replaced a private key"))
            .inspect_err(|_| self.condition.failed())?;
        Ok(if done.rows_affected() == 0 { Resealed::ChangedSince } else { Resealed::Yes })
    }
}

impl SqliteStore {
    async fn insert_pending_once(
        &self,
        new: NewServiceKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<ServiceKey, PendingKeyError> {
        let mut tx = self.begin_write().await?;
        if let Some(found) = pending(&mut tx, &new.gun, new.role, &new.algorithm).await? {
            return Ok(found);
        }
        if !is_published(&mut tx, &new.gun).await? {
            make_room(&mut tx, limits, now).await?;
        }
        insert(&mut tx, &new, now).await?;
        fail_point!("key-before-commit");
        self.commit(tx, "committed a key").await?;
        fail_point!("key-committed");
        let created_at = read_time(micros(now))?;
        Ok(ServiceKey { key: new, created_at, last_used: None })
    }

    async fn mark_used_once(&self, gun: &Gun, id: &KeyId, now: Timestamp) -> Result<(), StoreError> {
        sqlx::query("UPDATE service_keys SET last_used = ? WHERE key_id = ? AND gun = ?")
            .bind(micros(now))
            .bind(id.to_string())
            .bind(gun.as_str())
            .execute(&self.writer)
            .await
            .map_err(StoreError::database("recorded the use of a key"))?;
        fail_point!("key-marked-used");
        Ok(())
    }
}

async fn pending(
    connection: &mut SqliteConnection,
    gun: &Gun,
    role: ServiceRole,
    algorithm: &KeyType,
) -> Result<Option<ServiceKey>, StoreError> {
    sqlx::query_as(
        "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used FROM service_keys \
         WHERE gun = ? AND role = ? AND algorithm = ? AND last_used IS NULL",
    )
    .bind(gun.as_str())
    .bind(role.as_str())
    .bind(algorithm.as_str())
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("looked a pending key up"))?
    .map(service_key)
    .transpose()
}

async fn is_published(connection: &mut SqliteConnection, gun: &Gun) -> Result<bool, StoreError> {
    let (published,): (bool,) = sqlx::query_as("SELECT EXISTS (SELECT 1 FROM current_files WHERE gun = ?)")
        .bind(gun.as_str())
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("looked for a publication"))?;
    Ok(published)
}

/// Sees to it that one more pending key stays within the limit.
async fn make_room(
    connection: &mut SqliteConnection,
    limits: PendingLimits,
    now: Timestamp,
) -> Result<(), PendingKeyError> {
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM service_keys WHERE last_used IS NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(StoreError::database("counted pending keys"))?;
    if u64::try_from(count).unwrap_or(u64::MAX) < limits.count {
        return Ok(());
    }
    let oldest = now.saturating_sub(limits.keep).unwrap_or(Timestamp::MIN);
    let removed = sqlx::query(
        "DELETE FROM service_keys WHERE key_id = ( \
             SELECT key_id FROM service_keys k WHERE last_used IS NULL AND created_at < ? \
             AND NOT EXISTS (SELECT 1 FROM current_files c WHERE c.gun = k.gun) ORDER BY created_at LIMIT 1)",
    )
    .bind(micros(oldest))
    .execute(connection)
    .await
    .map_err(StoreError::database("removed an old pending key"))?
    .rows_affected();
    if removed == 0 { Err(PendingKeyError::TooMany { limit: limits.count }) } else { Ok(()) }
}

/// Takes the keys that have signed for a collection out of use.
pub(super) async fn retire(connection: &mut SqliteConnection, gun: &Gun, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE service_keys SET retired_at = ? WHERE gun = ? AND last_used IS NOT NULL AND retired_at IS NULL",
    )
    .bind(micros(now))
    .bind(gun.as_str())
    .execute(connection)
    .await
    .map_err(StoreError::database("retired keys"))?;
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, new: &NewServiceKey, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO service_keys (key_id, gun, role, algorithm, public, private, created_at, last_used) \
         VALUES (?, ?, ?, ?, ?, ?, ?, NULL)",
    )
    .bind(new.id.to_string())
    .bind(new.gun.as_str())
    .bind(new.role.as_str())
    .bind(new.algorithm.as_str())
    .bind(new.public.as_slice())
    .bind(new.private.as_str())
    .bind(micros(now))
    .execute(connection)
    .await
    .map_err(StoreError::database("stored a key"))?;
    Ok(())
}

/// Returns keys after this id, retired ones too, in the order of their ids.
pub(super) async fn kept(
    connection: &mut SqliteConnection,
    after: &str,
    limit: i64,
) -> Result<Vec<KeptKey>, StoreError> {
    let rows: Vec<KeptRow> = sqlx::query_as(
        "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used, retired_at \
         FROM service_keys WHERE key_id > ? ORDER BY key_id LIMIT ?",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(connection)
    .await
    .map_err(StoreError::database("read keys"))?;
    let kept = |(id, gun, role, algorithm, public, private, created_at, last_used, retired_at)| {
        let key = service_key((id, gun, role, algorithm, public, private, created_at, last_used))?;
        Ok(KeptKey { key, retired_at: Option::<i64>::map(retired_at, read_time).transpose()? })
    };
    rows.into_iter().map(kept).collect()
}

/// Stores a key of a backup.
pub(super) async fn load(connection: &mut SqliteConnection, kept: &KeptKey) -> Result<(), StoreError> {
    let key = &kept.key.key;
    sqlx::query(
        "INSERT INTO service_keys \
         (key_id, gun, role, algorithm, public, private, created_at, last_used, retired_at) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(key.id.to_string())
    .bind(key.gun.as_str())
    .bind(key.role.as_str())
    .bind(key.algorithm.as_str())
    .bind(key.public.as_slice())
    .bind(key.private.as_str())
    .bind(micros(kept.key.created_at))
    .bind(kept.key.last_used.map(micros))
    .bind(kept.retired_at.map(micros))
    .execute(connection)
    .await
    .map_err(StoreError::database("restored a key"))?;
    Ok(())
}
