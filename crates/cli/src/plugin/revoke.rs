//! `docker trust revoke`: take signatures back.

use super::line::Call;
use super::session::{about, context};
use crate::audit::Action;
use crate::context::Context;
use crate::error::CliError;
use crate::output::data;
use crate::prompt::Voice;
use crate::trusted::words::{plain, user};
use crate::trusted::{remark, retiring};
use countersign_image::{Reference, Tag};
use countersign_notary::Access;
use countersign_trust::Revoked;

pub(super) async fn run(call: &Call) -> Result<(), CliError> {
    let image = call.own.texts().first().map(|image| (*image).to_owned()).unwrap_or_default();
    let reference = Reference::parse(&image)?;
    if reference.digest().is_some() {
        return Err(user("cannot use a digest reference for IMAGE:TAG"));
    }
    let name = reference.tag().map(Tag::as_str);
    let context = context(call)?;
    let question = format!("Confirm you would like to delete all signature data for {image}?");
    if name.is_none() && !call.own.is_on("yes") && !Voice::Docker.confirms(question) {
        return Err(user("nothing was revoked: not confirmed"));
    }
    let gun = reference.gun().as_str();
    let revoked = revoke(&context, &reference, name).await.map_err(|error| {
        let error = CliError { message: format!("could not remove signature for {image}: {}", error.message), ..error };
        context.audit.refused(Action::Revoke, gun, name.unwrap_or("*"), error)
    })?;
    if let Some(base) = &revoked.base {
        remark(base);
    }
    for tag in &revoked.names {
        context.audit.revoked(gun, tag)?;
    }
    data(format_args!("Successfully deleted signature for {image}"))
}

async fn revoke(context: &Context, reference: &Reference, name: Option<&str>) -> Result<Revoked, CliError> {
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Write)?;
    retiring(&client);
    client.revoke(name).await.map_err(|error| plain(error, about(reference.gun(), &client)))
}
