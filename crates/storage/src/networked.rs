//! Everything in a database on a server: `PostgreSQL`, `MySQL` or `MariaDB`. Several processes may use it at the same time.
//!
//! Whoever changes a collection first locks its row in `countersign_collections`; what it reads afterwards stays true until
//! it commits. The change feed's numbers come from a counter that is locked until the commit, so that changes become
//! visible in the order of their numbers, and nobody who follows the feed misses one.

mod agreement;
mod audit;
mod backup;
mod change;
mod files;
mod follow;
mod group;
mod keys;
mod layout;
pub(crate) mod metadata;
mod publication;
mod retention;
pub(crate) mod session;
pub(crate) mod url;

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;

use self::group::Group;
pub use self::layout::Layout;
use self::session::{Pool, Session};
use self::url::Options;
pub use self::url::{DatabaseUrl, DatabaseUrlError, Password};
use crate::condition::Condition;
use crate::{PoolUse, StoreError};

/// Connections of one process, unless it is told another number.
const CONNECTIONS: u32 = 10;
/// How long a caller waits for a free connection, and for a server that does not answer.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was not needed for so long is closed.
const IDLE: Duration = Duration::from_mins(5);
/// Connections for following changes: one in use, and one more while a connection that hangs is given up.
const FOLLOWING: u32 = 2;
/// Statements that set what every connection relies on: bounded waits for locks.
const POSTGRES_SESSION: &str = "SET lock_timeout = '10s'; SET statement_timeout = '60s'; \
    SET idle_in_transaction_session_timeout = '60s'";
const MYSQL_SESSION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED; \
    SET SESSION innodb_lock_wait_timeout = 10, SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION' \
    /*M!100300 , SESSION idle_write_transaction_timeout = 60 */";

/// How many connections a process may use, and how long it waits for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// At most so many at the same time; at least one. Beside them there is one for storing publications together and one
    /// for following the changes that others make.
    pub most: u32,
    /// How long a caller waits for a free connection, or for a server that is away.
    pub patience: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self { most: CONNECTIONS, patience: ACQUIRE_TIMEOUT }
    }
}

/// A [`MetadataStore`](crate::MetadataStore) and [`KeyStore`](crate::KeyStore) in a database on a server.
///
/// A connection that broke is replaced; while the server is away, every call fails after the patience of [`Connections`].
#[derive(Debug, Clone)]
pub struct NetworkedStore {
    pool: Pool,
    /// Connections of followers.
    following: Pool,
    /// Publications that are stored together.
    group: Arc<Group>,
    condition: Arc<Condition>,
}

impl NetworkedStore {
    /// Opens the database and brings it to this release's layout when needed; several processes may do so at the same time.
    ///
    /// # Errors
    /// Fails when the server cannot be reached or refuses, or when the database was written by a newer release.
    pub async fn open(url: &DatabaseUrl, connections: Connections) -> Result<Self, StoreError> {
        let store = Self::connect(url, connections).await?;
        layout::bring_forward(&store.pool).await?;
        Ok(store)
    }

    /// Says what brings the database to this release's layout, and changes nothing.
    ///
    /// # Errors
    /// Fails when the server cannot be reached or refuses.
    pub async fn layout(url: &DatabaseUrl) -> Result<Layout, StoreError> {
        let store = Self::connect(url, Connections::default()).await?;
        let layout = layout::read(&mut store.pool.session().await?).await;
        store.close().await;
        layout
    }

    async fn connect(url: &DatabaseUrl, connections: Connections) -> Result<Self, StoreError> {
        let options = url.options();
        let pool = pool(&options, connections.most.max(1), connections.patience);
        // Here it shows whether the server can be reached.
        drop(pool.session().await?);
        let group = Arc::new(Group::new(self::pool(&options, 1, connections.patience)));
        let following = self::pool(&options, FOLLOWING, connections.patience);
        Ok(Self { pool, following, group, condition: Arc::default() })
    }

    /// Tells how the connections are used.
    #[must_use]
    pub fn pool(&self) -> PoolUse {
        self.pool.used()
    }

    /// Closes all connections after their current work.
    pub async fn close(&self) {
        self.group.close().await;
        // The follower keeps its connection for as long as it lives.
        self.following.close_without_waiting();
        self.pool.close().await;
    }

    /// Begins a transaction in which all reads see one state.
    async fn begin_read(&self) -> Result<Session, StoreError> {
        self.pool.begin_read().await.map_err(StoreError::database("began to read"))
    }

    /// Begins a transaction that changes something: each of its statements sees what was committed before it.
    async fn begin_write(&self) -> Result<Session, StoreError> {
        self.pool.begin_write().await.map_err(StoreError::database("began to write"))
    }

    /// Makes a transaction durable.
    async fn commit(&self, session: Session, doing: &'static str) -> Result<(), StoreError> {
        session.commit().await.map_err(StoreError::database(doing))?;
        self.condition.stored();
        Ok(())
    }
}

/// Makes a pool that connects when the first connection is wanted.
pub(crate) fn pool(options: &Options, most: u32, patience: Duration) -> Pool {
    match options.clone() {
        Options::Postgres(options) => {
            let pool =
                PgPoolOptions::new().max_connections(most).acquire_timeout(patience).idle_timeout(IDLE).after_connect(
                    |connection, _| {
                        Box::pin(async move { sqlx::raw_sql(POSTGRES_SESSION).execute(connection).await.map(drop) })
                    },
                );
            Pool::Postgres(pool.connect_lazy_with(options))
        }
        Options::MySql(options) => {
            let pool = MySqlPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(patience)
                .idle_timeout(IDLE)
                .after_connect(|connection, _| {
                    Box::pin(async move { sqlx::raw_sql(MYSQL_SESSION).execute(connection).await.map(drop) })
                });
            Pool::MySql(pool.connect_lazy_with(options))
        }
    }
}
