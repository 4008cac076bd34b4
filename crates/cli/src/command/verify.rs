//! `countersign verify`: what is signed under a tag, and by whom.

use super::Format;
use crate::audit::Action;
use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use crate::progress::showing;
use crate::{notes, output};
use clap::Args;
use countersign_image::{Reference, Tag};
use countersign_notary::Access;
use countersign_trust::ReleasedTag;
use countersign_tuf::Collection;

/// Verify a tag's signature and print the digest it stands for
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The image, with a tag [default tag: latest]
    #[arg(value_name = "IMAGE[:TAG]")]
    image: String,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

impl Verify {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let reference = tagged(&self.image)?;
        let context = Context::new(options)?;
        let (gun, name) = subject(&reference);
        let tag = resolve(&context, &reference).await;
        let tag = tag.map_err(|error| context.audit.refused(Action::Verify, gun, name, error))?;
        context.audit.done(Action::Verify, gun, &tag, "was verified")?;
        match self.format {
            Format::Text => output::data(format_args!("{}@sha256:{}", reference.repository(), tag.sha256.hex())),
            Format::Json => output::data(serde_json::json!({
                "image": reference.to_string(),
                "digest": format!("sha256:{}", tag.sha256.hex()),
                "size": tag.length,
                "role": tag.role.as_str(),
                "keys": tag.key_ids.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })),
        }
    }
}

/// Parses an image with a tag, `latest` if it has none.
pub(crate) fn tagged(image: &str) -> Result<Reference, CliError> {
    let reference = Reference::parse(image)?.or_latest();
    if reference.digest().is_some() || reference.tag().is_none() {
        return Err(CliError::user(format!("{image} names a digest: signatures are about tags, name one")));
    }
    Ok(reference)
}

/// Returns the collection and the tag that a command is about.
pub(crate) fn subject(reference: &Reference) -> (&str, &str) {
    (reference.gun().as_str(), reference.tag().map_or("latest", Tag::as_str))
}

/// Verifies a tag; whoever calls writes down how the command ends.
pub(crate) async fn resolve(context: &Context, reference: &Reference) -> Result<ReleasedTag, CliError> {
    let (tag, collection) = find(context, reference, subject(reference).1).await?;
    notes::show(&collection);
    Ok(tag)
}

async fn find(context: &Context, reference: &Reference, name: &str) -> Result<(ReleasedTag, Collection), CliError> {
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Read)?;
    Ok(showing("looking for signatures", Box::pin(client.find(name))).await?)
}
