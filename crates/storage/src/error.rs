//! What can go wrong in a store, and whose mistake it is.

use countersign_tuf::accept::MAX_VERSION_STEP;
use countersign_tuf::{RoleName, Version};
use sqlx::error::DatabaseError;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::PgDatabaseError;

/// A failure of the store itself (environment): the caller did nothing wrong and may try again later.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached; the source says why and must not be shown to clients.
    #[error("the database failed while it {doing}")]
    Database {
        /// What was being done, for logs.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
    /// The commit of several publications failed.
    #[error(transparent)]
    InGroup(std::sync::Arc<StoreError>),
    /// The embedded migrations could not be applied, or the database is of a newer release.
    #[error("the database could not be brought to this release's layout")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// The database file could not be created or protected.
    #[error("the database file could not be prepared")]
    File(#[source] std::io::Error),
    /// The last write failed, and none has succeeded since: the disk may be full or broken.
    #[error("the last write failed {} seconds ago, and none has succeeded since", ago.as_secs())]
    LastWriteFailed {
        /// How long ago it failed.
        ago: std::time::Duration,
    },
    /// The reference's tables in `MySQL` hold another collection whose name differs in letter case alone, or in blanks at its
    /// end, and cannot tell the two apart.
    #[error("the database holds {found:?}, and cannot tell it from {wanted:?}")]
    SpeltAlike {
        /// The collection asked for.
        wanted: String,
        /// The one that is there.
        found: String,
    },
    /// A table of the reference is missing.
    #[error(
        "the table {table} of the reference is missing: bring the database to the reference's last layout with its own \
         migrations first"
    )]
    TableMissing {
        /// The table.
        table: &'static str,
    },
    /// A stored row cannot be what this service wrote: somebody else changed the database.
    #[error("a stored row is damaged: {what} is {value:?}")]
    Damaged {
        /// The column.
        what: &'static str,
        /// The value found, shortened.
        value: String,
    },
}

/// `SQLite`'s primary results for what passes: a lock that another process or connection holds, a disk that is full.
const SQLITE_PASSING: [i32; 3] = [5, 6, 13];
/// `PostgreSQL`'s states for what passes: waits for locks and statements ended, a disk or a memory that is full, too many
/// connections, starting and stopping.
const POSTGRES_PASSING: [&str; 11] =
    ["40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02", "57P03", "25006"];
/// `PostgreSQL`'s states for transactions that were ended because they waited for each other.
const POSTGRES_DEADLOCKS: [&str; 2] = ["40001", "40P01"];
/// `MySQL`'s numbers for what passes: a disk, a memory or a table's place that is full, too many connections, stopping, waits
/// for locks ended, being read only.
const MYSQL_PASSING: [u16; 13] = [1021, 1026, 1037, 1040, 1041, 1053, 1114, 1205, 1213, 1290, 1792, 1836, 3024];
/// `MySQL`'s number for a transaction that was ended because two waited for each other.
const MYSQL_DEADLOCK: u16 = 1213;

impl StoreError {
    /// Tells whether the same may succeed later: somebody else holds a lock, all connections are in use, the server is away,
    /// or its disk is full until somebody makes room.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        let source = match self {
            Self::Database { source, .. } => source,
            Self::InGroup(error) => return error.is_busy(),
            _ => return false,
        };
        match source {
            // A balancer before the server takes connections for which nobody is there: what ends them looks like any fault.
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::Tls(_) => true,
            sqlx::Error::Database(error) => is_passing(&**error),
            _ => false,
        }
    }

    /// Tells whether the server ended the transaction because it waited for another one, which waited for it.
    pub(crate) fn is_deadlock(&self) -> bool {
        let Self::Database { source: sqlx::Error::Database(error), .. } = self else { return false };
        if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
            return error.number() == MYSQL_DEADLOCK;
        }
        let error = error.try_downcast_ref::<PgDatabaseError>();
        error.is_some_and(|error| POSTGRES_DEADLOCKS.contains(&error.code()))
    }

    /// Tells whether a row with the same unique values is there already.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        let Self::Database { source: sqlx::Error::Database(error), .. } = self else { return false };
        error.is_unique_violation()
    }

    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(crate) fn damaged(what: &'static str, value: &(impl ToString + ?Sized)) -> Self {
        Self::Damaged { what, value: value.to_string().chars().take(80).collect() }
    }
}

/// Says why a publication was not stored; nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A version is not greater than every stored version of its role (publisher).
    #[error("version {offered} of {role} is not newer than the stored version {stored}")]
    VersionConflict {
        /// The role in question.
        role: RoleName,
        /// The version offered.
        offered: Version,
        /// The highest version stored.
        stored: Version,
    },
    /// A version is more than [`MAX_VERSION_STEP`] ahead of the highest stored one: whoever stole a key could use up all
    /// numbers at once, which would end the collection (publisher).
    #[error("version {offered} of {role} is more than {MAX_VERSION_STEP} ahead of the present version {stored}")]
    TooFarAhead {
        /// The role in question.
        role: RoleName,
        /// The version offered.
        offered: Version,
        /// The highest version stored; 0 when there is none.
        stored: u64,
    },
    /// A version is above what the reference's tables can hold (publisher).
    #[error("version {offered} of {role} is above {highest}, the highest that the database can hold")]
    TooHigh {
        /// The role in question.
        role: RoleName,
        /// The version offered.
        offered: Version,
        /// The highest version that can be stored.
        highest: u64,
    },
    /// A file is larger than what the reference's tables in `MySQL` can be handed (publisher, or the database's settings).
    #[error("{role} has {bytes} bytes, and the database takes at most {most} in one statement (max_allowed_packet)")]
    TooLarge {
        /// The role in question.
        role: RoleName,
        /// The file's size.
        bytes: u64,
        /// The size that the database takes.
        most: u64,
    },
    /// The collection is no longer in the state the publication was built upon (another publisher was faster).
    #[error("the collection changed since the publication was prepared")]
    Superseded,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Says why no pending key was stored.
#[derive(Debug, thiserror::Error)]
pub enum PendingKeyError {
    /// Too many keys wait for their first use (environment: somebody asks for keys of invented collections).
    #[error("{limit} keys are already waiting for their first use")]
    TooMany {
        /// The limit that was reached.
        limit: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn is_passing(error: &dyn DatabaseError) -> bool {
    if let Some(error) = error.try_downcast_ref::<PgDatabaseError>() {
        return POSTGRES_PASSING.contains(&error.code());
    }
    if let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() {
        return MYSQL_PASSING.contains(&error.number());
    }
    // Extended results of `SQLite` carry the primary one in their last eight bits.
    let code = error.code().and_then(|code| code.parse::<i32>().ok());
    code.is_some_and(|code| SQLITE_PASSING.contains(&(code & 0xff)))
}
