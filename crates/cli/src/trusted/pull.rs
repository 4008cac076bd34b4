//! Verifying a tag, pulling exactly that digest through the engine, and giving it its tag.

use super::words::{About, decorated, of_engine, user};
use super::{Engines, Lines, remark, retiring};
use crate::audit::Action;
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::images::engine_auth;
use crate::output;
use countersign_engine::ImageName;
use countersign_image::{Digest, Platform, Reference, Tag};
use countersign_notary::Access;
use countersign_trust::report::Report;
use countersign_trust::{ReleasedTag, TrustError};
use countersign_tuf::update::Purpose;

/// What to pull, and how to talk about it.
pub(crate) struct Pulling {
    /// The platform to take from a multi-platform image.
    pub(crate) platform: Option<Platform>,
    /// Where the engine's words go.
    pub(crate) lines: fn() -> Lines,
    /// How much is told on stdout.
    pub(crate) told: Told,
}

/// How much is told on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// As `docker pull` does.
    Pull,
    /// Nothing, as where a container is made.
    Nothing,
}

/// Verifies a tag and returns what is released under it.
///
/// # Errors
/// The collection cannot be verified, or the tag is not released; in docker's words, and in the audit log.
pub(crate) async fn released(context: &Context, reference: &Reference, tag: &Tag) -> Result<ReleasedTag, CliError> {
    let found = find(context, reference, tag).await;
    found.map_err(|error| context.audit.refused(Action::Verify, reference.gun().as_str(), tag.as_str(), error))
}

async fn find(context: &Context, reference: &Reference, tag: &Tag) -> Result<ReleasedTag, CliError> {
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Read)?;
    retiring(&client);
    let service = client.service().address().authority().to_owned();
    let about = About { repository: reference.gun().as_str(), service: &service };
    let collection = client.update(Purpose::Read).await.map_err(|error| decorated(error, about))?;
    remark(&collection);
    ReleasedTag::find(&collection, tag.as_str()).map_err(|error| decorated(error, about))
}

/// Verifies and pulls one tag.
///
/// # Errors
/// Nothing was pulled, or nothing was tagged.
pub(crate) async fn pull(
    context: &Context,
    engines: &Engines,
    reference: &Reference,
    pulling: &Pulling,
) -> Result<(), CliError> {
    let Some(tag) = reference.tag() else { return Err(user("no tag specified")) };
    let released = released(context, reference, tag).await?;
    pull_one(context, engines, reference, &released, (1, 1), pulling).await?;
    if pulling.told == Told::Pull { output::data(reference) } else { Ok(()) }
}

/// Verifies and pulls every released tag.
///
/// # Errors
/// A repository with nothing released, or any tag that cannot be pulled.
pub(crate) async fn pull_all(
    context: &Context,
    engines: &Engines,
    reference: &Reference,
    pulling: &Pulling,
) -> Result<(), CliError> {
    let gun = reference.gun().as_str();
    let tags = all(context, reference).await.map_err(|error| context.audit.refused(Action::Verify, gun, "*", error))?;
    let repository = reference.repository();
    if tags.is_empty() {
        let error = CliError::new(Kind::Trust, format!("No trusted tags for {repository}"));
        return Err(context.audit.refused(Action::Verify, gun, "*", error));
    }
    for (index, tag) in tags.iter().enumerate() {
        let tagged = repository.with_tag(Tag::parse(&tag.name).map_err(user)?);
        pull_one(context, engines, &tagged, tag, (index + 1, tags.len()), pulling).await?;
    }
    output::data(repository)
}

/// Returns the released tags in natural order; names that are no tags are passed over.
async fn all(context: &Context, reference: &Reference) -> Result<Vec<ReleasedTag>, CliError> {
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Read)?;
    retiring(&client);
    let service = client.service().address().authority().to_owned();
    let about = About { repository: reference.gun().as_str(), service: &service };
    let collection = client.update(Purpose::Read).await.map_err(|error| decorated(error, about))?;
    remark(&collection);
    let lookup = |error| decorated(TrustError::from(error), about);
    let report = Report::new(reference.gun().as_str(), &collection, None).map_err(lookup)?;
    let mut names: Vec<String> = report.signed_tags.into_iter().map(|tag| tag.signed_tag).collect();
    names.dedup();
    names.retain(|name| Tag::parse(name).is_ok());
    names.iter().map(|name| ReleasedTag::find(&collection, name).map_err(|error| decorated(error, about))).collect()
}

async fn pull_one(
    context: &Context,
    engines: &Engines,
    reference: &Reference,
    tag: &ReleasedTag,
    (number, of): (usize, usize),
    pulling: &Pulling,
) -> Result<(), CliError> {
    if pulling.told == Told::Pull {
        output::data(format_args!("Pull ({number} of {of}): {}@sha256:{}", reference.familiar(), tag.sha256.hex()))?;
    }
    let (gun, name) = (reference.gun().as_str(), tag.name.as_str());
    let fetched = fetch(context, engines, reference, tag, pulling).await;
    fetched.map_err(|error| context.audit.refused(Action::Verify, gun, name, error))?;
    context.audit.done(Action::Verify, gun, tag, "was verified and pulled")
}

/// Has the engine pull by digest, makes sure that it did, and only then gives the image its tag.
///
/// # Errors
/// The engine or the registry refuses, or the engine pulled something else.
pub(crate) async fn fetch(
    context: &Context,
    engines: &Engines,
    reference: &Reference,
    tag: &ReleasedTag,
    pulling: &Pulling,
) -> Result<(), CliError> {
    let engine = engines.connect().await?;
    let auth = engine_auth(context, reference.registry()).await;
    let (repository, digest) = (reference.repository(), Digest::Sha256(tag.sha256));
    let mut lines = (pulling.lines)();
    let pull = engine.pull(repository, &digest, pulling.platform.as_ref(), &auth);
    pull.finish_with(|event| lines.show(event)).await.map_err(of_engine)?;
    engine.confirm(repository, &digest).await.map_err(|error| CliError::new(Kind::Trust, error))?;
    let by_digest = repository.with_digest(digest);
    output::message(format_args!("Tagging {} as {}", by_digest.familiar(), reference.familiar()));
    let name = Tag::parse(&tag.name).map_err(user)?;
    engine.tag(&ImageName::from(&by_digest), repository, &name).await.map_err(of_engine)
}
