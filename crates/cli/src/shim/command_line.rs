//! Docker's command line up to the command: the flags before it, and its words.

use super::flags;
use crate::cobra::{self, Interspersed, Parsed};
use std::ffi::OsString;
use std::path::PathBuf;

/// A command line, taken apart as far as the command.
#[derive(Debug)]
pub(crate) struct CommandLine {
    /// Everything behind `docker`.
    pub(crate) arguments: Vec<OsString>,
    /// The flags before the command.
    pub(crate) globals: Parsed,
    /// The words of the command.
    pub(crate) words: Vec<String>,
    /// The flags between the words, as `docker buildx --builder x build` has.
    pub(crate) between: Parsed,
    /// Where the command's own arguments begin.
    pub(crate) start: usize,
}

/// Says why a command line is not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotUnderstood(pub(crate) String);

/// Commands that have commands of their own, with the flags that may stand in between.
fn group(words: &[&str]) -> Option<&'static [cobra::Flag]> {
    match words {
        ["image" | "container" | "service" | "stack" | "plugin" | "manifest" | "engine"] => Some(&flags::HELP),
        ["buildx" | "builder"] | ["buildx" | "builder", "imagetools" | "history"] => Some(&flags::BUILDX),
        ["compose"] => Some(&flags::COMPOSE),
        _ => None,
    }
}

impl CommandLine {
    /// Finds the command.
    ///
    /// # Errors
    /// A flag before it is not known, so that the command cannot be told.
    pub(crate) fn read(arguments: Vec<OsString>) -> Result<Self, NotUnderstood> {
        let globals = parse(&flags::GLOBAL, &arguments)?;
        let mut read =
            Self { words: Vec::new(), between: Parsed::default(), start: arguments.len(), globals, arguments };
        let Some(first) = read.globals.positional.first() else { return Ok(read) };
        read.word(first.text.clone(), first.index)?;
        loop {
            let words: Vec<&str> = read.words.iter().map(String::as_str).collect();
            let Some(flags) = group(&words) else { return Ok(read) };
            let rest = read.arguments.get(read.start..).unwrap_or_default();
            let mut parsed = parse(flags, rest)?;
            for used in &mut parsed.occurrences {
                used.index += read.start;
            }
            let next = parsed.positional.first().map(|word| (word.text.clone(), word.index + read.start));
            read.between.occurrences.append(&mut parsed.occurrences);
            let Some((word, at)) = next else {
                read.start = read.arguments.len();
                return Ok(read);
            };
            read.word(word, at)?;
        }
    }

    fn word(&mut self, word: String, at: usize) -> Result<(), NotUnderstood> {
        // Docker itself reads what follows in more than one way.
        let before = self.arguments.get(self.start.min(at)..at).unwrap_or_default();
        let globals = if self.words.is_empty() { self.arguments.get(..at).unwrap_or_default() } else { before };
        if globals.iter().any(|argument| argument == "--") {
            return Err(NotUnderstood("-- stands before the command".to_owned()));
        }
        self.words.push(word);
        self.start = at + 1;
        Ok(())
    }

    /// Returns the command's own arguments.
    pub(crate) fn own(&self) -> &[OsString] {
        self.arguments.get(self.start..).unwrap_or_default()
    }

    /// Returns the words with spaces between them, after `docker`.
    pub(crate) fn name(&self) -> String {
        std::iter::once("docker").chain(self.words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// Returns the whole line with other arguments for the command.
    pub(crate) fn with_own(&self, own: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        self.arguments.iter().take(self.start).cloned().chain(own).collect()
    }

    /// Returns the configuration folder that a flag names.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.globals.value("config").filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Returns the flags before the command as they were given.
    pub(crate) fn global_arguments(&self) -> &[OsString] {
        let end = self.globals.positional.first().map_or(self.arguments.len(), |word| word.index);
        self.arguments.get(..end).unwrap_or_default()
    }
}

fn parse(flags: &'static [cobra::Flag], arguments: &[OsString]) -> Result<Parsed, NotUnderstood> {
    let flags: Vec<&'static cobra::Flag> = flags.iter().collect();
    cobra::parse(&flags, arguments, Interspersed::No).map_err(|error| NotUnderstood(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<CommandLine, NotUnderstood> {
        CommandLine::read(line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect())
    }

    #[track_caller]
    fn is(line: &str, words: &[&str], own: &[&str]) {
        let read = read(line).unwrap();
        assert_eq!(read.words, words, "{line}");
        assert_eq!(read.own(), own, "{line}");
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        is("run -it x", &["run"], &["-it", "x"]);
        is("-H unix:///s --config C -D --log-level debug -c ctx pull -q x", &["pull"], &["-q", "x"]);
        is("--host=a -lwarn --tls --tlscacert ca run x", &["run"], &["x"]);
        is("--config run ps", &["ps"], &[]);
        is("", &[], &[]);
        is("--version", &[], &[]);
        assert_eq!(read("--config C pull x").unwrap().config(), Some(PathBuf::from("C")));
        assert_eq!(read("-D --config C pull x").unwrap().global_arguments(), ["-D", "--config", "C"]);
    }

    #[test]
    fn groups_have_commands() {
        is("image push -a x", &["image", "push"], &["-a", "x"]);
        is("container run x --rm", &["container", "run"], &["x", "--rm"]);
        is("buildx --builder b build -D .", &["buildx", "build"], &["-D", "."]);
        is("buildx imagetools create -t x y", &["buildx", "imagetools", "create"], &["-t", "x", "y"]);
        is("compose -f a.yaml -p name up -d", &["compose", "up"], &["-d"]);
        is("image", &["image"], &[]);
        is("ps image push", &["ps"], &["image", "push"]);
    }

    #[test]
    fn what_is_not_known_before_the_command_is_told() {
        for line in ["--bogus run x", "-x run x", "-- run x", "image --bogus push x", "compose --bogus up", "--config"]
        {
            assert!(read(line).is_err(), "{line}");
        }
        assert_eq!(read("--bogus run").unwrap_err(), NotUnderstood("unknown flag: --bogus".to_owned()));
    }
}
