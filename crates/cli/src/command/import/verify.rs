//! `countersign import verify`: what an archive proves.

use super::folder::ArchiveFolder;
use super::outcome::Outcomes;
use crate::command::Format;
use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use clap::Args;
use countersign_tuf::Gun;
use std::path::PathBuf;

/// Verify an archive as of the day it was taken, without any service
///
/// Pins count as they do for the living collection. That the archive is from that day is only said by itself.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The folder of archives
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The collections [default: all]
    #[arg(value_name = "GUN")]
    guns: Vec<String>,
    /// Verify as of this moment, such as 2026-12-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
    /// How to print the outcome
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Verify {
    pub(super) fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let (context, folder) = (Context::new(options)?, ArchiveFolder::at(&self.folder));
        let parse = |name: &String| {
            Gun::parse(name).map_err(|error| CliError::user(format!("{name:?} is no collection's name: {error}")))
        };
        let guns = match self.guns.as_slice() {
            [] => folder.collections()?,
            names => names.iter().map(parse).collect::<Result<Vec<Gun>, _>>()?,
        };
        let mut outcomes = Outcomes::new();
        for gun in guns {
            let (archive, _) = match folder.read(&gun) {
                Ok(read) => read,
                Err(error) => {
                    outcomes.failed(&gun, None, &error);
                    continue;
                }
            };
            match archive.verify(self.at.unwrap_or(archive.taken_at), &context.pinning_of(&gun)) {
                Ok(attested) => outcomes.verified(&archive, &attested),
                Err(error) => outcomes.failed(&gun, Some(&archive), &error.into()),
            }
        }
        outcomes.end(self.format, "not everything could be verified")
    }
}
