//! Faults for longer than a full test run has time for.

use crate::workspace::Workspace;
use anyhow::{Context, ensure};

/// Has every storm last so long, one after the other, and prints their reports.
///
/// # Errors
/// A storm has found something, or there is nothing to last.
pub(crate) fn run(workspace: &Workspace, minutes: u64) -> anyhow::Result<()> {
    let seconds = minutes.checked_mul(60).filter(|seconds| *seconds > 0).context("faults last a minute or more")?;
    // nextest ends tests that take long, which these are to do; the test program itself does not.
    let mut tests = workspace.cargo();
    tests.args(["test", "--package", "countersign", "--test", "faults", "--", "--test-threads=1", "--nocapture"]);
    let status = tests.env("COUNTERSIGN_TEST_FAULT_SECONDS", seconds.to_string()).status();
    ensure!(
        status.context("cargo cannot be started")?.success(),
        "see above for what was found, and the seed to repeat it with"
    );
    Ok(())
}
