//! The commands, one file each.

mod inspect;
mod key;
mod revoke;
mod serve;
mod verify;

use crate::context::GlobalOptions;
use crate::error::CliError;
use clap::Subcommand;

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(serve::Serve),
    Verify(verify::Verify),
    Revoke(revoke::Revoke),
    Inspect(inspect::Inspect),
    #[command(subcommand)]
    Key(key::Key),
}

impl Command {
    /// Runs the command.
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        match self {
            Self::Serve(serve) => serve.run(options).await,
            Self::Verify(verify) => verify.run(options).await,
            Self::Revoke(revoke) => revoke.run(options).await,
            Self::Inspect(inspect) => inspect.run(options).await,
            Self::Key(key) => key.run(options),
        }
    }
}

/// How a command prints data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}
