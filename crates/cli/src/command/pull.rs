//! `countersign pull`: pull exactly the signed image.

use super::verify::{resolve, tagged};
use crate::context::{Context, GlobalOptions};
use crate::error::{CliError, Kind};
use crate::images::{EngineFlags, RegistryFlags, engine_auth};
use crate::output;
use crate::progress::Bars;
use crate::trust_switch::TrustSwitch;
use clap::Args;
use countersign_engine::ImageName;
use countersign_image::{Digest, Platform, Reference};
use countersign_registry::distribution::DocumentName;

/// Pull the image that is signed under a tag, or nothing
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The image, with a tag [default tag: latest]
    #[arg(value_name = "IMAGE[:TAG]")]
    image: String,
    /// The platform to take from a multi-platform image, for example linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    #[command(flatten)]
    trust: TrustSwitch,
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    engine: EngineFlags,
}

impl Pull {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let reference = tagged(&self.image)?;
        let context = Context::new(options)?;
        let digest = if self.trust.is_on()? {
            Digest::Sha256(resolve(&context, &reference).await?.sha256)
        } else {
            let client = self.registry.connect(&context, reference.registry()).await?;
            let Some(tag) = reference.tag() else { return Err(CliError::user("no tag specified")) };
            client.document(reference.repository(), DocumentName::Tag(tag)).await?.descriptor.digest
        };
        self.pull_into_engine(&context, &reference, &digest).await
    }

    /// Has the engine pull by digest, makes sure that it did, and only then gives the image its tag.
    async fn pull_into_engine(
        &self,
        context: &Context,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<(), CliError> {
        let engine = self.engine.connect(context).await?;
        let auth = engine_auth(context, reference.registry()).await?;
        let repository = reference.repository();
        output::message(format_args!("Pull (1 of 1): {}@{digest}", reference.familiar()));
        let bars = Bars::new();
        engine.pull(repository, digest, self.platform.as_ref(), &auth).finish_with(|event| bars.engine(event)).await?;
        engine.confirm(repository, digest).await.map_err(|error| CliError::new(Kind::Trust, error))?;
        let by_digest = repository.with_digest(digest.clone());
        let Some(tag) = reference.tag() else { return Err(CliError::user("no tag specified")) };
        output::message(format_args!("Tagging {} as {}", by_digest.familiar(), reference.familiar()));
        engine.tag(&ImageName::from(&by_digest), repository, tag).await?;
        output::data(format_args!("{reference}@{digest}"))
    }
}
