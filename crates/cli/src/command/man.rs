//! `countersign man`: the manual, one page for each command.

use crate::error::{CliError, Kind};
use crate::output::data;
use clap::{Args, CommandFactory};
use std::path::PathBuf;

/// Write the manual pages into a folder
///
/// man -l DIR/countersign.1 shows one of them; to have them found by name use a folder man1 of $MANPATH.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        fs_err::create_dir_all(&self.dir).map_err(|error| CliError::new(Kind::Local, error))?;
        clap_mangen::generate_to(crate::native::Arguments::command().disable_help_subcommand(true), &self.dir)
            .map_err(|error| CliError::new(Kind::Local, format!("{}: {error}", self.dir.display())))?;
        data(format_args!("The manual is in {0}: man -l {0}/countersign.1", self.dir.display()))
    }
}
