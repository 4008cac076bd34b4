//! `countersign ci clean`: what killed runs left.

use super::private_folder::sweep;
use crate::error::CliError;
use crate::output::data;
use clap::Args;

/// Remove the keys that killed runs left; those of runs that go on stay. Every run does this by itself as well
#[derive(Debug, Args)]
pub(crate) struct Clean {}

impl Clean {
    #[expect(clippy::unused_self, reason = "as all commands")]
    pub(crate) fn run(&self) -> Result<(), CliError> {
        match sweep() {
            0 => data("Nothing was left behind."),
            swept => data(format_args!("Removed what {swept} killed run(s) left behind.")),
        }
    }
}
