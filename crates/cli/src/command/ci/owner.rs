//! The owner's half: letting a pipeline's key sign in a collection.

use crate::context::Context;
use crate::error::{CliError, Kind};
use countersign_crypto::PublicKey;
use countersign_image::Reference;
use countersign_notary::Access;
use countersign_trust::SignerName;
use countersign_tuf::{Gun, RoleName};

const TARGETS: &str = "targets";

/// What became of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// The key may sign.
    Added,
    /// The owner's key is not here: somebody else has to add it.
    OwnersTurn,
}

/// Tells whether the key of a collection's owner is in the trust directory.
pub(super) fn is_here(context: &Context, gun: &Gun) -> Result<bool, CliError> {
    let keys = context.directory.keys().list()?.keys;
    Ok(keys.iter().any(|key| key.role == TARGETS && key.gun.as_ref() == Some(gun)))
}

/// Adds the signer where the owner's key is here. Nothing is published for a collection that does not exist.
pub(super) async fn admit(
    context: &Context,
    reference: &Reference,
    signer: &SignerName,
    key: &PublicKey,
) -> Result<Admission, CliError> {
    let gun = reference.gun();
    if !is_here(context, gun)? {
        return Ok(Admission::OwnersTurn);
    }
    let pinning = context.pinning(reference);
    let client = context.client(reference, &pinning, Access::Write)?;
    let Some(collection) = client.published().await? else {
        let text = format!("nothing of {gun} is signed yet, so there is nobody to let a signer in");
        return Err(CliError::new(Kind::User, text).hint(format!("sign something first: countersign sign {gun}:TAG")));
    };
    let owners = collection.root().trusted(&RoleName::Targets).map(|keys| keys.key_ids.len()).unwrap_or_default();
    if owners == 0 {
        return Ok(Admission::OwnersTurn);
    }
    client.add_signer(signer, std::slice::from_ref(key)).await?;
    Ok(Admission::Added)
}

/// The command that the owner runs.
pub(super) fn command(reference: &Reference, signer: &SignerName, public_key: &str) -> String {
    format!("docker trust signer add --key {public_key} {signer} {}", reference.repository())
}
