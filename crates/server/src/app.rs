//! What all handlers share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use countersign_storage::{Follower, MetadataStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::access::Gate;
use crate::answer::Policies;
use crate::audit::Journal;
use crate::cache::{Caches, Sharing};
use crate::config::{CacheAges, Clock, Limits, Renewal};
use crate::confirm::Confirmations;
use crate::error::{Code, Failure};
use crate::meters::Meters;
use crate::metrics::Metrics;
use crate::route::GunPrefixes;
use crate::server_keys::{Remote, Rows, ServerKeys};
use crate::signing_clock::SigningClock;
use crate::stores::Pools;
use crate::survey::Survey;
use crate::tls::{Certificates, ClientVerifier};
use crate::turns::Turns;

/// Validations at the same time for each processor, when most of their time is spent waiting for the keyserver.
const WAITING_FOR_KEYSERVER: usize = 8;

/// Files that are read from the database at the same time.
const LOADS: usize = 8;
/// As many permits as one file may ask for, and a semaphore can have.
const MAX_ROOM: usize = (u32::MAX >> 3) as usize;

/// The service without its connections.
pub(crate) struct App {
    /// Decides who may do what.
    pub(crate) gate: Gate,
    /// Who did what.
    pub(crate) audit: Journal,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) keys: Arc<ServerKeys>,
    pub(crate) caches: Arc<Caches>,
    pub(crate) confirmations: Confirmations,
    pub(crate) turns: Turns,
    pub(crate) clock: Clock,
    /// The clock that signatures are dated by.
    pub(crate) signing: SigningClock,
    pub(crate) prefixes: GunPrefixes,
    pub(crate) policies: Policies,
    pub(crate) cache_ages: CacheAges,
    pub(crate) limits: Limits,
    pub(crate) renewal: Renewal,
    pub(crate) metrics: Metrics,
    pub(crate) survey: Survey,
    /// What is shown to clients; nothing where connections are not protected.
    pub(crate) certificates: Option<Arc<Certificates>>,
    /// Looks at what clients show, where they are asked to.
    pub(crate) clients: Option<Arc<ClientVerifier>>,
    /// How much each client asks.
    pub(crate) meters: Meters,
    /// How the connections to the database are used.
    pub(crate) pools: Pools,
    /// Whether the metrics have an address of their own, and so are not on this one.
    pub(crate) metrics_apart: bool,
    /// Whether the service is about to end, and wants no more requests.
    draining: AtomicBool,
    /// Files that could not be read again, by what they are, and why.
    pub(crate) unread: Mutex<BTreeMap<&'static str, String>>,
    /// Tasks that run as long as the service does.
    tasks: OnceLock<Vec<AbortHandle>>,
    /// Changes that go on when the client that asked for them is gone.
    pub(crate) work: TaskTracker,
    /// Permits for uploads of up to 1 MiB, and beginnings of larger ones.
    pub(crate) uploads: Arc<Semaphore>,
    /// Permits for uploads above 1 MiB.
    pub(crate) large_uploads: Arc<Semaphore>,
    /// Permits for reading files from the database on behalf of readers.
    pub(crate) loads: Arc<Semaphore>,
    /// Permits for kibibytes of files on their way to readers.
    pub(crate) room: Arc<Semaphore>,
    /// Permits for validation.
    pub(crate) validation: Arc<Semaphore>,
    /// The permit for making keys: those who ask for keys of invented collections must not keep publishers waiting.
    pub(crate) key_making: Arc<Semaphore>,
}

/// What an [`App`] is made of, beside its settings.
pub(crate) struct Parts {
    pub(crate) gate: Gate,
    pub(crate) certificates: Option<Arc<Certificates>>,
    pub(crate) clients: Option<Arc<ClientVerifier>>,
    pub(crate) audit: Journal,
    pub(crate) metadata: Arc<dyn MetadataStore>,
    pub(crate) keys: Rows,
    pub(crate) secret: Option<crate::data_dir::Secret>,
    pub(crate) remote: Option<Remote>,
    pub(crate) sharing: Sharing,
    pub(crate) follower: Option<Box<dyn Follower>>,
    pub(crate) pools: Pools,
}

impl App {
    pub(crate) fn new(parts: Parts, config: &crate::Config) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let limits = config.limits.clone();
        // Whoever waits for the keyserver needs no processor meanwhile.
        let validations = if parts.remote.is_some() { processors * WAITING_FOR_KEYSERVER } else { processors };
        let caches = Arc::new(Caches::new(parts.sharing, limits.memory));
        Self {
            gate: parts.gate,
            audit: parts.audit,
            metadata: parts.metadata,
            keys: Arc::new(ServerKeys::new(parts.keys, parts.secret, parts.remote, config)),
            confirmations: Confirmations::new(parts.follower, &caches),
            caches,
            turns: Turns::default(),
            clock: config.clock.clone(),
            signing: SigningClock::new(config.clock.clone(), config.clock_check),
            prefixes: config.gun_prefixes.clone(),
            policies: Policies::new(config.cache_ages),
            cache_ages: config.cache_ages,
            renewal: config.renewal.clone(),
            metrics: Metrics::default(),
            survey: Survey::new(config.metrics.expiring),
            certificates: parts.certificates,
            clients: parts.clients,
            meters: Meters::new(limits.rates),
            pools: parts.pools,
            metrics_apart: config.metrics.listen.is_some(),
            draining: AtomicBool::new(false),
            unread: Mutex::default(),
            tasks: OnceLock::new(),
            work: TaskTracker::new(),
            large_uploads: Arc::new(Semaphore::new(limits.large_uploads)),
            uploads: Arc::new(Semaphore::new(limits.uploads)),
            loads: Arc::new(Semaphore::new(LOADS)),
            // As much as large uploads may take; what is kept in memory is among it.
            room: Arc::new(Semaphore::new(
                limits.large_uploads.saturating_mul(limits.upload_bytes / 1024).min(MAX_ROOM),
            )),
            validation: Arc::new(Semaphore::new(validations)),
            key_making: Arc::new(Semaphore::new(1)),
            limits,
        }
    }

    /// Says that the service is about to end.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Takes note of the tasks that run as long as the service does.
    pub(crate) fn depends_on(&self, tasks: Vec<AbortHandle>) {
        let _ = self.tasks.set(tasks);
    }

    /// Tells whether one of them has ended although the service has not.
    pub(crate) fn dead_tasks(&self) -> bool {
        !self.is_draining() && self.tasks.get().is_some_and(|tasks| tasks.iter().any(AbortHandle::is_finished))
    }

    /// Runs something that computes for long, away from the threads that answer requests.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        permits: &Arc<Semaphore>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let permit = self.permit(permits).await?;
        let request = countersign_telemetry::current();
        let work = move || {
            let _permit = permit;
            match request {
                Some(request) => request.run(work),
                None => work(),
            }
        };
        tokio::task::spawn_blocking(work).await.map_err(|error| Failure::new(Code::Unknown).cause(error))
    }

    /// Waits for a permit, but not for ever.
    pub(crate) async fn permit(&self, permits: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Failure> {
        match tokio::time::timeout(self.limits.patience, Arc::clone(permits).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(Failure::new(Code::Busy)),
        }
    }

    /// Runs a change to its end, whether or not the client waits for it.
    pub(crate) async fn to_the_end<T: Send + 'static>(
        &self,
        change: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let change = countersign_telemetry::within(countersign_telemetry::current(), change);
        self.work.spawn(change).await.map_err(|error| Failure::new(Code::Unknown).cause(error))?
    }
}
