//! The program's own command line.

use crate::command::Command;
use crate::context::GlobalOptions;
use crate::output;
use crate::runtime::{self, Threads};
use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Docker Content Trust: sign images on push, verify them on pull, and run the trust service.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

/// Runs a command of the program's own.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    crate::secrecy::write_no_cores();
    let arguments = Arguments::parse_from(std::iter::once(OsString::from("countersign")).chain(arguments));
    // The services start theirs when they have read their settings.
    if !matches!(arguments.command, Command::Serve(_) | Command::Keyserver(_)) {
        runtime::start_log(runtime::level(arguments.global.verbose));
    }
    let threads = match arguments.command {
        Command::Serve(_) | Command::Keyserver(_) | Command::Demo(_) | Command::Import(_) => Threads::Many,
        _ => Threads::One,
    };
    match runtime::block_on(threads, arguments.command.run(&arguments.global)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            error.exit_code()
        }
    }
}
