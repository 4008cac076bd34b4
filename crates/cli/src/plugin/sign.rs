//! `docker trust sign`: sign a tag that is released already as it is, otherwise push and sign.

use super::line::Call;
use super::session::{about, context, engines};
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::output::{data, message};
use crate::trusted::push::{self, Which, registry};
use crate::trusted::signing::{Held, conclude, failed, sign_all};
use crate::trusted::words::{decorated, of_engine, user};
use crate::trusted::{Engines, remark, retiring};
use countersign_crypto::digest::Sha256Digest;
use countersign_engine::ImageName;
use countersign_image::{Descriptor, Document, Reference, Tag};
use countersign_notary::Access;
use countersign_registry::credentials::Credential;
use countersign_registry::distribution::{DocumentName, RegistryError};
use countersign_trust::report::{REPOSITORY_ADMINISTRATOR, Report};
use countersign_trust::{CollectionClient, ReleasedTag, SignerName, TrustError};
use countersign_tuf::Collection;
use std::borrow::Cow;

pub(super) async fn run(call: &Call) -> Result<(), CliError> {
    let image = call.own.texts().first().map(|image| (*image).to_owned()).unwrap_or_default();
    let reference = Reference::parse(&image)?;
    if reference.digest().is_some() {
        return Err(user("cannot use a digest reference for IMAGE:TAG"));
    }
    let Some(tag) = reference.tag().cloned() else {
        return Err(user(format!("no tag specified for {image}")));
    };
    let context = context(call)?;
    let signing =
        Signing { context: &context, engines: engines(call, &context)?, image: &image, reference: &reference, tag };
    Box::pin(signing.run(call.own.is_on("local"))).await
}

/// The tag that is to be signed.
struct Signing<'a> {
    context: &'a Context,
    engines: Engines,
    /// The name as typed.
    image: &'a str,
    reference: &'a Reference,
    tag: Tag,
}

/// Where the image comes from that is to be signed.
enum Source {
    /// The engine pushes it.
    Engine,
    /// The registry has it already, in a form that a push would replace or that the engine does not have.
    Registry(Box<Descriptor>),
}

impl Signing<'_> {
    async fn run(&self, is_local: bool) -> Result<(), CliError> {
        let pinning = self.context.pinning(self.reference);
        let client = self.context.client(self.reference, &pinning, Access::Write)?;
        retiring(&client);
        let gun = self.reference.gun();
        let published = client.published().await.map_err(|error| decorated(error, about(gun, &client)))?;
        if let Some(collection) = &published {
            remark(collection);
            match ReleasedTag::find(collection, self.tag.as_str()) {
                Ok(released) if !is_local => return self.sign_released(&client, collection, &released).await,
                Ok(_) | Err(TrustError::Lookup(countersign_tuf::LookupError::NotFound(_))) => {}
                Err(error) => return Err(decorated(error, about(gun, &client))),
            }
        }
        let source = self.source().await?;
        if published.is_none() {
            self.begin(&client).await?;
        }
        match source {
            Source::Engine => {
                message(format_args!(
                    "Signing and pushing trust data for local image {}, may overwrite remote trust data",
                    self.image
                ));
                push::push(self.context, &self.engines, self.reference, Which::Tag).await
            }
            Source::Registry(image) => {
                message(format_args!(
                    "Signing and pushing trust data for {} as the registry holds it, may overwrite remote trust data",
                    self.image
                ));
                let held = Held { tag: self.tag.clone(), image: *image };
                sign_all(self.context, self.reference, &[held]).await
            }
        }
    }

    /// Signs what is released already: what everybody pulls, never an older digest that another role holds.
    async fn sign_released(
        &self,
        client: &CollectionClient<'_>,
        collection: &Collection,
        released: &ReleasedTag,
    ) -> Result<(), CliError> {
        data(format_args!("Signing and pushing trust metadata for {}", self.image))?;
        let signers = signers(collection, &self.tag, &released.sha256)
            .map_err(|error| decorated(error, about(self.reference.gun(), client)))?;
        let hex = released.sha256.hex();
        let subject = format!("{}:{}", self.reference.repository(), self.tag);
        let signed = client.sign_released(self.tag.as_str()).await;
        let signed = signed.map_err(|error| failed(error, &subject, self.reference, client));
        if signed.is_ok() {
            data(format_args!("Existing signatures for tag {} digest {hex} from:", self.tag))?;
            data(signers.join(", "))?;
        }
        conclude(self.context, self.reference, &[self.tag.as_str()], signed)
    }

    /// Decides what is signed: the engine's image, unless the engine has none or the registry has the index it is part of.
    async fn source(&self) -> Result<Source, CliError> {
        let engine = self.engines.connect().await?;
        let facts = engine.inspect(&ImageName::from(self.reference)).await.map_err(of_engine)?;
        let Some(facts) = facts else { return self.only_in_registry().await };
        // An engine with the classic image store would push one platform and replace the index.
        let client = registry(self.context, &engine, self.reference).await;
        let Ok(client) = client else { return Ok(Source::Engine) };
        let name = DocumentName::Tag(&self.tag);
        match client.document(self.reference.repository(), name).await {
            Ok(found)
                if matches!(found.document, Document::Index(_))
                    && facts.has_digest(self.reference.repository(), &found.descriptor.digest) =>
            {
                Ok(Source::Registry(Box::new(found.descriptor)))
            }
            _ => Ok(Source::Engine),
        }
    }

    /// Takes what the registry holds where the engine has no such image: what was built and pushed elsewhere.
    async fn only_in_registry(&self) -> Result<Source, CliError> {
        let engine = self.engines.connect().await?;
        let client = registry(self.context, &engine, self.reference).await?;
        match client.document(self.reference.repository(), DocumentName::Tag(&self.tag)).await {
            Ok(found) => Ok(Source::Registry(Box::new(found.descriptor))),
            Err(RegistryError::NotFound(_)) => {
                let name = self.reference.familiar();
                Err(user(format!("Error response from daemon: no such image: {name}: No such image: {name}"))
                    .hint("the registry has no such tag either"))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the collection, with the person who is logged in as its first signer.
    async fn begin(&self, client: &CollectionClient<'_>) -> Result<(), CliError> {
        let name = self.login_name().await?;
        let failed = |error| decorated(error, about(self.reference.gun(), client));
        let key = client.signer_key(&name).map_err(failed)?;
        data(format_args!("Created signer: {name}"))?;
        client.add_signer(&name, &[key]).await.map_err(failed)?;
        data(format_args!("Finished initializing signed repository for {}", self.image))
    }

    async fn login_name(&self) -> Result<SignerName, CliError> {
        let registry = self.reference.registry();
        let found = self.context.credentials.find(registry).await.unwrap_or_default();
        let Credential::Password { username, .. } = &found else {
            return Err(CliError::new(Kind::User, format!(
                "could not add signer to repo: {} has no signers yet, and nobody is logged in to {registry} whose name the first one could have",
                self.reference.repository()
            ))
            .hint("docker login, or docker trust signer add --key NAME.pub NAME REPOSITORY, or docker push with content trust on"));
        };
        SignerName::parse(username).map_err(|_| {
            user(format!("could not add signer to repo: the login name {username:?} cannot be a signer's name"))
                .hint("docker trust key generate NAME, then docker trust signer add --key NAME.pub NAME REPOSITORY")
        })
    }
}

/// Returns who has signed what is released, by name; nobody if it is the holder of the repository key alone.
fn signers(collection: &Collection, tag: &Tag, sha256: &Sha256Digest) -> Result<Vec<String>, TrustError> {
    let report = Report::new("", collection, Some(tag.as_str()))?;
    let row = report.signed_tags.into_iter().find(|row| row.digest == sha256.hex());
    let signers = row.into_iter().flat_map(|row| row.signers).filter(|signer| signer != REPOSITORY_ADMINISTRATOR);
    let mut signers: Vec<String> = signers.map(Cow::into_owned).collect();
    signers.sort();
    Ok(signers)
}
