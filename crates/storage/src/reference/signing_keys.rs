//! `private_keys`: the keys of the reference's signer, found by id, each a compact JWE under the passphrase of its alias.

use async_trait::async_trait;
use countersign_crypto::{KeyId, KeyType};
use countersign_tuf::Gun;
use jiff::Timestamp;

use super::schema::turn_of_mysql;
use super::{ReferenceSigningKeys, read_time, write_time};
use crate::columns::{read_gun, read_service_role};
use crate::networked::session::{Dialect, Pool, Row, Session, Value};
use crate::{
    Alias, DEFAULT_PAGE, EncryptedKey, NewServiceKey, NewSigningKey, PageSize, PendingKeyError, PendingLimits,
    Resealed, Sealed, ServiceRole, SigningKey, SigningKeyStore, StoreError,
};

/// How the reference says what its keys are encrypted with.
const ENCRYPTION: &str = "A256GCM";
const KEY_WRAP: &str = "PBES2-HS256+A128KW";
/// Keys that are enough to see whether a passphrase opens those under its alias.
const OF_EACH_ALIAS: usize = 5;
/// Keeps two of our processes from making keys at the same time; a number of no meaning.
const POSTGRES_TURN: &str = "SELECT pg_advisory_xact_lock(4961153006245014)";
const MYSQL_TURN: &str = "SELECT CAST(GET_LOCK(LEFT(CONCAT('notary keys ', DATABASE()), 64), 10) AS SIGNED)";

pub(super) fn signing_key(row: &Row) -> Result<SigningKey, StoreError> {
    let id = row.text(0)?;
    let private = String::from_utf8(row.bytes(6)?).map_err(|_| StoreError::damaged("private", "no text"))?;
    let key = NewServiceKey {
        id: id.parse().map_err(|_| StoreError::damaged("key_id", &id))?,
        gun: read_gun(&row.text(1)?)?,
        role: read_service_role(&row.text(2)?)?,
        algorithm: KeyType::from(row.text(3)?.as_str()),
        public: row.bytes(5)?,
        private: EncryptedKey::new(private),
    };
    let alias = row.text(4)?;
    let alias = Alias::parse(&alias).map_err(|_| StoreError::damaged("passphrase_alias", &alias))?;
    let last_used = row.optional_text(8)?.map(|time| read_time(Some(time))).transpose()?;
    let created_at = read_time(row.optional_text(7)?)?;
    Ok(SigningKey { stored: NewSigningKey { key, alias, binding: None }, created_at, last_used })
}

/// Writes a statement that reads keys.
pub(super) fn keys_where(dialect: Dialect, rest: &str) -> String {
    format!(
        "SELECT key_id, gun, role, algorithm, passphrase_alias, public, private, {}, {} FROM private_keys WHERE {rest}",
        dialect.time("created_at"),
        dialect.time("last_used")
    )
}

#[async_trait]
impl SigningKeyStore for ReferenceSigningKeys {
    async fn signing_key(&self, id: &KeyId) -> Result<Option<SigningKey>, StoreError> {
        let mut session = self.0.pool.session().await?;
        let statement = keys_where(session.dialect(), "key_id = ? AND deleted_at IS NULL");
        let id = id.to_string();
        let row = session.row("looked a key up", &statement, &[Value::Characters(&id)]).await?;
        row.as_ref().map(signing_key).transpose()
    }

    async fn pending(
        &self,
        gun: &Gun,
        role: ServiceRole,
        algorithm: &KeyType,
    ) -> Result<Option<SigningKey>, StoreError> {
        pending(&mut self.0.pool.session().await?, gun, role, algorithm).await
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
        let mut session = self.0.pool.session().await?;
        let time = session.dialect().time_value();
        let statement = format!(
            "UPDATE private_keys SET last_used = {time}, updated_at = {time} WHERE key_id = ? AND deleted_at IS NULL"
        );
        let (now, id) = (write_time(now), id.to_string());
        let values = [&now, &now, &id].map(|text| Value::Characters(text));
        let changed = self.known(session.execute("recorded the use of a key", &statement, &values).await)?;
        Ok(changed > 0)
    }

    async fn delete(&self, id: &KeyId, now: Timestamp) -> Result<Option<SigningKey>, StoreError> {
        let found = self.signing_key(id).await?;
        if found.is_some() {
            let mut session = self.0.pool.session().await?;
            let time = session.dialect().time_value();
            let statement =
                format!("UPDATE private_keys SET deleted_at = {time} WHERE key_id = ? AND deleted_at IS NULL");
            let (now, id) = (write_time(now), id.to_string());
            let values = [&now, &id].map(|text| Value::Characters(text));
            self.known(session.execute("deleted a key", &statement, &values).await)?;
        }
        Ok(found)
    }

    async fn some_of_each_alias(&self) -> Result<Vec<SigningKey>, StoreError> {
        let mut session = self.0.pool.session().await?;
        let statement = "SELECT DISTINCT passphrase_alias FROM private_keys \
                         WHERE deleted_at IS NULL AND gun <> '' AND role <> '' ORDER BY passphrase_alias";
        let aliases = session.rows("looked for the aliases in use", statement, &[]).await?;
        let mut found = Vec::new();
        for alias in aliases {
            found.append(&mut self.some_of(&mut session, &alias.text(0)?).await?);
        }
        Ok(found)
    }

    async fn sealed_otherwise(
        &self,
        alias: &Alias,
        after: Option<&KeyId>,
        size: PageSize,
    ) -> Result<Vec<SigningKey>, StoreError> {
        let mut session = self.0.pool.session().await?;
        let rest = "passphrase_alias <> ? AND key_id > ? ORDER BY key_id LIMIT ?";
        let statement = keys_where(session.dialect(), rest);
        let after = after.map(ToString::to_string).unwrap_or_default();
        let values = [Value::Characters(alias.as_str()), Value::Characters(&after), i64::from(size.get()).into()];
        let rows = session.rows("looked for keys under another alias", &statement, &values).await?;
        rows.iter().map(signing_key).collect()
    }

    async fn reseal(&self, id: &KeyId, from: &Sealed, to: &Sealed) -> Result<Resealed, StoreError> {
        let mut session = self.0.pool.session().await?;
        let now = match session.dialect() {
            Dialect::Postgres => "now() AT TIME ZONE 'UTC'",
            Dialect::MySql => "UTC_TIMESTAMP()",
        };
        let statement = format!(
            "UPDATE private_keys SET private = ?, passphrase_alias = ?, updated_at = {now} \
             WHERE key_id = ? AND private = ? AND passphrase_alias = ?"
        );
        let id = id.to_string();
        let values = [
            Value::Bytes(to.private.as_str().as_bytes()),
            Value::Characters(to.alias.as_str()),
            Value::Characters(&id),
            Value::Bytes(from.private.as_str().as_bytes()),
            Value::Characters(from.alias.as_str()),
        ];
        let changed = self.known(session.execute("sealed a key anew", &statement, &values).await)?;
        Ok(if changed == 0 { Resealed::ChangedSince } else { Resealed::Yes })
    }

    async fn health(&self) -> Result<(), StoreError> {
        let mut session = self.0.pool.session().await?;
        let statement = "SELECT count(*) FROM (SELECT key_id FROM private_keys LIMIT 1) x";
        session.row("checked its table", statement, &[]).await?;
        // A row that is not there changes nothing, and shows whether rows could be changed.
        let attempt = async {
            let statement = "UPDATE private_keys SET key_id = key_id WHERE id = 0";
            session.execute("tried to write", statement, &[]).await.map(drop)
        };
        self.0.condition.check(attempt).await
    }
}

impl ReferenceSigningKeys {
    async fn insert_once(
        &self,
        new: NewSigningKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<SigningKey, PendingKeyError> {
        let mut session = self.turn().await?;
        if let Some(found) = pending(&mut session, &new.key.gun, new.key.role, &new.key.algorithm).await? {
            return Ok(found);
        }
        if !has_signed(&mut session, &new.key.gun).await? {
            make_room(&mut session, limits, now).await?;
        }
        insert(&mut session, &new, now).await?;
        self.0.commit(session, "committed a key").await?;
        let created_at = read_time(Some(write_time(now)))?;
        Ok(SigningKey { stored: NewSigningKey { binding: None, ..new }, created_at, last_used: None })
    }

    /// Returns the first keys under an alias that can be read.
    async fn some_of(&self, session: &mut Session, alias: &str) -> Result<Vec<SigningKey>, StoreError> {
        let rest = "passphrase_alias = ? AND deleted_at IS NULL AND gun <> '' AND role <> '' AND key_id > ? \
                    ORDER BY key_id LIMIT ?";
        let statement = keys_where(session.dialect(), rest);
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = i64::from(DEFAULT_PAGE);
            let values = [Value::Characters(alias), Value::Characters(&after), page.into()];
            let rows = session.rows("looked for keys under an alias", &statement, &values).await?;
            let Some(last) = rows.last() else { return Ok(found) };
            after = last.text(0)?;
            for row in &rows {
                match signing_key(row) {
                    Ok(key) => found.push(key),
                    Err(error @ StoreError::Damaged { .. }) => {
                        self.0.passed_over.tell("private_keys", &row.text(0)?, &error);
                    }
                    Err(error) => return Err(error),
                }
                if found.len() == OF_EACH_ALIAS {
                    return Ok(found);
                }
            }
        }
    }

    /// Waits until no other process of ours makes a key.
    async fn turn(&self) -> Result<Session, StoreError> {
        match &self.0.pool {
            Pool::Postgres(_) => {
                let mut session = self.0.begin_write().await?;
                session.row("waited to make a key", POSTGRES_TURN, &[]).await?;
                Ok(session)
            }
            Pool::MySql(_) => {
                let mut session = self.0.pool.session().await?;
                // The lock is the connection's, whatever becomes of this call.
                session.close_on_drop();
                turn_of_mysql(&mut session, MYSQL_TURN).await?;
                Ok(session)
            }
        }
    }

    /// Remembers how a write went.
    fn known<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        match &done {
            Ok(_) => self.0.condition.stored(),
            Err(_) => self.0.condition.failed(),
        }
        done
    }
}

/// Finds the key that waits for its first use; of several, as the reference's signer may have made, the first.
async fn pending(
    session: &mut Session,
    gun: &Gun,
    role: ServiceRole,
    algorithm: &KeyType,
) -> Result<Option<SigningKey>, StoreError> {
    let dialect = session.dialect();
    let rest = format!(
        "{} AND role = ? AND algorithm = ? AND last_used IS NULL AND deleted_at IS NULL ORDER BY key_id LIMIT 1",
        dialect.of_collection("gun")
    );
    let mut values = dialect.named(gun.as_str());
    values.extend([Value::Characters(role.as_str()), Value::Characters(algorithm.as_str())]);
    let row = session.row("looked a pending key up", &keys_where(dialect, &rest), &values).await?;
    row.as_ref().map(signing_key).transpose()
}

async fn has_signed(session: &mut Session, gun: &Gun) -> Result<bool, StoreError> {
    let dialect = session.dialect();
    let statement = format!(
        "SELECT key_id FROM private_keys WHERE {} AND last_used IS NOT NULL LIMIT 1",
        dialect.of_collection("gun")
    );
    Ok(session.row("looked for a key that has signed", &statement, &dialect.named(gun.as_str())).await?.is_some())
}

/// Sees to it that one more pending key stays within the limit.
async fn make_room(session: &mut Session, limits: PendingLimits, now: Timestamp) -> Result<(), PendingKeyError> {
    // Rows without collection are of the reference's early releases, which did not record uses: their keys may sign daily.
    let statement = "SELECT count(*) FROM private_keys WHERE last_used IS NULL AND deleted_at IS NULL AND gun <> ''";
    let row = session.row("counted pending keys", statement, &[]).await?;
    let count = row.as_ref().map(|row| row.integer(0)).transpose()?.unwrap_or_default();
    if u64::try_from(count).unwrap_or(u64::MAX) < limits.count {
        return Ok(());
    }
    let statement = format!(
        "SELECT key_id FROM private_keys k WHERE last_used IS NULL AND deleted_at IS NULL AND gun <> '' AND created_at < {} \
         AND NOT EXISTS (SELECT 1 FROM private_keys o WHERE o.gun = k.gun AND o.last_used IS NOT NULL) \
         ORDER BY created_at LIMIT 1",
        session.dialect().time_value()
    );
    let oldest = write_time(now.saturating_sub(limits.keep).unwrap_or(Timestamp::MIN));
    let row = session.row("looked for an old pending key", &statement, &[Value::Characters(&oldest)]).await?;
    let Some(row) = row else { return Err(PendingKeyError::TooMany { limit: limits.count }) };
    let id = row.text(0)?;
    // A key that was used for the first time this very moment stays.
    let statement = "DELETE FROM private_keys WHERE key_id = ? AND last_used IS NULL";
    let removed = session.execute("removed an old pending key", statement, &[Value::Characters(&id)]).await?;
    if removed == 0 { Err(PendingKeyError::TooMany { limit: limits.count }) } else { Ok(()) }
}

async fn insert(session: &mut Session, new: &NewSigningKey, now: Timestamp) -> Result<(), StoreError> {
    let time = session.dialect().time_value();
    let statement = format!(
        "INSERT INTO private_keys (created_at, updated_at, key_id, encryption_alg, keywrap_alg, algorithm, \
         passphrase_alias, public, private, gun, role) VALUES ({time}, {time}, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    let (now, id) = (write_time(now), new.key.id.to_string());
    let values = [
        Value::Characters(&now),
        Value::Characters(&now),
        Value::Characters(&id),
        Value::Characters(ENCRYPTION),
        Value::Characters(KEY_WRAP),
        Value::Characters(new.key.algorithm.as_str()),
        Value::Characters(new.alias.as_str()),
        Value::Bytes(&new.key.public),
        Value::Bytes(new.key.private.as_str().as_bytes()),
        Value::Characters(new.key.gun.as_str()),
        Value::Characters(new.key.role.as_str()),
    ];
    session.execute("stored a key", &statement, &values).await.map(drop)
}
