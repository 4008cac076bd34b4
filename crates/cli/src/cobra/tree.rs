//! Commands and their subcommands, and finding the one that is meant.

use super::flag::Flag;
use std::ffi::OsString;

/// Describes a command.
#[derive(Debug)]
pub(crate) struct Command {
    /// The word that calls it.
    pub(crate) name: &'static str,
    /// What follows in its usage line.
    pub(crate) arguments: &'static str,
    /// What it does, in a line.
    pub(crate) short: &'static str,
    /// What it does, at length; empty if the line is enough.
    pub(crate) long: &'static str,
    /// Its own flags.
    pub(crate) flags: &'static [Flag],
    /// Flags of it and of everything below it.
    pub(crate) persistent: &'static [Flag],
    /// What is below it.
    pub(crate) children: &'static [Command],
    /// Whether usage and completion pass over it.
    pub(crate) hidden: bool,
}

impl Command {
    /// Begins a command without flags and subcommands.
    pub(crate) const fn named(name: &'static str, arguments: &'static str, short: &'static str) -> Self {
        Self { name, arguments, short, long: "", flags: &[], persistent: &[], children: &[], hidden: false }
    }

    /// Gives it flags of its own.
    pub(crate) const fn flags(mut self, flags: &'static [Flag]) -> Self {
        self.flags = flags;
        self
    }

    /// Gives it flags that hold below it too.
    pub(crate) const fn persistent(mut self, flags: &'static [Flag]) -> Self {
        self.persistent = flags;
        self
    }

    /// Gives it subcommands.
    pub(crate) const fn children(mut self, children: &'static [Command]) -> Self {
        self.children = children;
        self
    }

    /// Gives it a longer description.
    pub(crate) const fn long(mut self, text: &'static str) -> Self {
        self.long = text;
        self
    }

    /// Leaves it out of usage and completion.
    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// The command that is meant.
#[derive(Debug)]
pub(crate) struct Found {
    /// The command and what it is below of, from the root on.
    pub(crate) path: Vec<&'static Command>,
    /// The arguments without the words that called it: flags and the rest, in their order.
    pub(crate) rest: Vec<OsString>,
}

impl Found {
    /// Returns the command itself.
    pub(crate) fn command(&self) -> &'static Command {
        self.path.last().copied().unwrap_or(&NOTHING)
    }

    /// Returns all flags it takes: its own, and the persistent ones from it up to the root.
    pub(crate) fn flags(&self) -> Vec<&'static Flag> {
        flags_of(&self.path)
    }

    /// Returns the words that call it, with spaces between them.
    pub(crate) fn words(&self) -> String {
        self.path.iter().map(|command| command.name).collect::<Vec<_>>().join(" ")
    }

    /// Returns the first word that names no subcommand although the command has some.
    pub(crate) fn unknown(&self) -> Option<String> {
        if self.command().children.is_empty() {
            return None;
        }
        let words = words_of(&self.flags(), &self.rest);
        words.first().and_then(|at| self.rest.get(*at)).map(|word| word.to_string_lossy().into_owned())
    }
}

static NOTHING: Command = Command::named("", "", "");

/// Finds the command that the arguments call, the way cobra does: flags may stand before its words.
pub(crate) fn find(root: &'static Command, arguments: Vec<OsString>) -> Found {
    let mut found = Found { path: vec![root], rest: arguments };
    loop {
        let words = words_of(&found.flags(), &found.rest);
        let Some(&at) = words.first() else { return found };
        let child =
            found.rest.get(at).and_then(|word| found.command().children.iter().find(|child| *word == *child.name));
        let Some(child) = child else { return found };
        found.rest.remove(at);
        found.path.push(child);
    }
}

pub(super) fn flags_of(path: &[&'static Command]) -> Vec<&'static Flag> {
    let own = path.last().map(|command| command.flags).unwrap_or_default();
    own.iter().chain(path.iter().rev().flat_map(|command| command.persistent)).collect()
}

/// Returns the places of arguments that are neither flags nor, as far as the flags are known, values of flags.
fn words_of(flags: &[&'static Flag], arguments: &[OsString]) -> Vec<usize> {
    let mut words = Vec::new();
    let mut arguments = arguments.iter().enumerate();
    while let Some((at, argument)) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == "--" {
            break;
        }
        if !text.starts_with('-') {
            if !text.is_empty() {
                words.push(at);
            }
        } else if takes_the_next(flags, &text) {
            arguments.next();
        }
    }
    words
}

fn takes_the_next(flags: &[&'static Flag], text: &str) -> bool {
    if text.contains('=') {
        return false;
    }
    let flag = match text.strip_prefix("--") {
        Some(long) => flags.iter().find(|flag| flag.long == long),
        None if text.chars().count() != 2 => return false,
        None => flags.iter().find(|flag| text.chars().nth(1) == flag.short),
    };
    flag.is_none_or(|flag| flag.implied().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    static GLOBAL: [Flag; 2] = [Flag::value("server", "string", "").short('s'), Flag::switch("debug", "").short('D')];
    static KEY: [Command; 2] = [Command::named("list", "", "List"), Command::named("rotate", "GUN ROLE", "Rotate")];
    static COMMANDS: [Command; 2] =
        [Command::named("init", "GUN", "Init"), Command::named("key", "", "Keys").children(&KEY)];
    static ROOT: Command = Command::named("notary", "", "").persistent(&GLOBAL).children(&COMMANDS);

    fn found(arguments: &[&str]) -> (String, Vec<String>) {
        let found = find(&ROOT, arguments.iter().map(OsString::from).collect());
        let rest = found.rest.iter().map(|text| text.to_string_lossy().into_owned()).collect();
        (found.words(), rest)
    }

    #[test]
    fn flags_may_stand_before_the_words_of_a_command() {
        let (words, rest) = found(&["-s", "init", "-D", "key", "--server=x", "rotate", "gun", "root"]);
        assert_eq!(words, "notary key rotate");
        assert_eq!(rest, ["-s", "init", "-D", "--server=x", "gun", "root"]);
    }

    #[test]
    fn words_behind_two_dashes_call_nothing() {
        assert_eq!(found(&["--", "init"]), ("notary".to_owned(), vec!["--".to_owned(), "init".to_owned()]));
    }

    #[test]
    fn a_word_that_calls_nothing_is_told() {
        let unknown = |words: &[&str]| find(&ROOT, words.iter().map(OsString::from).collect()).unknown();
        assert_eq!(unknown(&["bogus"]), Some("bogus".to_owned()));
        assert_eq!(unknown(&["-D", "key", "bogus", "x"]), Some("bogus".to_owned()));
        assert_eq!(unknown(&["init", "gun"]), None);
        assert_eq!(unknown(&[]), None);
    }
}
