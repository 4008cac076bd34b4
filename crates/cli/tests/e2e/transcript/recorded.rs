//! The recorded commands: `$ command  # comment`, `out| line`, `err| line`, `exit N`.

use super::Part;
use countersign_testkit::{Finished, fixtures};
use std::fmt;

/// The files of `fixtures/transcripts`.
pub(super) const SECTIONS: [&str; 13] = [
    "docker29", "inspect", "keys", "plugin29", "pull", "push", "reading", "revoke", "run", "sign", "signers", "tls",
    "usage",
];

/// What ends an output that has no line end.
const NO_NEWLINE: &str = "<no newline>";

/// A recorded command.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its name within the section.
    pub(super) comment: String,
    /// The words after `docker`.
    pub(super) words: Vec<String>,
    /// Variables that it was run with, or without.
    pub(super) environment: Vec<(String, Option<String>)>,
    /// What it printed and how it ended.
    pub(super) outcome: Outcome,
}

/// What a command printed and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) out: Vec<String>,
    pub(super) err: Vec<String>,
    pub(super) code: i32,
}

impl Outcome {
    /// What our program did; its hints, which docker does not have, are left out.
    pub(super) fn of(finished: &Finished) -> Self {
        let mut err = lines(&finished.stderr);
        err.retain(|line| !line.starts_with("  hint: "));
        Self { out: lines(&finished.stdout), err, code: finished.code }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.out.iter().try_for_each(|line| writeln!(f, "out| {line}"))?;
        self.err.iter().try_for_each(|line| writeln!(f, "err| {line}"))?;
        write!(f, "exit {}", self.code)
    }
}

impl Entry {
    pub(super) fn part(&self) -> Part {
        if self.words.first().is_some_and(|word| word == "trust") { Part::Trust } else { Part::Docker }
    }

    fn new(command: &str, comment: &str) -> Self {
        let mut words = command.split_whitespace().map(str::to_owned);
        let mut environment = Vec::new();
        while let Some(word) = words.next().filter(|word| word != "docker") {
            if word == "-u" {
                environment.extend(words.next().map(|name| (name, None)));
            } else if let Some((name, value)) = word.split_once('=') {
                environment.push((name.to_owned(), Some(value.to_owned())));
            }
        }
        let outcome = Outcome { out: Vec::new(), err: Vec::new(), code: -1 };
        Self { comment: comment.to_owned(), words: words.collect(), environment, outcome }
    }
}

/// Reads a section.
pub(super) fn read(section: &str) -> Vec<Entry> {
    let path = fixtures::path(&format!("transcripts/{section}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some((command, comment)) = line.strip_prefix("$ ").and_then(|line| line.split_once("  # ")) {
            entries.push(Entry::new(command, comment));
            continue;
        }
        let outcome = &mut entries.last_mut().unwrap_or_else(|| panic!("no command before {line:?}")).outcome;
        match line.split_at(4) {
            ("out|", rest) => outcome.out.push(content(rest)),
            ("err|", rest) => outcome.err.push(content(rest)),
            ("exit", code) => outcome.code = code.trim().parse().unwrap(),
            _ => panic!("{section}: {line:?}"),
        }
    }
    entries
}

fn content(rest: &str) -> String {
    rest.strip_prefix(' ').unwrap_or(rest).replace("<TAB>", "\t").replace("<CR>", "\r")
}

fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    match lines.pop() {
        Some(rest) if !rest.is_empty() => lines.push(rest + NO_NEWLINE),
        _ => {}
    }
    lines
}
