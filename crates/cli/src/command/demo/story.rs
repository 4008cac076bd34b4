//! The story: a publisher signs, a reader verifies, a registry and a trust service lie and are found out.

use super::stage::Stage;
use crate::command::inspect::pretty;
use crate::error::{CliError, Kind};
use crate::output::data;
use countersign_image::{Digest, Document};
use countersign_notary::Access;
use countersign_registry::distribution::DocumentName;
use countersign_trust::report::Report;
use countersign_trust::{News, ReleasedTag, SignRequest, TrustError};
use countersign_tuf::LookupError;
use countersign_tuf::update::{Purpose, UpdateError};
use std::path::Path;

/// Says that a step did not do what it said.
fn failed(step: &str, what: impl std::fmt::Display) -> CliError {
    CliError::new(Kind::Internal, format!("{step}: {what}"))
}

/// Tells the story; every step checks its own claim.
pub(super) async fn tell(stage: &mut Stage) -> Result<(), CliError> {
    data("A publisher and a reader of images, a registry and a trust service that may lie.\n")?;
    let (first, second) = publish(stage).await?;
    read(stage, &first).await?;
    lying_registry(stage, &first, &second).await?;
    lying_service(stage).await
}

/// Steps 1 to 3: make keys, push, sign, look.
async fn publish(stage: &Stage) -> Result<(Digest, Digest), CliError> {
    data(format_args!("1. A trust service on SQLite at {}, a registry at {}.", stage.url()?, stage.registry.host()))?;
    let first = stage.push("1.0", "hello, this is version 1.0").await?;
    let second = stage.push("evil", "hello, this is somebody else").await?;
    let request = request("1.0", &first.digest, first.size)?;
    let signed = stage.client(Access::Write)?.sign(&[request]).await?;
    if signed.news != News::NewCollection {
        return Err(failed("sign", "the collection was there already"));
    }
    let root: Vec<String> = signed.collection.root().signers().map(|id| id.to_string()).collect();
    data(
        "2. The publisher pushes acme/app:1.0. Keys are made, the tag is signed, the service's answer is read back and verified.",
    )?;
    data(format_args!("   tag 1.0 = {}\n   root key {}", first.digest, root.join(", ")))?;
    let report = Report::new("acme/app", &signed.collection, None).map_err(TrustError::from)?;
    data("3. What is signed, as docker trust inspect --pretty shows it:")?;
    data(pretty(&report))?;
    Ok((first.digest, second.digest))
}

/// Step 4: pull by the signed digest and hash what comes.
async fn read(stage: &Stage, signed: &Digest) -> Result<(), CliError> {
    let (tag, message) = pull(stage, "1.0").await?;
    if Digest::Sha256(tag.sha256) != *signed || message != "hello, this is version 1.0" {
        return Err(failed("pull", "that is not the signed image"));
    }
    data(
        "4. A reader pulls acme/app:1.0: the signature is verified, the image fetched by its digest, every byte hashed.",
    )?;
    data(format_args!("   it says: {message:?}"))
}

/// Steps 5 and 6: the registry points the tag elsewhere, and offers a tag that nobody signed.
async fn lying_registry(stage: &Stage, signed: &Digest, other: &Digest) -> Result<(), CliError> {
    let moved = stage.registry.repoint_tag("acme/app", "1.0", &other.to_string());
    moved.map_err(|refusal| failed("re-point", format!("{refusal:?}")))?;
    let (tag, message) = pull(stage, "1.0").await?;
    if Digest::Sha256(tag.sha256) != *signed || message != "hello, this is version 1.0" {
        return Err(failed("pull after re-pointing", "that is not the signed image"));
    }
    data(
        "5. The registry now points 1.0 at another image, behind the publisher's back. The reader still gets the signed one:",
    )?;
    data(format_args!("   it says: {message:?}"))?;
    match pull(stage, "evil").await {
        Err(Outcome::Trust(error @ TrustError::Lookup(LookupError::NotFound(_)))) => {
            data(format_args!("6. The registry offers the tag \"evil\", which nobody signed. Refused: {error}"))
        }
        Err(Outcome::Trust(error)) => Err(error.into()),
        Err(Outcome::Other(error)) => Err(error),
        Ok(_) => Err(failed("unsigned tag", "it was not refused")),
    }
}

/// Steps 7 and 8: the service serves an earlier state, every file of it properly signed.
async fn lying_service(stage: &mut Stage) -> Result<(), CliError> {
    let service = stage.stop_service().await;
    let stolen = service.with_file_name("stolen-copy");
    copy_folder(&service, &stolen).map_err(|error| failed("copy", error))?;
    stage.start_service(&service).await?;
    let new = stage.push("1.1", "hello, this is version 1.1").await?;
    stage.client(Access::Write)?.sign(&[request("1.1", &new.digest, new.size)?]).await?;
    data(
        "7. Somebody copies the trust service's data. Then the publisher signs acme/app:1.1, and the reader sees it.",
    )?;
    stage.stop_service().await;
    stage.start_service(&stolen).await?;
    let replayed = stage.client(Access::Read)?.update(Purpose::Read).await;
    match replayed {
        Err(TrustError::Update(error @ (UpdateError::Regression(_) | UpdateError::Rollback(_)))) => {
            data(format_args!(
                "8. The copy is served in the service's place: all its signatures are valid, nothing has expired. Refused: {error}"
            ))?;
        }
        Err(error) => return Err(error.into()),
        Ok(_) => return Err(failed("replay", "the old state was not refused")),
    }
    stage.stop_service().await;
    stage.start_service(&service).await?;
    let tag = stage.client(Access::Read)?.find("1.1").await?.0;
    if Digest::Sha256(tag.sha256) != new.digest {
        return Err(failed("recovery", "that is not the signed image"));
    }
    data("9. The real service is back, and the reader goes on as if nothing had happened.")
}

/// Why a pull failed.
enum Outcome {
    Trust(TrustError),
    Other(CliError),
}

impl From<CliError> for Outcome {
    fn from(error: CliError) -> Self {
        Self::Other(error)
    }
}

impl From<Outcome> for CliError {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Trust(error) => error.into(),
            Outcome::Other(error) => error,
        }
    }
}

/// Verifies a tag, fetches the image by the signed digest and returns the message in its layer.
async fn pull(stage: &Stage, tag: &str) -> Result<(ReleasedTag, String), Outcome> {
    let found = stage.client(Access::Read)?.find(tag).await;
    let (released, _) = found.map_err(Outcome::Trust)?;
    let (registry, reference) = (stage.registry_client().await?, stage.reference(tag)?);
    let repository = reference.repository();
    let digest = Digest::Sha256(released.sha256);
    let document = registry.document(repository, DocumentName::Digest(&digest)).await.map_err(CliError::from)?;
    let Document::Manifest(manifest) = &document.document else {
        return Err(failed("pull", "that is no image").into());
    };
    let mut message = String::new();
    for blob in manifest.blobs() {
        let bytes = registry.small_blob(repository, blob).await.map_err(CliError::from)?;
        let text = String::from_utf8_lossy(&bytes);
        if let Some(start) = text.find("hello, this is") {
            message = text
                .get(start..)
                .unwrap_or_default()
                .chars()
                .take_while(|c| c.is_ascii_graphic() || *c == ' ')
                .collect();
        }
        message.truncate(message.find('"').unwrap_or(message.len()));
    }
    Ok((released, message))
}

fn request(tag: &str, digest: &Digest, length: u64) -> Result<SignRequest, CliError> {
    match digest {
        Digest::Sha256(sha256) => Ok(SignRequest { name: tag.to_owned(), sha256: *sha256, length }),
        other @ Digest::Sha512(_) => Err(failed("sign", format!("{other} is no sha256 digest"))),
    }
}

fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    fs_err::create_dir(to)?;
    fs_err::set_permissions(to, fs_err::metadata(from)?.permissions())?;
    for entry in fs_err::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs_err::copy(entry.path(), target).map(drop)?;
        }
    }
    Ok(())
}
