//! Pushing through the engine and signing what the registry then holds.

use super::signing::{Held, sign_all};
use super::words::{of_engine, user};
use super::{Engines, Lines};
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::images::{RegistryFlags, engine_auth};
use crate::output;
use countersign_engine::{Engine, Event, PushTarget, PushedManifest, pushed_manifest};
use countersign_image::{Descriptor, Reference, Repository, Tag};
use countersign_registry::distribution::{DocumentName, RegistryClient, RegistryError};

/// What of a repository is pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// One tag, `latest` if none is named.
    Tag,
    /// Every tag that the engine has.
    All,
}

/// Checks the name as docker does before it pushes.
///
/// # Errors
/// A digest, or a tag where all are asked for.
pub(crate) fn subject(image: &str, which: Which) -> Result<Reference, CliError> {
    let reference = Reference::parse(image)?;
    match (which, reference.tag(), reference.digest()) {
        (Which::All, Some(_), _) | (Which::All, _, Some(_)) => Err(user("tag can't be used with --all-tags/-a")),
        (Which::Tag, _, Some(_)) => Err(user("cannot push a digest reference")),
        (Which::Tag, None, None) => {
            output::data("Using default tag: latest")?;
            Ok(reference.or_latest())
        }
        (Which::All, None, None) | (Which::Tag, Some(_), None) => Ok(reference),
    }
}

/// Pushes and signs: one tag, or all tags of the engine in one publication.
///
/// # Errors
/// The image stays pushed if only signing fails.
pub(crate) async fn push(
    context: &Context,
    engines: &Engines,
    reference: &Reference,
    which: Which,
) -> Result<(), CliError> {
    let engine = engines.connect().await?;
    let pushed = match (which, reference.tag()) {
        (Which::Tag, Some(tag)) => vec![push_tag(context, &engine, reference, tag).await?],
        _ => push_tags(context, &engine, reference).await?,
    };
    let held = as_served(context, &engine, reference, &pushed).await?;
    sign_all(context, reference, &held).await
}

async fn push_tag(
    context: &Context,
    engine: &Engine,
    reference: &Reference,
    tag: &Tag,
) -> Result<PushedManifest, CliError> {
    let auth = engine_auth(context, reference.registry()).await;
    let mut lines = Lines::stdout();
    let push = engine.push(reference.repository(), PushTarget::Tag(tag), &auth);
    pushed_manifest(push, reference.repository(), tag, |event| see(&mut lines, event)).await.map_err(of_engine)
}

async fn push_tags(context: &Context, engine: &Engine, reference: &Reference) -> Result<Vec<PushedManifest>, CliError> {
    let auth = engine_auth(context, reference.registry()).await;
    let mut lines = Lines::stdout();
    let mut told: Vec<PushedManifest> = Vec::new();
    let push = engine.push(reference.repository(), PushTarget::AllTags, &auth);
    let pushing = push.finish_with(|event| {
        see(&mut lines, event);
        told.extend(event.pushed());
    });
    pushing.await.map_err(of_engine)?;
    let mut pushed: Vec<PushedManifest> = Vec::new();
    for manifest in told {
        match pushed.iter().find(|known| known.tag == manifest.tag) {
            Some(known) if *known == manifest => {}
            Some(_) => {
                let message = format!("the engine told two digests for {}:{}", reference.repository(), manifest.tag);
                return Err(CliError::new(Kind::Trust, message));
            }
            None => pushed.push(manifest),
        }
    }
    if pushed.is_empty() {
        return Err(CliError::new(Kind::Network, "the engine did not tell what it pushed: nothing is signed"));
    }
    Ok(pushed)
}

fn see(lines: &mut Lines, event: &Event) {
    if let Event::ManifestInsteadOfIndex { .. } = event {
        output::message("  hint: the engine pushed the image for one platform only; that is what is signed");
    }
    lines.show(event);
}

/// Looks at the registry for what the engine says it pushed: its word is not enough to sign.
async fn as_served(
    context: &Context,
    engine: &Engine,
    reference: &Reference,
    pushed: &[PushedManifest],
) -> Result<Vec<Held>, CliError> {
    let client = registry(context, engine, reference).await?;
    let mut held = Vec::with_capacity(pushed.len());
    for pushed in pushed {
        let image = served(&client, reference.repository(), pushed).await?;
        held.push(Held { tag: pushed.tag.clone(), image });
    }
    Ok(held)
}

/// Connects to a registry; if that fails, without TLS where the engine is configured so.
pub(crate) async fn registry(
    context: &Context,
    engine: &Engine,
    reference: &Reference,
) -> Result<RegistryClient, CliError> {
    let host = reference.registry();
    match RegistryFlags::default().connect(context, host).await {
        Err(_) if engine.is_insecure(host).await.unwrap_or(false) => {
            RegistryFlags::insecure(host).connect(context, host).await
        }
        connected => connected,
    }
}

/// Holds what the engine says of a manifest against the bytes that the registry serves.
pub(crate) async fn served(
    client: &RegistryClient,
    repository: &Repository,
    pushed: &PushedManifest,
) -> Result<Descriptor, CliError> {
    let document = client.document(repository, DocumentName::Digest(&pushed.digest)).await;
    let document = document.map_err(|error| match error {
        // Not the person's slip: the engine has just said that it is there.
        RegistryError::NotFound(_) => {
            CliError::new(Kind::Network, error).hint("the engine says that it pushed this: not signed")
        }
        other => other.into(),
    })?;
    if document.descriptor.size != pushed.size {
        let message = format!(
            "the engine says that {} has {} bytes, the registry serves {}: not signed",
            pushed.digest, pushed.size, document.descriptor.size
        );
        return Err(CliError::new(Kind::Trust, message));
    }
    Ok(document.descriptor)
}
