//! `countersign ci`: signing in pipelines, with keys that are there only while something is signed.

mod clean;
mod guarded;
mod init;
mod key;
mod masking;
mod owner;
mod passphrase;
mod private_folder;
mod process;
mod run;
mod session;
mod sign;
mod supply;

use crate::context::GlobalOptions;
use crate::error::CliError;
use clap::Subcommand;

/// Sign in pipelines: keys from an archive, in memory, gone afterwards
#[derive(Debug, Subcommand)]
pub(crate) enum Ci {
    Sign(Box<sign::Sign>),
    Run(Box<run::Run>),
    Key(key::Key),
    Init(init::Init),
    Clean(clean::Clean),
}

impl Ci {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        match self {
            Self::Sign(sign) => Box::pin(sign.run(options)).await,
            Self::Run(run) => run.run(options).await,
            Self::Key(key) => key.run(options).await,
            Self::Init(init) => init.run(),
            Self::Clean(clean) => clean.run(),
        }
    }
}
