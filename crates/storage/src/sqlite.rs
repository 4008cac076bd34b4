//! Everything in one `SQLite` file.
//!
//! One connection writes, several read; the write-ahead log lets them work side by side. `synchronous=FULL`: what was
//! acknowledged survives a power cut. A second process on the same file is held off by `SQLite`'s own lock, and its
//! publications by [`Base`](crate::Base).

mod audit;
mod backup;
mod change;
#[cfg(test)]
mod full;
mod keys;
mod metadata;
mod pieces;
mod retention;
mod signing_keys;

use std::future::ready;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection, Sqlite, SqlitePool, Transaction};

use crate::condition::Condition;
use crate::{Layout, PoolUse, StoreError};

pub use signing_keys::SqliteSigningKeys;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations/sqlite");

/// Connections that only read.
const READERS: u32 = 4;
/// How long a statement waits for another process's write lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a caller waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(20);
const LAYOUT: &str = "read which migrations it has";
/// Permissions of the database file; `SQLite` gives its side files the same.
const FILE_MODE: u32 = 0o600;

/// A [`MetadataStore`](crate::MetadataStore) and [`KeyStore`](crate::KeyStore) in one `SQLite` file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
    condition: Arc<Condition>,
}

impl SqliteStore {
    /// Opens the database file, creating it (mode 0600) and bringing it to this release's layout when needed.
    ///
    /// # Errors
    /// Fails when the file cannot be created or protected, is no database, or was written by a newer release.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_patiently(path, BUSY_TIMEOUT).await
    }

    /// Opens the database file like [`SqliteStore::open`], and waits so long for a lock that another process holds.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`].
    pub async fn open_patiently(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        Self::open_as(path, patience, &MIGRATIONS).await
    }

    /// Opens a database file whose layout these migrations make.
    async fn open_as(path: &Path, patience: Duration, layout: &Migrator) -> Result<Self, StoreError> {
        protect(path).map_err(StoreError::File)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(patience)
            .pragma("trusted_schema", "OFF");
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .before_acquire(|connection, _| Box::pin(ready(Ok(is_at_rest(connection)))))
            .connect_with(options.clone())
            .await
            .map_err(StoreError::database("opened the file"))?;
        layout.run(&writer).await.map_err(StoreError::Migration)?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .before_acquire(|connection, _| Box::pin(ready(Ok(is_at_rest(connection)))))
            .connect_with(options.read_only(true))
            .await
            .map_err(StoreError::database("opened the file for reading"))?;
        Ok(Self { writer, readers, condition: Arc::default() })
    }

    /// Says what brings the file to this release's layout, and changes nothing; a missing file needs everything.
    ///
    /// # Errors
    /// Fails when the file cannot be read or is no database.
    pub async fn layout(path: &Path) -> Result<Layout, StoreError> {
        let known = MIGRATIONS.iter().map(|migration| migration.version);
        if !path.exists() {
            return Ok(Layout::compare(known, Vec::new()));
        }
        let options = SqliteConnectOptions::new().filename(path).read_only(true);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(StoreError::database(LAYOUT))?;
        let (exists,): (bool,) =
            sqlx::query_as("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')")
                .fetch_one(&mut connection)
                .await
                .map_err(StoreError::database(LAYOUT))?;
        let mut applied = Vec::new();
        if exists {
            applied = sqlx::query_as("SELECT version, success FROM _sqlx_migrations ORDER BY version")
                .fetch_all(&mut connection)
                .await
                .map_err(StoreError::database(LAYOUT))?;
        }
        Ok(Layout::compare(known, applied))
    }

    /// Tells how the connections are used: those that read, and the one that writes.
    #[must_use]
    pub fn pools(&self) -> [(&'static str, PoolUse); 2] {
        [("readers", PoolUse::of(&self.readers)), ("writer", PoolUse::of(&self.writer))]
    }

    /// Closes all connections after their current work and folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Begins a transaction that holds the write lock from the start, so that what it reads stays true until it commits.
    async fn begin_write(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.writer.begin_with("BEGIN IMMEDIATE").await.map_err(StoreError::database("began to write"))
    }

    /// Makes a transaction durable.
    async fn commit(&self, tx: Transaction<'static, Sqlite>, doing: &'static str) -> Result<(), StoreError> {
        tx.commit().await.map_err(StoreError::database(doing))?;
        self.condition.stored();
        Ok(())
    }

    /// Begins a transaction in which all reads see one state.
    async fn begin_read(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.readers.begin().await.map_err(StoreError::database("began to read"))
    }
}

impl SqliteStore {
    /// Checks that something can be written, by writing the file's header as it is.
    async fn check_writing(&self) -> Result<(), StoreError> {
        let attempt = async {
            let tried = sqlx::query("PRAGMA user_version = 0").execute(&self.writer).await;
            tried.map(drop).map_err(StoreError::database("tried to write"))
        };
        self.condition.check(attempt).await
    }
}

/// Tells whether a connection can be used again; one that cannot is closed, and a new one opened in its place.
///
/// A full or failing disk makes `SQLite` end a transaction by itself. The driver's own rollback then finds none to end, and
/// the connection would count as inside a transaction for ever.
fn is_at_rest(connection: &SqliteConnection) -> bool {
    !connection.is_in_transaction()
}

/// Creates the file if need be and keeps others from reading it.
fn protect(path: &Path) -> std::io::Result<()> {
    let file = fs_err::OpenOptions::new();
    let mut options = file.clone();
    options.create(true).append(true);
    options.options_mut().mode(FILE_MODE);
    let file = options.open(path)?;
    let mut permissions = file.metadata()?.permissions();
    if permissions.mode() & 0o777 != FILE_MODE {
        permissions.set_mode(FILE_MODE);
        file.set_permissions(permissions)?;
    }
    file.sync_all()?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => fs_err::File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
