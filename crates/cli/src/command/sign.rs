//! `countersign sign`: sign a tag as the registry holds it.

use super::verify::{subject, tagged};
use crate::audit::Action;
use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use crate::images::{RegistryFlags, sha256};
use crate::progress::showing;
use crate::{notes, output};
use clap::Args;
use countersign_image::{Descriptor, Digest, Reference};
use countersign_notary::Access;
use countersign_registry::distribution::DocumentName;
use countersign_trust::{News, SignRequest, Signed};

/// Sign a tag of a registry: the image or multi-platform index that is there
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The image, with a tag [default tag: latest]
    #[arg(value_name = "IMAGE[:TAG]")]
    image: String,
    /// Sign this digest under the tag instead of what the tag points to now
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<Digest>,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl Sign {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let reference = tagged(&self.image)?;
        let context = Context::new(options)?;
        let signed = self.sign(&context, &reference).await;
        conclude(&context, &reference, signed)
    }

    async fn sign(&self, context: &Context, reference: &Reference) -> Result<Signed, CliError> {
        let client = self.registry.connect(context, reference.registry()).await?;
        let name = match (&self.digest, reference.tag()) {
            (Some(digest), _) => DocumentName::Digest(digest),
            (None, Some(tag)) => DocumentName::Tag(tag),
            (None, None) => return Err(CliError::user(format!("no tag specified for {}", self.image))),
        };
        let document = client.document(reference.repository(), name).await?;
        sign(context, reference, &document.descriptor).await
    }
}

/// Signs what a registry holds under a tag; [`conclude`] says what became of it.
pub(crate) async fn sign(context: &Context, reference: &Reference, held: &Descriptor) -> Result<Signed, CliError> {
    let name = subject(reference).1.to_owned();
    let request = SignRequest { name, sha256: sha256(held)?, length: held.size };
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Write)?;
    Ok(showing("signing and publishing", Box::pin(client.sign(&[request]))).await?)
}

/// Ends a command that signs: one line in the audit log, whether it signed or not, and the outcome for the person.
pub(crate) fn conclude(
    context: &Context,
    reference: &Reference,
    signed: Result<Signed, CliError>,
) -> Result<(), CliError> {
    let (gun, name) = subject(reference);
    let signed = signed.map_err(|error| context.audit.refused(Action::Sign, gun, name, error))?;
    report(context, reference, &signed)
}

fn report(context: &Context, reference: &Reference, signed: &Signed) -> Result<(), CliError> {
    notes::show_published(signed.base.as_deref(), &signed.collection);
    let done = match signed.news {
        News::NewCollection | News::Published => "was signed and published",
        News::AlreadySigned => "was signed already and nothing was published",
    };
    for tag in &signed.tags {
        context.audit.done(Action::Sign, reference.gun().as_str(), tag, done)?;
        let pinned = format!("{}:{}@sha256:{}", reference.repository(), tag.name, tag.sha256.hex());
        match signed.news {
            News::NewCollection => {
                output::message(format_args!("Finished initializing {:?}", reference.repository().as_str()));
                output::data(format_args!("Successfully signed {pinned}"))?;
            }
            News::Published => output::data(format_args!("Successfully signed {pinned}"))?,
            News::AlreadySigned => output::data(format_args!("Already signed, nothing published: {pinned}"))?,
        }
    }
    Ok(())
}
