//! Whether what is kept in memory still holds, where other processes change the same collections.
//!
//! Before anything is answered from memory the database is asked what changed since it was asked last, and what did change
//! is kept no longer. All who come while one question is on its way share the next one: it is put after they came, so
//! its answer has everything in it that was acknowledged, by whichever process, before they came. No clock is needed for
//! that, no process has to know of the others, and no publisher waits for one that was paused or cut off; a process
//! whose connection is cut asks over a new one, and where it gets no answer it serves nothing from memory, but asks the
//! database for each file.
//!
//! A file that is asked for by its checksum is the same for ever. All that can change is that its collection is deleted, and
//! who knows the checksum may have it from any cache for weeks: there it is enough that the database was asked a moment ago.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_storage::Follower;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::cache::Caches;

/// How long the database may take to say what is new.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long after the database was asked files are answered from memory whose content cannot change.
const LATELY: Duration = Duration::from_secs(1);

/// How often at most it is looked whether more requests have arrived before the question is put.
const GATHERINGS: usize = 4;

/// Asks the database whether what is kept in memory still holds; not where nobody else changes anything.
#[derive(Debug)]
pub(crate) struct Confirmations(Option<Following>);

#[derive(Debug)]
struct Following {
    ask: mpsc::UnboundedSender<oneshot::Sender<Memory>>,
    heard: Arc<Heard>,
    task: AbortHandle,
}

/// When the last question was put, if it was answered.
#[derive(Debug, Default)]
struct Heard(Mutex<Option<Instant>>);

/// Whether what is kept in memory holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    /// It does, whatever was acknowledged before it was asked.
    Holds,
    /// Nobody knows.
    IsUnconfirmed,
}

impl Confirmations {
    /// Follows the changes with this follower, for as long as the confirmations live.
    pub(crate) fn new(follower: Option<Box<dyn Follower>>, caches: &Arc<Caches>) -> Self {
        let Some(follower) = follower else { return Self(None) };
        let (ask, asked) = mpsc::unbounded_channel();
        let heard = Arc::default();
        let task = tokio::spawn(run(follower, Arc::clone(caches), Arc::clone(&heard), asked)).abort_handle();
        Self(Some(Following { ask, heard, task }))
    }

    /// The task that follows the changes, which has to run as long as the service does.
    pub(crate) fn task(&self) -> Option<AbortHandle> {
        self.0.as_ref().map(|following| following.task.clone())
    }

    /// Tells whether others may have changed what is kept in memory.
    pub(crate) fn are_needed(&self) -> bool {
        self.0.is_some()
    }

    /// Returns when everything that was acknowledged before this call has been heard of, or nobody can tell.
    pub(crate) async fn confirm(&self) -> Memory {
        let Some(following) = &self.0 else { return Memory::Holds };
        let (asker, answer) = oneshot::channel();
        let sent = following.ask.send(asker).is_ok();
        if sent && let Ok(memory) = answer.await { memory } else { Memory::IsUnconfirmed }
    }

    /// Returns when everything that was acknowledged a second ago has been heard of, or nobody can tell.
    pub(crate) async fn confirm_lately(&self) -> Memory {
        match &self.0 {
            Some(following) if !following.heard.lately() => self.confirm().await,
            _ => Memory::Holds,
        }
    }
}

impl Heard {
    fn lately(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|asked| asked.elapsed() < LATELY)
    }

    fn note(&self, asked: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = asked;
    }
}

async fn run(
    mut follower: Box<dyn Follower>,
    caches: Arc<Caches>,
    heard: Arc<Heard>,
    mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Memory>>,
) {
    let mut askers = Vec::new();
    // Those who are in the list came before the question is put; those who come from then on wait for the next one.
    while asked.recv_many(&mut askers, usize::MAX).await > 0 {
        gather(&mut asked, &mut askers).await;
        let now = Instant::now();
        let memory = match tokio::time::timeout(PATIENCE, follower.news()).await {
            Ok(Ok(news)) => {
                caches.heard(&news);
                Memory::Holds
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, source = ?error.source(), "the database does not say what is new");
                Memory::IsUnconfirmed
            }
            Err(_) => {
                tracing::warn!(seconds = PATIENCE.as_secs(), "the database has not said in time what is new");
                Memory::IsUnconfirmed
            }
        };
        heard.note((memory == Memory::Holds).then_some(now));
        for asker in askers.drain(..) {
            // Whoever is gone wants no answer.
            let _ = asker.send(memory);
        }
    }
}

/// Lets requests that have arrived already, but were not looked at yet, share the question: it costs as much as a dozen
/// answers. Nobody waits for requests that are still to come.
async fn gather(
    asked: &mut mpsc::UnboundedReceiver<oneshot::Sender<Memory>>,
    askers: &mut Vec<oneshot::Sender<Memory>>,
) {
    for _ in 0..GATHERINGS {
        let before = askers.len();
        tokio::task::yield_now().await;
        while let Ok(asker) = asked.try_recv() {
            askers.push(asker);
        }
        if askers.len() == before {
            return;
        }
    }
}
