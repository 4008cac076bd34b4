//! The tests.

use super::setup;
use crate::command;
use crate::report::line;
use crate::workspace::Workspace;

/// Leaves out the tests with `docker_28` in their path: no Debian package brings that client.
pub(super) const WITHOUT_DOCKER_28: &str = "not test(/docker_28/)";

/// Runs all tests but the documentation's, those that failed included in the summary at the end.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut nextest = workspace.cargo();
    nextest.args(["nextest", "run", "--workspace", "--profile", "ci"]);
    if !setup::has_docker_28() {
        line(&format!(
            "nextest: {} is missing; the tests named for it are left out, Debian's docker 20.10 makes the other journeys",
            setup::DOCKER_28
        ));
        nextest.args(["--filterset", WITHOUT_DOCKER_28]);
    }
    command::run(&mut nextest)
}
