//! What the registry keeps.

use std::collections::{BTreeMap, HashMap, HashSet};

use bytes::Bytes;
use serde::Deserialize;

use super::names::{is_digest, is_repository, is_tag};
use super::uploads::Uploads;
use crate::digest::oci_digest;

/// The largest manifest, in bytes (the size that registries commonly allow).
pub(super) const MANIFEST_LIMIT: usize = 4 << 20;
/// The most bytes kept altogether.
pub(super) const TOTAL_LIMIT: usize = 512 << 20;
/// The most repositories.
const REPOSITORY_COUNT_LIMIT: usize = 1_000;
/// The most tags and manifests of one repository.
const ENTRY_LIMIT: usize = 10_000;

/// Why the registry does not do what it was asked; the code and the words clients see.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The repository's name is malformed.
    #[error("invalid repository name {0:?}")]
    RepositoryName(String),
    /// The tag or digest is malformed.
    #[error("invalid tag or digest {0:?}")]
    Reference(String),
    /// The content does not have the digest it was given out for.
    #[error("content has digest {actual}, not {claimed}")]
    Digest {
        /// What the client said.
        claimed: String,
        /// What the content has.
        actual: String,
    },
    /// The manifest is no JSON, or has no fitting fields.
    #[error("invalid manifest: {0}")]
    Manifest(String),
    /// The manifest refers to something that was not pushed before it.
    #[error("manifest refers to unknown {0}")]
    MissingPart(String),
    /// There is no such manifest.
    #[error("manifest {0} is unknown")]
    UnknownManifest(String),
    /// There is no such blob.
    #[error("blob {0} is unknown")]
    UnknownBlob(String),
    /// There is no such repository.
    #[error("repository {0} is unknown")]
    UnknownRepository(String),
    /// There is no such upload.
    #[error("upload {0} is unknown")]
    UnknownUpload(String),
    /// The part of an upload does not start where the last one ended.
    #[error("upload goes on at {expected}, not {offered}")]
    Range {
        /// Bytes received so far.
        expected: usize,
        /// Where the client's part starts.
        offered: usize,
    },
    /// The content is larger than allowed.
    #[error("content is larger than {0} bytes")]
    TooLarge(usize),
    /// The registry keeps as much as it may.
    #[error("the registry is full")]
    Full,
}

/// A manifest's bytes and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The media type it was pushed with.
    pub media_type: String,
    /// The bytes as pushed, or as corrupted since.
    pub bytes: Bytes,
}

#[derive(Debug, Default)]
struct Repository {
    manifests: HashMap<String, Manifest>,
    tags: BTreeMap<String, String>,
    blobs: HashSet<String>,
}

#[derive(Debug, Default)]
pub(super) struct Store {
    repositories: HashMap<String, Repository>,
    blobs: HashMap<String, Bytes>,
    total: usize,
    pub(super) uploads: Uploads,
}

/// The parts of manifests and indexes that name other content.
#[derive(Deserialize)]
struct Parts {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    #[serde(default)]
    urls: Vec<String>,
}

impl Store {
    pub(super) fn resolve(&self, repository: &str, reference: &str) -> Option<(String, Manifest)> {
        let repository = self.repositories.get(repository)?;
        let digest = repository.tags.get(reference).map_or(reference, String::as_str);
        repository.manifests.get(digest).map(|manifest| (digest.to_owned(), manifest.clone()))
    }

    pub(super) fn blob(&self, repository: &str, digest: &str) -> Option<Bytes> {
        self.repositories.get(repository)?.blobs.get(digest)?;
        self.blobs.get(digest).cloned()
    }

    pub(super) fn tags(&self, repository: &str) -> Option<Vec<String>> {
        Some(self.repositories.get(repository)?.tags.keys().cloned().collect())
    }

    pub(super) fn put_blob(&mut self, repository: &str, bytes: Bytes) -> Result<String, Refusal> {
        let digest = oci_digest(&bytes);
        self.repository(repository)?;
        if !self.blobs.contains_key(&digest) {
            self.grow(bytes.len())?;
            self.blobs.insert(digest.clone(), bytes);
        }
        self.repository(repository)?.blobs.insert(digest.clone());
        Ok(digest)
    }

    /// Makes a blob of one repository known in another.
    pub(super) fn mount(&mut self, from: &str, to: &str, digest: &str) -> Result<(), Refusal> {
        if self.blob(from, digest).is_none() {
            return Err(Refusal::UnknownBlob(digest.to_owned()));
        }
        self.repository(to)?.blobs.insert(digest.to_owned());
        Ok(())
    }

    pub(super) fn put_manifest(
        &mut self,
        repository: &str,
        reference: &str,
        manifest: Manifest,
    ) -> Result<String, Refusal> {
        if manifest.bytes.len() > MANIFEST_LIMIT {
            return Err(Refusal::TooLarge(MANIFEST_LIMIT));
        }
        let digest = oci_digest(&manifest.bytes);
        if is_digest(reference) {
            if reference != digest {
                return Err(Refusal::Digest { claimed: reference.to_owned(), actual: digest });
            }
        } else if !is_tag(reference) {
            return Err(Refusal::Reference(reference.to_owned()));
        }
        self.check_parts(repository, &manifest)?;
        self.grow(manifest.bytes.len())?;
        let repository = self.repository(repository)?;
        if repository.manifests.len().max(repository.tags.len()) >= ENTRY_LIMIT {
            return Err(Refusal::Full);
        }
        repository.manifests.insert(digest.clone(), manifest);
        if reference != digest {
            repository.tags.insert(reference.to_owned(), digest.clone());
        }
        Ok(digest)
    }

    fn check_parts(&mut self, repository: &str, manifest: &Manifest) -> Result<(), Refusal> {
        let parts: Parts =
            serde_json::from_slice(&manifest.bytes).map_err(|error| Refusal::Manifest(error.to_string()))?;
        if parts.schema_version != 2 {
            return Err(Refusal::Manifest(format!("schema version {}", parts.schema_version)));
        }
        let repository = self.repository(repository)?;
        for part in parts.config.iter().chain(&parts.layers) {
            if part.urls.is_empty() && !repository.blobs.contains(&part.digest) {
                return Err(Refusal::MissingPart(part.digest.clone()));
            }
        }
        for part in &parts.manifests {
            if !repository.manifests.contains_key(&part.digest) {
                return Err(Refusal::MissingPart(part.digest.clone()));
            }
        }
        Ok(())
    }

    /// Removes a tag, or a manifest with all its tags.
    pub(super) fn remove(&mut self, repository: &str, reference: &str) -> Result<(), Refusal> {
        let unknown = || Refusal::UnknownManifest(reference.to_owned());
        let repository = self.repositories.get_mut(repository).ok_or_else(unknown)?;
        if repository.tags.remove(reference).is_some() {
            return Ok(());
        }
        let manifest = repository.manifests.remove(reference).ok_or_else(unknown)?;
        repository.tags.retain(|_, digest| digest != reference);
        self.total = self.total.saturating_sub(manifest.bytes.len());
        Ok(())
    }

    pub(super) fn repoint(&mut self, repository: &str, tag: &str, digest: &str) -> Result<(), Refusal> {
        let unknown = || Refusal::UnknownManifest(digest.to_owned());
        let repository = self.repositories.get_mut(repository).ok_or_else(unknown)?;
        if !repository.manifests.contains_key(digest) {
            return Err(unknown());
        }
        repository.tags.insert(tag.to_owned(), digest.to_owned());
        Ok(())
    }

    pub(super) fn corrupt_blob(&mut self, digest: &str, bytes: Bytes) {
        self.blobs.insert(digest.to_owned(), bytes);
    }

    pub(super) fn corrupt_manifest(&mut self, repository: &str, digest: &str, bytes: Bytes) -> Result<(), Refusal> {
        let repository = self.repositories.get_mut(repository);
        let manifest = repository.and_then(|repository| repository.manifests.get_mut(digest));
        manifest.ok_or_else(|| Refusal::UnknownManifest(digest.to_owned()))?.bytes = bytes;
        Ok(())
    }

    fn repository(&mut self, name: &str) -> Result<&mut Repository, Refusal> {
        if !is_repository(name) {
            return Err(Refusal::RepositoryName(name.to_owned()));
        }
        if self.repositories.len() >= REPOSITORY_COUNT_LIMIT && !self.repositories.contains_key(name) {
            return Err(Refusal::Full);
        }
        Ok(self.repositories.entry(name.to_owned()).or_default())
    }

    fn grow(&mut self, by: usize) -> Result<(), Refusal> {
        let total = self.total.saturating_add(by);
        if total > TOTAL_LIMIT {
            return Err(Refusal::Full);
        }
        self.total = total;
        Ok(())
    }
}
