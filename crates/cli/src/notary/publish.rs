//! `notary publish`, and what `--publish` does after a change was staged.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::Invocation;
use super::{print, record, witness};
use crate::notes;
use countersign_notary::Access;
use countersign_trust::Published;

/// Publishes everything that is staged.
pub(super) async fn run(invocation: &Invocation) -> Result<(), Failure> {
    let gun = invocation.gun()?;
    let session = Session::open(invocation, gun.clone(), Reach::Service)?;
    print(format_args!("Pushing changes to {gun}\n"))?;
    publish(&session).await
}

/// Returns how far a command reaches that can publish what it stages.
pub(super) fn reach(invocation: &Invocation) -> Reach {
    if invocation.is_on("publish") { Reach::Service } else { Reach::Local }
}

/// Publishes if the caller wants that at once.
pub(super) async fn if_wanted(invocation: &Invocation, session: &Session) -> Result<(), Failure> {
    if !invocation.is_on("publish") {
        return Ok(());
    }
    print(format_args!("Auto-publishing changes to {}\n", session.gun()))?;
    publish(session).await
}

async fn publish(session: &Session) -> Result<(), Failure> {
    let outcome = session.at_service(Access::Write, async |client| client.publish_staged(&witness::show).await).await;
    let done = outcome.map_err(|failure| record::not_published(session, failure))?;
    let collection = match &done.published {
        Published::Unchanged(collection) => {
            notes::show(collection);
            collection
        }
        Published::Stored { collection, base, unpurged, .. } => {
            notes::show_published(base.as_deref(), collection);
            for role in unpurged {
                crate::output::message(format_args!(
                    "warning: {role} still lists purged keys: it cannot be signed here"
                ));
            }
            record::published(session, collection, &done.changes)?;
            collection
        }
    };
    print(format_args!("Successfully published changes for repository {}\n", collection.gun()))
}
