//! The thread that writes lines: one write and one synchronisation for all who wait at the same time.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_audit::{ChainName, Draft, Head};
use tokio::sync::oneshot;

use super::counts::Counts;
use super::entry::Entry;
use super::file::{Followed, Target};
use super::settings::AuditError;
use crate::config::Clock;

/// Entries that wait to be written, at most.
const WAITING: usize = 4096;
/// Entries of one write, at most.
const TOGETHER: usize = 512;
/// Entries that nobody waits for and that are kept while nothing can be written, at most.
const KEPT: usize = 10_000;
/// After so long, what nobody waits for is synchronised; and what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// An entry, and who waits for it to be written.
struct Order {
    draft: Draft,
    waits: Option<oneshot::Sender<Option<u64>>>,
}

enum Message {
    Write(Order),
    End(oneshot::Sender<()>),
}

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Writer {
    orders: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Where a chain begins or goes on.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) target: Target,
    pub(super) chain: ChainName,
    pub(super) head: Head,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(place: Place, counts: Arc<Counts>, clock: Clock) -> Result<Self, AuditError> {
        let (orders, waiting) = sync_channel(WAITING);
        let Place { target, chain, head } = place;
        let work = Work {
            target,
            chain,
            head,
            synced: head,
            since: Vec::new(),
            kept: VecDeque::new(),
            failed: None,
            lost: false,
            counts,
            clock,
        };
        let thread = std::thread::Builder::new().name("audit".to_owned()).spawn(move || work.run(&waiting));
        let thread = Mutex::new(Some(thread.map_err(AuditError::Thread)?));
        Ok(Self { orders, thread })
    }

    /// Writes an entry and waits until it is durable; returns its number, or nothing when it could not be written in time.
    pub(super) async fn write(&self, draft: Draft, patience: Duration) -> Option<u64> {
        let (waits, written) = oneshot::channel();
        self.orders.try_send(Message::Write(Order { draft, waits: Some(waits) })).ok()?;
        tokio::time::timeout(patience, written).await.ok()?.ok()?
    }

    /// Has an entry written that nobody waits for; tells whether there was room for it.
    pub(super) fn later(&self, draft: Draft) -> bool {
        self.orders.try_send(Message::Write(Order { draft, waits: None })).is_ok()
    }

    /// Writes what is left, and ends.
    pub(super) async fn end(&self, patience: Duration) {
        let (done, ended) = oneshot::channel();
        let mut message = Message::End(done);
        let begun = Instant::now();
        while let Err(TrySendError::Full(back)) = self.orders.try_send(message) {
            if begun.elapsed() > patience {
                return;
            }
            message = back;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if tokio::time::timeout(patience, ended).await.is_ok()
            && let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            let _ = thread.join();
        }
    }
}

struct Work {
    target: Target,
    chain: ChainName,
    head: Head,
    /// The head that was synchronised last.
    synced: Head,
    /// Entries written since.
    since: Vec<Draft>,
    /// Entries that nobody waits for and that could not be written yet.
    kept: VecDeque<Draft>,
    /// When writing failed last, unless it has succeeded since.
    failed: Option<Instant>,
    /// Whether what is in the file is no longer known.
    lost: bool,
    counts: Arc<Counts>,
    clock: Clock,
}

impl Work {
    fn run(mut self, orders: &Receiver<Message>) {
        loop {
            let mut end = None;
            let mut batch = Vec::new();
            match orders.recv_timeout(PAUSE) {
                Ok(Message::Write(order)) => batch.push(order),
                Ok(Message::End(done)) => end = Some(Some(done)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => end = Some(None),
            }
            while batch.len() < TOGETHER && end.is_none() {
                match orders.try_recv() {
                    Ok(Message::Write(order)) => batch.push(order),
                    Ok(Message::End(done)) => end = Some(Some(done)),
                    Err(_) => break,
                }
            }
            self.write(batch, end.is_some());
            if let Some(done) = end {
                drop(self);
                if let Some(done) = done {
                    let _ = done.send(());
                }
                return;
            }
        }
    }

    /// Writes what came in; where nothing came in, does what is left to do.
    fn write(&mut self, batch: Vec<Order>, last: bool) {
        let idle = batch.is_empty();
        let paused = self.failed.is_some_and(|failed| failed.elapsed() < PAUSE);
        let nothing = idle && self.kept.is_empty() && self.since.is_empty() && self.failed.is_none();
        if nothing {
            return;
        }
        if self.lost || (paused && !last) {
            self.put_off(batch);
            return;
        }
        let must_last = idle || last || self.failed.is_some() || batch.iter().any(|order| order.waits.is_some());
        let (mut lines, mut head, mut answers) = (String::new(), self.head, Vec::new());
        let mut others: Vec<Draft> = self.kept.drain(..).collect();
        for draft in others.iter().chain(&self.resumed()) {
            self.line(draft, &mut lines, &mut head);
        }
        for Order { draft, waits } in batch {
            // Who gave up waiting was told that nothing was done.
            if waits.as_ref().is_some_and(oneshot::Sender::is_closed) {
                continue;
            }
            self.line(&draft, &mut lines, &mut head);
            match waits {
                Some(waits) => answers.push((waits, head.seq)),
                None => others.push(draft),
            }
        }
        let done = self.hand_over(lines.as_bytes(), must_last);
        match done {
            Ok(()) => self.written(head, must_last, others),
            Err(error) => {
                self.failed(&error, others);
                answer(answers, |_| None);
                return;
            }
        }
        answer(answers, Some);
    }

    /// Writes lines, and synchronises them if they must last.
    fn hand_over(&mut self, lines: &[u8], must_last: bool) -> std::io::Result<()> {
        if self.target.follow()? == Followed::Synchronised {
            self.synced = self.head;
            self.since.clear();
        }
        self.target.append(lines)?;
        if must_last { self.target.sync() } else { Ok(()) }
    }

    fn line(&self, draft: &Draft, lines: &mut String, head: &mut Head) {
        let (line, next) = draft.chained(&self.chain, head);
        lines.push_str(&line);
        lines.push('\n');
        *head = next;
    }

    /// After a failure: what says that changes were refused meanwhile.
    fn resumed(&self) -> Option<Draft> {
        self.failed?;
        let mut entry = Entry::plain("resumed");
        entry.time = self.clock.now().to_string();
        Draft::new(&entry.count(self.counts.refused.get())).ok()
    }

    fn written(&mut self, head: Head, durable: bool, others: Vec<Draft>) {
        self.counts.wrote(&self.chain, head, head.seq.saturating_sub(self.head.seq), self.clock.now());
        self.head = head;
        if durable {
            self.synced = head;
            self.since.clear();
        } else {
            self.since.extend(others);
        }
        if self.failed.take().is_some() {
            tracing::info!("the audit log can be written again: changes are taken");
        }
    }

    fn failed(&mut self, error: &std::io::Error, others: Vec<Draft>) {
        if self.failed.replace(Instant::now()).is_none() {
            tracing::error!(%error, "the audit log cannot be written: changes are refused until it can");
        }
        self.counts.failed();
        self.head = self.synced;
        let since = std::mem::take(&mut self.since);
        self.keep(since.into_iter().chain(others).collect());
        if let Err(error) = self.target.rollback() {
            self.lost = true;
            tracing::error!(%error, "what the audit log holds is not known any more: restart the service once it can be written");
        }
    }

    fn put_off(&mut self, batch: Vec<Order>) {
        let mut others = Vec::new();
        for Order { draft, waits } in batch {
            match waits {
                Some(waits) => {
                    let _ = waits.send(None);
                }
                None => others.push(draft),
            }
        }
        self.keep(others);
    }

    fn keep(&mut self, drafts: Vec<Draft>) {
        for draft in drafts {
            if self.kept.len() < KEPT {
                self.kept.push_back(draft);
            } else {
                self.counts.dropped.count();
            }
        }
    }
}

/// Tells those who wait what became of their entries; whoever gave up waiting gets no answer.
fn answer(answers: Vec<(oneshot::Sender<Option<u64>>, u64)>, says: impl Fn(u64) -> Option<u64>) {
    for (waits, seq) in answers {
        let _ = waits.send(says(seq));
    }
}
