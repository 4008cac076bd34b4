//! What all handlers share.

use std::sync::Arc;

use countersign_storage::{KeyStore, MetadataStore};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::cache::{Caches, Sharing};
use crate::config::{CacheAges, Clock, Limits, Renewal};
use crate::error::{Code, Failure};
use crate::metrics::Metrics;
use crate::route::GunPrefixes;
use crate::server_keys::ServerKeys;
use crate::turns::Turns;

/// The service without its connections.
pub(crate) struct App {
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) keys: Arc<ServerKeys>,
    pub(crate) caches: Caches,
    pub(crate) turns: Turns,
    pub(crate) clock: Clock,
    pub(crate) prefixes: GunPrefixes,
    pub(crate) cache_ages: CacheAges,
    pub(crate) limits: Limits,
    pub(crate) renewal: Renewal,
    pub(crate) metrics: Metrics,
    /// Changes that go on when the client that asked for them is gone.
    pub(crate) work: TaskTracker,
    /// Permits for uploads that take much memory.
    pub(crate) large_uploads: Arc<Semaphore>,
    /// Permits for validation and for making keys: what takes a processor.
    processors: Arc<Semaphore>,
}

/// What an [`App`] is made of, beside its settings.
pub(crate) struct Parts {
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) keys: Arc<dyn KeyStore>,
    pub(crate) secret: crate::data_dir::Secret,
    pub(crate) sharing: Sharing,
}

impl App {
    pub(crate) fn new(parts: Parts, config: &crate::Config) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let limits = config.limits.clone();
        Self {
            metadata: parts.metadata,
            keys: Arc::new(ServerKeys::new(parts.keys, parts.secret, config)),
            caches: Caches::new(parts.sharing, limits.collections, limits.memory),
            turns: Turns::default(),
            clock: config.clock.clone(),
            prefixes: config.gun_prefixes.clone(),
            cache_ages: config.cache_ages,
            renewal: config.renewal.clone(),
            metrics: Metrics::default(),
            work: TaskTracker::new(),
            large_uploads: Arc::new(Semaphore::new(limits.large_uploads)),
            processors: Arc::new(Semaphore::new(processors)),
            limits,
        }
    }

    /// Runs something that computes for long, away from the threads that answer requests.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = Arc::clone(&self.processors).acquire_owned();
        let permit = tokio::time::timeout(self.limits.patience, permit).await;
        let Ok(Ok(permit)) = permit else { return Err(Failure::new(Code::Busy)) };
        let work = move || {
            let _permit = permit;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Failure::new(Code::Unknown).cause(error))
    }

    /// Runs a change to its end, whether or not the client waits for it.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        self.work.spawn(change).await.map_err(|error| Failure::new(Code::Unknown).cause(error))?
    }
}
