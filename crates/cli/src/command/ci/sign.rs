//! `countersign ci sign`: tags as the registry holds them, or as they were built, signed with an archive's keys.

use super::guarded::{Stops, TimeLimit, guarded};
use super::passphrase::of_keys;
use super::session::Session;
use super::supply::Supply;
use crate::audit::Action;
use crate::context::{Context, ContextOptions, GlobalOptions};
use crate::error::CliError;
use crate::images::{RegistryFlags, sha256};
use crate::output::{data, harmless, message};
use crate::{notes, output};
use clap::Args;
use countersign_image::{Descriptor, Digest, Reference, Tag};
use countersign_notary::Access;
use countersign_registry::distribution::{DocumentName, RegistryError};
use countersign_trust::{News, ReleasedTag, SignRequest, Signed};
use countersign_tuf::{Collection, RoleName};
use std::collections::BTreeMap;

const OPEN: &str = "it is open whether the trust service has stored a signature: the same again does no harm";

/// Sign tags of a registry with the keys of an archive; one line of JSON on stdout says what was signed
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The images, each with a tag; with a digest that digest is signed, whatever the tag points to by now
    #[arg(required = true, value_name = "IMAGE[:TAG][@sha256:HEX]")]
    images: Vec<String>,
    /// The digest of the one image
    #[arg(long, value_name = "sha256:HEX")]
    digest: Option<Digest>,
    #[command(flatten)]
    supply: Supply,
    /// Give up after this time: 90, 90s, 15m, 1h
    #[arg(long, value_name = "TIME")]
    timeout: Option<TimeLimit>,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// A tag, and the digest that was built if that is known.
struct Wanted {
    reference: Reference,
    tag: Tag,
    digest: Option<Digest>,
}

impl Sign {
    pub(crate) async fn run(&self, options: &GlobalOptions) -> Result<(), CliError> {
        let wanted = self.wanted()?;
        let mut stops = Stops::listen()?;
        let deadline = TimeLimit::from_now(self.timeout);
        let session = Session::open(&self.supply, &mut stops, deadline).await?;
        let mut results = Vec::new();
        let work = self.sign_all(&session, options, &wanted, &mut results);
        let signed = Box::pin(guarded(&mut stops, deadline, OPEN, work)).await;
        // What was signed is told, also if something else was not; and before it is told the keys are gone.
        let closed = session.close();
        if !results.is_empty() {
            data(serde_json::Value::from(results))?;
        }
        signed.and(closed)
    }

    fn wanted(&self) -> Result<Vec<Wanted>, CliError> {
        if self.digest.is_some() && self.images.len() > 1 {
            return Err(CliError::user("--digest is for one image: write the others as IMAGE:TAG@sha256:HEX"));
        }
        let mut wanted: Vec<Wanted> = Vec::new();
        for image in &self.images {
            let reference = Reference::parse(image)?;
            let digest = reference.digest().cloned();
            if digest.is_some() && reference.tag().is_none() {
                let message = format!("{} names no tag: signatures are about tags", harmless(image));
                return Err(CliError::user(message).hint("write IMAGE:TAG@sha256:HEX"));
            }
            if let (Some(own), Some(option)) = (&digest, &self.digest)
                && own != option
            {
                return Err(CliError::user(format!("{} and --digest name two digests", harmless(image))));
            }
            let reference = reference.or_latest();
            let Some(tag) = reference.tag().cloned() else { return Err(CliError::user("no tag specified")) };
            let twice = |known: &Wanted| known.reference.gun() == reference.gun() && known.tag == tag;
            if wanted.iter().any(twice) {
                return Err(CliError::user(format!("{} is named twice", harmless(image))));
            }
            wanted.push(Wanted { reference, tag, digest: digest.or_else(|| self.digest.clone()) });
        }
        Ok(wanted)
    }

    async fn sign_all(
        &self,
        session: &Session,
        options: &GlobalOptions,
        wanted: &[Wanted],
        results: &mut Vec<serde_json::Value>,
    ) -> Result<(), CliError> {
        let surroundings = ContextOptions { trust_dir: session.trust_dir(), ..ContextOptions::native(options)? };
        let passphrases = of_keys(session.passphrase(), session.root_keys());
        let mut context = Context::open(surroundings)?;
        context.passphrases = passphrases;
        let mut repositories: BTreeMap<&str, Vec<&Wanted>> = BTreeMap::new();
        for one in wanted {
            repositories.entry(one.reference.gun().as_str()).or_default().push(one);
        }
        let mut refused = Ok(());
        for (gun, wanted) in repositories {
            match self.sign_repository(&context, &wanted).await {
                Ok(signed) => results.extend(signed),
                Err(mut error) => {
                    for one in &wanted {
                        error = context.audit.refused(Action::Sign, gun, one.tag.as_str(), error);
                    }
                    // The others are tried as well; the first refusal is the command's.
                    if refused.is_ok() {
                        refused = Err(error);
                    } else {
                        output::error(&error);
                    }
                }
            }
        }
        refused
    }

    /// Signs all the tags of one repository in one publication.
    async fn sign_repository(&self, context: &Context, wanted: &[&Wanted]) -> Result<Vec<serde_json::Value>, CliError> {
        let Some(Wanted { reference, .. }) = wanted.first() else { return Ok(Vec::new()) };
        let mut requests = Vec::new();
        for one in wanted {
            let held = self.held(context, one).await?;
            let name = one.tag.as_str().to_owned();
            requests.push(SignRequest { name, sha256: sha256(&held)?, length: held.size });
        }
        let pinning = context.pinning(reference);
        let client = context.client(reference, &pinning, Access::Write)?.existing_only();
        let signed = Box::pin(client.sign(&requests)).await?;
        notes::show_published(signed.base.as_deref(), &signed.collection);
        let service = client.service().address().to_string();
        report(context, reference, &signed, service.trim_end_matches('/'))
    }

    /// Asks the registry for what is signed: the digest that was built must be there, and without one the tag decides.
    async fn held(&self, context: &Context, wanted: &Wanted) -> Result<Descriptor, CliError> {
        let client = self.registry.connect(context, wanted.reference.registry()).await?;
        let repository = wanted.reference.repository();
        let Some(digest) = &wanted.digest else {
            return Ok(client.document(repository, DocumentName::Tag(&wanted.tag)).await?.descriptor);
        };
        let held = client.document(repository, DocumentName::Digest(digest)).await?.descriptor;
        match client.document(repository, DocumentName::Tag(&wanted.tag)).await {
            Ok(now) if now.descriptor.digest == held.digest => {}
            Ok(now) => message(format_args!(
                "WARNING: {repository}:{} points to {} by now; what is signed is {digest}, as asked",
                wanted.tag, now.descriptor.digest
            )),
            Err(RegistryError::NotFound(_)) => {
                message(format_args!("WARNING: the registry has no tag {repository}:{} yet", wanted.tag));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(held)
    }
}

/// Writes the audit lines and makes the result.
fn report(
    context: &Context,
    reference: &Reference,
    signed: &Signed,
    service: &str,
) -> Result<Vec<serde_json::Value>, CliError> {
    let (outcome, done) = match signed.news {
        News::AlreadySigned => ("already signed", "was signed already and nothing was published"),
        News::NewCollection | News::Published => ("signed", "was signed and published"),
    };
    let mut results = Vec::new();
    for tag in &signed.tags {
        context.audit.done(Action::Sign, reference.gun().as_str(), tag, done)?;
        results.push(serde_json::json!({
            "image": format!("{}:{}", reference.repository(), tag.name),
            "repository": reference.gun().as_str(),
            "tag": tag.name,
            "digest": format!("sha256:{}", tag.sha256.hex()),
            "size": tag.length,
            "signers": signers(&signed.collection, tag),
            "service": service,
            "time": context.now.to_string(),
            "outcome": outcome,
        }));
    }
    Ok(results)
}

/// Everybody who vouches for this digest under this tag: the role, and the keys that signed its file.
fn signers(collection: &Collection, tag: &ReleasedTag) -> Vec<serde_json::Value> {
    let mut signers = Vec::new();
    for (role, file) in collection.all_targets() {
        let allowed = collection.effective_paths(role).is_some_and(|paths| paths.allow(&tag.name));
        let same = file.entries.get(&tag.name).is_some_and(|entry| entry.sha256 == Some(tag.sha256));
        if same && (allowed || *role == RoleName::Targets) {
            let keys: Vec<String> = file.signers().map(|id| id.to_string()).collect();
            signers.push(serde_json::json!({ "role": role.as_str(), "keys": keys }));
        }
    }
    signers
}
