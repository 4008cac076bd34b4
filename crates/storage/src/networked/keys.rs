//! The service's keys.

use async_trait::async_trait;
use countersign_crypto::{KeyId, KeyType};
use countersign_tuf::Gun;
use fail::fail_point;
use jiff::Timestamp;

use super::NetworkedStore;
use super::session::{Row, Session};
use crate::columns::{micros, read_gun, read_service_role, read_time};
use crate::{
    EncryptedKey, KeyStore, NewServiceKey, PageSize, PendingKeyError, PendingLimits, Resealed, ServiceKey, ServiceRole,
    StoreError,
};

pub(super) fn service_key(row: &Row) -> Result<ServiceKey, StoreError> {
    let id = row.text(0)?;
    let key = NewServiceKey {
        id: id.parse().map_err(|_| StoreError::damaged("key_id", &id))?,
        gun: read_gun(&row.text(1)?)?,
        role: read_service_role(&row.text(2)?)?,
        algorithm: KeyType::from(row.text(3)?.as_str()),
        public: row.bytes(4)?,
        private: EncryptedKey::new(row.text(5)?),
    };
    let last_used = row.optional_integer(7)?.map(read_time).transpose()?;
    Ok(ServiceKey { key, created_at: read_time(row.integer(6)?)?, last_used })
}

#[async_trait]
impl KeyStore for NetworkedStore {
    async fn service_key(&self, gun: &Gun, id: &KeyId) -> Result<Option<ServiceKey>, StoreError> {
        let statement = "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used \
            FROM countersign_keys WHERE key_id = ? AND gun = ? AND retired_at IS NULL";
        let id = id.to_string();
        let values = [(&id).into(), gun.as_str().into()];
        let row = self.pool.session().await?.row("looked a key up", statement, &values).await?;
        row.as_ref().map(service_key).transpose()
    }

    async fn pending_key(
        &self,
        gun: &Gun,
        role: ServiceRole,
        algorithm: &KeyType,
    ) -> Result<Option<ServiceKey>, StoreError> {
        pending(&mut self.pool.session().await?, gun, role, algorithm).await
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
        let statement = "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used \
            FROM countersign_keys LIMIT 1";
        let row = self.pool.session().await?.row("looked for a key", statement, &[]).await?;
        row.as_ref().map(service_key).transpose()
    }

    async fn mark_used(&self, gun: &Gun, id: &KeyId, now: Timestamp) -> Result<(), StoreError> {
        let statement = "UPDATE countersign_keys SET last_used = ?, pending = NULL WHERE key_id = ? AND gun = ?";
        let id = id.to_string();
        let values = [micros(now).into(), (&id).into(), gun.as_str().into()];
        let mut session = self.pool.session().await?;
        let done = session.execute("recorded the use of a key", statement, &values).await;
        fail_point!("key-marked-used");
        done.map(drop).inspect_err(|_| self.condition.failed())
    }

    async fn keys(&self, after: Option<&KeyId>, size: PageSize) -> Result<Vec<ServiceKey>, StoreError> {
        let statement = "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used \
            FROM countersign_keys WHERE key_id > ? ORDER BY key_id LIMIT ?";
        let after = after.map(ToString::to_string).unwrap_or_default();
        let values = [(&after).into(), i64::from(size.get()).into()];
        let rows = self.pool.session().await?.rows("listed keys", statement, &values).await?;
        rows.iter().map(service_key).collect()
    }

    async fn bring_back(&self, gun: &Gun, id: &KeyId) -> Result<(), StoreError> {
        let statement = "UPDATE countersign_keys SET retired_at = NULL WHERE gun = ? AND key_id = ?";
        let id = id.to_string();
        let values = [gun.as_str().into(), (&id).into()];
        let done = self.pool.session().await?.execute("brought a key back", statement, &values).await;
        done.map(drop).inspect_err(|_| self.condition.failed())
    }

    async fn replace_private(
        &self,
        id: &KeyId,
        from: &EncryptedKey,
        to: &EncryptedKey,
    ) -> Result<Resealed, StoreError> {
        let statement = "UPDATE countersign_keys SET private = ? WHERE key_id = ? AND private = ?";
        let id = id.to_string();
        let values = [to.as_str().into(), (&id).into(), from.as_str().into()];
        let done = self.pool.session().await?.execute("replaced a private key", statement, &values).await;
        let changed = done.inspect_err(|_| self.condition.failed())?;
        Ok(if changed == 0 { Resealed::ChangedSince } else { Resealed::Yes })
    }
}

impl NetworkedStore {
    async fn insert_pending_once(
        &self,
        new: NewServiceKey,
        limits: PendingLimits,
        now: Timestamp,
    ) -> Result<ServiceKey, PendingKeyError> {
        let mut session = self.begin_write().await?;
        // One key is made at a time, by whichever process: so the limit holds, and nobody makes a second one.
        let statement = "UPDATE countersign_counters SET value = value + 1 WHERE name = 'keys'";
        session.execute("waited to make a key", statement, &[]).await?;
        if let Some(found) = pending(&mut session, &new.gun, new.role, &new.algorithm).await? {
            return Ok(found);
        }
        if !is_published(&mut session, &new.gun).await? {
            make_room(&mut session, limits, now).await?;
        }
        insert(&mut session, &new, now).await?;
        fail_point!("key-before-commit");
        self.commit(session, "committed a key").await?;
        fail_point!("key-committed");
        let created_at = read_time(micros(now))?;
        Ok(ServiceKey { key: new, created_at, last_used: None })
    }
}

async fn pending(
    session: &mut Session,
    gun: &Gun,
    role: ServiceRole,
    algorithm: &KeyType,
) -> Result<Option<ServiceKey>, StoreError> {
    let statement = "SELECT key_id, gun, role, algorithm, public, private, created_at, last_used \
        FROM countersign_keys WHERE gun = ? AND role = ? AND algorithm = ? AND pending = 1";
    let values = [gun.as_str().into(), role.as_str().into(), algorithm.as_str().into()];
    let row = session.row("looked a pending key up", statement, &values).await?;
    row.as_ref().map(service_key).transpose()
}

async fn is_published(session: &mut Session, gun: &Gun) -> Result<bool, StoreError> {
    let statement = "SELECT gun FROM countersign_current WHERE gun = ? LIMIT 1";
    Ok(session.row("looked for a publication", statement, &[gun.as_str().into()]).await?.is_some())
}

/// Sees to it that one more pending key stays within the limit.
async fn make_room(session: &mut Session, limits: PendingLimits, now: Timestamp) -> Result<(), PendingKeyError> {
    let statement = "SELECT count(*) FROM countersign_keys WHERE pending IS NOT NULL";
    let row = session.row("counted pending keys", statement, &[]).await?;
    let count = row.as_ref().map(|row| row.integer(0)).transpose()?.unwrap_or_default();
    if u64::try_from(count).unwrap_or(u64::MAX) < limits.count {
        return Ok(());
    }
    let oldest = now.saturating_sub(limits.keep).unwrap_or(Timestamp::MIN);
    let statement = "SELECT key_id FROM countersign_keys k WHERE pending IS NOT NULL AND created_at < ? \
        AND NOT EXISTS (SELECT 1 FROM countersign_current c WHERE c.gun = k.gun) ORDER BY created_at LIMIT 1";
    let row = session.row("looked for an old pending key", statement, &[micros(oldest).into()]).await?;
    let Some(row) = row else { return Err(PendingKeyError::TooMany { limit: limits.count }) };
    let id = row.text(0)?;
    // A key that was used for the first time this very moment stays.
    let statement = "DELETE FROM countersign_keys WHERE key_id = ? AND pending IS NOT NULL";
    let removed = session.execute("removed an old pending key", statement, &[(&id).into()]).await?;
    if removed == 0 { Err(PendingKeyError::TooMany { limit: limits.count }) } else { Ok(()) }
}

/// Takes the keys that have signed for a collection out of use.
pub(super) async fn retire(session: &mut Session, gun: &Gun, now: Timestamp) -> Result<(), StoreError> {
    let statement = "UPDATE countersign_keys SET retired_at = ? \
        WHERE gun = ? AND last_used IS NOT NULL AND retired_at IS NULL";
    session.execute("retired keys", statement, &[micros(now).into(), gun.as_str().into()]).await.map(drop)
}

async fn insert(session: &mut Session, new: &NewServiceKey, now: Timestamp) -> Result<(), StoreError> {
    let statement = "INSERT INTO countersign_keys \
        (key_id, gun, role, algorithm, public, private, created_at, pending) VALUES (?, ?, ?, ?, ?, ?, ?, 1)";
    let id = new.id.to_string();
    let values = [
        (&id).into(),
        new.gun.as_str().into(),
        new.role.as_str().into(),
        new.algorithm.as_str().into(),
        new.public.as_slice().into(),
        new.private.as_str().into(),
        micros(now).into(),
    ];
    session.execute("stored a key", statement, &values).await.map(drop)
}
