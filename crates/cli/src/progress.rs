//! Showing how images travel: bars on a terminal, one line per finished piece elsewhere.

use crate::output::{harmless, message};
use countersign_engine::{Event, Status};
use countersign_image::Digest;
use countersign_registry::{Arrival, Progress, Step};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Most bars shown at a time.
const MAX_BARS: usize = 64;

/// Shows progress on stderr.
pub(crate) struct Bars {
    all: MultiProgress,
    by_id: Mutex<HashMap<String, ProgressBar>>,
    terminal: bool,
}

impl Bars {
    /// Prepares to show progress; bars need a terminal.
    pub(crate) fn new() -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { all: MultiProgress::with_draw_target(target), by_id: Mutex::default(), terminal }
    }

    fn bar(&self, id: &str) -> Option<ProgressBar> {
        let mut bars = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        if !bars.contains_key(id) && bars.len() >= MAX_BARS {
            return None;
        }
        let new = || {
            let bar = self.all.add(ProgressBar::no_length());
            if let Ok(style) = ProgressStyle::with_template("{prefix}: {msg} {wide_bar} {bytes}/{total_bytes}") {
                bar.set_style(style);
            }
            bar.set_prefix(id.to_owned());
            bar
        };
        Some(bars.entry(id.to_owned()).or_insert_with(new).clone())
    }

    fn done(&self, id: &str, text: &str) {
        if let Some(bar) = self.bar(id).filter(|_| self.terminal) {
            bar.finish_with_message(text.to_owned());
        } else {
            message(format_args!("{id}: {text}"));
        }
    }

    /// Shows what the engine tells.
    pub(crate) fn engine(&self, event: &Event) {
        let Event::Status(Status { id, text, amount }) = event else {
            if let Event::ManifestInsteadOfIndex { .. } = event {
                message("note: the engine pushed the image for one platform only; that is what will be signed");
            }
            return;
        };
        let (text, id) = (harmless(text), id.as_deref().map(harmless));
        match (id, amount) {
            (Some(id), Some(amount)) => {
                if let Some(bar) = self.bar(&id).filter(|_| self.terminal) {
                    bar.set_message(text);
                    bar.set_length(amount.total.unwrap_or(amount.current));
                    bar.set_position(amount.current);
                }
            }
            (Some(id), None) if self.terminal => {
                if let Some(bar) = self.bar(&id) {
                    bar.set_message(text);
                }
            }
            (Some(id), None) => message(format_args!("{id}: {text}")),
            (None, _) => {
                let _ = self.all.println(&text);
                if !self.terminal {
                    message(text);
                }
            }
        }
    }
}

impl Progress for Bars {
    fn report(&self, digest: &Digest, step: Step<'_>) {
        let hex = digest.hex();
        let id = hex.get(..12).unwrap_or(&hex);
        match step {
            Step::Begin { total } => {
                if let Some(bar) = self.bar(id) {
                    bar.set_length(total);
                }
            }
            Step::Moved { done } => {
                if let Some(bar) = self.bar(id) {
                    bar.set_position(done);
                }
            }
            Step::Again { reason } => message(format_args!("{id}: trying again after: {}", harmless(reason))),
            Step::Done(arrival) => self.done(
                id,
                match arrival {
                    Arrival::Travelled => "done",
                    Arrival::AlreadyThere => "already there",
                    Arrival::Mounted => "taken from another repository",
                    Arrival::Foreign => "lives elsewhere, not copied",
                },
            ),
        }
    }
}
/// How long something may take before people are told that it is under way.
const QUIET: Duration = Duration::from_secs(1);
/// How often the sign of life moves.
const TICK: Duration = Duration::from_millis(120);

/// The sign of life that is on the terminal now.
static WAITING: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Does something, and shows at a terminal what it is if it takes long.
///
/// The sign of life moves with the work's own waiting, so that it stands still and is gone while somebody is asked.
pub(crate) async fn showing<T>(what: &str, work: impl Future<Output = T>) -> T {
    if !std::io::stderr().is_terminal() {
        return work.await;
    }
    let mut work = std::pin::pin!(work);
    if let Ok(done) = tokio::time::timeout(QUIET, &mut work).await {
        return done;
    }
    let done = loop {
        tick(what);
        if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
            break done;
        }
    };
    hide();
    done
}

fn tick(what: &str) {
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    let new = || ProgressBar::new_spinner().with_message(harmless(what));
    waiting.get_or_insert_with(new).tick();
}

/// Takes the sign of life away before something else is written.
pub(crate) fn hide() {
    if let Some(bar) = WAITING.lock().unwrap_or_else(PoisonError::into_inner).take() {
        bar.finish_and_clear();
    }
}
