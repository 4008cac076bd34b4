//! The `notary` client's command line, for its collections of anything (Notary protocol, CLI reference).
//!
//! Data and the client's own messages go to stdout as the reference prints them, byte for byte where the order is defined;
//! what is added (hints, what an update noticed) goes to stderr.

mod add;
mod command_line;
mod completion;
mod config;
mod context;
mod delegation;
mod delete;
mod failure;
mod init;
mod input;
mod invocation;
mod key;
mod list;
mod login;
mod publish;
mod record;
mod staging;
mod suggestion;
mod table;
mod usage;
mod verify;
mod version;
mod witness;

use crate::cobra::{self, Found, Interspersed};
use crate::output::unwritten;
use crate::runtime::{self, Threads};
use failure::Failure;
use invocation::Invocation;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// Runs the command line.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    crate::secrecy::write_no_cores();
    match execute(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn execute(arguments: Vec<OsString>) -> Result<(), Failure> {
    if let Some(answer) = completion::answer(&arguments) {
        return print(answer);
    }
    let found = cobra::find(&command_line::ROOT, arguments);
    if let Some(unknown) = found.unknown().filter(|_| found.path.len() == 1) {
        return Err(suggestion::unknown_command(&unknown));
    }
    let mut flags = found.flags();
    flags.push(&usage::HELP);
    let parsed = cobra::parse(&flags, &found.rest, Interspersed::Yes)?;
    if parsed.is_on("help") {
        return print(usage::help(&found));
    }
    let invocation = Invocation { found, parsed };
    runtime::start_log(match &invocation {
        it if it.is_on("debug") => "debug",
        it if it.is_on("verbose") => "info",
        _ => "warn",
    });
    dispatch(&invocation)
}

fn dispatch(invocation: &Invocation) -> Result<(), Failure> {
    let path: Vec<&str> = invocation.found.path.iter().skip(1).map(|command| command.name).collect();
    match path.as_slice() {
        [] if invocation.is_on("version") => version::line(),
        [] => print(usage::usage(&invocation.found)),
        ["version"] => version::run(),
        ["help"] => help(invocation),
        ["completion", shell] => completion::script(invocation, shell),
        ["add"] => wait(add::add(invocation)),
        ["addhash"] => wait(add::add_hash(invocation)),
        ["remove"] => wait(add::remove(invocation)),
        ["init"] => wait(init::run(invocation)),
        ["status"] => staging::status(invocation),
        ["reset"] => staging::reset(invocation),
        ["publish"] => wait(publish::run(invocation)),
        ["list"] => wait(list::list(invocation)),
        ["lookup"] => wait(list::lookup(invocation)),
        ["verify"] => wait(verify::run(invocation)),
        ["witness"] => wait(witness::run(invocation)),
        ["delete"] => wait(delete::run(invocation)),
        ["delegation", "list"] => wait(delegation::list(invocation)),
        ["delegation", "add"] => wait(delegation::add(invocation)),
        ["delegation", "remove"] => wait(delegation::remove(invocation)),
        ["delegation", "purge"] => wait(delegation::purge(invocation)),
        ["key", "list"] => key::list(invocation),
        ["key", "generate"] => key::generate(invocation),
        ["key", "rotate"] => wait(key::rotate(invocation)),
        ["key", "remove"] => key::remove(invocation),
        ["key", "passwd"] => key::passwd(invocation),
        ["key", "import"] => key::import(invocation),
        ["key", "export"] => key::export(invocation),
        _ => print(usage::help(&invocation.found)),
    }
}

/// Runs a command that may talk to the service.
fn wait(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let mut outcome = Ok(());
    runtime::block_on(Threads::One, async {
        outcome = command.await;
        Ok(())
    })?;
    outcome
}

/// Shows the help of the command that the words name.
fn help(invocation: &Invocation) -> Result<(), Failure> {
    let words = invocation.arguments().into_iter().map(OsString::from).collect();
    let found = cobra::find(&command_line::ROOT, words);
    if let Some(unknown) = found.unknown().filter(|_| found.path.len() == 1) {
        let root = Found { path: found.path, rest: Vec::new() };
        return print(format_args!("Unknown help topic [`{unknown}`]\n{}", usage::usage(&root)));
    }
    print(usage::help(&found))
}

/// Writes text to stdout as it is, with whatever line ends it has.
fn print(text: impl Display) -> Result<(), Failure> {
    let mut stdout = std::io::BufWriter::new(std::io::stdout().lock());
    let written = write!(stdout, "{text}").and_then(|()| stdout.flush());
    Ok(written.map_err(|error| unwritten(&error))?)
}

/// Writes bytes to stdout as they are.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    Ok(written.map_err(|error| unwritten(&error))?)
}

/// Lists things below each other, each line with its end.
fn bullets(items: &[impl Display]) -> String {
    let lines: Vec<String> = items.iter().map(|item| format!("\t- {item}\n")).collect();
    lines.concat()
}
