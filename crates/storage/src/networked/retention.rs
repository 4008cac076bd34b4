//! Taking old versions away.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::{Gun, RoleName, Version};
use fail::fail_point;

use super::NetworkedStore;
use super::metadata::{ATTEMPTS, heads};
use super::publication::{self, portions};
use super::session::{Dialect, Row, Session, Value};
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
        let mut going: BTreeMap<&RoleName, Vec<Version>> = BTreeMap::new();
        for (role, version) in files {
            if *role != RoleName::Root && !is_current(role, *version) {
                going.entry(role).or_default().push(*version);
            }
        }
        for (role, versions) in going {
            remove(&mut session, gun, role, versions).await?;
        }
        fail_point!("prune-before-commit");
        self.commit(session, "committed a retention").await?;
        fail_point!("prune-committed");
        Ok(Pruning::Done)
    }
}

/// Removes versions that no other is a difference from.
async fn remove(
    session: &mut Session,
    gun: &Gun,
    role: &RoleName,
    mut versions: Vec<Version>,
) -> Result<(), StoreError> {
    while !versions.is_empty() {
        let mut needed = Vec::new();
        let mut removed = 0;
        for portion in portions(&versions) {
            let found = needed_among(session, gun, role, portion).await?;
            let (stay, go): (Vec<Version>, Vec<Version>) = portion.iter().partition(|version| found.contains(version));
            needed.extend(stay);
            removed += go.len();
            for go in portions(&go) {
                let statement =
                    format!("DELETE FROM countersign_files WHERE gun = ? AND role = ? AND version IN ({})", marks(go));
                session.execute("removed old versions", &statement, &values(gun, role, go)).await?;
                fail_point!("prune-file-gone");
            }
        }
        if removed == 0 {
            break;
        }
        // What was a difference from these may be gone now.
        versions = needed;
    }
    Ok(())
}

/// Returns those of the versions that others are differences from.
async fn needed_among(
    session: &mut Session,
    gun: &Gun,
    role: &RoleName,
    versions: &[Version],
) -> Result<BTreeSet<Version>, StoreError> {
    let statement = format!(
        "SELECT DISTINCT base FROM countersign_files WHERE gun = ? AND role = ? AND base IN ({}) AND base <> 0",
        marks(versions)
    );
    let rows = session.rows("looked for differences", &statement, &values(gun, role, versions)).await?;
    rows.iter().map(|row| read_version(row.integer(0)?)).collect()
}

fn marks(versions: &[Version]) -> String {
    vec!["?"; versions.len()].join(", ")
}

fn values<'a>(gun: &'a Gun, role: &'a RoleName, versions: &[Version]) -> Vec<Value<'a>> {
    let first = [gun.as_str().into(), role.as_str().into()];
    first.into_iter().chain(versions.iter().map(|version| number(*version).into())).collect()
}
