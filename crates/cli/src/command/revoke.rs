//! `countersign revoke`: take a tag's signature back.

use crate::audit::Action;
use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use crate::progress::showing;
use crate::prompt::Voice;
use crate::{notes, output};
use clap::Args;
use countersign_image::{Reference, Tag};
use countersign_notary::Access;
use countersign_trust::Revoked;

/// Remove the signature of a tag, or of all tags
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The image; without a tag all its tags are meant
    #[arg(value_name = "IMAGE[:TAG]")]
    image: String,
    /// Do not ask before removing all signatures
    #[arg(short, long)]
    yes: bool,
}

impl Revoke {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let reference = Reference::parse(&self.image)?;
        if reference.digest().is_some() {
            return Err(CliError::user("cannot use a digest reference for IMAGE:TAG"));
        }
        let name = reference.tag().map(Tag::as_str);
        let question = format!("Confirm you would like to delete all signature data for {}?", self.image);
        if name.is_none() && !self.yes && !Voice::Native.confirms(&question) {
            return Err(CliError::user("nothing was revoked: not confirmed"));
        }
        let context = Context::new(options)?;
        let gun = reference.gun().as_str();
        let revoked = revoke(&context, &reference, name)
            .await
            .map_err(|error| context.audit.refused(Action::Revoke, gun, name.unwrap_or("*"), error))?;
        notes::show_published(revoked.base.as_deref(), &revoked.collection);
        for tag in &revoked.names {
            context.audit.revoked(gun, tag)?;
        }
        output::data(format_args!("Successfully deleted signature for {}", self.image))
    }
}

async fn revoke(context: &Context, reference: &Reference, name: Option<&str>) -> Result<Revoked, CliError> {
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Write)?;
    Ok(showing("signing and publishing", Box::pin(client.revoke(name))).await?)
}
