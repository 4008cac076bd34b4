//! The audit log in the database that has the metadata.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_audit::{ChainName, Draft, Head};
use countersign_storage::{MetadataStore, StoreError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::counts::Counts;
use super::settings::AuditError;
use crate::config::Clock;

/// Entries that nobody waits for, at most.
const WAITING: usize = 10_000;
/// Entries of one transaction, at most.
const TOGETHER: usize = 256;
/// Pause after a failure.
const PAUSE: Duration = Duration::from_secs(1);

/// A chain in the database.
#[derive(Clone)]
struct Chain {
    store: Arc<dyn MetadataStore>,
    name: ChainName,
    counts: Arc<Counts>,
    clock: Clock,
}

/// The chain, and the task that adds what nobody waits for.
pub(super) struct DatabaseSink {
    chain: Chain,
    later: Mutex<Option<mpsc::Sender<Draft>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl DatabaseSink {
    pub(super) fn new(
        store: Arc<dyn MetadataStore>,
        name: ChainName,
        counts: Arc<Counts>,
        clock: Clock,
    ) -> Result<Self, AuditError> {
        if store.audit().is_none() {
            return Err(AuditError::NoPlace);
        }
        let chain = Chain { store, name, counts, clock };
        let (later, waiting) = mpsc::channel(WAITING);
        let task = tokio::spawn(run(chain.clone(), waiting));
        Ok(Self { chain, later: Mutex::new(Some(later)), task: Mutex::new(Some(task)) })
    }

    pub(super) fn chain(&self) -> &ChainName {
        &self.chain.name
    }

    /// Adds entries and waits until they are durable.
    pub(super) async fn append(&self, drafts: &[Draft]) -> Result<Head, StoreError> {
        self.chain.append(drafts).await
    }

    /// Has an entry added that nobody waits for; tells whether there was room for it.
    pub(super) fn later(&self, draft: Draft) -> bool {
        let later = self.later.lock().unwrap_or_else(PoisonError::into_inner);
        later.as_ref().is_some_and(|later| later.try_send(draft).is_ok())
    }

    /// Adds what is left, and a last entry.
    pub(super) async fn end(&self, last: Draft, patience: Duration) {
        drop(self.later.lock().unwrap_or_else(PoisonError::into_inner).take());
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = async {
            if let Some(task) = task {
                let _ = task.await;
            }
            self.append(&[last]).await
        };
        match tokio::time::timeout(patience, ended).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "the audit log does not say that the service has ended"),
            Err(_) => {
                tracing::error!("the audit log does not say that the service has ended: the database is too slow");
            }
        }
    }

    /// Asks the database where the chain stands.
    pub(super) async fn head(&self) -> Option<(ChainName, Head)> {
        let heads = self.chain.store.audit()?.heads().await.ok()?;
        heads.into_iter().find(|(name, _)| *name == self.chain.name)
    }
}

impl Drop for DatabaseSink {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

impl Chain {
    async fn append(&self, drafts: &[Draft]) -> Result<Head, StoreError> {
        let Some(audit) = self.store.audit() else { return Ok(Head::BEGINNING) };
        let head = audit.append(&self.name, drafts).await.inspect_err(|_| self.counts.failed())?;
        self.counts.wrote(&self.name, head, drafts.len() as u64, self.clock.now());
        Ok(head)
    }
}

async fn run(chain: Chain, mut waiting: mpsc::Receiver<Draft>) {
    let mut drafts = Vec::new();
    while waiting.recv_many(&mut drafts, TOGETHER).await > 0 {
        while let Err(error) = chain.append(&drafts).await {
            tracing::warn!(%error, entries = drafts.len(), "entries of the audit log wait for the database");
            tokio::time::sleep(PAUSE).await;
        }
        drafts.clear();
    }
}
