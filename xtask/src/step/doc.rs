//! The documentation in the code.

use crate::command;
use crate::workspace::Workspace;

/// Runs the examples, then builds the pages and fails on a link that leads nowhere.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    command::run(workspace.cargo().args(["test", "--quiet", "--workspace", "--doc"]))?;
    let mut pages = workspace.cargo();
    command::run(pages.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}
