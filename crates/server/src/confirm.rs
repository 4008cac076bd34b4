//! Whether what is kept in memory still holds, where other processes change the same collections.
//!
//! Before anything is answered from memory the database is asked what changed since it was asked last, and what did change
//! is kept no longer. All who come while one question is on its way share the next one: it is put after they came, so
//! its answer has everything in it that was acknowledged, by whichever process, before they came. No clock is needed for
//! that, no process has to know of the others, and no publisher waits for one that was paused or cut off; a process
//! whose connection is cut asks over a new one, and where it gets no answer it serves nothing from memory.

use std::sync::Arc;
use std::time::Duration;

use countersign_storage::{Follower, StoreError};
use tokio::sync::{mpsc, oneshot};

use crate::cache::Caches;
use crate::error::{Code, Failure};

/// How long the database may take to say what is new.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks the database whether what is kept in memory still holds; not where nobody else changes anything.
#[derive(Debug)]
pub(crate) struct Confirmations(Option<mpsc::UnboundedSender<oneshot::Sender<Answer>>>);

type Answer = Result<(), Unconfirmed>;

/// Why nothing could be confirmed, for all who asked.
#[derive(Debug, Clone)]
struct Unconfirmed {
    code: Code,
    cause: Arc<str>,
}

impl Confirmations {
    /// Follows the changes with this follower, for as long as the confirmations live.
    pub(crate) fn new(follower: Option<Box<dyn Follower>>, caches: &Arc<Caches>) -> Self {
        let Some(follower) = follower else { return Self(None) };
        let (ask, asked) = mpsc::unbounded_channel();
        tokio::spawn(run(follower, Arc::clone(caches), asked));
        Self(Some(ask))
    }

    /// Returns when everything that was acknowledged before this call has been heard of.
    pub(crate) async fn confirm(&self) -> Result<(), Failure> {
        let Some(ask) = &self.0 else { return Ok(()) };
        let (asker, answer) = oneshot::channel();
        let gone = || Failure::new(Code::Unknown).cause("nobody follows the changes");
        ask.send(asker).map_err(|_| gone())?;
        match answer.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Unconfirmed { code, cause })) => Err(Failure::new(code).cause(&*cause)),
            Err(_) => Err(gone()),
        }
    }
}

async fn run(
    mut follower: Box<dyn Follower>,
    caches: Arc<Caches>,
    mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Answer>>,
) {
    let mut askers = Vec::new();
    // Those who are in the list came before the question is put; those who come from then on wait for the next one.
    while asked.recv_many(&mut askers, usize::MAX).await > 0 {
        let answer = match tokio::time::timeout(PATIENCE, follower.news()).await {
            Ok(Ok(news)) => {
                caches.heard(&news);
                Ok(())
            }
            Ok(Err(error)) => Err(Unconfirmed::of(&error)),
            Err(_) => Err(Unconfirmed { code: Code::Busy, cause: "the database does not say what is new".into() }),
        };
        for asker in askers.drain(..) {
            // Whoever is gone wants no answer.
            let _ = asker.send(answer.clone());
        }
    }
}

impl Unconfirmed {
    fn of(error: &StoreError) -> Self {
        let code = if error.is_busy() { Code::Busy } else { Code::Unknown };
        let mut cause = error.to_string();
        if let Some(source) = std::error::Error::source(error) {
            cause = format!("{cause}: {source}");
        }
        Self { code, cause: cause.into() }
    }
}
