//! The layout of the database: which migrations it has, and which it needs.

use std::collections::BTreeSet;

use sqlx::migrate::Migrator;
use sqlx::{Connection, MySqlConnection};

use super::session::{Dialect, Pool, Session};
use crate::StoreError;

const LOCKING: &str = "waited to bring the layout forward";

static POSTGRES: Migrator = sqlx::migrate!("./migrations/postgres");
static MYSQL: Migrator = sqlx::migrate!("./migrations/mysql");

/// How a database's layout compares with this release's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    /// Migrations that it has, in order.
    pub applied: Vec<i64>,
    /// Migrations of this release that it does not have yet.
    pub pending: Vec<i64>,
    /// Migrations that it has and this release does not know: a newer release wrote it.
    pub unknown: Vec<i64>,
    /// A migration that began and did not end: on `MySQL` its statements cannot be taken back together.
    pub unfinished: Option<i64>,
}

impl Layout {
    pub(crate) fn compare(known: impl IntoIterator<Item = i64>, applied: Vec<(i64, bool)>) -> Self {
        let unfinished = applied.iter().find(|(_, whole)| !whole).map(|(version, _)| *version);
        let known: BTreeSet<i64> = known.into_iter().collect();
        let applied: Vec<i64> = applied.into_iter().map(|(version, _)| version).collect();
        let pending = known.iter().copied().filter(|version| !applied.contains(version)).collect();
        let unknown = applied.iter().copied().filter(|version| !known.contains(version)).collect();
        Self { applied, pending, unknown, unfinished }
    }
}

/// Applies what is missing. A lock of the server is held meanwhile, so that of several processes one does it and the others
/// find it done. The connection, on which nothing is bounded in time, is not used again.
pub(super) async fn bring_forward(pool: &Pool) -> Result<(), StoreError> {
    let waited = StoreError::database("waited for a connection");
    match pool {
        Pool::Postgres(pool) => {
            let mut connection = pool.acquire().await.map_err(waited)?.detach();
            let unbounded = sqlx::raw_sql("SET lock_timeout = 0; SET statement_timeout = 0");
            unbounded.execute(&mut connection).await.map_err(StoreError::database(LOCKING))?;
            // The migrator takes `pg_advisory_lock` itself.
            let done = POSTGRES.run_direct(None, &mut connection, false).await;
            let _ = connection.close().await;
            done.map_err(StoreError::Migration)
        }
        Pool::MySql(pool) => {
            let mut connection = pool.acquire().await.map_err(waited)?.detach();
            lock(&mut connection).await.map_err(StoreError::database(LOCKING))?;
            let mut migrator = sqlx::migrate!("./migrations/mysql");
            // The migrator's own lock waits without end, which `MariaDB` understands as not at all.
            migrator.set_locking(false);
            let done = migrator.run_direct(None, &mut connection, false).await;
            // The end of the connection gives the lock back.
            let _ = connection.close().await;
            done.map_err(StoreError::Migration)
        }
    }
}

/// Waits for the lock under which a `MySQL` database gets its layout.
async fn lock(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    loop {
        let (taken,): (Option<i64>,) =
            sqlx::query_as("SELECT CAST(GET_LOCK(LEFT(CONCAT('countersign ', DATABASE()), 64), 60) AS SIGNED)")
                .fetch_one(&mut *connection)
                .await?;
        if taken == Some(1) {
            return Ok(());
        }
    }
}

pub(super) async fn read(session: &mut Session) -> Result<Layout, StoreError> {
    let (migrator, schema) = match session.dialect() {
        Dialect::Postgres => (&POSTGRES, "current_schema()"),
        Dialect::MySql => (&MYSQL, "database()"),
    };
    let known = migrator.iter().map(|migration| migration.version);
    let doing = "read which migrations it has";
    let statement = format!(
        "SELECT count(*) FROM information_schema.tables WHERE table_name = '_sqlx_migrations' AND table_schema = {schema}"
    );
    let row = session.row(doing, &statement, &[]).await?;
    if row.is_none_or(|row| !row.integer(0).is_ok_and(|count| count > 0)) {
        return Ok(Layout::compare(known, Vec::new()));
    }
    let whole = "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version";
    let half = "SELECT version FROM _sqlx_migrations WHERE NOT success ORDER BY version";
    let mut applied = Vec::new();
    for (statement, is_whole) in [(whole, true), (half, false)] {
        for row in session.rows(doing, statement, &[]).await? {
            applied.push((row.integer(0)?, is_whole));
        }
    }
    Ok(Layout::compare(known, applied))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_older_equal_newer_or_half_done() {
        let layout = |applied: &[(i64, bool)]| Layout::compare([1, 2], applied.to_vec());
        assert_eq!(layout(&[]).pending, [1, 2]);
        assert_eq!(layout(&[(1, true)]).pending, [2]);
        let equal = layout(&[(1, true), (2, true)]);
        assert!(equal.pending.is_empty() && equal.unknown.is_empty() && equal.unfinished.is_none());
        assert_eq!(layout(&[(1, true), (2, true), (3, true)]).unknown, [3]);
        assert_eq!(layout(&[(1, false)]).unfinished, Some(1));
    }
}
