//! `countersign import http`: everything that a trust service gives out, saved byte for byte.

use super::folder::{ArchiveFolder, Saved};
use super::outcome::Outcomes;
use crate::command::Format;
use crate::context::{Context, GlobalOptions};
use crate::error::{CliError, Kind};
use crate::progress::showing;
use clap::Args;
use countersign_notary::{Access, ServiceAddress};
use countersign_trust::Destination;
use countersign_trust::archive::{Bounds, History, take};
use countersign_tuf::Gun;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

/// Largest file of names in bytes.
const MAX_NAMES: u64 = 16 << 20;

/// Save everything public of a trust service: all roles, all roots, byte for byte
///
/// What is saved can be verified as of the day it was taken, also when the service is gone; see countersign import verify.
/// Doing the same again adds what is new. Names are whole: docker.io/library/alpine, not alpine.
#[derive(Debug, Args)]
pub(crate) struct Http {
    /// The trust service's address, beginning with https:
    #[arg(value_name = "URL")]
    service: String,
    /// The collections
    #[arg(value_name = "GUN", required_unless_present_any = ["from", "known"])]
    guns: Vec<String>,
    /// Take the names in this file too, one on each line; - is stdin
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Take every collection of the trust directory too
    #[arg(long)]
    known: bool,
    /// The folder to save to
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// Save what was signed before as well, not only the present signatures
    #[arg(long)]
    history: bool,
    /// How to print the outcome
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Http {
    pub(super) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let context = Context::new(options)?;
        let address = ServiceAddress::parse(&self.service).map_err(CliError::user)?;
        let (to, folder) = (Destination::from(address), ArchiveFolder::at(&self.to));
        let mut outcomes = Outcomes::new();
        for gun in self.names(&context)? {
            let saved = showing(&format!("saving {gun}"), Box::pin(self.save(&context, &folder, &to, &gun))).await;
            outcomes.saved(&gun, saved);
        }
        outcomes.end(self.format, "not everything was saved and verified")
    }

    /// Saves first and verifies then: what is broken is worth keeping as well.
    async fn save(
        &self,
        context: &Context,
        folder: &ArchiveFolder,
        to: &Destination,
        gun: &Gun,
    ) -> Result<Saved, CliError> {
        let history = if self.history { History::Signed } else { History::Present };
        let service = context.connection.open(to, gun, Access::Read)?;
        let mut files = folder.collection(gun)?;
        let taken = take(&service, history, Bounds::default(), &mut files).await?;
        files.settle(taken, &self.service, context.now, &context.pinning_of(gun))
    }

    /// All names, each once.
    fn names(&self, context: &Context) -> Result<BTreeSet<Gun>, CliError> {
        let mut names = self.guns.clone();
        if let Some(file) = &self.from {
            let mut text = String::new();
            let read = if file.as_os_str() == "-" {
                std::io::stdin().take(MAX_NAMES).read_to_string(&mut text).map_err(|error| error.to_string())
            } else {
                let opened = fs_err::File::open(file);
                opened
                    .and_then(|file| file.take(MAX_NAMES).read_to_string(&mut text))
                    .map_err(|error| error.to_string())
            };
            read.map_err(|error| CliError::new(Kind::Local, error))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            names.extend(lines.map(str::to_owned));
        }
        let parse = |name: &String| {
            Gun::parse(name).map_err(|error| CliError::user(format!("{name:?} is no collection's name: {error}")))
        };
        let mut guns = names.iter().map(parse).collect::<Result<BTreeSet<Gun>, _>>()?;
        if self.known {
            let known = context.directory.collections();
            guns.extend(known.map_err(|error| CliError::new(Kind::Local, error))?);
        }
        Ok(guns)
    }
}
