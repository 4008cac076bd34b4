//! The reference's own tables, in `PostgreSQL`, `MySQL` or `MariaDB`: `tuf_files` and `changefeed` of its server, `private_keys`
//! of its signer.
//!
//! Rows are laid out as the reference lays them out, the layout is never changed, and nothing of ours is added, so that the
//! reference can be put back at any time, and can even run at the same time (Notary protocol, server database and signer
//! database). What follows from that:
//! - Publishers are fenced off from each other by the unique index on collection, role and version, which the reference obeys
//!   too: everybody who publishes writes the next timestamp. Among our own processes, whoever changes a collection also locks
//!   its first row, and whoever begins one takes a lock in place of that row. A deletion by the reference, which asks for no lock, may still cut a publication in half, as it may cut one
//!   of the reference itself.
//! - Changes are numbered by the database. Among our own processes numbers become visible in their order, because whoever
//!   adds one first locks the row of its category; the reference's processes, which obey no such lock between themselves, may
//!   show a number after a later one.
//! - Versions end at [`MAX_VERSION`]. On `MySQL`, names of collections that differ in letter case alone are one name to the
//!   unique index: the second collection is refused ([`StoreError::SpeltAlike`](crate::StoreError::SpeltAlike)). Times are
//!   whole seconds there. A file must fit into one statement (`max_allowed_packet`).
//! - The reference takes names of collections that are none here. Where rows are listed, those that cannot be read are passed
//!   over and said to be broken: nobody can end a list for all others by one row.
//! - A private key's row has no place for a [`Binding`](crate::Binding): whoever can write to the signer's database can give a
//!   key another collection.

mod address;
mod change;
mod metadata;
mod passed_over;
mod schema;
mod signing_keys;
mod survey;

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub use self::address::Backend;
use self::passed_over::PassedOver;
use self::schema::Tables;
pub use self::survey::{FoundChange, FoundKey};
use crate::condition::Condition;
use crate::networked;
use crate::networked::session::{Dialect, Pool, Session, Value};
use crate::networked::url::Options;
use crate::{Connections, DatabaseUrl, PoolUse, StoreError};

/// The highest version that the reference's column holds.
pub const MAX_VERSION: u64 = 2_147_483_647;

/// What happens when the database has none of the reference's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absent {
    /// They are made as the reference's migrations make them.
    Create,
    /// Opening fails.
    Refuse,
}

/// A [`MetadataStore`](crate::MetadataStore) on the tables of the reference's server. Several processes may use them at the same
/// time, the reference's too.
#[derive(Debug, Clone)]
pub struct ReferenceStore(Database);

/// A [`SigningKeyStore`](crate::SigningKeyStore) on the table of the reference's signer. Several processes may use it at the same
/// time; a reference's signer may make a second pending key beside one of ours, which does no harm: the one with the lower id
/// is handed out.
#[derive(Debug, Clone)]
pub struct ReferenceSigningKeys(Database);

/// A database with tables of the reference.
#[derive(Debug, Clone)]
struct Database {
    pool: Pool,
    condition: Arc<Condition>,
    passed_over: Arc<PassedOver>,
}

impl ReferenceStore {
    /// Opens the database of the reference's server.
    ///
    /// # Errors
    /// Fails when it cannot be reached or refuses, or lacks a table.
    pub async fn open(url: &DatabaseUrl, connections: Connections, absent: Absent) -> Result<Self, StoreError> {
        Database::open(url, connections, &schema::SERVER, absent).await.map(Self)
    }

    /// Tells how the connections are used.
    #[must_use]
    pub fn pool(&self) -> PoolUse {
        self.0.pool.used()
    }

    /// Closes all connections after their current work.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }
}

impl ReferenceSigningKeys {
    /// Opens the database of the reference's signer.
    ///
    /// # Errors
    /// Fails when it cannot be reached or refuses, or lacks the table.
    pub async fn open(url: &DatabaseUrl, connections: Connections, absent: Absent) -> Result<Self, StoreError> {
        Database::open(url, connections, &schema::SIGNER, absent).await.map(Self)
    }

    /// Closes all connections after their current work.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }
}

impl Database {
    async fn open(
        url: &DatabaseUrl,
        connections: Connections,
        tables: &Tables,
        absent: Absent,
    ) -> Result<Self, StoreError> {
        let options = match url.options() {
            // The reference leaves the session's time zone to the server, and writes and reads its times in it as they stand.
            Options::MySql(options) => Options::MySql(options.timezone(None)),
            options @ Options::Postgres(_) => options,
        };
        let pool = networked::pool(&options, connections.most.max(1), connections.patience);
        schema::look(&pool, tables, absent).await?;
        Ok(Self { pool, condition: Arc::default(), passed_over: Arc::default() })
    }

    async fn begin_read(&self) -> Result<Session, StoreError> {
        self.pool.begin_read().await.map_err(StoreError::database("began to read"))
    }

    async fn begin_write(&self) -> Result<Session, StoreError> {
        self.pool.begin_write().await.map_err(StoreError::database("began to write"))
    }

    async fn commit(&self, session: Session, doing: &'static str) -> Result<(), StoreError> {
        session.commit().await.map_err(StoreError::database(doing))?;
        self.condition.stored();
        Ok(())
    }
}

/// How each kind of server says the same.
impl Dialect {
    /// The column with the collection's name is exactly the value, which [`Dialect::named`] gives; the index is used, and
    /// where it takes names for equal that are not, the bytes decide.
    fn of_collection(self, column: &str) -> String {
        match self {
            Self::Postgres => format!("{column} = ?"),
            Self::MySql => format!("{column} = ? AND BINARY {column} = ?"),
        }
    }

    /// The values for [`Dialect::of_collection`].
    fn named(self, name: &str) -> Vec<Value<'_>> {
        match self {
            Self::Postgres => vec![Value::Characters(name)],
            Self::MySql => vec![Value::Characters(name), Value::Text(name)],
        }
    }

    /// A column in the order of its bytes.
    fn bytes_of(self, column: &str) -> String {
        match self {
            Self::Postgres => format!("{column} COLLATE \"C\""),
            Self::MySql => format!("BINARY {column}"),
        }
    }

    /// A whole number as 64 bits.
    fn integer(self, column: &str) -> String {
        match self {
            Self::Postgres => format!("CAST({column} AS bigint)"),
            Self::MySql => format!("CAST({column} AS SIGNED)"),
        }
    }

    /// A time as text that [`read_time`] reads.
    fn time(self, column: &str) -> String {
        match self {
            Self::Postgres => format!("to_char({column}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"),
            Self::MySql => format!("DATE_FORMAT({column}, '%Y-%m-%dT%H:%i:%s.%f')"),
        }
    }

    /// A time that comes as text by [`write_time`].
    fn time_value(self) -> &'static str {
        match self {
            Self::Postgres => "CAST(CAST(? AS text) AS timestamp)",
            Self::MySql => "CAST(? AS DATETIME(6))",
        }
    }
}

/// Reads a time, which the reference leaves without a zone and means as UTC; what has none is as old as can be.
fn read_time(text: Option<String>) -> Result<Timestamp, StoreError> {
    let Some(text) = text else { return Ok(Timestamp::UNIX_EPOCH) };
    let time = text.parse::<DateTime>().ok().and_then(|time| time.to_zoned(TimeZone::UTC).ok());
    time.map(|time| time.timestamp()).ok_or_else(|| StoreError::damaged("time", &text))
}

/// Writes a time as the reference does, to the microsecond. Times that no database knows become the nearest that they know.
fn write_time(time: Timestamp) -> String {
    /// In the year 9987.
    const LATEST: Timestamp = Timestamp::constant(253_000_000_000, 0);
    let time = Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time);
    let time = time.clamp(Timestamp::UNIX_EPOCH, LATEST);
    time.to_zoned(TimeZone::UTC).datetime().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_no_zone_and_are_utc() {
        let text = "2026-11-22T11:27:47.574784";
        let time = read_time(Some(text.to_owned())).unwrap();
        assert_eq!(time.to_string(), format!("{text}Z"));
        assert_eq!(write_time(time), text);
        assert_eq!(write_time(Timestamp::MIN), "1970-01-01T00:00:00");
        assert!(write_time(Timestamp::MAX).starts_with("9987-"));
        assert!(read_time(Some("today".to_owned())).is_err());
    }
}
