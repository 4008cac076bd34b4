//! From the name of an image to the digest that is signed for it.

use crate::audit::Action;
use crate::context::Context;
use crate::error::{CliError, Kind};
use crate::trusted::remark;
use crate::trusted::words::{About, decorated, user};
use countersign_image::{Digest, Reference, Tag};
use countersign_notary::Access;
use countersign_trust::report::Report;
use countersign_trust::{ReleasedTag, TrustError};
use countersign_tuf::Collection;
use countersign_tuf::update::Purpose;
use std::collections::BTreeMap;

/// An image whose digest is signed and released.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// As it was named, with a tag unless it was named by digest alone.
    pub(crate) reference: Reference,
    /// What is released.
    pub(crate) released: ReleasedTag,
}

impl Resolved {
    /// Names the image by digest, for engines and builders.
    pub(crate) fn by_digest(&self) -> Reference {
        self.reference.repository().with_digest(Digest::Sha256(self.released.sha256))
    }

    /// Writes [`Self::by_digest`] as docker shows it.
    pub(crate) fn pinned(&self) -> String {
        self.by_digest().familiar()
    }

    /// Tells whether it was named by tag alone.
    pub(crate) fn is_tagged(&self) -> bool {
        self.reference.digest().is_none()
    }
}

/// Looks images up; each collection is asked for once.
pub(crate) struct Resolver<'c> {
    context: &'c Context,
    /// What becomes of the images, for the audit log.
    purpose: &'static str,
    collections: BTreeMap<String, (Collection, String)>,
}

impl<'c> Resolver<'c> {
    /// Looks images up for a purpose such as "was verified for a build".
    pub(crate) fn new(context: &'c Context, purpose: &'static str) -> Self {
        Self { context, purpose, collections: BTreeMap::new() }
    }

    /// Finds the digest that is released for an image.
    ///
    /// A tag stands for what is released under it. A digest has to be released, under the tag it is named with if there is
    /// one: it says which image is meant, not that anybody vouches for it.
    ///
    /// # Errors
    /// It is no name of an image in a registry, or nothing is released for it.
    pub(crate) async fn resolve(&mut self, image: &str) -> Result<Resolved, CliError> {
        let reference = named(image)?;
        let name = reference.tag().map_or("*", Tag::as_str).to_owned();
        let found = self.find(reference.clone()).await;
        let gun = reference.gun().as_str();
        let found = found.map_err(|error| self.context.audit.refused(Action::Verify, gun, &name, error))?;
        self.context.audit.done(Action::Verify, gun, &found.released, self.purpose)?;
        Ok(found)
    }

    async fn find(&mut self, reference: Reference) -> Result<Resolved, CliError> {
        let (collection, service) = self.collection(&reference).await?;
        let about = About { repository: reference.gun().as_str(), service };
        let of_tag = |name: &str| ReleasedTag::find(collection, name).map_err(|error| decorated(error, about));
        let digest = reference.digest();
        let is_it = |released: &ReleasedTag| digest.is_none_or(|wanted| *wanted == Digest::Sha256(released.sha256));
        let released = if let Some(tag) = reference.tag() {
            Some(of_tag(tag.as_str())?).filter(is_it)
        } else {
            let lookup = |error| decorated(TrustError::from(error), about);
            let report = Report::new(reference.gun().as_str(), collection, None).map_err(lookup)?;
            let mut released = report.signed_tags.iter().filter_map(|tag| of_tag(&tag.signed_tag).ok());
            released.find(is_it)
        };
        match released {
            Some(released) => Ok(Resolved { reference, released }),
            None => Err(not_released(&reference)),
        }
    }

    async fn collection(&mut self, reference: &Reference) -> Result<(&Collection, &str), CliError> {
        let gun = reference.gun().as_str().to_owned();
        if !self.collections.contains_key(&gun) {
            let pinning = self.context.pinning(reference);
            let client = self.context.client(reference, &pinning, Access::Read)?;
            let service = client.service().address().authority().to_owned();
            let about = About { repository: &gun, service: &service };
            let collection = client.update(Purpose::Read).await.map_err(|error| decorated(error, about))?;
            remark(&collection);
            self.collections.insert(gun.clone(), (collection, service));
        }
        let found = self.collections.get(&gun).ok_or_else(|| CliError::internal(&"a collection went missing"))?;
        Ok((&found.0, &found.1))
    }
}

/// Parses the name of an image in a registry; the default tag is `latest`.
fn named(image: &str) -> Result<Reference, CliError> {
    let id = image.strip_prefix("sha256:").unwrap_or(image);
    if id.len() == 64 && id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(CliError::new(
            Kind::Trust,
            format!("{image} is the id of an image on this engine: ids are not signed"),
        )
        .hint("name the image by repository and tag or digest"));
    }
    let reference = Reference::parse(image).map_err(user)?;
    Ok(if reference.digest().is_some() { reference } else { reference.or_latest() })
}

fn not_released(reference: &Reference) -> CliError {
    let digest = reference.digest().map(ToString::to_string).unwrap_or_default();
    let whose = match reference.tag() {
        Some(tag) => format!("the tag {tag} of {}", reference.repository()),
        None => format!("any tag of {}", reference.repository()),
    };
    CliError::new(Kind::Trust, format!("No valid trust data for {digest}: it is not what is signed for {whose}"))
        .hint("docker does not check digests, Countersign does; --disable-content-trust takes an image that nobody vouches for")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_images_are_no_names() {
        let hex = "a".repeat(64);
        for id in [hex.clone(), format!("sha256:{hex}")] {
            let error = named(&id).unwrap_err();
            assert_eq!((error.kind, error.message.contains("ids are not signed")), (Kind::Trust, true));
        }
    }

    #[test]
    fn a_name_without_tag_and_digest_means_latest() {
        assert_eq!(named("alpine").unwrap().to_string(), "docker.io/library/alpine:latest");
        let digest = format!("alpine@sha256:{}", "a".repeat(64));
        assert_eq!(named(&digest).unwrap().tag(), None);
        assert!(named("-x").is_err() && named("").is_err());
    }
}
