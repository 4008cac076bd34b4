//! `docker service create` and `docker service update`.

use super::Outcome;
use super::container::no_image_mounts;
use super::decision::Job;
use super::means::Means;
use super::real_docker::RealDocker;
use super::resolve::{Resolved, Resolver};
use super::switch::TRUST_VARIABLE;
use crate::error::CliError;
use std::ffi::OsString;

/// Verifies the image of a new service and goes on with its digest.
pub(crate) async fn create(job: &Job, real: &RealDocker) -> Result<Outcome, CliError> {
    let Some(image) = job.parsed.positional.first() else {
        return Err(job.wrong_number("requires at least 1 argument"));
    };
    no_image_mounts(job, "mount")?;
    let resolved = resolve(job, real, &image.text).await?;
    Ok(Outcome::GoOn(job.with_argument(image.index, &pinned(&resolved))))
}

/// Verifies the image that a service is to have, if it is to have another.
pub(crate) async fn update(job: &Job, real: &RealDocker) -> Result<Outcome, CliError> {
    no_image_mounts(job, "mount-add")?;
    let Some(image) = job.parsed.uses("image").next_back() else {
        return Ok(Outcome::GoOn(job.line.with_own(job.own.iter().cloned())));
    };
    let pinned = pinned(&resolve(job, real, &image.value).await?);
    let (index, text) =
        if image.apart { (image.index + 1, pinned) } else { (image.index, format!("--image={pinned}")) };
    let arguments: Vec<OsString> = job.with_argument(index, &text);
    Ok(Outcome::GoOn(arguments))
}

async fn resolve(job: &Job, real: &RealDocker, image: &str) -> Result<Resolved, CliError> {
    let means = Means::of(&job.line, real)?;
    let resolved = Resolver::new(&means.context, "was verified for a service").resolve(image).await;
    resolved.map_err(|mut error| {
        error.message = format!("failed to resolve image digest using content trust: {}", error.message);
        error.hints.retain(|hint| !hint.contains("--disable-content-trust"));
        error.hint(format!("{TRUST_VARIABLE}=0 before the command does it without signatures"))
    })
}

/// Names tag and digest: the service shows both.
fn pinned(resolved: &Resolved) -> String {
    let digest = format!("sha256:{}", resolved.released.sha256.hex());
    match resolved.reference.tag() {
        Some(tag) => format!("{}:{tag}@{digest}", resolved.reference.repository().familiar()),
        None => resolved.pinned(),
    }
}
