//! How a command ends that does not succeed: docker's words, docker's exit codes, and one of our own for refusals.

use super::rules::Rule;
use crate::error::{CliError, Kind};
use crate::output::{harmless, message};
use std::process::ExitCode;

/// Whose manners an error follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Most commands': the message, and 1; 3 if something is not trusted.
    Plain,
    /// A command line that is not understood: the message, and 125.
    Usage,
    /// `docker run`'s: a prefix, a pointer to help, and always 125, because other codes are the container's.
    Run,
}

/// Exit code of refusals.
const REFUSED: u8 = 3;
/// Exit code of docker itself where other codes are a container's, and for unknown flags.
const DOCKER: u8 = 125;

impl Ending {
    /// Chooses by command.
    pub(crate) fn of(rule: Rule) -> Self {
        if rule == Rule::Run { Self::Run } else { Self::Plain }
    }

    /// Tells a person and returns the exit code.
    pub(crate) fn failed(self, error: &CliError) -> ExitCode {
        let text = harmless_lines(&error.message);
        match self {
            Self::Run => message(format_args!("docker: {text}\n\nRun 'docker run --help' for more information")),
            Self::Plain | Self::Usage => message(text),
        }
        for hint in &error.hints {
            message(format_args!("  hint: {}", harmless(hint)));
        }
        ExitCode::from(match (self, error.kind) {
            (Self::Run | Self::Usage, _) => DOCKER,
            (Self::Plain, Kind::Trust) => REFUSED,
            (Self::Plain, _) => 1,
        })
    }
}

/// Makes text harmless line by line, for messages that have several lines of their own.
fn harmless_lines(text: &str) -> String {
    text.lines().map(harmless).collect::<Vec<_>>().join("\n")
}
