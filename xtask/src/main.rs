//! The project's own chores: `cargo xtask test` runs every check, `cargo xtask STEP` runs one of them.

mod command;
mod faults;
mod report;
mod sources;
mod step;
mod workspace;

use crate::step::Step;
use crate::workspace::Workspace;
use anyhow::{Context, bail};
use std::process::ExitCode;

fn main() -> ExitCode {
    match chores(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::line(&format!("xtask: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn chores(arguments: &[String]) -> anyhow::Result<()> {
    let workspace = Workspace::of_this_program()?;
    match arguments {
        [name] if name == "test" => step::run_all(&workspace),
        [name, minutes] if name == "faults" => {
            let minutes = minutes.parse().with_context(|| format!("{minutes} is no number of minutes"))?;
            faults::run(&workspace, minutes)
        }
        [name] => {
            let step = Step::named(name).with_context(|| format!("no step is called {name}\n{}", usage()))?;
            step::run_one(step, &workspace)
        }
        _ => bail!("{}", usage()),
    }
}

fn usage() -> String {
    let steps = Step::ALL.map(|step| format!("  {:<12}{}", step.name(), step.purpose()));
    format!(
        "usage: cargo xtask test | STEP | faults MINUTES\n  {:<12}every step below, in this order\n{}\n  {:<12}{}",
        "test",
        steps.join("\n"),
        "faults",
        "so many minutes of faults for each way to deploy the service, with a report (the step nextest has them for seconds)"
    )
}
