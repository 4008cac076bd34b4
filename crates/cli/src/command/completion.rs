//! `countersign completion`: what shells need to complete command lines.

use crate::error::CliError;
use crate::output;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// Print a completion script for a shell
///
/// bash: countersign completion bash > ~/.local/share/bash-completion/completions/countersign
/// zsh: countersign completion zsh > a folder of $fpath, as _countersign
/// fish: countersign completion fish > ~/.config/fish/completions/countersign.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::native::Arguments::command(), "countersign", &mut script);
        output::data(String::from_utf8_lossy(&script).trim_end())
    }
}
