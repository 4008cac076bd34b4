//! The audit log. A chain's row in `countersign_audit_heads` is locked until the end of the transaction, so that its entries
//! become visible in their order. Whoever locks collections or the change feed's counter too does it in this order:
//! collections, chain, counter.

use async_trait::async_trait;
use countersign_audit::{ChainName, Draft, Head};
use countersign_tuf::Gun;
use jiff::Timestamp;

use super::NetworkedStore;
use super::metadata::ATTEMPTS;
use super::publication::portions;
use super::session::{Dialect, Session, Value};
use crate::audit::{chained, no_hash, number, read_chain, read_head};
use crate::{AuditStore, Base, NewMetadata, PublishError, Record, StoreError};

#[async_trait]
impl AuditStore for NetworkedStore {
    async fn publish_recorded(
        &self,
        gun: &Gun,
        base: Base,
        files: &[NewMetadata],
        now: Timestamp,
        record: &Record,
    ) -> Result<(), PublishError> {
        self.publish_with(gun, base, files, now, Some(record)).await
    }

    async fn append(&self, chain: &ChainName, drafts: &[Draft]) -> Result<Head, StoreError> {
        let mut result = self.append_once(chain, drafts).await;
        for _ in 1..ATTEMPTS {
            match &result {
                Err(error) if error.is_deadlock() => result = self.append_once(chain, drafts).await,
                _ => break,
            }
        }
        result.inspect_err(|_| self.condition.failed())
    }

    async fn heads(&self) -> Result<Vec<(ChainName, Head)>, StoreError> {
        let statement = "SELECT chain, seq, hash FROM countersign_audit_heads ORDER BY chain";
        let rows = self.pool.session().await?.rows("listed chains of the audit log", statement, &[]).await?;
        let head =
            |row: &super::session::Row| Ok((read_chain(&row.text(0)?)?, read_head(row.integer(1)?, &row.text(2)?)?));
        rows.iter().map(head).collect()
    }

    async fn lines(&self, chain: &ChainName, after: u64, limit: u16) -> Result<Vec<String>, StoreError> {
        let statement = "SELECT line FROM countersign_audit WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?";
        let values = [chain.as_str().into(), number(after).into(), i64::from(limit).into()];
        let rows = self.pool.session().await?.rows("read the audit log", statement, &values).await?;
        rows.iter().map(|row| row.text(0)).collect()
    }
}

impl NetworkedStore {
    async fn append_once(&self, chain: &ChainName, drafts: &[Draft]) -> Result<Head, StoreError> {
        let mut session = self.begin_write().await?;
        let head = record(&mut session, chain, drafts.iter()).await?;
        self.commit(session, "committed entries of the audit log").await?;
        Ok(head)
    }
}

/// Adds entries to a chain in this transaction.
pub(super) async fn record<'a>(
    session: &mut Session,
    chain: &ChainName,
    drafts: impl IntoIterator<Item = &'a Draft>,
) -> Result<Head, StoreError> {
    let head = lock(session, chain).await?;
    let (lines, head) = chained(chain, head, drafts);
    for lines in portions(&lines) {
        let rows = vec!["(?, ?, ?)"; lines.len()].join(", ");
        let values: Vec<Value<'_>> =
            lines.iter().flat_map(|(seq, line)| [chain.as_str().into(), (*seq).into(), Value::from(line)]).collect();
        let statement = format!("INSERT INTO countersign_audit (chain, seq, line) VALUES {rows}");
        session.execute("added to the audit log", &statement, &values).await?;
    }
    let hash = head.hash.hex();
    let values = [number(head.seq).into(), Value::from(&hash), chain.as_str().into()];
    let statement = "UPDATE countersign_audit_heads SET seq = ?, hash = ? WHERE chain = ?";
    session.execute("moved the audit log's head", statement, &values).await?;
    Ok(head)
}

/// Locks a chain until the end of the transaction, and says where it stands.
async fn lock(session: &mut Session, chain: &ChainName) -> Result<Head, StoreError> {
    let doing = "locked a chain of the audit log";
    let select = "SELECT seq, hash FROM countersign_audit_heads WHERE chain = ? FOR UPDATE";
    let name: Value<'_> = chain.as_str().into();
    if let Some(row) = session.row(doing, select, &[name]).await? {
        return read_head(row.integer(0)?, &row.text(1)?);
    }
    let nothing = no_hash();
    let insert = match session.dialect() {
        Dialect::Postgres => {
            "INSERT INTO countersign_audit_heads (chain, seq, hash) VALUES (?, 0, ?) ON CONFLICT (chain) DO NOTHING"
        }
        Dialect::MySql => {
            "INSERT INTO countersign_audit_heads (chain, seq, hash) VALUES (?, 0, ?) ON DUPLICATE KEY UPDATE seq = seq"
        }
    };
    session.execute(doing, insert, &[name, Value::from(&nothing)]).await?;
    let row = session.row(doing, select, &[name]).await?;
    let row = row.ok_or_else(|| StoreError::damaged("the head of the audit log", "missing"))?;
    read_head(row.integer(0)?, &row.text(1)?)
}
