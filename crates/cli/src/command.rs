//! The commands, one file each.

mod audit;
mod ci;
mod completion;
mod demo;
mod doctor;
mod import;
pub(crate) mod inspect;
mod install;
pub(crate) mod key;
mod keyserver;
mod man;
mod operation;
mod pin;
mod pull;
mod push;
mod revoke;
mod serve;
mod sign;
mod trust;
mod verify;

use crate::context::GlobalOptions;
use crate::error::CliError;
use clap::Subcommand;

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Serve(Box<serve::Serve>),
    Keyserver(Box<keyserver::Keyserver>),
    Push(Box<push::Push>),
    Pull(Box<pull::Pull>),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Revoke(revoke::Revoke),
    Inspect(inspect::Inspect),
    #[command(subcommand)]
    Key(key::Key),
    Pin(pin::Pin),
    Doctor(doctor::Doctor),
    #[command(subcommand)]
    Ci(ci::Ci),
    #[command(subcommand)]
    Audit(audit::Audit),
    #[command(subcommand)]
    Trust(trust::Trust),
    #[command(subcommand)]
    Import(import::Import),
    Install(install::Install),
    Uninstall(install::Uninstall),
    Completion(completion::Completion),
    Man(man::Man),
    Demo(demo::Demo),
}

impl Command {
    /// Runs the command.
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        match self {
            Self::Serve(serve) => serve.run(options).await,
            Self::Keyserver(keyserver) => keyserver.run(options).await,
            Self::Push(push) => push.run(options).await,
            Self::Pull(pull) => pull.run(options).await,
            Self::Sign(sign) => sign.run(options).await,
            Self::Verify(verify) => verify.run(options).await,
            Self::Revoke(revoke) => revoke.run(options).await,
            Self::Inspect(inspect) => inspect.run(options).await,
            Self::Key(key) => key.run(options).await,
            Self::Pin(pin) => pin.run(options).await,
            Self::Doctor(doctor) => doctor.run(options).await,
            Self::Audit(audit) => audit.run().await,
            Self::Ci(ci) => ci.run(options).await,
            Self::Trust(trust) => trust.run(options).await,
            Self::Import(import) => import.run(options).await,
            Self::Install(install) => install.run(options),
            Self::Uninstall(uninstall) => uninstall.run(options),
            Self::Completion(completion) => completion.run(),
            Self::Man(man) => man.run(),
            Self::Demo(demo) => demo.run().await,
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
