//! Taking old versions away.

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use fail::fail_point;

use super::metadata::{ATTEMPTS, heads};
use super::session::{Dialect, Row, Session};
use super::{NetworkedStore, publication};
use crate::columns::{number, read_digest, read_gun, read_role, read_size, read_time, read_version};
use crate::{Held, PageSize, Pruning, RetentionStore, StoreError};

#[async_trait]
impl RetentionStore for NetworkedStore {
    async fn collections(&self, after: Option<&Gun>, limit: PageSize) -> Result<Vec<Gun>, StoreError> {
        let statement = "SELECT DISTINCT gun FROM countersign_current WHERE gun > ? ORDER BY gun LIMIT ?";
        let values = [after.map_or("", Gun::as_str).into(), i64::from(limit.get()).into()];
        let rows = self.pool.session().await?.rows("listed collections", statement, &values).await?;
        rows.iter().map(|row| read_gun(&row.text(0)?)).collect()
    }

    async fn history(&self, gun: &Gun) -> Result<Vec<Held>, StoreError> {
        let mut session = self.pool.session().await?;
        let integer = match session.dialect() {
            Dialect::Postgres => "bigint",
            Dialect::MySql => "signed",
        };
        let statement = format!(
            "SELECT f.role, f.version, f.sha256, f.stored_at, f.base, CAST(octet_length(f.data) + coalesce( \
             (SELECT sum(octet_length(p.data)) FROM countersign_pieces p \
             WHERE p.gun = f.gun AND p.role = f.role AND p.version = f.version), 0) AS {integer}) \
             FROM countersign_files f WHERE f.gun = ? ORDER BY f.role, f.version DESC"
        );
        let rows = session.rows("listed versions", &statement, &[gun.as_str().into()]).await?;
        let held = |row: &Row| {
            Ok(Held {
                role: read_role(&row.text(0)?)?,
                version: read_version(row.integer(1)?)?,
                sha256: read_digest(&row.text(2)?)?,
                stored_at: read_time(row.integer(3)?)?,
                bytes: read_size(row.integer(5)?)?,
                base: if row.integer(4)? == 0 { None } else { Some(read_version(row.integer(4)?)?) },
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
        let mut result = self.prune_once(gun, timestamp, files).await;
        for _ in 1..ATTEMPTS {
            match &result {
                Err(error) if error.is_deadlock() => result = self.prune_once(gun, timestamp, files).await,
                _ => break,
            }
        }
        result.inspect_err(|_| self.condition.failed())
    }
}

impl NetworkedStore {
    async fn prune_once(
        &self,
        gun: &Gun,
        timestamp: Option<Sha256Digest>,
        files: &[(RoleName, Version)],
    ) -> Result<Pruning, StoreError> {
        let mut session = self.begin_write().await?;
        publication::lock(&mut session, &[gun]).await?;
        let heads = heads(&mut session, gun).await?;
        if heads.get(&RoleName::Timestamp).map(|(_, sha256)| *sha256) != timestamp {
            return Ok(Pruning::Superseded);
        }
        let is_current = |role: &RoleName, version: Version| heads.get(role).is_none_or(|(head, _)| *head == version);
        for (role, version) in files {
            if *role != RoleName::Root && !is_current(role, *version) {
                remove(&mut session, gun, role, *version).await?;
            }
            fail_point!("prune-file-gone");
        }
        fail_point!("prune-before-commit");
        self.commit(session, "committed a retention").await?;
        fail_point!("prune-committed");
        Ok(Pruning::Done)
    }
}

/// Removes a version that no other is a difference from; `MySQL` cannot ask that in the statement that removes it.
async fn remove(session: &mut Session, gun: &Gun, role: &RoleName, version: Version) -> Result<(), StoreError> {
    let values = [gun.as_str().into(), role.as_str().into(), number(version).into()];
    let statement = "SELECT version FROM countersign_files WHERE gun = ? AND role = ? AND base = ? LIMIT 1";
    if session.row("looked for differences", statement, &values).await?.is_some() {
        return Ok(());
    }
    let statement = "DELETE FROM countersign_files WHERE gun = ? AND role = ? AND version = ?";
    session.execute("removed an old version", statement, &values).await.map(drop)
}
