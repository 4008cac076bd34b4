//! `countersign push`: push an image and sign what the registry then holds.

use super::sign::{conclude, sign};
use super::verify::tagged;
use crate::context::{Context, GlobalOptions};
use crate::error::{CliError, Kind};
use crate::images::{EngineFlags, RegistryFlags, engine_auth};
use crate::layouts::Source;
use crate::output;
use crate::progress::Bars;
use crate::registry_error::of_push_from_disk;
use crate::trust_switch::TrustSwitch;
use clap::Args;
use countersign_engine::{PushTarget, pushed_manifest};
use countersign_image::{Descriptor, Reference};
use countersign_registry::distribution::{DocumentName, RegistryClient, RegistryError};
use countersign_registry::{PushOptions, push_image};
use countersign_trust::Signed;

/// Push an image and sign it
#[derive(Debug, Args)]
pub(crate) struct Push {
    /// The image, with a tag [default tag: latest]
    #[arg(value_name = "IMAGE[:TAG]")]
    image: String,
    /// Push from an OCI layout folder or an OCI or docker archive instead of from the engine
    #[arg(long, value_name = "[FORM:]PATH")]
    from: Option<Source>,
    #[command(flatten)]
    trust: TrustSwitch,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    engine: EngineFlags,
}

impl Push {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let reference = tagged(&self.image)?;
        let context = Context::new(options)?;
        if self.trust.is_on()? {
            let signed = self.push_and_sign(&context, &reference).await;
            return conclude(&context, &reference, signed);
        }
        let held = self.push(&context, &reference).await?;
        output::data(format_args!("Pushed unsigned {reference}@{}", held.digest))
    }

    async fn push_and_sign(&self, context: &Context, reference: &Reference) -> Result<Signed, CliError> {
        let held = self.push(context, reference).await?;
        sign(context, reference, &held).await
    }

    async fn push(&self, context: &Context, reference: &Reference) -> Result<Descriptor, CliError> {
        let client = self.registry.connect(context, reference.registry()).await?;
        let held = match &self.from {
            Some(source) => push_from_disk(source, reference, &client).await?,
            None => self.push_from_engine(context, reference, &client).await?,
        };
        output::message(format_args!("{}: digest: {} size: {}", reference, held.digest, held.size));
        Ok(held)
    }

    /// Has the engine push, and looks at the registry for what is there then: the engine's word is not enough to sign.
    async fn push_from_engine(
        &self,
        context: &Context,
        reference: &Reference,
        client: &RegistryClient,
    ) -> Result<Descriptor, CliError> {
        let engine = self.engine.connect(context).await?;
        let auth = engine_auth(context, reference.registry()).await;
        let Some(tag) = reference.tag() else { return Err(CliError::user("no tag specified")) };
        let bars = Bars::new();
        let push = engine.push(reference.repository(), PushTarget::Tag(tag), &auth);
        let pushed = pushed_manifest(push, reference.repository(), tag, |event| bars.engine(event)).await?;
        let document = client.document(reference.repository(), DocumentName::Digest(&pushed.digest)).await;
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
}

/// Pushes layers in parallel, streamed; the tag is set last.
async fn push_from_disk(
    source: &Source,
    reference: &Reference,
    client: &RegistryClient,
) -> Result<Descriptor, CliError> {
    let (images, root) = source.open(reference)?;
    let to = PushOptions { repository: reference.repository(), tag: reference.tag(), mount_from: &[] };
    let pushed = push_image(client, images, &root, to, &Bars::new()).await.map_err(of_push_from_disk)?;
    Ok(Descriptor { digest: pushed.stored.digest, size: pushed.stored.size, ..root })
}
