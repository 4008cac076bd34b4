//! Countersign: Docker Content Trust, rebuilt.
//!
//! The edge of the house: arguments and environment in, messages and exit codes out. One file per command.

mod audit;
mod command;
mod context;
mod error;
mod images;
mod layouts;
mod notes;
mod output;
mod progress;
mod prompt;
mod registry_error;
mod trust_switch;

use clap::Parser;
use command::Command;
use context::GlobalOptions;
use error::CliError;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Docker Content Trust: sign images on push, verify them on pull, and run the trust service.
#[derive(Debug, Parser)]
#[command(name = "countersign", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(arguments.global.verbose);
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::error(&error);
            error.exit_code()
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), CliError> {
    // Two providers in one process would panic at run time: the choice is made once, here.
    let chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    debug_assert!(chosen.is_ok(), "nobody chooses before main");
    let mut builder = match arguments.command {
        Command::Serve(_) | Command::Demo(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = builder.enable_all().build().map_err(|error| CliError::internal(&error))?;
    let finished = runtime.block_on(arguments.command.run(&arguments.global));
    runtime.shutdown_background();
    finished
}

fn start_log(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("COUNTERSIGN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let escapes = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(escapes).with_writer(std::io::stderr).init();
}
