//! `docker create` and `docker run`.

use super::Outcome;
use super::decision::Job;
use super::images::platform;
use super::means::Means;
use super::real_docker::RealDocker;
use super::resolve::{Resolved, Resolver};
use crate::error::{CliError, Kind};
use crate::output::message;
use crate::trusted::Lines;
use crate::trusted::pull::{self, Pulling, Told};
use crate::trusted::words::of_engine;
use countersign_engine::ImageName;
use std::ffi::OsString;

/// Verifies the image and goes on with its digest.
///
/// The container is made from the digest whatever the engine has under the tag, so that nothing can come in between.
pub(crate) async fn create(job: &Job, real: &RealDocker) -> Result<Outcome, CliError> {
    let Some(image) = job.parsed.positional.first() else {
        return Err(job.wrong_number("requires at least 1 argument"));
    };
    no_image_mounts(job, "mount")?;
    let means = Means::of(&job.line, real)?;
    let resolved = Resolver::new(&means.context, "was verified for a container").resolve(&image.text).await?;
    let fetched = fetch_if_wanted(job, &means, &resolved).await?;
    let mut arguments = job.with_argument(image.index, &resolved.pinned());
    if fetched == Fetched::Yes && job.parsed.value("pull") == Some("always") {
        // It has just been pulled: the last flag counts.
        arguments
            .insert(job.line.start + image.index - before_image(job, image.index), OsString::from("--pull=missing"));
    }
    Ok(Outcome::GoOn(arguments))
}

/// Whether the image was pulled here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fetched {
    Yes,
    No,
}

/// Pulls and tags an image that is named by tag, as docker does. One that is named by digest is left to the real docker.
async fn fetch_if_wanted(job: &Job, means: &Means, resolved: &Resolved) -> Result<Fetched, CliError> {
    let policy = job.parsed.value("pull").unwrap_or("missing");
    if policy == "never" || !resolved.is_tagged() {
        return Ok(Fetched::No);
    }
    let quiet = job.parsed.is_on("quiet");
    if policy != "always" {
        let engine = means.engines.connect().await?;
        if engine.inspect(&ImageName::from(&resolved.by_digest())).await.map_err(of_engine)?.is_some() {
            return Ok(Fetched::No);
        }
        if !quiet {
            message(format_args!("Unable to find image '{}' locally", resolved.reference.familiar()));
        }
    }
    let lines = if quiet { Lines::quiet } else { Lines::stderr };
    let pulling = Pulling { platform: platform(job)?, lines, told: Told::Nothing };
    let Resolved { reference, released } = resolved;
    pull::fetch(&means.context, &means.engines, reference, released, &pulling).await?;
    Ok(Fetched::Yes)
}

/// Tells whether `--` stands right before the image: a flag goes before it.
fn before_image(job: &Job, image: usize) -> usize {
    let before = image.checked_sub(1).and_then(|at| job.own.get(at));
    let is_value = job.parsed.occurrences.iter().any(|used| used.apart && used.index + 2 == image);
    usize::from(before.is_some_and(|argument| argument == "--") && !is_value)
}

/// Refuses mounts of images: what is in them reaches the container without anybody looking at signatures.
///
/// # Errors
/// There is one.
pub(crate) fn no_image_mounts(job: &Job, flag: &str) -> Result<(), CliError> {
    let is_image = |field: &str| {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let bare = |text: &str| text.trim().trim_matches('"').to_lowercase();
        bare(key) == "type" && bare(value) == "image"
    };
    match job.parsed.values(flag).iter().find(|mount| mount.split(',').any(is_image)) {
        None => Ok(()),
        Some(mount) => Err(CliError::new(Kind::Trust, format!("--{flag} {mount}: mounts of images are not verified"))
            .hint("--disable-content-trust mounts an image that nobody vouches for")),
    }
}
