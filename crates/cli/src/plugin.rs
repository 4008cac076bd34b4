//! The Docker CLI plugin that brings `docker trust`: called by docker 29 as `docker-trust`, or by hand under that name.
//!
//! Docker asks every plugin what it is before every run. That answer is given before anything else is made or looked at.

mod commands;
mod hooks;
mod inspect;
mod interrupt;
mod keys;
mod line;
mod load;
mod metadata;
mod push_pull;
mod revoke;
mod session;
mod sign;
mod signers;
mod usage;

use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use crate::runtime::{self, Threads};
use line::{Call, Line};
use std::ffi::OsString;
use std::process::ExitCode;

/// Exit code of arguments that the command does not take.
const WRONG_FLAG: u8 = 125;

/// Runs the command line.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    crate::secrecy::write_no_cores();
    if metadata::is_asked(&arguments) {
        return metadata::tell();
    }
    match line::read(arguments) {
        Line::Call(call) => execute(&call),
        Line::Help(text) => tell(&text),
        Line::NoCommand(text) => {
            message(text.trim_end_matches('\n'));
            ExitCode::SUCCESS
        }
        Line::Wrong { text, code } => {
            message(text.trim_end_matches('\n'));
            ExitCode::from(code)
        }
    }
}

/// Writes an answer to stdout.
fn tell(text: &str) -> ExitCode {
    match crate::output::data(text.trim_end_matches('\n')) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error),
    }
}

fn execute(call: &Call) -> ExitCode {
    interrupt::watch();
    runtime::start_log(call.log_level());
    match runtime::block_on(Threads::One, dispatch(call)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => end(&error),
    }
}

async fn dispatch(call: &Call) -> Result<(), CliError> {
    match call.command.as_str() {
        "inspect" => inspect::run(call).await,
        "sign" => sign::run(call).await,
        "revoke" => Box::pin(revoke::run(call)).await,
        "push" => Box::pin(push_pull::push(call)).await,
        "pull" => Box::pin(push_pull::pull(call)).await,
        "key generate" => keys::generate(call),
        "key load" => load::run(call),
        "signer add" => Box::pin(signers::add(call)).await,
        "signer remove" => signers::remove(call).await,
        other => Err(CliError::internal(&format!("no command {other}"))),
    }
}

/// Ends as docker does: the message as it is, and 1; a refusal has a code of its own, so that scripts can tell it from a
/// service that is away.
fn end(error: &CliError) -> ExitCode {
    for line in error.message.split('\n').filter(|_| !error.message.is_empty()) {
        message(harmless(line));
    }
    for hint in &error.hints {
        message(format_args!("  hint: {}", harmless(hint)));
    }
    match error.kind {
        Kind::Trust => ExitCode::from(3),
        _ => ExitCode::FAILURE,
    }
}
