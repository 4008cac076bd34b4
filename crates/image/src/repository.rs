//! Canonical repository names and tags.

use std::fmt;
use std::str::FromStr;

use countersign_tuf::Gun;

use crate::digest::Digest;
use crate::grammar;
use crate::host::RegistryHost;
use crate::reference::{Reference, ReferenceError};

/// The path prefix of Docker Hub's official images.
pub(crate) const OFFICIAL_PREFIX: &str = "library/";

/// A repository on a registry, in canonical form: `docker.io/library/alpine`.
///
/// The canonical name without tag and digest is also the name of the repository's trust collection.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: RegistryHost,
    gun: Gun,
}

impl Repository {
    /// Parses a repository name that has neither tag nor digest, in docker's short or canonical form.
    ///
    /// # Errors
    /// Refuses what [`Reference::parse`] refuses, and names with a tag or digest.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let reference = Reference::parse(text)?;
        if reference.tag().is_some() || reference.digest().is_some() {
            return Err(ReferenceError::NotARepository(text.to_owned()));
        }
        Ok(reference.into_repository())
    }

    /// Puts a registry and a path that have been checked against the grammar together.
    pub(crate) fn from_parts(registry: RegistryHost, path: &str) -> Result<Self, ReferenceError> {
        let gun = Gun::parse(&format!("{registry}/{path}"))?;
        Ok(Self { registry, gun })
    }

    /// Returns the registry.
    #[must_use]
    pub fn registry(&self) -> &RegistryHost {
        &self.registry
    }

    /// Returns the path on the registry, for example `library/alpine`.
    #[must_use]
    pub fn path(&self) -> &str {
        let name = self.gun.as_str();
        name.get(self.registry.as_str().len() + 1..).unwrap_or(name)
    }

    /// Returns the name of the repository's trust collection.
    #[must_use]
    pub fn gun(&self) -> &Gun {
        &self.gun
    }

    /// Returns the canonical name, for example `docker.io/library/alpine`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.gun.as_str()
    }

    /// Returns the short name that docker shows, for example `alpine`.
    ///
    /// Docker shortens some names so that they mean another repository when read back (`docker.io/a.b/c` becomes
    /// `a.b/c`); these keep their canonical form here.
    #[must_use]
    pub fn familiar(&self) -> &str {
        let candidate = self.familiar_candidate();
        let reads_back = Reference::parse(candidate).is_ok_and(|reference| {
            reference.repository() == self && reference.tag().is_none() && reference.digest().is_none()
        });
        if reads_back { candidate } else { self.as_str() }
    }

    fn familiar_candidate(&self) -> &str {
        if !self.registry.is_docker_hub() {
            return self.as_str();
        }
        let path = self.path();
        match path.strip_prefix(OFFICIAL_PREFIX) {
            Some(rest) if !rest.contains('/') => rest,
            _ => path,
        }
    }

    /// Returns the reference to a tag of this repository.
    #[must_use]
    pub fn with_tag(&self, tag: Tag) -> Reference {
        Reference::new(self.clone(), Some(tag), None)
    }

    /// Returns the reference to a digest in this repository.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference::new(self.clone(), None, Some(digest))
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repository({})", self.as_str())
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// A tag: a word character followed by at most 127 word characters, dots and hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// Checks a text and takes it as a tag.
    ///
    /// # Errors
    /// Refuses a text that is empty, too long or has other characters.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if grammar::is_tag(text) {
            Ok(Self(text.into()))
        } else {
            Err(ReferenceError::Tag(crate::reference::excerpt(text)))
        }
    }

    /// Returns the tag that a name without one means.
    #[must_use]
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// Returns the tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({})", self.0)
    }
}

impl FromStr for Tag {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}
