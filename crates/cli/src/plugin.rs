//! The Docker CLI plugin that brings `docker trust`.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the command line.
pub(crate) fn run(_arguments: Vec<OsString>) -> ExitCode {
    ExitCode::FAILURE
}
