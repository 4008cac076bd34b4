//! `notary delete`: forgetting a collection here, and with `--remote` at the service.

use super::context::{Reach, Session};
use super::failure::Failure;
use super::invocation::Invocation;
use super::print;
use countersign_notary::Access;

/// Deletes.
pub(super) async fn run(invocation: &Invocation) -> Result<(), Failure> {
    let gun = invocation.gun()?;
    let remote = invocation.is_on("remote");
    let session = Session::open(invocation, gun.clone(), if remote { Reach::Service } else { Reach::Local })?;
    print(format_args!("Deleting trust data for repository {gun}\n"))?;
    // The service first: what is left here is what a second attempt needs.
    if remote {
        session.at_service(Access::Administer, async |client| client.delete_remote().await).await?;
    }
    session.here()?.delete_local()?;
    let where_from = if remote { "local and remote" } else { "local" };
    print(format_args!("Successfully deleted {where_from} trust data for repository {gun}\n"))
}
