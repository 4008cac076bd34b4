//! What reaches the terminal: data on stdout, everything else on stderr, foreign text made harmless.

use crate::command::Format;
use crate::error::{CliError, Kind};
use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line of data to stdout.
pub(crate) fn data(line: impl Display) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").map_err(|error| unwritten(&error))
}

/// An output that cannot be written. Where the reader went away, as `head` does, there is nothing to tell anybody.
pub(crate) fn unwritten(error: &io::Error) -> CliError {
    match error.kind() {
        io::ErrorKind::BrokenPipe => CliError::new(Kind::Local, ""),
        _ => CliError::new(Kind::Local, format!("cannot write to stdout: {error}")),
    }
}

/// Writes a message to stderr; there is nobody to tell if that fails.
pub(crate) fn message(line: impl Display) {
    crate::progress::hide();
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// Writes an error and what to do about it to stderr.
pub(crate) fn error(error: &CliError) {
    if !error.message.is_empty() {
        message(format_args!("countersign: {}", harmless(&error.message)));
    }
    for hint in &error.hints {
        message(format_args!("  hint: {}", harmless(hint)));
    }
}

/// Rows that are printed as a table for people or as a list of objects for programs.
pub(crate) struct Listing {
    header: &'static [&'static str],
    nothing: &'static str,
    rows: Vec<Vec<String>>,
    objects: Vec<serde_json::Value>,
}

impl Listing {
    /// Starts a table with these columns; `nothing` is what people read when there are no rows.
    pub(crate) fn new(header: &'static [&'static str], nothing: &'static str) -> Self {
        Self { header, nothing, rows: Vec::new(), objects: Vec::new() }
    }

    /// Adds a row, and the same for programs.
    pub(crate) fn row(&mut self, cells: &[String], object: serde_json::Value) {
        self.rows.push(cells.iter().map(|cell| harmless(cell)).collect());
        self.objects.push(object);
    }

    /// Prints everything; two blanks are between columns.
    pub(crate) fn print(self, format: Format) -> Result<(), CliError> {
        if format == Format::Json {
            return data(serde_json::Value::from(self.objects));
        }
        if self.rows.is_empty() {
            return data(self.nothing);
        }
        let header = self.header.iter().map(|name| (*name).to_owned()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(header).chain(self.rows).collect();
        let wide = |cell: &String| cell.chars().count();
        let width = |column| rows.iter().filter_map(|row| row.get(column)).map(wide).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.header.len()).map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            data(cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

/// Escapes what could move the cursor, forge lines or turn text around; line breaks count too.
pub(crate) fn harmless(text: &str) -> String {
    escaped(text).into_owned()
}

/// As [`harmless`], without a copy of what is harmless already.
pub(crate) fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) || !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_harmful(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

fn is_harmful(c: char) -> bool {
    let reordering = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}');
    c.is_control() || reordering
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_and_line_breaks_are_shown_not_obeyed() {
        assert_eq!(harmless("a\x1b[2Jb\nc\u{202e}d"), "a\\u{1b}[2Jb\\u{a}c\\u{202e}d");
        assert_eq!(harmless("grün 1.0"), "grün 1.0");
    }
}
