//! The audit log.

use async_trait::async_trait;
use countersign_audit::{ChainName, Draft, Head};
use countersign_tuf::Gun;
use jiff::Timestamp;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use crate::audit::{chained, number, read_chain, read_head};
use crate::{AuditStore, Base, NewMetadata, PublishError, Record, StoreError};

#[async_trait]
impl AuditStore for SqliteStore {
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
        let appended = async {
            let mut tx = self.begin_write().await?;
            let head = record(&mut tx, chain, drafts).await?;
            self.commit(tx, "committed entries of the audit log").await?;
            Ok(head)
        };
        appended.await.inspect_err(|_| self.condition.failed())
    }

    async fn heads(&self) -> Result<Vec<(ChainName, Head)>, StoreError> {
        let rows: Vec<(String, i64, String)> =
            sqlx::query_as("SELECT chain, seq, hash FROM audit_heads ORDER BY chain")
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("listed chains of the audit log"))?;
        rows.iter().map(|(chain, seq, hash)| Ok((read_chain(chain)?, read_head(*seq, hash)?))).collect()
    }

    async fn lines(&self, chain: &ChainName, after: u64, limit: u16) -> Result<Vec<String>, StoreError> {
        let rows: Vec<(String,)> =
            sqlx::query_as("SELECT line FROM audit_entries WHERE chain = ? AND seq > ? ORDER BY seq LIMIT ?")
                .bind(chain.as_str())
                .bind(number(after))
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await
                .map_err(StoreError::database("read the audit log"))?;
        Ok(rows.into_iter().map(|(line,)| line).collect())
    }
}

/// Adds entries to a chain in this transaction, which holds the write lock.
pub(super) async fn record(
    connection: &mut SqliteConnection,
    chain: &ChainName,
    drafts: &[Draft],
) -> Result<Head, StoreError> {
    let row: Option<(i64, String)> = sqlx::query_as("SELECT seq, hash FROM audit_heads WHERE chain = ?")
        .bind(chain.as_str())
        .fetch_optional(&mut *connection)
        .await
        .map_err(StoreError::database("looked up where the audit log stands"))?;
    let head = row.map_or(Ok(Head::BEGINNING), |(seq, hash)| read_head(seq, &hash))?;
    let (lines, head) = chained(chain, head, drafts);
    for (seq, line) in lines {
        sqlx::query("INSERT INTO audit_entries (chain, seq, line) VALUES (?, ?, ?)")
            .bind(chain.as_str())
            .bind(seq)
            .bind(line)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::database("added to the audit log"))?;
    }
    sqlx::query(
        "INSERT INTO audit_heads (chain, seq, hash) VALUES (?, ?, ?) \
         ON CONFLICT (chain) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
    )
    .bind(chain.as_str())
    .bind(number(head.seq))
    .bind(head.hash.hex())
    .execute(connection)
    .await
    .map_err(StoreError::database("moved the audit log's head"))?;
    Ok(head)
}
