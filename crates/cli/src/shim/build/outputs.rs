//! Signing what a build has pushed.

use super::options::Options;
use crate::error::{CliError, Kind};
use crate::images::RegistryFlags;
use crate::shim::means::Means;
use crate::trusted::push;
use crate::trusted::signing::{Held, sign_all};
use countersign_image::{Digest, Reference};
use countersign_registry::distribution::DocumentName;
use serde_json::Value;
use std::path::Path;

/// The largest file that buildx writes about a build, in bytes.
const MAX_METADATA: u64 = 16 << 20;

/// Signs all tags under which a build was pushed, one publication for each repository.
///
/// The digest is the one that the builder wrote down, not what a tag happens to point to now; the registry is asked for the
/// manifest or index with that digest, and its bytes are hashed.
///
/// # Errors
/// The image stays pushed, unsigned.
pub(super) async fn sign(means: &Means, options: &Options, metadata: &Path) -> Result<(), CliError> {
    let mut left: Vec<&Reference> = options.pushed.iter().collect();
    if left.is_empty() {
        return Ok(());
    }
    let digest = digest(metadata)?;
    while let Some(first) = left.first().copied() {
        let (these, others) = left.into_iter().partition(|reference| reference.repository() == first.repository());
        left = others;
        sign_in_one(means, first, these, &digest).await?;
    }
    Ok(())
}

async fn sign_in_one(
    means: &Means,
    reference: &Reference,
    tags: Vec<&Reference>,
    digest: &Digest,
) -> Result<(), CliError> {
    // A builder may be elsewhere, with no engine here; then registries without TLS are not known either.
    let client = match means.engines.connect().await {
        Ok(engine) => push::registry(&means.context, &engine, reference).await?,
        Err(_) => RegistryFlags::default().connect(&means.context, reference.registry()).await?,
    };
    let document = client.document(reference.repository(), DocumentName::Digest(digest)).await?;
    let held = tags.iter().filter_map(|tagged| tagged.tag());
    let held: Vec<Held> = held.map(|tag| Held { tag: tag.clone(), image: document.descriptor.clone() }).collect();
    sign_all(&means.context, reference, &held).await
}

fn digest(metadata: &Path) -> Result<Digest, CliError> {
    let untold = |error: &dyn std::fmt::Display| {
        CliError::new(Kind::Local, format!("the builder did not tell what it pushed: {error}: nothing is signed"))
            .hint("docker trust sign signs what the registry holds under a tag")
    };
    let size = fs_err::metadata(metadata).map_err(|error| untold(&error))?.len();
    if size > MAX_METADATA {
        return Err(untold(&format!("more than {MAX_METADATA} bytes")));
    }
    let bytes = fs_err::read(metadata).map_err(|error| untold(&error))?;
    let told: Value = serde_json::from_slice(&bytes).map_err(|error| untold(&error))?;
    let digest = told.get("containerimage.digest").and_then(Value::as_str).ok_or_else(|| untold(&"no digest"))?;
    Digest::parse(digest).map_err(|error| untold(&error))
}
