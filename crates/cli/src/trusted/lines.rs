//! Docker's lines about images on their way: one per layer at a terminal, one per step elsewhere.

use crate::output::harmless;
use countersign_engine::{Amount, Event, Status};
use std::io::{IsTerminal, Write};

/// Most layers that have a line of their own at a terminal.
const MAX_PLACES: usize = 500;

/// Writes what an engine tells, as docker does.
pub(crate) struct Lines {
    to: Option<Box<dyn Write + Send>>,
    terminal: bool,
    places: Vec<String>,
}

impl Lines {
    /// Writes to stdout, as pushing and pulling do.
    pub(crate) fn stdout() -> Self {
        let stdout = std::io::stdout();
        Self::new(stdout.is_terminal(), Some(Box::new(stdout)))
    }

    /// Writes to stderr, as creating a container does.
    pub(crate) fn stderr() -> Self {
        let stderr = std::io::stderr();
        Self::new(stderr.is_terminal(), Some(Box::new(stderr)))
    }

    /// Writes nothing.
    pub(crate) fn quiet() -> Self {
        Self::new(false, None)
    }

    fn new(terminal: bool, to: Option<Box<dyn Write + Send>>) -> Self {
        Self { to, terminal, places: Vec::new() }
    }

    /// Shows one event; there is nobody to tell if that fails.
    pub(crate) fn show(&mut self, event: &Event) {
        let Some(mut to) = self.to.take() else { return };
        let _ = self.write(&mut to, event).and_then(|()| to.flush());
        self.to = Some(to);
    }

    fn write(&mut self, to: &mut impl Write, event: &Event) -> std::io::Result<()> {
        match event {
            Event::Status(status) if self.terminal => self.write_in_place(to, status),
            Event::Status(Status { amount: Some(_), .. }) => Ok(()),
            Event::Status(Status { id, text, .. }) => writeln!(to, "{}{}", prefix(id.as_deref()), harmless(text)),
            Event::Output(text) => writeln!(to, "{}", harmless(text.trim_end_matches('\n'))),
            _ => Ok(()),
        }
    }

    fn write_in_place(&mut self, to: &mut impl Write, status: &Status) -> std::io::Result<()> {
        let progress = status.amount.map(|amount| format!(" {}", shown(amount))).unwrap_or_default();
        let line = format!("{}{}{progress}", prefix(status.id.as_deref()), harmless(&status.text));
        let Some(id) = &status.id else {
            self.places.clear();
            return writeln!(to, "{line}");
        };
        match self.places.iter().position(|known| known == id) {
            Some(place) => {
                let up = self.places.len().saturating_sub(place);
                write!(to, "\x1b[{up}A\r\x1b[2K{line}\r\x1b[{up}B")
            }
            None if self.places.len() < MAX_PLACES => {
                self.places.push(id.clone());
                writeln!(to, "\x1b[2K{line}")
            }
            None => Ok(()),
        }
    }
}

fn prefix(id: Option<&str>) -> String {
    id.filter(|id| !id.is_empty()).map(|id| format!("{}: ", harmless(id))).unwrap_or_default()
}

/// Shows how far something is, in units of a thousand as docker does.
fn shown(amount: Amount) -> String {
    match amount.total {
        Some(total) => format!("{}/{}", size(amount.current), size(total)),
        None => size(amount.current),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (rest, whole, unit) = (whole % 1000, whole / 1000, unit + 1);
    }
    let name = UNITS.get(unit).copied().unwrap_or("B");
    if unit == 0 { format!("{whole}{name}") } else { format!("{whole}.{}{name}", rest / 100) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(terminal: bool, events: &[(&str, &str, Option<u64>)]) -> String {
        let mut lines = Lines::new(terminal, None);
        let mut text = Vec::new();
        for (id, status, amount) in events {
            let amount = amount.map(|current| Amount { current, total: Some(2_500_000) });
            let id = (!id.is_empty()).then(|| (*id).to_owned());
            let event = Event::Status(Status { id, text: (*status).to_owned(), amount });
            lines.write(&mut text, &event).unwrap();
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn without_a_terminal_steps_are_lines_and_progress_is_left_out() {
        let events = [
            ("", "The push refers to repository [r]", None),
            ("a1", "Preparing", None),
            ("a1", "Pushing", Some(5)),
            ("a1", "Pushed", None),
        ];
        assert_eq!(written(false, &events), "The push refers to repository [r]\na1: Preparing\na1: Pushed\n");
    }

    #[test]
    fn at_a_terminal_each_layer_keeps_its_line() {
        let events = [
            ("a", "Waiting", None),
            ("b", "Waiting", None),
            ("a", "Pushing", Some(1_250_000)),
            ("", "v1: digest", None),
        ];
        assert_eq!(
            written(true, &events),
            "\x1b[2Ka: Waiting\n\x1b[2Kb: Waiting\n\x1b[2A\r\x1b[2Ka: Pushing 1.2MB/2.5MB\r\x1b[2Bv1: digest\n"
        );
    }

    #[test]
    fn an_engine_cannot_drive_the_terminal() {
        assert_eq!(written(false, &[("", "a\x1b[2Jb", None)]), "a\\u{1b}[2Jb\n");
    }
}
