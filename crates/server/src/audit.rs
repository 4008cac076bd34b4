//! Who did what: entries chained by hash, in a file, on stdout or in the database.
//!
//! A change is announced by a durable entry before it is made, and another one tells what became of it; a publication whose
//! entry is in the same database is stored with it in one transaction instead. Where there can be no entry there is no change:
//! it is answered with 503, and reading goes on.

mod counts;
mod database;
mod entry;
mod file;
mod reading;
mod refusals;
mod settings;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use countersign_audit::{ChainName, Draft, Head};
use countersign_storage::{Base, MetadataStore, NewMetadata, PublishError, Record};
use countersign_telemetry::traced;
use countersign_tuf::Gun;
use http::StatusCode;

use crate::app::App;
use crate::config::{Clock, Config};
use crate::error::{Code, Failure};

use self::counts::Counts;
use self::database::DatabaseSink;
use self::file::{LogFile, Target};
use self::refusals::Refusals;
use self::writer::{Place, Writer};

pub(crate) use entry::{By, Entry, Outcome};
pub use reading::{AuditReadError, AuditReader};
pub(crate) use refusals::{Introduced, Refused};
pub use settings::{AuditConfig, AuditError, AuditSink, AuditedRenewals, ChainName as AuditChainName};

/// Pause between two looks at what was refused.
const MINUTE: Duration = Duration::from_mins(1);
/// The part of a trace in which a publication is stored.
const STORING: &str = "database.publish";
/// Looks after which the log is told where the chain stands.
const TELL: u32 = 10;

/// The audit log, or none.
pub(crate) struct Journal {
    sink: Option<Sink>,
    counts: Arc<Counts>,
    clock: Clock,
    refusals: Refusals,
    renewals: AuditedRenewals,
    patience: Duration,
}

enum Sink {
    Lines(Writer),
    Database(DatabaseSink),
}

impl Journal {
    /// No log.
    pub(crate) fn off(config: &Config) -> Self {
        Self {
            sink: None,
            counts: Arc::default(),
            clock: config.clock.clone(),
            refusals: Refusals::default(),
            renewals: AuditedRenewals::LeftOut,
            patience: AuditConfig::PATIENCE,
        }
    }

    /// Opens the log and writes that the service starts.
    pub(crate) async fn open(config: &Config, metadata: &Arc<dyn MetadataStore>) -> Result<Self, AuditError> {
        let settings = config.audit.as_ref().and_then(|audit| audit.settings.clone());
        Self::begin_with(config.audit.as_ref(), config, metadata, Entry::start(settings)).await
    }

    /// Opens the log of a service for a command that changes what the service has, and writes that. What a service writes to
    /// stdout is out of a command's reach.
    pub(crate) async fn of_command(
        config: &Config,
        metadata: &Arc<dyn MetadataStore>,
        command: &'static str,
    ) -> Result<Self, AuditError> {
        let audit = config.audit.as_ref().filter(|audit| audit.sink != AuditSink::Stdout);
        let entry = Entry::new("command", &By::operator()).reason(command);
        Self::begin_with(audit, config, metadata, entry).await
    }

    async fn begin_with(
        config: Option<&AuditConfig>,
        settings: &Config,
        metadata: &Arc<dyn MetadataStore>,
        first: Entry,
    ) -> Result<Self, AuditError> {
        let mut journal = Self::off(settings);
        let Some(config) = config else { return Ok(journal) };
        let (counts, clock) = (Arc::clone(&journal.counts), &settings.clock);
        let mut torn = None;
        let new_chain = || new_chain(&config.instance, clock);
        let sink = match &config.sink {
            AuditSink::File(path) => {
                let (file, standing) = LogFile::open(path)?;
                torn = standing.torn;
                let (chain, head) = standing.last.unwrap_or_else(|| (new_chain(), Head::BEGINNING));
                let place = Place { target: Target::File(file), chain, head };
                Sink::Lines(Writer::start(place, counts, clock.clone())?)
            }
            AuditSink::Stdout => {
                let place = Place { target: Target::Stdout, chain: new_chain(), head: Head::BEGINNING };
                Sink::Lines(Writer::start(place, counts, clock.clone())?)
            }
            AuditSink::Database => {
                let sink = DatabaseSink::new(Arc::clone(metadata), config.instance.clone(), counts, clock.clone())?;
                Sink::Database(sink)
            }
        };
        (journal.sink, journal.renewals, journal.patience) = (Some(sink), config.renewals, config.patience);
        let start = journal.draft(first.torn(torn)).ok_or(AuditError::Unwritten)?;
        match &journal.sink {
            Some(Sink::Database(sink)) => drop(sink.append(&[start]).await?),
            _ => drop(journal.write(start).await.ok_or(AuditError::Unwritten)?),
        }
        Ok(journal)
    }

    pub(crate) fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// Tells whether changes are refused because there can be no entry.
    pub(crate) fn is_failing(&self) -> bool {
        // Whether the database can be written is told by itself.
        matches!(self.sink, Some(Sink::Lines(_))) && self.counts.is_failing()
    }

    /// Writes the metrics, where there is a log.
    pub(crate) fn metrics(&self, text: &mut countersign_telemetry::Exposition) {
        if self.is_on() {
            self.counts.write(text);
        }
    }

    /// Announces a change. It must not be made when this fails.
    pub(crate) async fn begin(&self, entry: Entry) -> Result<Ticket<'_>, Failure> {
        if !self.is_on() {
            return Ok(Ticket { journal: self, announced: None });
        }
        let written = match self.draft(entry.clone().outcome(Outcome::Begun)) {
            Some(draft) => self.write(draft).await,
            None => None,
        };
        let Some(seq) = written else {
            self.counts.refused.count();
            return Err(Failure::new(Code::CannotAudit).cause("there could be no entry in the audit log"));
        };
        Ok(Ticket { journal: self, announced: Some((seq, entry)) })
    }

    /// Publishes, with an entry before it or beside it.
    pub(crate) async fn publish(
        &self,
        store: &dyn MetadataStore,
        by: &By,
        (gun, base, files): (&Gun, Base, &[NewMetadata]),
        now: jiff::Timestamp,
    ) -> Result<Result<(), PublishError>, Failure> {
        let left_out = by.is_service() && self.renewals == AuditedRenewals::LeftOut;
        if left_out || !self.is_on() {
            return Ok(traced(STORING, store.publish(gun, base, files, now)).await);
        }
        let entry = Entry::publication(by, gun, files);
        if let (Some(Sink::Database(sink)), Some(audit)) = (&self.sink, store.audit()) {
            let Some(draft) = self.draft(entry.outcome(Outcome::Done)) else {
                return Err(Failure::new(Code::CannotAudit).cause("the entry is too long"));
            };
            let record = Record { chain: sink.chain().clone(), draft };
            let result = traced(STORING, audit.publish_recorded(gun, base, files, now, &record)).await;
            match &result {
                Ok(()) => self.counts.recorded(1, now),
                Err(PublishError::Store(_)) => self.counts.failures.count(),
                Err(_) => {}
            }
            return Ok(result);
        }
        let ticket = self.begin(entry).await?;
        let result = traced(STORING, store.publish(gun, base, files, now)).await;
        ticket.end(match &result {
            Ok(()) => Outcome::Done,
            Err(PublishError::Store(_)) => Outcome::Unknown,
            Err(_) => Outcome::Refused,
        });
        Ok(result)
    }

    /// Takes note of a request that was refused.
    pub(crate) fn refused(&self, by: &By, refused: &Refused) {
        if self.is_on()
            && let Some(entry) = self.refusals.note(by, refused, self.clock.now())
        {
            self.later(entry);
        }
    }

    /// Has an entry written that nobody waits for.
    pub(crate) fn later(&self, entry: Entry) {
        let Some(draft) = self.draft(entry) else { return };
        let taken = match &self.sink {
            Some(Sink::Lines(writer)) => writer.later(draft),
            Some(Sink::Database(sink)) => sink.later(draft),
            None => true,
        };
        if !taken {
            self.counts.dropped.count();
        }
    }

    /// Writes what is left, and that the service has ended.
    pub(crate) async fn end(&self) {
        self.refusals.minute().into_iter().for_each(|entry| self.later(entry));
        let stop = self.draft(Entry::plain("stop"));
        match (&self.sink, stop) {
            (Some(Sink::Lines(writer)), Some(stop)) => {
                let _ = writer.write(stop, self.patience).await;
                writer.end(self.patience).await;
            }
            (Some(Sink::Database(sink)), Some(stop)) => sink.end(stop, self.patience).await,
            _ => {}
        }
        self.tell_head().await;
    }

    /// Tells the log where the chain stands: whoever keeps that elsewhere can say later that nothing was cut off.
    async fn tell_head(&self) {
        let head = match &self.sink {
            None => return,
            Some(Sink::Lines(_)) => self.counts.head(),
            Some(Sink::Database(sink)) => sink.head().await,
        };
        if let Some((chain, Head { seq, hash })) = head {
            tracing::info!(%chain, seq, hash = hash.hex(), "the audit log stands here");
        }
    }

    /// Writes an entry durably; returns its number.
    async fn write(&self, draft: Draft) -> Option<u64> {
        match &self.sink {
            Some(Sink::Lines(writer)) => writer.write(draft, self.patience).await,
            Some(Sink::Database(sink)) => match sink.append(&[draft]).await {
                Ok(head) => Some(head.seq),
                Err(error) => {
                    tracing::error!(%error, "the audit log in the database cannot be written");
                    None
                }
            },
            None => None,
        }
    }

    fn draft(&self, mut entry: Entry) -> Option<Draft> {
        if entry.time.is_empty() {
            entry.time = self.clock.now().to_string();
        }
        Draft::new(&entry).inspect_err(|error| tracing::error!(%error, "an entry cannot be written")).ok()
    }
}

/// Looks after the log for as long as the service runs.
pub(crate) async fn run(app: Arc<App>) {
    let mut looks = 0_u32;
    loop {
        tokio::time::sleep(MINUTE).await;
        app.audit.refusals.minute().into_iter().for_each(|entry| app.audit.later(entry));
        if app.audit.counts.is_failing() && matches!(app.audit.sink, Some(Sink::Database(_))) {
            app.audit.later(Entry::plain("resumed").count(app.audit.counts.refused.get()));
        }
        looks += 1;
        if looks.is_multiple_of(TELL) {
            app.audit.tell_head().await;
        }
    }
}

/// A change that was announced.
pub(crate) struct Ticket<'a> {
    journal: &'a Journal,
    announced: Option<(u64, Entry)>,
}

impl Ticket<'_> {
    /// Says what became of it.
    pub(crate) fn end(self, outcome: Outcome) {
        self.end_with(outcome, |entry| entry);
    }

    /// Says what became of it, and more.
    pub(crate) fn end_with(mut self, outcome: Outcome, more: impl FnOnce(Entry) -> Entry) {
        if let Some((seq, entry)) = self.announced.take() {
            self.journal.later(more(Entry::outcome_of(seq, &entry, outcome)));
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if let Some((seq, entry)) = self.announced.take() {
            self.journal.later(Entry::outcome_of(seq, &entry, Outcome::Unknown));
        }
    }
}

/// Says what an answer means for the change that was asked for.
pub(crate) fn outcome_of(failure: &Failure) -> Outcome {
    if failure.status_code().is_server_error() && failure.status_code() != StatusCode::SERVICE_UNAVAILABLE {
        Outcome::Unknown
    } else {
        Outcome::Refused
    }
}

/// Names a chain that begins now.
fn new_chain(instance: &ChainName, clock: &Clock) -> ChainName {
    const ROOM: usize = 96;
    let name: String = instance.as_str().chars().take(ROOM).collect();
    let name = format!("{name}.{}", clock.now().strftime("%Y%m%dT%H%M%S.%6fZ"));
    ChainName::parse(&name).unwrap_or_else(|_| instance.clone())
}
