//! The steps of the full test run, their order and their times.

mod bans;
mod clippy;
mod deployments;
mod doc;
mod floors;
mod fmt;
mod nextest;
mod places;
mod setup;
mod sizes;
mod threats;

use crate::report::{line, spoken};
use crate::workspace::Workspace;
use anyhow::bail;
use std::time::{Duration, Instant};

/// One part of the full test run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Installs the tools that the tests run.
    Setup,
    /// Checks the formatting.
    Fmt,
    /// Checks the length of source files.
    Sizes,
    /// Looks for traces of the machine a file was written on.
    Places,
    /// Checks that the tests exist that documents name.
    Threats,
    /// Checks that no crate uses a crate above it.
    Floors,
    /// Checks that no unwanted package is in the tree.
    Bans,
    /// Runs clippy, which compiles everything that is not run below: benches and examples.
    Clippy,
    /// Runs the documentation's examples and checks its links.
    Doc,
    /// Runs the journeys of real clients against every way to deploy the service.
    Deployments,
    /// Runs all other tests.
    Nextest,
}

impl Step {
    /// All steps in order: the quick ones first; the tests last, so that their summary ends the output.
    pub(crate) const ALL: [Self; 11] = [
        Self::Setup,
        Self::Fmt,
        Self::Sizes,
        Self::Places,
        Self::Threats,
        Self::Floors,
        Self::Bans,
        Self::Clippy,
        Self::Doc,
        Self::Deployments,
        Self::Nextest,
    ];

    /// Finds a step by its name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.name() == name)
    }

    /// The word to run the step alone with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Fmt => "fmt",
            Self::Sizes => "sizes",
            Self::Places => "places",
            Self::Threats => "threats",
            Self::Floors => "floors",
            Self::Bans => "bans",
            Self::Clippy => "clippy",
            Self::Doc => "doc",
            Self::Deployments => "deployments",
            Self::Nextest => "nextest",
        }
    }

    /// What the step is for.
    pub(crate) fn purpose(self) -> &'static str {
        match self {
            Self::Setup => "install the tools that the tests run: Debian packages (as root) and cargo-nextest",
            Self::Fmt => "formatting is rustfmt's",
            Self::Sizes => "no source file is too long",
            Self::Places => "no file names a place on somebody's machine or a package registry",
            Self::Threats => "the tests exist that the tables of threats, guarantees and checklists name",
            Self::Floors => "crates use only crates below them",
            Self::Bans => "no banned package, none from an unknown source",
            Self::Clippy => "clippy has nothing to say about libraries, programs, tests and benches",
            Self::Doc => "the documentation's examples run and its links lead somewhere",
            Self::Deployments => {
                "docker, notary and our own client notice nothing of databases, keyservers and replicas"
            }
            Self::Nextest => "all other tests",
        }
    }

    fn run(self, workspace: &Workspace) -> anyhow::Result<()> {
        match self {
            Self::Setup => setup::run(workspace),
            Self::Fmt => fmt::run(workspace),
            Self::Sizes => sizes::run(workspace),
            Self::Places => places::run(workspace),
            Self::Threats => threats::run(workspace),
            Self::Floors => floors::run(workspace),
            Self::Bans => bans::run(workspace),
            Self::Clippy => clippy::run(workspace),
            Self::Doc => doc::run(workspace),
            Self::Deployments => deployments::run(workspace),
            Self::Nextest => nextest::run(workspace),
        }
    }

    /// Tells whether the steps after this one make no sense without it.
    fn is_needed_by_the_rest(self) -> bool {
        self == Self::Setup
    }

    fn run_timed(self, workspace: &Workspace) -> (anyhow::Result<()>, Duration) {
        line(&format!("== {}: {}", self.name(), self.purpose()));
        let start = Instant::now();
        let result = self.run(workspace);
        let time = start.elapsed();
        match &result {
            Ok(()) => line(&format!("== {}: passed in {}", self.name(), spoken(time))),
            Err(error) => line(&format!("== {}: FAILED in {}: {error:#}", self.name(), spoken(time))),
        }
        (result, time)
    }
}

/// Runs one step.
///
/// # Errors
/// It fails.
pub(crate) fn run_one(step: Step, workspace: &Workspace) -> anyhow::Result<()> {
    match step.run_timed(workspace).0 {
        Ok(()) => Ok(()),
        Err(_) => bail!("{} failed, see above", step.name()),
    }
}

/// Runs all steps, also those after a failed one, so that one run tells everything.
///
/// # Errors
/// At least one step fails.
pub(crate) fn run_all(workspace: &Workspace) -> anyhow::Result<()> {
    let start = Instant::now();
    let (mut failed, mut times) = (Vec::new(), Vec::new());
    for step in Step::ALL {
        let (result, time) = step.run_timed(workspace);
        times.push(format!("{} {}", step.name(), spoken(time)));
        if result.is_err() {
            failed.push(step.name());
            if step.is_needed_by_the_rest() {
                break;
            }
        }
    }
    let times = format!("{} ({})", spoken(start.elapsed()), times.join(", "));
    if !failed.is_empty() {
        bail!("{} failed, in {times}", failed.join(", "));
    }
    line(&format!("== all {} steps passed in {times}", Step::ALL.len()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Step;

    #[test]
    fn every_step_is_found_by_its_own_name() {
        for step in Step::ALL {
            assert_eq!(Step::named(step.name()), Some(step));
        }
        assert_eq!(Step::named("test"), None);
    }

    #[test]
    fn the_tests_come_last_so_that_their_summary_ends_the_output() {
        assert_eq!(Step::ALL.last(), Some(&Step::Nextest));
    }
}
