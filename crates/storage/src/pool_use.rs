//! How a pool of connections is used.

use sqlx::{Database, Pool};

/// How many connections there are, and how many of them nobody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    /// Open ones.
    pub open: u32,
    /// Those among them that nobody uses.
    pub idle: u32,
    /// As many as there may be.
    pub most: u32,
}

impl PoolUse {
    /// Asks a pool.
    pub(crate) fn of<D: Database>(pool: &Pool<D>) -> Self {
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX);
        Self { open: pool.size(), idle, most: pool.options().get_max_connections() }
    }
}
