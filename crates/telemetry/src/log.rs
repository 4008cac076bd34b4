//! The log on stderr: as text or as JSON, each line with the id of its request; how much it says can be changed at any time.

use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

use crate::request::current;

/// How lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Says that a text is no level or filter.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is no log level: off, error, warn, info, debug and trace are, and filters such as countersign_server=debug,warn"
)]
pub struct LevelError(String);

/// Levels from the quietest; signals go one step.
const LEVELS: [LevelFilter; 6] = [
    LevelFilter::OFF,
    LevelFilter::ERROR,
    LevelFilter::WARN,
    LevelFilter::INFO,
    LevelFilter::DEBUG,
    LevelFilter::TRACE,
];

/// The log of this process; copies are of the same one.
#[derive(Debug, Clone)]
pub struct Log {
    handle: reload::Handle<EnvFilter, Registry>,
    says: Arc<Mutex<String>>,
}

impl Log {
    /// Starts the log; to be called once in a process.
    ///
    /// # Errors
    /// The filter is none.
    pub fn start(format: LogFormat, filter: &str) -> Result<Self, LevelError> {
        let parsed = parse(filter)?;
        let (filter_layer, handle) = reload::Layer::new(parsed);
        let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
        let lines = match format {
            LogFormat::Text => {
                let inner = Format::default();
                lines.with_ansi(std::io::stderr().is_terminal()).event_format(TextLines(inner)).boxed()
            }
            LogFormat::Json => lines.with_ansi(false).event_format(JsonLines).boxed(),
        };
        // Somebody else's log in the same process stays in use.
        let _ = tracing_subscriber::registry().with(filter_layer).with(lines).try_init();
        Ok(Self { handle, says: Arc::new(Mutex::new(filter.to_owned())) })
    }

    /// Returns the level or filter that counts now.
    #[must_use]
    pub fn level(&self) -> String {
        self.lock().clone()
    }

    /// Says from now on what this level or filter lets through.
    ///
    /// # Errors
    /// The text is neither.
    pub fn set(&self, filter: &str) -> Result<(), LevelError> {
        let parsed = parse(filter)?;
        let mut says = self.lock();
        self.handle.reload(parsed).map_err(|_| LevelError(filter.to_owned()))?;
        filter.trim().clone_into(&mut says);
        Ok(())
    }

    /// Says more: the next level; none when there is nothing more to say.
    #[must_use]
    pub fn more(&self) -> Option<LevelFilter> {
        self.step(|place| place.checked_add(1))
    }

    /// Says less: the level before; none when nothing is said already.
    #[must_use]
    pub fn less(&self) -> Option<LevelFilter> {
        self.step(|place| place.checked_sub(1))
    }

    fn step(&self, to: impl Fn(usize) -> Option<usize>) -> Option<LevelFilter> {
        let now = parse(&self.level()).ok()?.max_level_hint().unwrap_or(LevelFilter::TRACE);
        let place = LEVELS.iter().position(|level| *level == now)?;
        let level = *LEVELS.get(to(place)?)?;
        self.set(&level.to_string()).ok()?;
        Some(level)
    }

    fn lock(&self) -> MutexGuard<'_, String> {
        self.says.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(filter: &str) -> Result<EnvFilter, LevelError> {
    let wrong = || LevelError(filter.to_owned());
    let text = filter.trim();
    // A single word that is no level would be taken for the name of a module, and everything else would fall silent.
    let is_word = !text.contains(['=', ',', '[', ':']);
    if text.is_empty() || (is_word && text.parse::<LevelFilter>().is_err()) {
        return Err(wrong());
    }
    EnvFilter::builder().parse(text).map_err(|_| wrong())
}

/// Text, with the request's id at the end.
struct TextLines(Format);

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(request) = current() else { return self.0.format_event(context, to, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(to, "{} request_id={}", line.trim_end_matches('\n'), request.id())
    }
}

/// One object a line: `time`, `level` and `msg` as the reference names them, then everything else that is known.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields(Map::new());
        event.record(&mut fields);
        let mut line = fields.0;
        let meta = event.metadata();
        if let Some(message) = line.remove("message") {
            line.insert("msg".to_owned(), message);
        }
        if let Some(request) = current() {
            line.insert("request_id".to_owned(), request.id().into());
            if let Some(span) = request.span() {
                line.insert("trace_id".to_owned(), span.trace_id().into());
            }
        }
        line.insert("time".to_owned(), Timestamp::now().to_string().into());
        line.insert("level".to_owned(), meta.level().as_str().to_ascii_lowercase().into());
        line.insert("target".to_owned(), meta.target().into());
        writeln!(to, "{}", Value::Object(line))
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(filter: &str) -> (Log, reload::Layer<EnvFilter, Registry>) {
        let (layer, handle) = reload::Layer::new(parse(filter).unwrap());
        (Log { handle, says: Arc::new(Mutex::new(filter.to_owned())) }, layer)
    }

    #[test]
    fn steps_go_from_level_to_level_and_end_where_there_are_no_more() {
        let (log, _layer) = log("warn");
        assert_eq!(log.more(), Some(LevelFilter::INFO));
        assert_eq!(log.more(), Some(LevelFilter::DEBUG));
        assert_eq!(log.more(), Some(LevelFilter::TRACE));
        assert_eq!((log.more(), log.level().as_str()), (None, "trace"));
        for _ in 0..5 {
            assert!(log.less().is_some());
        }
        assert_eq!((log.less(), log.level().as_str()), (None, "off"));
        log.set("countersign_server=debug,warn").unwrap();
        assert_eq!(log.less(), Some(LevelFilter::INFO), "from the loudest of a filter");
    }

    #[test]
    fn what_is_no_level_changes_nothing() {
        let (log, _layer) = log("info");
        for wrong in ["", "loud", "countersign_server=loud", "=", "info=debug=x"] {
            assert!(log.set(wrong).is_err(), "{wrong}");
        }
        assert_eq!(log.level(), "info");
        for good in ["debug", "OFF", "countersign_storage=trace,error"] {
            log.set(good).unwrap();
        }
    }
}
