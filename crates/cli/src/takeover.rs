//! `notary-server` and `notary-signer`: the reference's programs, with the reference's flags and configuration files, on the
//! reference's own tables (Notary protocol, process flags, server keys, signer keys).
//!
//! What is not supported is refused by name: a setting that was meant is never ignored.

mod flags;
mod log;
mod server;
mod settings;
mod signer;

use std::ffi::OsString;
use std::future::Future;
use std::process::ExitCode;

use tempfile::TempDir;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::flags::{Asked, Flags};
use self::settings::Settings;
use crate::error::{CliError, Kind};
use crate::output::data;
use crate::runtime::{self, Threads};

/// Which of the two programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// `notary-server`.
    Server,
    /// `notary-signer`.
    Signer,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Server => "notary-server",
            Self::Signer => "notary-signer",
        }
    }

    /// What the variables that win over the configuration file begin with.
    fn prefix(self) -> &'static str {
        match self {
            Self::Server => "NOTARY_SERVER",
            Self::Signer => "NOTARY_SIGNER",
        }
    }
}

/// Runs one of the programs; an error is one line of JSON and exit code 1, wrong flags are exit code 2.
pub(crate) fn run(program: Program, arguments: Vec<OsString>) -> ExitCode {
    crate::secrecy::write_no_cores();
    let flags = match Flags::parse(arguments) {
        Ok(Asked::Help) => {
            eprint(&flags::usage(program.name()));
            return ExitCode::SUCCESS;
        }
        Ok(Asked::Version) => {
            let version = env!("CARGO_PKG_VERSION");
            let line = format!("{} Version: {version} (Countersign), Git commit: , Go version: none", program.name());
            return if data(line).is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
        }
        Ok(Asked::Run(flags)) => flags,
        Err(wrong) => {
            eprint(&format!("{wrong}\n{}", flags::usage(program.name())));
            return ExitCode::from(2);
        }
    };
    let finished = runtime::block_on(Threads::Many, async {
        let settings = Settings::read(flags.config.as_deref(), program)?;
        let level = log::start(settings.get("logging.level").as_deref())?;
        if flags.bootstrap {
            return Err(wrong("store does not support bootstrapping"));
        }
        settings.refuse_reporting()?;
        match program {
            Program::Server => server::run(&settings, level).await,
            Program::Signer => signer::run(&settings, level).await,
        }
    });
    match finished {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprint(&log::fatal(&error.message));
            ExitCode::FAILURE
        }
    }
}

/// Writes to standard error; there is nobody to tell when that fails.
fn eprint(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{}", text.trim_end());
}

fn listen_for(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|error| CliError::internal(&error))
}

/// Writes an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A mistake in the configuration.
fn wrong(text: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Local, text)
}

/// A folder for what must be somewhere while the program runs, and for nothing that must last: in memory where there is such
/// a place.
fn scratch() -> Result<TempDir, CliError> {
    let folder = tempfile::Builder::new().prefix("countersign-").tempdir_in("/dev/shm");
    folder.or_else(|_| tempfile::tempdir()).map_err(wrong)
}

/// Waits until the program is told to end; meanwhile signals change how much is logged, or have files read again.
async fn until_told(level: log::Level, reload: impl Fn()) -> Result<(), CliError> {
    let (mut terminate, mut interrupt) = (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
    let (mut more, mut less) = (listen_for(SignalKind::user_defined1())?, listen_for(SignalKind::user_defined2())?);
    let mut hangup = listen_for(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = hangup.recv() => reload(),
            _ = more.recv() => level.more()?,
            _ = less.recv() => level.less()?,
        }
    }
}

/// Waits for a graceful end, or for being told once more.
async fn unless_told_again<T>(ending: impl Future<Output = T>) -> Result<Option<T>, CliError> {
    let (mut terminate, mut interrupt) = (listen_for(SignalKind::terminate())?, listen_for(SignalKind::interrupt())?);
    Ok(tokio::select! {
        ended = ending => Some(ended),
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
    })
}
