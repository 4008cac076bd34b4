//! The programs' log: lines of JSON on standard error, whose level signals change.

use std::sync::{Arc, Mutex, PoisonError};

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::wrong;
use crate::error::CliError;
use crate::output::data;

/// The reference's levels, from the least to the most; the first two are errors here.
const LEVELS: [(&str, &str); 6] = [
    ("panic", "error"),
    ("fatal", "error"),
    ("error", "error"),
    ("warning", "warn"),
    ("info", "info"),
    ("debug", "debug"),
];
/// The level when nothing is said.
const USUAL: usize = 2;
/// Only the house's own crates talk at length.
const HOUSE: [&str; 5] =
    ["countersign", "countersign_server", "countersign_keyservice", "countersign_storage", "countersign_signer_rpc"];

/// How much is logged.
#[derive(Clone)]
pub(super) struct Level {
    now: Arc<Mutex<usize>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

/// Starts the log at a level of the reference.
pub(super) fn start(named: Option<&str>) -> Result<Level, CliError> {
    let index = index(named)?;
    let (layer, handle) = reload::Layer::new(filter(index));
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    tracing_subscriber::registry().with(layer).with(lines).init();
    Ok(Level { now: Arc::new(Mutex::new(index)), filter: handle })
}

/// Writes the line that an error ends the program with.
pub(super) fn fatal(message: &str) -> String {
    let time = jiff::Timestamp::now();
    serde_json::json!({ "level": "fatal", "msg": message, "time": time.to_string() }).to_string()
}

impl Level {
    pub(super) fn more(&self) -> Result<(), CliError> {
        self.set(|now| now + 1)
    }

    pub(super) fn less(&self) -> Result<(), CliError> {
        self.set(|now| now.saturating_sub(1))
    }

    fn set(&self, change: impl Fn(usize) -> usize) -> Result<(), CliError> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let next = change(*now).min(LEVELS.len() - 1);
        if next == *now {
            return Ok(());
        }
        *now = next;
        self.filter.reload(filter(next)).map_err(wrong)?;
        data(format_args!("Successfully setting log level to {}", name(next)))
    }
}

fn index(named: Option<&str>) -> Result<usize, CliError> {
    let Some(named) = named else { return Ok(USUAL) };
    let lower = match named.to_ascii_lowercase().as_str() {
        "warn" => "warning".to_owned(),
        other => other.to_owned(),
    };
    let found = LEVELS.iter().position(|(name, _)| *name == lower);
    found.ok_or_else(|| wrong(format!("not a valid logrus Level: {named:?}")))
}

fn name(index: usize) -> &'static str {
    LEVELS.get(index).map_or("error", |(name, _)| name)
}

fn filter(index: usize) -> EnvFilter {
    let level = LEVELS.get(index).map_or("error", |(_, level)| level);
    let others = if matches!(level, "info" | "debug") { "warn" } else { level };
    let house = HOUSE.map(|name| format!("{name}={level}")).join(",");
    EnvFilter::new(format!("{others},{house}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_the_references_names() {
        for (named, level) in [(None, "error"), (Some("WARN"), "warning"), (Some("debug"), "debug")] {
            assert_eq!(name(index(named).unwrap()), level);
        }
        assert!(index(Some("loud")).is_err());
    }

    #[test]
    fn an_error_is_one_line_of_json() {
        let line: serde_json::Value = serde_json::from_str(&fatal("a \"b\"\nc")).unwrap();
        assert_eq!((&line["level"], &line["msg"]), (&"fatal".into(), &"a \"b\"\nc".into()));
    }
}
