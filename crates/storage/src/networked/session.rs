//! One way to speak to both kinds of server.
//!
//! Statements are written with `?` for every value; for `PostgreSQL` they are numbered.

use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, MySql, MySqlPool, PgPool, Postgres, Row as _, Transaction};

use crate::{PoolUse, StoreError};

const POSTGRES_READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const POSTGRES_WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const MYSQL_READ: &str =
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
const MYSQL_WRITE: &str = "START TRANSACTION";

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
pub(crate) enum Session {
    Postgres(PoolConnection<Postgres>),
    PostgresTransaction(Transaction<'static, Postgres>),
    MySql(PoolConnection<MySql>),
    MySqlTransaction(Transaction<'static, MySql>),
}

/// A value of a statement.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Integer(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// A text for a column that has a character set: compared as `MySQL` compares such columns, and found by their indexes.
    Characters(&'a str),
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
        let session = match self {
            Self::Postgres(pool) => pool.acquire().await.map(Session::Postgres),
            Self::MySql(pool) => pool.acquire().await.map(Session::MySql),
        };
        session.map_err(StoreError::database("waited for a connection"))
    }

    pub(crate) async fn begin_read(&self) -> Result<Session, sqlx::Error> {
        match self {
            Self::Postgres(pool) => pool.begin_with(POSTGRES_READ).await.map(Session::PostgresTransaction),
            Self::MySql(pool) => pool.begin_with(MYSQL_READ).await.map(Session::MySqlTransaction),
        }
    }

    pub(crate) async fn begin_write(&self) -> Result<Session, sqlx::Error> {
        match self {
            Self::Postgres(pool) => pool.begin_with(POSTGRES_WRITE).await.map(Session::PostgresTransaction),
            Self::MySql(pool) => pool.begin_with(MYSQL_WRITE).await.map(Session::MySqlTransaction),
        }
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

impl Session {
    /// Has the connection end with this session, and with it what belongs to the connection, such as locks.
    pub(crate) fn close_on_drop(&mut self) {
        match self {
            Self::Postgres(connection) => connection.close_on_drop(),
            Self::MySql(connection) => connection.close_on_drop(),
            // Locks of a transaction end with it.
            Self::PostgresTransaction(_) | Self::MySqlTransaction(_) => {}
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres(_) | Self::PostgresTransaction(_) => Dialect::Postgres,
            Self::MySql(_) | Self::MySqlTransaction(_) => Dialect::MySql,
        }
    }

    /// Runs a statement; returns how many rows it changed.
    pub(crate) async fn execute(
        &mut self,
        doing: &'static str,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        let done = match self {
            Self::Postgres(connection) => {
                postgres(statement, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
            Self::PostgresTransaction(transaction) => {
                postgres(statement, values).execute(&mut **transaction).await.map(|done| done.rows_affected())
            }
            Self::MySql(connection) => {
                mysql(statement, values).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
            Self::MySqlTransaction(transaction) => {
                mysql(statement, values).execute(&mut **transaction).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(StoreError::database(doing))
    }

    /// Returns all rows of a statement's answer.
    pub(crate) async fn rows(
        &mut self,
        doing: &'static str,
        statement: &str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let of_postgres = |rows: Vec<PgRow>| rows.into_iter().map(Row::Postgres).collect();
        let of_mysql = |rows: Vec<MySqlRow>| rows.into_iter().map(Row::MySql).collect();
        let rows = match self {
            Self::Postgres(connection) => {
                postgres(statement, values).fetch_all(&mut **connection).await.map(of_postgres)
            }
            Self::PostgresTransaction(transaction) => {
                postgres(statement, values).fetch_all(&mut **transaction).await.map(of_postgres)
            }
            Self::MySql(connection) => mysql(statement, values).fetch_all(&mut **connection).await.map(of_mysql),
            Self::MySqlTransaction(transaction) => {
                mysql(statement, values).fetch_all(&mut **transaction).await.map(of_mysql)
            }
        };
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

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::PostgresTransaction(transaction) => transaction.commit().await,
            Self::MySqlTransaction(transaction) => transaction.commit().await,
            // Every statement outside a transaction has been committed by the server.
            Self::Postgres(_) | Self::MySql(_) => Ok(()),
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
