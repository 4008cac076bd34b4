//! What to do with a command line: hand it over, do it, or refuse it.

use super::command_line::{CommandLine, NotUnderstood};
use super::ending::Ending;
use super::flags;
use super::rules::Rule;
use super::switch::{self, TRUST_VARIABLE, Trust};
use crate::cobra::{self, Flag, FlagError, Interspersed, Occurrence, Parsed};
use crate::error::{CliError, Kind};
use std::ffi::OsString;

/// What becomes of a command line.
#[derive(Debug)]
pub(crate) enum Decision {
    /// The real docker does it as it stands.
    HandOver(Vec<OsString>),
    /// The same without `--disable-content-trust`, which newer dockers take for a mistake.
    SwitchedOff(Vec<OsString>),
    /// The real docker does it, and what it moves is not signed.
    Unsigned(Vec<OsString>, &'static str),
    /// It could run or fetch what nobody has signed.
    Refused(CliError, Ending),
    /// It is done here.
    Do(Box<Job>),
}

/// A command that is done here.
#[derive(Debug)]
pub(crate) struct Job {
    /// What becomes of it.
    pub(crate) rule: Rule,
    /// The command line.
    pub(crate) line: CommandLine,
    /// The command's own arguments without `--disable-content-trust`.
    pub(crate) own: Vec<OsString>,
    /// Those arguments, read.
    pub(crate) parsed: Parsed,
}

impl Job {
    /// Returns the only argument that is no flag.
    ///
    /// # Errors
    /// There is none, or more than one; in docker's words.
    pub(crate) fn one_argument(&self) -> Result<&str, CliError> {
        match self.parsed.texts().as_slice() {
            [one] => Ok(one),
            _ => Err(self.wrong_number("requires 1 argument")),
        }
    }

    /// Words a wrong number of arguments as docker does.
    pub(crate) fn wrong_number(&self, what: &str) -> CliError {
        let name = self.line.name();
        // `docker run` words every error so.
        if self.rule == Rule::Run {
            return CliError::user(format!("'{name}' {what}"));
        }
        CliError::user(format!("docker: '{name}' {what}\n\nRun '{name} --help' for more information"))
    }

    /// Returns the whole line with an argument of the command replaced.
    pub(crate) fn with_argument(&self, index: usize, text: &str) -> Vec<OsString> {
        let own = self.own.iter().enumerate();
        self.line.with_own(own.map(|(at, argument)| if at == index { OsString::from(text) } else { argument.clone() }))
    }
}

/// Decides.
pub(crate) fn decide(arguments: Vec<OsString>, variable: Trust) -> Decision {
    let whole = arguments.clone();
    let line = match CommandLine::read(arguments) {
        Ok(line) => line,
        Err(_) if variable == Trust::Off => return Decision::HandOver(whole),
        Err(NotUnderstood(reason)) => {
            return Decision::Refused(not_understood(&reason, WayOut::Variable), Ending::Usage);
        }
    };
    let rule = Rule::of(&line.words);
    let Some((table, letters, interspersed)) = table(rule) else { return without_table(rule, line, variable) };
    let known: Vec<&'static Flag> = table.iter().chain(letters).collect();
    let parsed = match cobra::parse(&known, line.own(), interspersed) {
        Ok(parsed) => parsed,
        Err(error) => return wrong_flags(&known, interspersed, rule, &line, variable, &error),
    };
    if parsed.is_on("help") {
        return Decision::HandOver(whole);
    }
    if variable.or_flag(&parsed.occurrences) == Trust::Off {
        return switched_off(&line, &parsed.occurrences);
    }
    if let Rule::RefuseFlagged(why) = rule {
        return Decision::Refused(refused(&line, why, WayOut::Flag), Ending::Plain);
    }
    let own = switch::without_flag(line.own(), &parsed.occurrences);
    match cobra::parse(&known, &own, interspersed) {
        Ok(parsed) => Decision::Do(Box::new(Job { rule, line, own, parsed })),
        Err(error) => Decision::Refused(CliError::internal(&error), Ending::Plain),
    }
}

/// Returns the flags of a command that is read to its end.
fn table(rule: Rule) -> Option<(&'static [Flag], &'static [Flag], Interspersed)> {
    Some(match rule {
        Rule::Push => (&flags::PUSH, &flags::HELP, Interspersed::Yes),
        Rule::Pull => (&flags::PULL, &flags::HELP, Interspersed::Yes),
        Rule::Create | Rule::Run => (&flags::CREATE, &flags::HELP_LONG, Interspersed::No),
        Rule::Build => (&flags::BUILD, &flags::HELP, Interspersed::Yes),
        Rule::RefuseFlagged(_) => (&flags::PLUGIN, &flags::HELP, Interspersed::Yes),
        Rule::ServiceCreate => (&flags::SERVICE_CREATE, &flags::HELP, Interspersed::No),
        Rule::ServiceUpdate => (&flags::SERVICE_UPDATE, &flags::HELP, Interspersed::Yes),
        _ => return None,
    })
}

fn without_table(rule: Rule, line: CommandLine, variable: Trust) -> Decision {
    if variable == Trust::Off {
        return Decision::HandOver(line.arguments);
    }
    match rule {
        Rule::Refuse(why) if !asks_for_help(&line) => {
            Decision::Refused(refused(&line, why, WayOut::Variable), Ending::Plain)
        }
        Rule::BuilderCreate if !starts_no_container(&line) => {
            let why = "it starts a builder from an image that is not verified";
            Decision::Refused(refused(&line, why, WayOut::Variable), Ending::Plain)
        }
        Rule::BuilderInspect if line.own().iter().any(|argument| argument != "--help" && is_flag(argument)) => {
            let why = "with flags it may start a builder from an image that is not verified";
            Decision::Refused(refused(&line, why, WayOut::Variable), Ending::Plain)
        }
        Rule::Unsigned(why) => Decision::Unsigned(line.arguments, why),
        Rule::Compose => {
            let own = line.own().to_vec();
            Decision::Do(Box::new(Job { rule, line, own, parsed: Parsed::default() }))
        }
        _ => Decision::HandOver(line.arguments),
    }
}

fn is_flag(argument: &OsString) -> bool {
    argument.as_encoded_bytes().starts_with(b"-")
}

fn asks_for_help(line: &CommandLine) -> bool {
    line.own().len() == 1 && line.own().iter().all(|argument| argument == "--help")
}

/// Tells whether a new builder is one that is reached, not started.
fn starts_no_container(line: &CommandLine) -> bool {
    let drivers = line.own().iter().filter(|argument| {
        let text = argument.to_string_lossy();
        text == "--driver" || text.starts_with("--driver=")
    });
    let remote = line.own().windows(2).any(|pair| pair == ["--driver", "remote"])
        || line.own().iter().any(|argument| argument == "--driver=remote");
    asks_for_help(line) || (remote && drivers.count() == 1)
}

fn switched_off(line: &CommandLine, uses: &[Occurrence]) -> Decision {
    if uses.iter().all(|used| used.flag.long != switch::DISABLE.long) {
        return Decision::HandOver(line.arguments.clone());
    }
    Decision::SwitchedOff(line.with_own(switch::without_flag(line.own(), uses)))
}

/// A flag that is not known may hide where the image is; if content trust was switched off before it, that counts.
fn wrong_flags(
    known: &[&'static Flag],
    interspersed: Interspersed,
    rule: Rule,
    line: &CommandLine,
    variable: Trust,
    error: &FlagError,
) -> Decision {
    let own = line.own();
    let mut readable = (0..own.len()).rev().filter_map(|end| own.get(..end));
    let before = readable.find_map(|start| cobra::parse(known, start, interspersed).ok()).unwrap_or_default();
    if variable.or_flag(&before.occurrences) == Trust::Off {
        return switched_off(line, &before.occurrences);
    }
    let way_out =
        if matches!(rule, Rule::ServiceCreate | Rule::ServiceUpdate) { WayOut::Variable } else { WayOut::Flag };
    Decision::Refused(not_understood(&error.to_string(), way_out), Ending::Usage)
}

/// How to have it done without signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayOut {
    /// By the flag, which the command has.
    Flag,
    /// By the variable.
    Variable,
}

/// Refuses a command line with a flag that is not known.
pub(crate) fn not_understood(reason: &str, way_out: WayOut) -> CliError {
    let error = CliError::user(reason).hint(
        "content trust is on, and with a flag that Countersign does not know it cannot tell which image is meant",
    );
    with_way_out(error, way_out)
}

/// Refuses a command that cannot be checked.
pub(crate) fn refused(line: &CommandLine, why: &str, way_out: WayOut) -> CliError {
    let error = CliError::new(Kind::Trust, format!("{}: refused with content trust on: {why}", line.name()));
    with_way_out(error, way_out)
}

fn with_way_out(error: CliError, way_out: WayOut) -> CliError {
    error.hint(match way_out {
        WayOut::Flag => "--disable-content-trust right behind the command does it without signatures".to_owned(),
        WayOut::Variable => format!("{TRUST_VARIABLE}=0 before the command does it without signatures"),
    })
}
