//! Looking at images, and naming them.

use countersign_image::{Digest, Reference, Repository, Tag};
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Call, Engine};
use crate::{EngineError, ImageName, json};

/// What an engine knows of an image it has.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageFacts {
    /// The image's id: the digest of its configuration, or of its index in the containerd image store.
    pub id: Digest,
    /// Names with tags, in familiar form.
    #[serde(default, deserialize_with = "list")]
    pub repo_tags: Vec<String>,
    /// Names with the digests of the manifests under which it was pulled or pushed, in familiar form.
    #[serde(default, deserialize_with = "list")]
    pub repo_digests: Vec<String>,
    /// The operating system it runs on.
    #[serde(default)]
    pub os: String,
    /// The processor it runs on.
    #[serde(default)]
    pub architecture: String,
    /// The processor's variant, or nothing.
    #[serde(default)]
    pub variant: String,
}

impl ImageFacts {
    /// Tells whether the engine has the image as this manifest of this repository.
    #[must_use]
    pub fn has_digest(&self, repository: &Repository, digest: &Digest) -> bool {
        self.repo_digests.iter().any(|name| {
            Reference::parse(name).is_ok_and(|name| name.repository() == repository && name.digest() == Some(digest))
        })
    }
}

/// Takes `null`, with which Go writes an empty list, for one.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Engine {
    /// Looks up an image; `None` if the engine does not have it.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached, refuses, or does not make sense.
    pub async fn inspect(&self, image: &ImageName) -> Result<Option<ImageFacts>, EngineError> {
        let call = Call::new(Method::GET, format!("/images/{}/json", image.in_path()));
        match self.send(call).await {
            Ok(answer) => Ok(Some(self.json(answer).await?)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that the engine has an image as this manifest of this repository.
    ///
    /// # Errors
    ///
    /// [`EngineError::NotPulled`] when it has not; else as [`Engine::inspect`].
    pub async fn confirm(&self, repository: &Repository, digest: &Digest) -> Result<ImageFacts, EngineError> {
        let name = ImageName::from(&repository.with_digest(digest.clone()));
        let facts = self.inspect(&name).await?;
        let found = match facts {
            Some(facts) if facts.has_digest(repository, digest) => return Ok(facts),
            Some(facts) => facts.repo_digests,
            None => Vec::new(),
        };
        Err(EngineError::NotPulled { image: format!("{repository}@{digest}"), found })
    }

    /// Gives an image another name; the name is taken from the image that had it.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached or refuses, for instance because there is no such image.
    pub async fn tag(&self, image: &ImageName, repository: &Repository, tag: &Tag) -> Result<(), EngineError> {
        let call = Call::new(Method::POST, format!("/images/{}/tag", image.in_path()))
            .query("repo", repository.familiar())
            .query("tag", tag.as_str());
        self.send(call).await.map(drop)
    }

    /// Takes a name from an image; with its last name the engine removes the image itself, unless a container uses it.
    ///
    /// Images it was built from stay.
    ///
    /// # Errors
    ///
    /// When the engine cannot be reached or refuses, for instance because there is no such name.
    pub async fn remove_reference(&self, reference: &Reference) -> Result<(), EngineError> {
        let name = ImageName::from(reference);
        let call = Call::new(Method::DELETE, format!("/images/{}", name.in_path())).query("noprune", "true");
        self.send(call).await.map(drop)
    }

    async fn json<T: DeserializeOwned>(&self, answer: crate::transport::Answer) -> Result<T, EngineError> {
        let bytes = answer.body.all(self.limits().answer_bytes).await?;
        json::object(&bytes, self.limits().json_depth).map_err(|error| EngineError::bad(error.to_string()))
    }
}
