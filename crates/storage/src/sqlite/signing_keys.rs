//! A signing service's keys, in a file of their own.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use countersign_crypto::{KeyId, KeyType};
use countersign_tuf::Gun;
use jiff::Timestamp;
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use crate::columns::{micros, read_gun, read_time};
use crate::{
    Alias, Binding, EncryptedKey, NewServiceKey, NewSigningKey, PageSize, PendingKeyError, PendingLimits, Resealed,
    Sealed, ServiceRole, SigningKey, SigningKeyStore, StoreError, Taken,
};

/// The beginning of every statement that reads keys.
macro_rules! keys_where {
    ($rest:literal) => {
        concat!(
            "SELECT key_id, gun, role, algorithm, passphrase_alias, public, private, binding, created_at, last_used \
             FROM private_keys WHERE ",
            $rest
        )
    };
}

/// Keys of each alias that are enough to see whether its passphrase is at hand.
const OF_EACH_ALIAS: i64 = 5;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite-keys");

/// A [`SigningKeyStore`] in one `SQLite` file.
#[derive(Debug, Clone)]
pub struct SqliteSigningKeys(SqliteStore);

impl SqliteSigningKeys {
    /// Opens the database file, creating it (mode 0600) and bringing it to this release's layout when needed; waits so long
    /// for a lock that another process holds.
    ///
    /// # Errors
    /// Fails when the file cannot be created or protected, is no database of a signing service, or was written by a newer
    /// release.
    pub async fn open(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        Ok(Self(SqliteStore::open_as(path, patience, &MIGRATIONS).await?))
    }

    /// Returns keys that were not deleted, in the order of their ids.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn page(&self, after: Option<&KeyId>, size: PageSize) -> Result<Vec<SigningKey>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(keys_where!("deleted_at IS NULL AND key_id > ? ORDER BY key_id LIMIT ?"))
            .bind(after.map(ToString::to_string).unwrap_or_default())
            .bind(i64::from(size.get()))
            .fetch_all(&self.0.readers)
            .await
            .map_err(StoreError::database("listed keys"))?;
        rows.into_iter().map(signing_key).collect()
    }

    /// Stores a key that was made elsewhere and may have signed, if no key has its id.
    ///
    /// # Errors
    /// Fails when the database does.
    pub async fn take(
        &self,
        new: &NewSigningKey,
        created_at: Timestamp,
        last_used: Option<Timestamp>,
    ) -> Result<Taken, StoreError> {
        let mut tx = self.0.begin_write().await?;
        let (known,): (bool,) = sqlx::query_as("SELECT EXISTS (SELECT 1 FROM private_keys WHERE key_id = ?)")
            .bind(new.key.id.to_string())
            .fetch_one(&mut *tx)
            .await
            .map_err(StoreError::database("looked a key up"))?;
        if known {
            return Ok(Taken::Known);
        }
        let waits = pending(&mut tx, &new.key.gun, new.key.role, &new.key.algorithm).await?;
        if last_used.is_none() && waits.is_some() {
            return Ok(Taken::AnotherWaits);
        }
        insert(&mut tx, new, created_at, last_used).await?;
        self.0.commit(tx, "committed a key").await?;
        Ok(Taken::Stored)
    }

    /// Closes all connections after their current work and folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.0.close().await;
    }
}

type Row = (String, String, String, String, String, Vec<u8>, String, Vec<u8>, i64, Option<i64>);

fn signing_key(
    (id, gun, role, algorithm, alias, public, private, binding, created_at, last_used): Row,
) -> Result<SigningKey, StoreError> {
    let key = NewServiceKey {
        id: id.parse().map_err(|_| StoreError::damaged("key_id", &id))?,
        gun: read_gun(&gun)?,
        role: match role.as_str() {
            "snapshot" => ServiceRole::Snapshot,
            "timestamp" => ServiceRole::Timestamp,
            other => return Err(StoreError::damaged("role", other)),
        },
        algorithm: KeyType::from(algorithm.as_str()),
        public,
        private: EncryptedKey::new(private),
    };
    let alias = Alias::parse(&alias).map_err(|_| StoreError::damaged("passphrase_alias", &alias))?;
    let binding = Binding(binding.try_into().map_err(|_| StoreError::damaged("binding", "of another length"))?);
    let stored = NewSigningKey { key, alias, binding: Some(binding) };
    Ok(SigningKey { stored, created_at: read_time(created_at)?, last_used: last_used.map(read_time).transpose()? })
}

#[async_trait]
impl SigningKeyStore for SqliteSigningKeys {
    async fn signing_key(&self, id: &KeyId) -> Result<Option<SigningKey>, StoreError> {
        sqlx::query_as(keys_where!("key_id = ? AND deleted_at IS NULL"))
            .bind(id.to_string())
            .fetch_optional(&self.0.readers)
            .await
            .map_err(StoreError::database("looked a key up"))?
            .map(signing_key)
            .transpose()
    }

    async fn pending(
        &self,
        gun: &Gun,
        role: ServiceRole,
        algorithm: &KeyType,
    ) -> Result<Option<SigningKey>, StoreError> {
        let mut connection = self.0.readers.acquire().await.map_err(StoreError::database("waited to read"))?;
        pending(&mut connection, gun, role, algorithm).await
    }

    async fn insert(
        &self,
        new: NewSigningKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<SigningKey, PendingKeyError> {
        let result = self.insert_once(new, limits, now).await;
        if let Err(PendingKeyError::Store(_)) = result {
            self.0.condition.failed();
        }
        result
    }

    async fn mark_used(&self, id: &KeyId, now: Timestamp) -> Result<bool, StoreError> {
        let done = sqlx::query("UPDATE private_keys SET last_used = ? WHERE key_id = ? AND deleted_at IS NULL")
            .bind(micros(now))
            .bind(id.to_string())
            .execute(&self.0.writer)
            .await;
        self.known(done.map(|done| done.rows_affected() > 0), "recorded the use of a key")
    }

    async fn delete(&self, id: &KeyId, now: Timestamp) -> Result<Option<SigningKey>, StoreError> {
        let found = self.signing_key(id).await?;
        if found.is_some() {
            let done = sqlx::query("UPDATE private_keys SET deleted_at = ? WHERE key_id = ? AND deleted_at IS NULL")
                .bind(micros(now))
                .bind(id.to_string())
                .execute(&self.0.writer)
                .await;
            self.known(done.map(drop), "deleted a key")?;
        }
        Ok(found)
    }

    async fn some_of_each_alias(&self) -> Result<Vec<SigningKey>, StoreError> {
        let rows: Vec<Row> = sqlx::query_as(keys_where!(
            "key_id IN (SELECT key_id FROM (SELECT key_id, row_number() OVER (PARTITION BY passphrase_alias ORDER BY key_id) \
             AS number FROM private_keys WHERE deleted_at IS NULL) WHERE number <= ?) ORDER BY passphrase_alias, key_id"
        ))
        .bind(OF_EACH_ALIAS)
        .fetch_all(&self.0.readers)
        .await
        .map_err(StoreError::database("looked for the aliases in use"))?;
        rows.into_iter().map(signing_key).collect()
    }

    async fn sealed_otherwise(
        &self,
        alias: &Alias,
        after: Option<&KeyId>,
        size: PageSize,
    ) -> Result<Vec<SigningKey>, StoreError> {
        let rows: Vec<Row> =
            sqlx::query_as(keys_where!("passphrase_alias <> ? AND key_id > ? ORDER BY key_id LIMIT ?"))
                .bind(alias.as_str())
                .bind(after.map(ToString::to_string).unwrap_or_default())
                .bind(i64::from(size.get()))
                .fetch_all(&self.0.readers)
                .await
                .map_err(StoreError::database("looked for keys under another alias"))?;
        rows.into_iter().map(signing_key).collect()
    }

    async fn reseal(&self, id: &KeyId, from: &Sealed, to: &Sealed) -> Result<Resealed, StoreError> {
        let done = sqlx::query(
            "UPDATE private_keys SET private = ?, passphrase_alias = ? \
             WHERE key_id = ? AND private = ? AND passphrase_alias = ?",
        )
        .bind(to.private.as_str())
        .bind(to.alias.as_str())
        .bind(id.to_string())
        .bind(from.private.as_str())
        .bind(from.alias.as_str())
        .execute(&self.0.writer)
        .await;
        let changed = self.known(done.map(|done| done.rows_affected()), "sealed a key anew")?;
        Ok(if changed == 0 { Resealed::ChangedSince } else { Resealed::Yes })
    }

    async fn health(&self) -> Result<(), StoreError> {
        sqlx::query("SELECT count(*) FROM (SELECT key_id FROM private_keys LIMIT 1)")
            .execute(&self.0.readers)
            .await
            .map_err(StoreError::database("checked its tables"))?;
        self.0.check_writing().await
    }
}

impl SqliteSigningKeys {
    async fn insert_once(
        &self,
        new: NewSigningKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<SigningKey, PendingKeyError> {
        let mut tx = self.0.begin_write().await?;
        if let Some(found) = pending(&mut tx, &new.key.gun, new.key.role, &new.key.algorithm).await? {
            return Ok(found);
        }
        if !has_signed(&mut tx, &new.key.gun).await? {
            make_room(&mut tx, limits, now).await?;
        }
        insert(&mut tx, &new, now, None).await?;
        self.0.commit(tx, "committed a key").await?;
        Ok(SigningKey { stored: new, created_at: read_time(micros(now))?, last_used: None })
    }

    /// Remembers how a write went.
    fn known<T>(&self, done: Result<T, sqlx::Error>, doing: &'static str) -> Result<T, StoreError> {
        match done {
            Ok(value) => {
                self.0.condition.stored();
                Ok(value)
            }
            Err(error) => {
                self.0.condition.failed();
                Err(StoreError::database(doing)(error))
            }
        }
    }
}

async fn pending(
    connection: &mut SqliteConnection,
    gun: &Gun,
    role: ServiceRole,
    algorithm: &KeyType,
) -> Result<Option<SigningKey>, StoreError> {
    sqlx::query_as(keys_where!("gun = ? AND role = ? AND algorithm = ? AND last_used IS NULL AND deleted_at IS NULL"))
        .bind(gun.as_str())
        .bind(role.as_str())
        .bind(algorithm.as_str())
        .fetch_optional(connection)
        .await
        .map_err(StoreError::database("looked a pending key up"))?
        .map(signing_key)
        .transpose()
}

async fn has_signed(connection: &mut SqliteConnection, gun: &Gun) -> Result<bool, StoreError> {
    let statement = "SELECT EXISTS (SELECT 1 FROM private_keys WHERE gun = ? AND last_used IS NOT NULL)";
    let (found,): (bool,) = sqlx::query_as(statement)
        .bind(gun.as_str())
        .fetch_one(connection)
        .await
        .map_err(StoreError::database("looked for a key that has signed"))?;
    Ok(found)
}

/// Sees to it that one more pending key stays within the limit.
async fn make_room(
    connection: &mut SqliteConnection,
    limits: PendingLimits,
    now: Timestamp,
) -> Result<(), PendingKeyError> {
    let (count,): (i64,) =
        sqlx::query_as("SELECT count(*) FROM private_keys WHERE last_used IS NULL AND deleted_at IS NULL")
            .fetch_one(&mut *connection)
            .await
            .map_err(StoreError::database("counted pending keys"))?;
    if u64::try_from(count).unwrap_or(u64::MAX) < limits.count {
        return Ok(());
    }
    let oldest = now.saturating_sub(limits.keep).unwrap_or(Timestamp::MIN);
    let removed = sqlx::query(
        "DELETE FROM private_keys WHERE key_id = ( \
             SELECT key_id FROM private_keys k WHERE last_used IS NULL AND deleted_at IS NULL AND created_at < ? \
             AND NOT EXISTS (SELECT 1 FROM private_keys o WHERE o.gun = k.gun AND o.last_used IS NOT NULL) \
             ORDER BY created_at LIMIT 1)",
    )
    .bind(micros(oldest))
    .execute(connection)
    .await
    .map_err(StoreError::database("removed an old pending key"))?
    .rows_affected();
    if removed == 0 { Err(PendingKeyError::TooMany { limit: limits.count }) } else { Ok(()) }
}

async fn insert(
    connection: &mut SqliteConnection,
    new: &NewSigningKey,
    now: Timestamp,
    last_used: Option<Timestamp>,
) -> Result<(), StoreError> {
    let binding = new.binding.as_ref().ok_or_else(|| StoreError::damaged("binding", "missing"))?;
    sqlx::query(
        "INSERT INTO private_keys \
         (key_id, gun, role, algorithm, passphrase_alias, public, private, binding, created_at, last_used) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.key.id.to_string())
    .bind(new.key.gun.as_str())
    .bind(new.key.role.as_str())
    .bind(new.key.algorithm.as_str())
    .bind(new.alias.as_str())
    .bind(new.key.public.as_slice())
    .bind(new.key.private.as_str())
    .bind(binding.0.as_slice())
    .bind(micros(now))
    .bind(last_used.map(micros))
    .execute(connection)
    .await
    .map_err(StoreError::database("stored a key"))?;
    Ok(())
}
