//! What docker passes on: its own command line with the global flags first, unparsed (CLI plugins, normal call).

use super::commands::{Count, GLOBAL, TRUST};
use super::{WRONG_FLAG, hooks, usage};
use crate::cobra::{self, Found, Interspersed, Parsed, find, parse};
use std::ffi::OsString;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Line {
    /// A command is called.
    Call(Box<Call>),
    /// Text is asked for.
    Help(String),
    /// No command is named: help on stderr, and all is well.
    NoCommand(String),
    /// The arguments are wrong.
    Wrong {
        /// What to say.
        text: String,
        /// The exit code.
        code: u8,
    },
}

/// A command with its flags and arguments.
#[derive(Debug)]
pub(super) struct Call {
    /// The words behind `docker trust`.
    pub(super) command: String,
    /// Docker's global flags.
    pub(super) global: Parsed,
    /// The arguments that were the global flags, as they were.
    pub(super) global_words: Vec<OsString>,
    /// The command's own flags and arguments.
    pub(super) own: Parsed,
}

impl Call {
    /// The level of the log.
    pub(super) fn log_level(&self) -> &'static str {
        if self.global.is_on("debug") {
            return "debug";
        }
        match self.global.value("log-level").unwrap_or_default().to_lowercase().as_str() {
            "trace" => "trace",
            "debug" => "debug",
            "error" | "fatal" | "panic" => "error",
            _ => "warn",
        }
    }
}

/// What docker says of the short form of `--help`, on stdout.
const DEPRECATED: &str = "Flag shorthand -h has been deprecated, use --help\n";

/// The names of levels of the log.
const LEVELS: [&str; 8] = ["panic", "fatal", "error", "warn", "warning", "info", "debug", "trace"];

/// Reads the arguments; without docker's command before them the word `trust` may be missing.
pub(super) fn read(arguments: Vec<OsString>) -> Line {
    let flags: Vec<_> = GLOBAL.iter().collect();
    let root = || find(&TRUST, Vec::new());
    let global = match parse(&flags, &arguments, Interspersed::No) {
        Ok(global) => global,
        Err(error) => {
            return Line::Wrong { text: usage::wrong(&error.to_string(), &root(), "Run"), code: WRONG_FLAG };
        }
    };
    let first = global.positional.first().map_or(arguments.len(), |first| first.index);
    let mut words = arguments;
    let mut rest = words.split_off(first);
    if let Some(level) = global.value("log-level").filter(|level| !LEVELS.contains(&level.to_lowercase().as_str())) {
        return Line::Wrong { text: format!("Unable to parse logging level: {level}"), code: 1 };
    }
    if global.is_on("help") {
        return Line::Help(usage::help(&root()));
    }
    let called = rest.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    match called.as_str() {
        "__complete" | "__completeNoDesc" => {
            let words = without_own_name(rest.split_off(1));
            return Line::Help(completions(&words, called == "__complete"));
        }
        "help" => return help(without_own_name(rest.split_off(1))),
        _ => rest = without_own_name(rest),
    }
    if hooks::is_asked(&rest) {
        return Line::Help(hooks::answer(&rest));
    }
    command(global, words, rest)
}

fn without_own_name(mut words: Vec<OsString>) -> Vec<OsString> {
    if words.first().is_some_and(|word| word == "trust") {
        words.remove(0);
    }
    words
}

fn help(words: Vec<OsString>) -> Line {
    let found = find(&TRUST, words);
    match found.unknown() {
        Some(word) => Line::Wrong { text: unknown(&found, &word), code: 1 },
        None => Line::Help(usage::help(&found)),
    }
}

fn completions(words: &[OsString], described: bool) -> String {
    let text = cobra::complete(&TRUST, words).to_string();
    if described {
        return text;
    }
    let bare: Vec<&str> = text.lines().map(|line| line.split('\t').next().unwrap_or(line)).collect();
    bare.join("\n")
}

fn unknown(found: &Found, word: &str) -> String {
    usage::wrong(&format!("docker: unknown command: {} {word}", found.words()), found, "Run")
}

fn command(global: Parsed, global_words: Vec<OsString>, rest: Vec<OsString>) -> Line {
    let found = find(&TRUST, rest);
    let own = match parse(&found.flags(), &found.rest, Interspersed::Yes) {
        Ok(own) => own,
        Err(error) => {
            return Line::Wrong { text: usage::wrong(&error.to_string(), &found, "Run"), code: WRONG_FLAG };
        }
    };
    if own.is_on("help") {
        let by_letter = |used: &cobra::Occurrence| {
            !found.rest.get(used.index).is_some_and(|word| word.as_encoded_bytes().starts_with(b"--"))
        };
        let note = if own.uses("help").any(by_letter) { DEPRECATED } else { "" };
        return Line::Help(format!("{note}{}", usage::help(&found)));
    }
    if let Some(word) = found.unknown() {
        return Line::Wrong { text: unknown(&found, &word), code: 1 };
    }
    if !found.command().children.is_empty() {
        return Line::NoCommand(usage::help(&found));
    }
    let words = found.words();
    let command = words.strip_prefix("docker trust ").unwrap_or(&words).to_owned();
    match miscounted(&command, own.positional.len()) {
        Some((requires, pointer)) => {
            let text = usage::wrong(&format!("docker: '{words}' requires {requires}"), &found, pointer);
            Line::Wrong { text, code: 1 }
        }
        None => Line::Call(Box::new(Call { command, global, global_words, own })),
    }
}

/// Returns what a command requires, and where usage points, if the number of arguments is wrong.
fn miscounted(command: &str, found: usize) -> Option<(String, &'static str)> {
    let arguments = |count| if count == 1 { "1 argument".to_owned() } else { format!("{count} arguments") };
    match Count::of(command) {
        Count::Exactly(wanted) if found != wanted => Some((arguments(wanted), "Run")),
        Count::AtLeast(wanted) if found < wanted => Some((format!("at least {}", arguments(wanted)), "See")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Line {
        super::read(words.iter().map(OsString::from).collect())
    }

    fn call(words: &[&str]) -> Call {
        match read(words) {
            Line::Call(call) => *call,
            other => panic!("{other:?}"),
        }
    }

    fn wrong(words: &[&str]) -> (String, u8) {
        match read(words) {
            Line::Wrong { text, code } => (text, code),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn global_flags_come_first_and_the_plugins_name_may_be_missing() {
        let called = call(&["-H", "unix:///s", "--config", "C", "-D", "--log-level", "debug", "trust", "sign", "a:b"]);
        assert_eq!((called.command.as_str(), called.own.texts()), ("sign", vec!["a:b"]));
        assert_eq!(called.global.values("host"), ["unix:///s"]);
        assert_eq!(called.global.value("config"), Some("C"));
        assert_eq!((called.global_words.len(), called.log_level()), (7, "debug"));
        let alone = call(&["inspect", "trust", "--pretty"]);
        assert_eq!((alone.command.as_str(), alone.own.texts(), alone.log_level()), ("inspect", vec!["trust"], "warn"));
        assert!(alone.own.is_on("pretty"));
        assert_eq!(call(&["trust", "key", "--dir", "x", "generate", "y"]).command, "key generate");
    }

    #[test]
    fn global_flags_behind_the_name_are_unknown_as_to_docker() {
        let (text, code) = wrong(&["trust", "sign", "-D", "x"]);
        assert_eq!(code, 125);
        assert!(
            text.starts_with("unknown shorthand flag: 'D' in -D\n\nUsage:  docker trust sign IMAGE:TAG\n"),
            "{text}"
        );
    }

    #[test]
    fn help_is_where_docker_has_it() {
        for words in
            [&["help", "trust", "sign"][..], &["help", "sign"], &["trust", "sign", "--help"], &["sign", "x", "--help"]]
        {
            let Line::Help(text) = read(words) else { panic!("{words:?}") };
            assert!(text.starts_with("Usage:  docker trust sign IMAGE:TAG\n\nSign an image\n\nOptions:\n"), "{text}");
        }
        for words in [&["trust"][..], &[], &["trust", "key"]] {
            assert!(matches!(read(words), Line::NoCommand(_)), "{words:?}");
        }
    }

    #[test]
    fn completion_answers_with_and_without_descriptions() {
        let Line::Help(text) = read(&["__complete", "trust", "insp"]) else { panic!() };
        assert_eq!(text, "inspect\tReturn low-level information about keys and signatures\n:4");
        let Line::Help(text) = read(&["__completeNoDesc", "trust", "key", ""]) else { panic!() };
        assert_eq!(text, "generate\nload\n:4");
    }

    #[test]
    fn arguments_are_counted() {
        assert_eq!(wrong(&["trust", "revoke", "a", "b"]).1, 1);
        assert!(
            wrong(&["signer", "add", "x"])
                .0
                .starts_with("docker: 'docker trust signer add' requires at least 2 arguments\n")
        );
    }
}
