//! `countersign import`: what other trust services hold.

mod folder;
mod http;
mod moving;
mod notary;
mod outcome;
mod verify;

use crate::context::GlobalOptions;
use crate::error::CliError;
use clap::Subcommand;

pub(crate) use self::notary::database;

/// Save or take over what another trust service holds
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    Http(http::Http),
    Notary(Box<notary::Notary>),
    Verify(verify::Verify),
    Move(moving::Move),
}

impl Import {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        match self {
            Self::Http(http) => http.run(options).await,
            Self::Notary(notary) => notary.run().await,
            Self::Verify(verify) => verify.run(options),
            Self::Move(moving) => Box::pin(moving.run(options)).await,
        }
    }
}
