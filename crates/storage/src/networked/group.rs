//! Publications of several collections that are stored in one transaction: while one commit is on its way to the disk, those
//! who come meanwhile gather for the next.
//!
//! Each publication is held against its own collection's state, and what is refused is left out; the others do not notice.
//! When the whole transaction fails before its commit, each is stored by itself, so that one cannot spoil the others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_tuf::Gun;
use jiff::Timestamp;
use tokio::sync::oneshot;

use super::NetworkedStore;
use super::publication::Failed;
use super::session::Pool;
use crate::packing::Packed;
use crate::{Base, NewMetadata, PublishError, Record, StoreError};

/// Most publications of one transaction.
const MOST: usize = 64;
/// A publication above so many bytes is stored by itself: it would keep the others waiting.
const SMALL: usize = 256 * 1024;

/// What is to be stored of one collection.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) gun: Gun,
    pub(super) base: Base,
    pub(super) files: Vec<NewMetadata>,
    /// The same files as they are stored.
    pub(super) packed: Vec<Packed>,
    pub(super) now: Timestamp,
    /// What the audit log says of it.
    pub(super) record: Option<Record>,
}

impl Publication {
    pub(super) fn is_small(&self) -> bool {
        self.packed.iter().map(|packed| packed.data.len()).sum::<usize>() <= SMALL
    }
}

/// What became of a publication in a group.
#[derive(Debug)]
pub(super) enum Outcome {
    Done(Result<(), PublishError>),
    /// The group failed and nothing was stored: to be tried by itself.
    Alone,
}

/// Those who wait to be stored, over a connection that is used for nothing else.
#[derive(Debug)]
pub(super) struct Group {
    pool: Pool,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// Whether somebody takes care of those who wait.
    attended: bool,
}

#[derive(Debug)]
struct Waiting {
    publication: Publication,
    answer: oneshot::Sender<Outcome>,
}

/// The duty to take care of those who wait. If it is given up early, those who wait go on by themselves.
struct Duty {
    queue: Arc<Mutex<Queue>>,
    done: bool,
}

impl Group {
    pub(super) fn new(pool: Pool) -> Self {
        Self { pool, queue: Arc::default() }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl NetworkedStore {
    /// Stores a publication together with others.
    pub(super) async fn publish_in_group(&self, publication: Publication) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let duty = {
            let mut queue = lock(&self.group.queue);
            queue.waiting.push(Waiting { publication, answer });
            let free = !queue.attended;
            queue.attended = true;
            free.then(|| Duty { queue: Arc::clone(&self.group.queue), done: false })
        };
        if let Some(duty) = duty {
            // Not part of the caller's own work, which may be given up.
            tokio::spawn(self.clone().attend(duty));
        }
        outcome.await.unwrap_or(Outcome::Alone)
    }

    async fn attend(self, mut duty: Duty) {
        while let Some(batch) = duty.next() {
            self.store_group(batch).await;
        }
    }

    async fn store_group(&self, batch: Vec<Waiting>) {
        let publications: Vec<&Publication> = batch.iter().map(|waiting| &waiting.publication).collect();
        let outcomes: Vec<Outcome> = match self.store_together(&self.group.pool, &publications).await {
            Ok(results) => results.into_iter().map(Outcome::Done).collect(),
            Err(Failed::Before(_)) => publications.iter().map(|_| Outcome::Alone).collect(),
            Err(Failed::AtCommit(error)) => {
                // Whether it came through is not known: nobody may try again as if nothing had happened.
                let error = Arc::new(error);
                let failed = |_| Outcome::Done(Err(StoreError::InGroup(Arc::clone(&error)).into()));
                publications.iter().map(failed).collect()
            }
        };
        for (waiting, outcome) in batch.into_iter().zip(outcomes) {
            // Whoever gave up waiting gets no answer.
            let _ = waiting.answer.send(outcome);
        }
    }
}

impl Duty {
    /// Takes those who are to be stored next, each collection once, in the order of their names; ends the duty when nobody
    /// waits.
    fn next(&mut self) -> Option<Vec<Waiting>> {
        let mut queue = lock(&self.queue);
        if queue.waiting.is_empty() {
            queue.attended = false;
            self.done = true;
            return None;
        }
        let (mut batch, mut later, mut taken) = (Vec::new(), Vec::new(), BTreeSet::new());
        for waiting in queue.waiting.drain(..) {
            if batch.len() < MOST && taken.insert(waiting.publication.gun.clone()) {
                batch.push(waiting);
            } else {
                later.push(waiting);
            }
        }
        queue.waiting = later;
        drop(queue);
        batch.sort_by(|a, b| a.publication.gun.cmp(&b.publication.gun));
        Some(batch)
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        if !self.done {
            let mut queue = lock(&self.queue);
            queue.attended = false;
            queue.waiting.clear();
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}
