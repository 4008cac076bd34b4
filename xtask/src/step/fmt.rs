//! Formatting.

use crate::command;
use crate::workspace::Workspace;

/// Fails when rustfmt would change a file.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    command::run(workspace.cargo().args(["fmt", "--all", "--check"]))
}
