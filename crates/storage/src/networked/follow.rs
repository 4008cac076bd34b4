//! Following the changes of all processes: one short statement, over a connection that is used for nothing else.
//!
//! Numbers of changes are taken under a lock that is held until the commit. So whoever sees a number sees all smaller ones,
//! and the changes after the last one seen are exactly those that were not seen yet.

use async_trait::async_trait;

use super::NetworkedStore;
use super::change;
use super::session::{Pool, Session};
use crate::{Change, ChangeQuery, Follower, News, PageSize, StoreError, Window};

/// More changes at once are not looked at one by one.
const MOST: i64 = 500;

/// Follows the changes in one database.
pub(super) struct NetworkedFollower {
    pool: Pool,
    session: Option<Session>,
    /// The last change that was seen; none when there was none yet.
    last: Option<Change>,
}

impl NetworkedFollower {
    pub(super) fn new(store: &NetworkedStore) -> Self {
        Self { pool: store.following.clone(), session: None, last: None }
    }

    async fn look(&mut self) -> Result<News, StoreError> {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.pool.session().await?,
        };
        // The session is put back only if all went well: one that failed is not used again.
        let news = match self.last.take() {
            Some(last) => {
                let known = last.clone();
                self.last = Some(last);
                // From the known change on, which must come back as it was: otherwise this is another database.
                let found = read(&mut session, Window::After(known.id - 1), MOST).await?;
                match found.split_first() {
                    Some((first, new)) if *first == known && found.len() < usize::from(limit(MOST).get()) => {
                        self.last = found.last().cloned();
                        News::Changes(new.to_vec())
                    }
                    _ => self.begin(&mut session).await?,
                }
            }
            None => self.begin(&mut session).await?,
        };
        self.session = Some(session);
        Ok(news)
    }

    /// Takes note of the newest change; what happened before it is not told.
    async fn begin(&mut self, session: &mut Session) -> Result<News, StoreError> {
        self.last = read(session, Window::Newest, 1).await?.pop();
        Ok(News::Anything)
    }
}

#[async_trait]
impl Follower for NetworkedFollower {
    async fn news(&mut self) -> Result<News, StoreError> {
        let old = self.session.is_some();
        match self.look().await {
            // A connection that was cut while nobody asked is no reason to fail: what was seen last is known all the same.
            Err(_) if old => self.look().await,
            looked => looked,
        }
    }
}

fn limit(records: i64) -> PageSize {
    PageSize::wished(records)
}

async fn read(session: &mut Session, window: Window, records: i64) -> Result<Vec<Change>, StoreError> {
    change::changes(session, &ChangeQuery { gun: None, window, limit: limit(records) }).await
}
