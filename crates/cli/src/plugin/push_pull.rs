//! `docker trust push` and `docker trust pull`: what docker 28 did on push and pull, and docker 29 does no more.

use super::line::Call;
use super::session::{context, engines};
use crate::error::CliError;
use crate::output::data;
use crate::trusted::Lines;
use crate::trusted::pull::{self, Pulling, Told};
use crate::trusted::push::{self, Which};
use crate::trusted::words::user;
use countersign_image::{Platform, Reference};

/// Pushes and signs. As with docker, `-q` changes nothing where signing is to be seen.
pub(super) async fn push(call: &Call) -> Result<(), CliError> {
    let which = if call.own.is_on("all-tags") { Which::All } else { Which::Tag };
    let reference = push::subject(image(call), which)?;
    let context = context(call)?;
    push::push(&context, &engines(call, &context)?, &reference, which).await
}

/// Verifies and pulls.
pub(super) async fn pull(call: &Call) -> Result<(), CliError> {
    let (all, quiet) = (call.own.is_on("all-tags"), call.own.is_on("quiet"));
    let reference = Reference::parse(image(call))?;
    let platform = call.own.value("platform").filter(|text| !text.is_empty()).map(str::parse::<Platform>);
    let platform = platform.transpose().map_err(user)?;
    let lines = if quiet { Lines::quiet } else { Lines::stdout };
    let pulling = Pulling { platform, lines, told: Told::Pull };
    if reference.digest().is_some() {
        return Err(user("a digest is not signed: name a tag").hint("docker pull takes a digest, and checks it"));
    }
    if all && reference.tag().is_some() {
        return Err(user("tag can't be used with --all-tags/-a"));
    }
    let context = context(call)?;
    let engines = engines(call, &context)?;
    if all {
        return pull::pull_all(&context, &engines, &reference, &pulling).await;
    }
    if reference.tag().is_none() && !quiet {
        data("Using default tag: latest")?;
    }
    pull::pull(&context, &engines, &reference.or_latest(), &pulling).await
}

fn image(call: &Call) -> &str {
    call.own.positional.first().map(|image| image.text.as_str()).unwrap_or_default()
}
