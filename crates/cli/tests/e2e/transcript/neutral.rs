//! Names, digests, ids, sizes and times made the same on every stage.

use super::recorded::Outcome;
use std::collections::HashMap;
use std::fmt::Write;

/// Steps of a layer that an engine tells only if they last.
const PASSING: [&str; 2] = [": Verifying Checksum", ": Download complete"];

/// What the names in the transcripts are on this stage.
#[derive(Debug, Default)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    pub(super) fn set(&mut self, recorded: &str, here: &str) {
        self.0.retain(|(known, _)| known != recorded);
        self.0.push((recorded.to_owned(), here.to_owned()));
        // The longest name first: one may be the beginning of another.
        self.0.sort_by_key(|(_, here)| std::cmp::Reverse(here.len()));
    }

    /// Turns a recorded word into what it is here.
    pub(super) fn here(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (recorded, here)| text.replace(recorded, here))
    }

    /// Turns what was printed here into the names of the transcripts.
    pub(super) fn recorded(&self, outcome: &Outcome) -> Outcome {
        let back = |line: &String| {
            self.0.iter().fold(line.clone(), |text, (recorded, here)| text.replace(here.as_str(), recorded))
        };
        let lines = |lines: &[String]| lines.iter().map(back).collect();
        Outcome { out: lines(&outcome.out), err: lines(&outcome.err), code: outcome.code }
    }

    /// Replaces what differs from run to run, and leaves out how far a layer is, which an engine in a hurry does not tell;
    /// equal hashes stay equal, different ones different.
    pub(super) fn neutral(outcome: &Outcome) -> Outcome {
        let mut seen = HashMap::new();
        let mut lines = |lines: &[String]| -> Vec<String> {
            let told = lines.iter().filter(|line| !PASSING.iter().any(|step| line.ends_with(step)));
            told.map(|line| hashes(&sizes(&times(line)), &mut seen)).collect()
        };
        let out = lines(&outcome.out);
        Outcome { out, err: lines(&outcome.err), code: outcome.code }
    }
}

/// Numbers the hashes (64 digits), short ids (12) and beginnings of key ids (7, after `ID `) in the order they come.
fn hashes(line: &str, seen: &mut HashMap<String, usize>) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(start);
        let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        let (word, after) = word.split_at(end);
        text.push_str(before);
        let hex = word.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if hex && (matches!(word.len(), 12 | 64) || (word.len() == 7 && text.ends_with("ID "))) {
            let next = seen.len() + 1;
            let number = seen.entry(word.to_owned()).or_insert(next);
            let _ = write!(text, "<{} hex digits, number {number}>", word.len());
        } else {
            text.push_str(word);
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

/// The size of a manifest depends on how long its layers are.
fn sizes(line: &str) -> String {
    match line.rsplit_once(" size: ") {
        Some((before, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => format!("{before} size: <size>"),
        _ => line.to_owned(),
    }
}

fn times(line: &str) -> String {
    match line.strip_prefix("time=\"").and_then(|rest| rest.split_once('"')) {
        Some((_, rest)) => format!("time=\"<RFC3339>\"{rest}"),
        None => line.to_owned(),
    }
}

#[test]
fn hashes_are_numbered_and_words_stay() {
    let mut seen = HashMap::new();
    let (one, two) = ("a".repeat(64), "b".repeat(64));
    let line = format!("sha256:{one} {two} {one} abcdef0123456 v1 facade with ID 7cf1f8b: 486d26b236e0: ok");
    let expected = "sha256:<64 hex digits, number 1> <64 hex digits, number 2> <64 hex digits, number 1> abcdef0123456 v1 \
                    facade with ID <7 hex digits, number 3>: <12 hex digits, number 4>: ok";
    assert_eq!(hashes(&line, &mut seen), expected);
}
