//! The same journeys of docker, notary and our own client, whatever stands behind the address of the trust service.

use super::{nextest, setup};
use crate::command;
use crate::report::line;
use crate::workspace::Workspace;

/// Says to the tests how the trust services that they start are deployed.
const VARIABLE: &str = "COUNTERSIGN_TEST_DEPLOYMENT";
/// All ways but the embedded one, in which everything else is tested: over a database server of either kind, with the keys
/// at a keyserver, in its database or on its token, and two services behind a balancer with both.
const DEPLOYMENTS: [&str; 5] = ["keyserver", "token", "postgres", "mariadb", "replicas"];
/// The journeys: modules of the tests of whole commands.
const SUITE: &str = "test(/^(docker|notary|notary_exchange|notary_keys|trust_push_pull|trust_sign|trust_signers|releasing|\
    signers|races|rotating)::/)";

/// Runs the journeys once for each way to deploy the service.
pub(super) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    for deployment in DEPLOYMENTS {
        line(&format!("deployments: {deployment}"));
        let mut tests = workspace.cargo();
        tests.args(["nextest", "run", "--package", "countersign", "--test", "e2e", "--profile", "ci", "--filterset"]);
        let suite = if setup::has_docker_28() {
            SUITE.to_owned()
        } else {
            format!("{SUITE} and {}", nextest::WITHOUT_DOCKER_28)
        };
        command::run(tests.arg(suite).env(VARIABLE, deployment))?;
    }
    Ok(())
}
