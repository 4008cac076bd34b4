//! Lints.

use crate::command;
use crate::workspace::Workspace;

/// Fails on any warning of rustc or clippy in any target, benches included.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    command::run(workspace.cargo().args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}
