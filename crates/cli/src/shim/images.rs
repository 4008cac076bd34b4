//! `docker push` and `docker pull`.

use super::Outcome;
use super::decision::Job;
use super::means::Means;
use super::real_docker::RealDocker;
use super::resolve::Resolver;
use crate::error::CliError;
use crate::output::data;
use crate::trusted::Lines;
use crate::trusted::pull::{self, Pulling, Told};
use crate::trusted::push::{self, Which};
use crate::trusted::words::user;
use countersign_image::{Platform, Reference};

/// Pushes through the engine and signs. As with docker, `-q` changes nothing where signing is to be seen.
pub(crate) async fn push(job: &Job, real: &RealDocker) -> Result<Outcome, CliError> {
    let image = job.one_argument()?;
    if job.parsed.value("platform").is_some_and(|platform| !platform.is_empty()) {
        return Err(user("--platform is not supported where images are signed")
            .hint("push all of it, or sign what the registry holds with docker trust sign"));
    }
    let which = if job.parsed.is_on("all-tags") { Which::All } else { Which::Tag };
    let reference = push::subject(image, which)?;
    let means = Means::of(&job.line, real)?;
    push::push(&means.context, &means.engines, &reference, which).await?;
    Ok(Outcome::Done)
}

/// Verifies and pulls.
pub(crate) async fn pull(job: &Job, real: &RealDocker) -> Result<Outcome, CliError> {
    let image = job.one_argument()?;
    let (all, quiet) = (job.parsed.is_on("all-tags"), job.parsed.is_on("quiet"));
    let reference = Reference::parse(image).map_err(user)?;
    if all && (reference.tag().is_some() || reference.digest().is_some()) {
        return Err(user("tag can't be used with --all-tags/-a"));
    }
    let means = Means::of(&job.line, real)?;
    if reference.digest().is_some() {
        Resolver::new(&means.context, "was verified").resolve(image).await?;
        return Ok(Outcome::GoOn(job.line.with_own(job.own.iter().cloned())));
    }
    let pulling =
        Pulling { platform: platform(job)?, lines: if quiet { Lines::quiet } else { Lines::stdout }, told: Told::Pull };
    if all {
        pull::pull_all(&means.context, &means.engines, &reference, &pulling).await?;
        return Ok(Outcome::Done);
    }
    if reference.tag().is_none() && !quiet {
        data("Using default tag: latest")?;
    }
    pull::pull(&means.context, &means.engines, &reference.or_latest(), &pulling).await?;
    Ok(Outcome::Done)
}

/// Reads `--platform`.
///
/// # Errors
/// It names none.
pub(crate) fn platform(job: &Job) -> Result<Option<Platform>, CliError> {
    let platform = job.parsed.value("platform").filter(|text| !text.is_empty());
    platform.map(str::parse::<Platform>).transpose().map_err(user)
}
