//! One way to speak to both kinds of server.
//!
//! Statements are written with `?` for every value; for `PostgreSQL` they are numbered. None is waited for without end: a
//! server that is gone without a word, or the way to it, must not keep anybody until the system notices.

use std::time::Duration;

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, MySqlPool, PgPool, Postgres, Row as _};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::{PoolUse, StoreError};

const POSTGRES_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const POSTGRES_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const MYSQL_READ: &str =
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
const MYSQL_WRITE: &str = "START TRANSACTION";
/// How long a statement may take: longer than the server lets one wait for a lock.
const STATEMENT: Duration = Duration::from_secs(15);
/// How long a connection may take to come out of what was given up, before it is given up itself.
const RECOVERY: Duration = Duration::from_secs(5);

/// The connections of this process.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// What a server wants said in its own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    MySql,
}

/// A connection, or a transaction on one, which is taken back unless it is committed.
pub(crate) struct Session {
    connection: Option<Connection>,
    state: State,
}

enum Connection {
    Postgres(PoolConnection<Postgres>),
    MySql(PoolConnection<MySql>),
}

/// What a connection is in the middle of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing: whoever comes next may have it.
    Idle,
    /// A transaction.
    Transaction,
    /// A statement whose answer nobody has waited for, or not long enough.
    Unanswered,
}

/// A value of a statement.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A text for a column that has a character set: compared as `MySQL` compares such columns, and found by their indexes.
    Characters(&'a str),
    /// A number that may be missing.
    MaybeInteger(Option<i64>),
    /// A text that may be missing.
    MaybeText(Option<&'a str>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }
}

/// A row of an answer.
pub(crate) enum Row {
    Postgres(PgRow),
    MySql(MySqlRow),
}

impl Pool {
    /// Tells how the connections are used.
    pub(crate) fn used(&self) -> PoolUse {
        match self {
            Self::Postgres(pool) => PoolUse::of(pool),
            Self::MySql(pool) => PoolUse::of(pool),
        }
    }

    pub(crate) async fn session(&self) -> Result<Session, StoreError> {
        self.connection().await.map_err(StoreError::database("waited for a connection"))
    }

    async fn connection(&self) -> Result<Session, sqlx::Error> {
        let connection = match self {
            Self::Postgres(pool) => pool.acquire().await.map(Connection::Postgres),
            Self::MySql(pool) => pool.acquire().await.map(Connection::MySql),
        };
        Ok(Session { connection: Some(connection?), state: State::Idle })
    }

    pub(crate) async fn begin_read(&self) -> Result<Session, sqlx::Error> {
        self.begin(POSTGRES_READ, MYSQL_READ).await
    }

    pub(crate) async fn begin_write(&self) -> Result<Session, sqlx::Error> {
        self.begin(POSTGRES_WRITE, MYSQL_WRITE).await
    }

    async fn begin(&self, postgres: &'static str, mysql: &'static str) -> Result<Session, sqlx::Error> {
        let mut session = self.connection().await?;
        let statement = match session.dialect() {
            Dialect::Postgres => postgres,
            Dialect::MySql => mysql,
        };
        session.raw(statement).await?;
        session.state = State::Transaction;
        Ok(session)
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Postgres(pool) => pool.close().await,
            Self::MySql(pool) => pool.close().await,
        }
    }

    /// Gives out no more connections, and waits for none that somebody keeps.
    pub(crate) fn close_without_waiting(&self) {
        match self {
            Self::Postgres(pool) => drop(pool.close()),
            Self::MySql(pool) => drop(pool.close()),
        }
    }
}

impl Connection {
    fn close_on_drop(&mut self) {
        match self {
            Self::Postgres(connection) => connection.close_on_drop(),
            Self::MySql(connection) => connection.close_on_drop(),
        }
    }

    async fn raw(&mut self, statements: &str) -> Result<(), sqlx::Error> {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        match self {
            Self::Postgres(connection) => statements.execute(&mut **connection).await.map(drop),
            Self::MySql(connection) => statements.execute(&mut **connection).await.map(drop),
        }
    }

    async fn execute(&mut self, statement: &str, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        match self {
            Self::Postgres(connection) => {
                postgres(statement, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
            Self::MySql(connection) => {
                mysql(statement, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
        }
    }

    async fn rows(&mut self, statement: &str, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Postgres(connection) => {
                let rows = postgres(statement, values).fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
            Self::MySql(connection) => {
                let rows = mysql(statement, values).fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::MySql).collect())
            }
        }
    }

    /// Takes back whatever it is in the middle of; a connection that does not answer is closed.
    async fn recover(mut self) {
        if !matches!(timeout(RECOVERY, self.raw("ROLLBACK")).await, Ok(Ok(()))) {
            self.close_on_drop();
        }
    }
}

impl Session {
    /// Has the connection end with this session, and with it what belongs to the connection, such as locks.
    pub(crate) fn close_on_drop(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.close_on_drop();
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.connection {
            Some(Connection::Postgres(_)) | None => Dialect::Postgres,
            Some(Connection::MySql(_)) => Dialect::MySql,
        }
    }

    /// Waits for an answer, for as long as a statement may take.
    async fn answer<T>(
        &mut self,
        ask: impl AsyncFnOnce(&mut Connection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let Some(connection) = &mut self.connection else { return Err(sqlx::Error::PoolClosed) };
        // If this is given up, that is what the connection is left in.
        let before = std::mem::replace(&mut self.state, State::Unanswered);
        let answer = timeout(STATEMENT, ask(connection)).await;
        let late = |_| std::io::Error::new(std::io::ErrorKind::TimedOut, "the database does not answer");
        let answer = answer.map_err(late)?;
        self.state = before;
        answer
    }

    async fn raw(&mut self, statements: &str) -> Result<(), sqlx::Error> {
        self.answer(async |connection| connection.raw(statements).await).await
    }

    /// Runs several statements, outside a transaction.
    pub(crate) async fn script(&mut self, doing: &'static str, statements: &str) -> Result<(), StoreError> {
        self.raw(statements).await.map_err(StoreError::database(doing))
    }

    /// Runs a statement; returns how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        doing: &'static str,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        let done = self.answer(async |connection| connection.execute(statement, values).await).await;
        done.map_err(StoreError::database(doing))
    }

    /// Returns all rows of a statement's answer.
    pub(crate) async fn rows(
        &mut self,
        doing: &'static str,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let rows = self.answer(async |connection| connection.rows(statement, values).await).await;
        rows.map_err(StoreError::database(doing))
    }

    /// Returns the first row of a statement's answer.
    pub(crate) async fn row(
        &mut self,
        doing: &'static str,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(doing, statement, values).await?.into_iter().next())
    }

    pub(crate) async fn commit(mut self) -> Result<(), sqlx::Error> {
        if self.state == State::Transaction {
            self.raw("COMMIT").await?;
            self.state = State::Idle;
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.state == State::Idle {
            return;
        }
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(connection.recover())),
            Err(_) => connection.close_on_drop(),
        }
    }
}

impl Row {
    pub(crate) fn integer(&self, column: usize) -> Result<i64, StoreError> {
        self.optional_integer(column)?.ok_or_else(|| StoreError::damaged("a number", "null"))
    }

    pub(crate) fn optional_integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        let read = match self {
            Self::Postgres(row) => row.try_get(column),
            Self::MySql(row) => row.try_get(column),
        };
        read.map_err(StoreError::database("read a number"))
    }

    pub(crate) fn text(&self, column: usize) -> Result<String, StoreError> {
        self.optional_text(column)?.ok_or_else(|| StoreError::damaged("a text", "null"))
    }

    /// `MySQL` has texts as bytes, so that it compares them byte by byte.
    pub(crate) fn optional_text(&self, column: usize) -> Result<Option<String>, StoreError> {
        match self {
            Self::Postgres(row) => row.try_get(column).map_err(StoreError::database("read a text")),
            Self::MySql(row) => {
                let bytes: Option<Vec<u8>> = row.try_get(column).map_err(StoreError::database("read a text"))?;
                let text = bytes.map(String::from_utf8).transpose();
                text.map_err(|error| StoreError::damaged("a text", &String::from_utf8_lossy(error.as_bytes())))
            }
        }
    }

    pub(crate) fn bytes(&self, column: usize) -> Result<Vec<u8>, StoreError> {
        let read = match self {
            Self::Postgres(row) => row.try_get(column),
            Self::MySql(row) => row.try_get(column),
        };
        read.map_err(StoreError::database("read bytes"))
    }
}

fn postgres<'q>(statement: &str, values: &[Value<'q>]) -> Query<'q, Postgres, PgArguments> {
    let mut query = sqlx::query(AssertSqlSafe(numbered(statement)));
    for value in values {
        query = match *value {
            Value::Integer(number) => query.bind(number),
            Value::Text(text) | Value::Characters(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::MaybeInteger(number) => query.bind(number),
            Value::MaybeText(text) => query.bind(text),
        };
    }
    query
}

fn mysql<'q>(statement: &str, values: &[Value<'q>]) -> Query<'q, MySql, MySqlArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
    for value in values {
        query = match *value {
            Value::Integer(number) => query.bind(number),
            Value::Text(text) => query.bind(text.as_bytes()),
            Value::Characters(text) => query.bind(text),
            Value::Bytes(bytes) => query.bind(bytes),
            Value::MaybeInteger(number) => query.bind(number),
            Value::MaybeText(text) => query.bind(text.map(str::as_bytes)),
        };
    }
    query
}

/// Writes `$1`, `$2`, … for every `?`: no statement of ours has a question mark of another meaning.
fn numbered(statement: &str) -> String {
    let mut text = String::with_capacity(statement.len() + 16);
    for (number, part) in statement.split('?').enumerate() {
        if number > 0 {
            text.push('$');
            text.push_str(&number.to_string());
        }
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_numbered_for_postgresql() {
        assert_eq!(numbered("SELECT 1"), "SELECT 1");
        assert_eq!(numbered("a = ? AND b IN (?, ?)"), "a = $1 AND b IN ($2, $3)");
    }
}
