//! `countersign pull`: pull exactly the signed image.

use super::verify::{resolve, subject, tagged};
use crate::audit::Action;
use crate::context::{Context, GlobalOptions};
use crate::error::{CliError, Kind};
use crate::images::{EngineFlags, RegistryFlags, engine_auth};
use crate::layouts::Target;
use crate::output;
use crate::progress::Bars;
use crate::trust_switch::TrustSwitch;
use clap::Args;
use countersign_engine::ImageName;
use countersign_image::{
    Descriptor, Digest, Document, ImageManifest, ImageSink, Platform, PlatformWalk, Reference, Repository, WalkStep,
};
use countersign_registry::distribution::{DocumentName, RegistryClient};
use countersign_registry::pull_image;
use countersign_trust::ReleasedTag;
use std::sync::Arc;

/// Pull the image that is signed under a tag, or nothing
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The image, with a tag [default tag: latest]
    #[arg(value_name = "IMAGE[:TAG]")]
    image: String,
    /// The platform to take from a multi-platform image, for example linux/arm64
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    platform: Option<Platform>,
    /// Write to an OCI layout folder or an archive instead of into the engine: oci:DIR, oci-archive:FILE, docker-archive:FILE
    #[arg(long, value_name = "FORM:PATH")]
    to: Option<Target>,
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
        if self.trust.is_on()? {
            let (gun, name) = subject(&reference);
            let pulled = self.pull_signed(&context, &reference).await;
            let tag = pulled.map_err(|error| context.audit.refused(Action::Verify, gun, name, error))?;
            context.audit.done(Action::Verify, gun, &tag, "was verified and pulled")?;
            return output::data(format_args!("{reference}@sha256:{}", tag.sha256.hex()));
        }
        let client = self.registry.connect(&context, reference.registry()).await?;
        let Some(tag) = reference.tag() else { return Err(CliError::user("no tag specified")) };
        let digest = client.document(reference.repository(), DocumentName::Tag(tag)).await?.descriptor.digest;
        self.pull(&context, &reference, &digest, None).await?;
        output::data(format_args!("{reference}@{digest}"))
    }

    async fn pull_signed(&self, context: &Context, reference: &Reference) -> Result<ReleasedTag, CliError> {
        let tag = resolve(context, reference).await?;
        self.pull(context, reference, &Digest::Sha256(tag.sha256), Some(tag.length)).await?;
        Ok(tag)
    }

    async fn pull(
        &self,
        context: &Context,
        reference: &Reference,
        digest: &Digest,
        size: Option<u64>,
    ) -> Result<(), CliError> {
        match &self.to {
            Some(target) => self.pull_to_disk(context, reference, digest, size, target).await,
            None => self.pull_into_engine(context, reference, digest).await,
        }
    }

    /// Fetches by digest, hashing every byte; nothing appears at the target before all of it is there.
    async fn pull_to_disk(
        &self,
        context: &Context,
        reference: &Reference,
        digest: &Digest,
        size: Option<u64>,
        target: &Target,
    ) -> Result<(), CliError> {
        let repository = reference.repository();
        let writer = target.create()?;
        let client = self.registry.connect(context, reference.registry()).await?;
        let document = client.document(repository, DocumentName::Digest(digest)).await?;
        if let Some(signed) = size.filter(|signed| *signed != document.descriptor.size) {
            let message = format!("{digest} has {} bytes, signed are {signed}: refused", document.descriptor.size);
            return Err(CliError::new(Kind::Trust, message));
        }
        if let (Some(wanted), Document::Manifest(manifest)) = (&self.platform, &document.document) {
            check_platform(&client, repository, manifest, wanted).await?;
        }
        let mut root = document.descriptor;
        if self.platform.is_some() || target.is_single_platform() {
            let platform = self.platform.clone().unwrap_or_else(Platform::host);
            root = one_platform(&client, repository, root, document.document, platform).await?;
        }
        pull_image(&client, repository, &root, Arc::clone(&writer) as Arc<dyn ImageSink>, &Bars::new()).await?;
        target.finish(writer, &root, reference)
    }

    /// Has the engine pull by digest, makes sure that it did, and only then gives the image its tag.
    async fn pull_into_engine(
        &self,
        context: &Context,
        reference: &Reference,
        digest: &Digest,
    ) -> Result<(), CliError> {
        let engine = self.engine.connect(context).await?;
        let auth = engine_auth(context, reference.registry()).await;
        let repository = reference.repository();
        output::message(format_args!("Pull (1 of 1): {}@{digest}", reference.familiar()));
        let bars = Bars::new();
        engine.pull(repository, digest, self.platform.as_ref(), &auth).finish_with(|event| bars.engine(event)).await?;
        engine.confirm(repository, digest).await.map_err(|error| CliError::new(Kind::Trust, error))?;
        let by_digest = repository.with_digest(digest.clone());
        let Some(tag) = reference.tag() else { return Err(CliError::user("no tag specified")) };
        output::message(format_args!("Tagging {} as {}", by_digest.familiar(), reference.familiar()));
        Ok(engine.tag(&ImageName::from(&by_digest), repository, tag).await?)
    }
}

/// Refuses an image that says itself that it runs elsewhere than wanted: without an index there is no other to choose.
async fn check_platform(
    client: &RegistryClient,
    repository: &Repository,
    manifest: &ImageManifest,
    wanted: &Platform,
) -> Result<(), CliError> {
    let config = client.small_blob(repository, &manifest.config).await?;
    // What has no configuration of an image, a chart for example, runs nowhere in particular.
    let Ok(offered) = serde_json::from_slice::<Platform>(&config) else { return Ok(()) };
    let says_nothing = offered.os.is_empty() && offered.architecture.is_empty();
    if says_nothing || wanted.rank(&offered).is_some() {
        return Ok(());
    }
    Err(CliError::user(format!("the image is for {offered} alone, wanted is {wanted}")))
}

/// Walks from an index to the manifest of one platform; each step is named by a digest in the document before.
async fn one_platform(
    client: &RegistryClient,
    repository: &Repository,
    root: Descriptor,
    document: Document,
    platform: Platform,
) -> Result<Descriptor, CliError> {
    let mut walk = PlatformWalk::new(platform);
    let (mut at, mut document) = (root, document);
    loop {
        match walk.feed(document).map_err(CliError::user)? {
            WalkStep::Image(_) => return Ok(at),
            WalkStep::Fetch(next) => {
                document = client.described_document(repository, &next).await?.document;
                at = *next;
            }
        }
    }
}
