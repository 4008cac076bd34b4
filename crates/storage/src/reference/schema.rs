//! The tables as the reference's last migrations leave them, made in an empty database.

use super::Absent;
use crate::StoreError;
use crate::networked::session::{Dialect, Pool, Session, Value};

/// Tables that belong together.
pub(super) struct Tables {
    /// Their names; the last one is made last, so that it shows that all are there.
    names: &'static [&'static str],
    postgres: Script,
    mysql: Script,
}

/// Statements that make the tables, and the number of the reference's last migration.
struct Script {
    statements: &'static str,
    version: i64,
}

/// The tables of the server.
pub(super) const SERVER: Tables = Tables {
    names: &["change_category", "changefeed", "tuf_files"],
    postgres: Script { statements: include_str!("../../schema/server.postgres.sql"), version: 2 },
    mysql: Script { statements: include_str!("../../schema/server.mysql.sql"), version: 5 },
};
/// The table of the signer.
pub(super) const SIGNER: Tables = Tables {
    names: &["private_keys"],
    postgres: Script { statements: include_str!("../../schema/signer.postgres.sql"), version: 1 },
    mysql: Script { statements: include_str!("../../schema/signer.mysql.sql"), version: 2 },
};

const DOING: &str = "looked for the reference's tables";
/// Keeps two processes from making the tables at the same time; a number of no meaning.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_lock(4961153006245013)";
const MYSQL_LOCK: &str = "SELECT CAST(GET_LOCK(LEFT(CONCAT('notary tables ', DATABASE()), 64), 20) AS SIGNED)";

/// Finds the tables, or makes them when none is there and that is wanted.
pub(super) async fn look(pool: &Pool, tables: &Tables, absent: Absent) -> Result<(), StoreError> {
    let mut session = pool.session().await?;
    if absent == Absent::Refuse || exists(&mut session, tables.last()).await? {
        return check(&mut session, tables).await;
    }
    session.close_on_drop();
    // The end of the connection gives the lock back.
    match session.dialect() {
        Dialect::Postgres => session.execute(DOING, POSTGRES_LOCK, &[]).await.map(drop)?,
        Dialect::MySql => turn_of_mysql(&mut session, MYSQL_LOCK).await?,
    }
    if !exists(&mut session, tables.last()).await? {
        make(&mut session, tables).await?;
    }
    check(&mut session, tables).await
}

/// Waits until a statement that asks for a named lock says that it has it.
pub(super) async fn turn_of_mysql(session: &mut Session, statement: &str) -> Result<(), StoreError> {
    loop {
        let row = session.row("waited for its turn", statement, &[]).await?;
        if row.is_some_and(|row| row.integer(0).is_ok_and(|taken| taken == 1)) {
            return Ok(());
        }
    }
}

impl Tables {
    fn last(&self) -> &'static str {
        self.names.last().copied().unwrap_or_default()
    }
}

async fn check(session: &mut Session, tables: &Tables) -> Result<(), StoreError> {
    for table in tables.names {
        if !exists(session, table).await? {
            return Err(StoreError::TableMissing { table });
        }
    }
    Ok(())
}

async fn exists(session: &mut Session, table: &str) -> Result<bool, StoreError> {
    let statement = match session.dialect() {
        Dialect::Postgres => "SELECT CAST(count(to_regclass(?)) AS bigint)",
        Dialect::MySql => {
            "SELECT count(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
        }
    };
    let row = session.row(DOING, statement, &[Value::Characters(table)]).await?;
    Ok(row.map(|row| row.integer(0)).transpose()?.unwrap_or_default() > 0)
}

/// Makes the tables, and says so where the reference's tool for migrations keeps its number, unless it has one already.
async fn make(session: &mut Session, tables: &Tables) -> Result<(), StoreError> {
    let script = match session.dialect() {
        Dialect::Postgres => &tables.postgres,
        Dialect::MySql => &tables.mysql,
    };
    let bookkeeping = format!(
        "CREATE TABLE IF NOT EXISTS schema_migrations (version bigint NOT NULL, dirty boolean NOT NULL, PRIMARY KEY (version)); \
         INSERT INTO schema_migrations (version, dirty) SELECT {}, false FROM (SELECT 1 AS one) AS x \
         WHERE NOT EXISTS (SELECT 1 FROM schema_migrations)",
        script.version
    );
    let whole = match session.dialect() {
        Dialect::Postgres => format!("BEGIN; {bookkeeping}; {} COMMIT", script.statements),
        Dialect::MySql => format!("{bookkeeping}; {}", script.statements),
    };
    session.script("made the reference's tables", &whole).await
}
