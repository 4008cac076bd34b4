//! The program in the place of `docker`.
//!
//! With content trust off, and for commands that neither run nor move an image, the real docker takes this process over at
//! once: no runtime, no log, the very same arguments, environment, files and signals. Otherwise the command is done here as
//! far as signatures are concerned, and the real docker gets digests in the place of tags. A command line that is not
//! understood and could run an image is refused.

mod build;
mod command_line;
mod compose;
mod container;
mod decision;
mod dockerfile;
mod ending;
mod flags;
mod images;
mod means;
mod real_docker;
mod resolve;
mod rules;
mod service;
mod switch;

use crate::error::CliError;
use crate::runtime::{self, Threads};
use decision::{Decision, Job};
use ending::Ending;
use real_docker::TrustVariable;
pub(crate) use real_docker::{DOCKER_VARIABLE, RealDocker, RealDockerError};
use rules::Rule;
use std::ffi::OsString;
use std::process::ExitCode;
use switch::Trust;

/// Runs the command line.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let real = match RealDocker::find() {
        Ok(real) => real,
        Err(error) => return Ending::Plain.failed(&CliError::user(error)),
    };
    let variable = Trust::of_environment();
    if variable == Trust::Off && !switch::may_be_named(&arguments) {
        return hand_over(&real, &arguments, TrustVariable::Untouched);
    }
    match decision::decide(arguments, variable) {
        Decision::HandOver(arguments) => hand_over(&real, &arguments, TrustVariable::Untouched),
        Decision::SwitchedOff(arguments) => hand_over(&real, &arguments, TrustVariable::Removed),
        Decision::Unsigned(arguments, why) => {
            crate::output::message(format_args!("WARNING: {why}"));
            hand_over(&real, &arguments, TrustVariable::Untouched)
        }
        Decision::Refused(error, ending) => ending.failed(&error),
        Decision::Do(job) => work(&real, &job),
    }
}

/// Lets the real docker take this process over.
fn hand_over(real: &RealDocker, arguments: &[OsString], variable: TrustVariable) -> ExitCode {
    let error = real.become_with(arguments, variable);
    Ending::Plain.failed(&CliError::new(crate::error::Kind::Local, error))
}

/// What a command comes to.
enum Outcome {
    /// It is done.
    Done,
    /// A program that did it ended with this.
    Code(u8),
    /// The real docker goes on with these arguments.
    GoOn(Vec<OsString>),
    /// It cannot be told what is meant.
    NotUnderstood(CliError),
}

fn work(real: &RealDocker, job: &Job) -> ExitCode {
    runtime::start_log(if job.line.globals.is_on("debug") { "debug" } else { "warn" });
    let outcome = runtime::block_on(Threads::One, async {
        match job.rule {
            Rule::Push => images::push(job, real).await,
            Rule::Pull => images::pull(job, real).await,
            Rule::Create | Rule::Run => container::create(job, real).await,
            Rule::ServiceCreate => service::create(job, real).await,
            Rule::ServiceUpdate => service::update(job, real).await,
            Rule::Build => Box::pin(build::build(job, real)).await,
            Rule::Compose => compose::compose(job, real).await,
            _ => Err(CliError::internal(&"a rule without work to do")),
        }
    });
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Ok(Outcome::GoOn(arguments)) => hand_over(real, &arguments, TrustVariable::Removed),
        Ok(Outcome::NotUnderstood(error)) => Ending::Usage.failed(&error),
        Err(error) => Ending::of(job.rule).failed(&error),
    }
}
