//! Images from and to registries.

use countersign_image::{Digest, Platform, Repository, Tag};
use futures_util::FutureExt;
use http::{HeaderValue, Method};

use super::{Call, Engine, Progress, REGISTRY_AUTH};
use crate::{ImageName, RegistryAuth};

/// What of a repository is pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushTarget<'a> {
    /// One tag.
    Tag(&'a Tag),
    /// Every tag that the engine has of it.
    AllTags,
}

impl Engine {
    /// Pushes to a registry; [`pushed_manifest`](crate::pushed_manifest) finds out what is under the tag then.
    ///
    /// The engine's word about the digest is not evidence: compare it with what the registry has.
    #[must_use]
    pub fn push(&self, repository: &Repository, target: PushTarget<'_>, auth: &RegistryAuth) -> Progress<'_> {
        let path = format!("/images/{}/push", ImageName::repository(repository).in_path());
        let call = authenticated(Call::new(Method::POST, path), auth);
        let call = match target {
            PushTarget::Tag(tag) => call.query("tag", tag.as_str()),
            PushTarget::AllTags => call,
        };
        Progress::new(self.send(call).boxed(), self.limits().clone())
    }

    /// Pulls the image with this digest; [`Engine::confirm`] makes sure that the engine has it then.
    ///
    /// Without a platform the engine takes its own from an index.
    #[must_use]
    pub fn pull(
        &self,
        repository: &Repository,
        digest: &Digest,
        platform: Option<&Platform>,
        auth: &RegistryAuth,
    ) -> Progress<'_> {
        let call = authenticated(Call::new(Method::POST, "/images/create"), auth)
            .query("fromImage", repository.familiar())
            .query("tag", &digest.to_string());
        let call = match platform {
            Some(platform) => call.query("platform", &platform.to_string()),
            None => call,
        };
        Progress::new(self.send(call).boxed(), self.limits().clone())
    }
}

fn authenticated(call: Call, auth: &RegistryAuth) -> Call {
    // Base64 always makes a header; nobody in particular is what an engine takes for a missing one.
    call.header(REGISTRY_AUTH, auth.header().unwrap_or_else(|| HeaderValue::from_static("e30=")))
}
