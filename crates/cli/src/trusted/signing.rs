//! Signing what a registry holds, as the second half of a push.

use super::words::{About, decorated, plain};
use super::{remark, retiring};
use crate::audit::Action;
use crate::context::Context;
use crate::error::CliError;
use crate::images::sha256;
use crate::output;
use countersign_image::{Descriptor, Reference, Tag};
use countersign_notary::Access;
use countersign_trust::{CollectionClient, News, SignRequest, Signed, TrustError};

/// A tag, and what the registry holds under it.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    pub(crate) tag: Tag,
    pub(crate) image: Descriptor,
}

/// Signs tags of one repository in one publication and says so in docker's words.
pub(crate) async fn sign_all(context: &Context, reference: &Reference, held: &[Held]) -> Result<(), CliError> {
    output::data("Signing and pushing trust metadata")?;
    let signed = publish(context, reference, held).await;
    let tags: Vec<&str> = held.iter().map(|held| held.tag.as_str()).collect();
    conclude(context, reference, &tags, signed)
}

async fn publish(context: &Context, reference: &Reference, held: &[Held]) -> Result<Signed, CliError> {
    let request = |held: &Held| {
        let (name, length) = (held.tag.as_str().to_owned(), held.image.size);
        sha256(&held.image).map(|sha256| SignRequest { name, sha256, length })
    };
    let requests = held.iter().map(request).collect::<Result<Vec<_>, _>>()?;
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Write)?;
    retiring(&client);
    let signed = client.sign(&requests).await;
    signed.map_err(|error| failed(error, &subject(reference, held), reference, &client))
}

/// Words an error of signing: docker decorates what goes wrong before there is anything to sign.
pub(crate) fn failed(
    error: TrustError,
    subject: &str,
    reference: &Reference,
    client: &CollectionClient<'_>,
) -> CliError {
    let service = client.service().address().authority().to_owned();
    let about = About { repository: reference.gun().as_str(), service: &service };
    if matches!(error, TrustError::Update(_) | TrustError::Service(_)) {
        return decorated(error, about);
    }
    let error = plain(error, about);
    CliError { message: format!("failed to sign {subject}: {}", error.message), ..error }
}

/// What is signed: the tag with its repository, or the repository if there are several.
fn subject(reference: &Reference, held: &[Held]) -> String {
    match held {
        [one] => format!("{}:{}", reference.repository(), one.tag),
        _ => reference.repository().to_string(),
    }
}

/// Writes the outcome down, in the audit log and for the person.
pub(crate) fn conclude(
    context: &Context,
    reference: &Reference,
    tags: &[&str],
    signed: Result<Signed, CliError>,
) -> Result<(), CliError> {
    let gun = reference.gun().as_str();
    let signed = signed.map_err(|mut error| {
        for tag in tags {
            error = context.audit.refused(Action::Sign, gun, tag, error);
        }
        error
    })?;
    if let Some(base) = &signed.base {
        remark(base);
    }
    let done = match signed.news {
        News::NewCollection | News::Published => "was signed and published",
        News::AlreadySigned => "was signed already and nothing was published",
    };
    if signed.news == News::NewCollection {
        output::data(format_args!("Finished initializing {:?}", reference.repository().as_str()))?;
    }
    for tag in &signed.tags {
        context.audit.done(Action::Sign, gun, tag, done)?;
        output::data(format_args!("Successfully signed {}:{}", reference.repository(), tag.name))?;
    }
    Ok(())
}
