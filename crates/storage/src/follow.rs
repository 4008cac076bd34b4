//! Following what other processes do to the same collections, so that what is kept in memory can be held against it.

use async_trait::async_trait;

use crate::{Change, StoreError};

/// What happened since the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// These changes and no others, oldest first; none when nothing happened.
    Changes(Vec<Change>),
    /// Anything may have happened: it was the first look, or too much happened, or the database is not the one it was (it
    /// was restored, or another server has taken over that had not heard of everything).
    Anything,
}

/// Looks for changes to the collections of a store, whoever makes them.
///
/// Every publication with a timestamp, and every deletion, whose transaction had ended when [`Follower::news`] was called is
/// in its answer or was in an earlier one. That holds without any clock, and however long the process was paused: each
/// call asks the database.
#[async_trait]
pub trait Follower: Send {
    /// Returns what happened since the last call that succeeded.
    ///
    /// # Errors
    /// Fails when the database does; nothing is known then, and nothing is missed by it.
    async fn news(&mut self) -> Result<News, StoreError>;
}
