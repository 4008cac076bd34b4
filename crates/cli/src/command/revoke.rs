//! `countersign revoke`: take a tag's signature back.

use crate::audit::Action;
use crate::context::{Context, GlobalOptions};
use crate::error::CliError;
use crate::{notes, output, prompt};
use clap::Args;
use countersign_image::Reference;
use countersign_notary::Access;

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
        let name = reference.tag().map(|tag| tag.as_str());
        let question = format!("Confirm you would like to delete all signature data for {}?", self.image);
        if name.is_none() && !self.yes && !prompt::confirm(&question) {
            return Err(CliError::user("nothing was revoked: not confirmed"));
        }
        let context = Context::new(options)?;
        let pinning = context.pinning(&reference);
        let client = context.client(&reference, &pinning, Access::Write).await?;
        let gun = reference.gun().as_str();
        let revoked = match client.revoke(name).await {
            Ok(revoked) => revoked,
            Err(error) => {
                let error = CliError::from(error);
                context.audit.note(Action::Revoke, gun, name.unwrap_or("*"), Err(&error))?;
                return Err(error);
            }
        };
        notes::show(&revoked.collection);
        for tag in &revoked.names {
            context.audit.note(Action::Revoke, gun, tag, Ok(()))?;
        }
        output::data(format_args!("Successfully deleted signature for {}", self.image))
    }
}
