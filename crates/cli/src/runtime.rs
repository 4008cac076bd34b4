//! What a command needs before it can talk to anyone: the cryptographic provider, a runtime, the log.
//!
//! Nothing of it is made before a command asks for it: passing a command on, or telling what the plugin is, takes none.

use crate::error::CliError;
use std::io::IsTerminal;

/// How many threads run a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The caller's only.
    One,
    /// One for each processor.
    Many,
}

/// Runs a command to its end.
///
/// # Errors
/// Those of the command, or the operating system gives no threads.
pub(crate) fn block_on<T>(threads: Threads, command: impl Future<Output = Result<T, CliError>>) -> Result<T, CliError> {
    // Two providers in one process would panic at run time: the choice is made once, here.
    let chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    debug_assert!(chosen.is_ok(), "a process runs one command");
    let mut builder = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime = builder.enable_all().build().map_err(|error| CliError::internal(&error))?;
    let finished = runtime.block_on(command);
    runtime.shutdown_background();
    finished
}

/// Returns what so many `-v` ask the log for.
pub(crate) fn level(verbose: u8) -> &'static str {
    match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    }
}

/// Starts the log on stderr.
pub(crate) fn start_log(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("COUNTERSIGN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let escapes = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(escapes).with_writer(std::io::stderr).init();
}
