//! What can go wrong in a store, and whose mistake it is.

use countersign_tuf::accept::MAX_VERSION_STEP;
use countersign_tuf::{RoleName, Version};

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
    /// A stored row cannot be what this service wrote: somebody else changed the database.
    #[error("a stored row is damaged: {what} is {value:?}")]
    Damaged {
        /// The column.
        what: &'static str,
        /// The value found, shortened.
        value: String,
    },
}

/// `SQLite`'s primary results for a lock that another process or connection holds.
const SQLITE_LOCKS: [i32; 2] = [5, 6];

impl StoreError {
    /// Tells whether the same may succeed in a moment: somebody else holds a lock, or all connections are in use.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        match self {
            Self::Database { source: sqlx::Error::PoolTimedOut, .. } => true,
            Self::Database { source: sqlx::Error::Database(error), .. } => {
                // Extended results carry the primary one in their last eight bits.
                let code = error.code().and_then(|code| code.parse::<i32>().ok());
                code.is_some_and(|code| SQLITE_LOCKS.contains(&(code & 0xff)))
            }
            Self::Database { .. }
            | Self::Migration(_)
            | Self::File(_)
            | Self::LastWriteFailed { .. }
            | Self::Damaged { .. } => false,
        }
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
