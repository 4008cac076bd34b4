//! References to images as people write them.

use std::fmt;
use std::str::FromStr;

use countersign_tuf::{Gun, GunError};

use crate::digest::{Digest, DigestError};
use crate::grammar;
use crate::host::RegistryHost;
use crate::repository::{OFFICIAL_PREFIX, Repository, Tag};

/// Longest text that is looked at at all, in bytes: registry, path, tag and digest at their longest fit in.
const MAX_REFERENCE_LENGTH: usize = 4096;
/// Longest piece of a refused text that an error repeats, in characters.
const EXCERPT_LENGTH: usize = 128;

/// An image by repository and tag, digest or both, in canonical form.
///
/// ```
/// # use countersign_image::Reference;
/// let reference = Reference::parse("alpine:3.20").unwrap();
/// assert_eq!(reference.to_string(), "docker.io/library/alpine:3.20");
/// assert_eq!(reference.familiar(), "alpine:3.20");
/// assert_eq!(reference.gun().as_str(), "docker.io/library/alpine");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Says why a text is not a reference. The texts are docker's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text does not follow the grammar.
    #[error("invalid reference format")]
    Format,
    /// The text is 64 hexadecimal digits, which is an image identifier.
    #[error("invalid repository name ({0}), cannot specify 64-byte hexadecimal strings")]
    Identifier(String),
    /// The repository's path contains capital letters.
    #[error("invalid reference format: repository name ({0}) must be lowercase")]
    Uppercase(String),
    /// The repository's path is too long.
    #[error("repository name must not be more than {limit} characters", limit = grammar::MAX_PATH_LENGTH)]
    TooLong,
    /// The digest is malformed or its algorithm is not supported.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// The text is not a tag.
    #[error("invalid tag format: {0:?}")]
    Tag(String),
    /// The name cannot be the name of a trust collection.
    #[error(transparent)]
    Gun(#[from] GunError),
    /// A repository is wanted, and the text has a tag or a digest.
    #[error("{0:?} has a tag or a digest where only a repository name is allowed")]
    NotARepository(String),
}

impl Reference {
    /// Parses a reference as docker does and brings it to canonical form.
    ///
    /// A first component with a `.`, a `:`, a capital letter, or equal to `localhost` is a registry; everything else
    /// lives on `docker.io`, and there below `library/` if it has a single component.
    ///
    /// # Errors
    /// Refuses what docker refuses; in addition registries that cannot exist (a port above 65535, an IPv6 address that is
    /// none, an underscore in the host) and digests other than sha256 and sha512.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if grammar::is_identifier(text) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        if text.len() > MAX_REFERENCE_LENGTH {
            return Err(ReferenceError::Format);
        }
        let (registry, remainder) = split_registry(text);
        let registry = RegistryHost::parse(registry).ok_or(ReferenceError::Format)?;
        let official = registry.is_docker_hub() && !remainder.contains('/');
        let remainder = if official { format!("{OFFICIAL_PREFIX}{remainder}") } else { remainder.to_owned() };
        let before_colon = remainder.split(':').next().unwrap_or_default();
        if before_colon.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(excerpt(before_colon)));
        }
        let (named, digest) = cut(&remainder, '@');
        let (path, tag) = cut(named, ':');
        if !grammar::is_path(path) || tag.is_some_and(|tag| !grammar::is_tag(tag)) {
            return Err(ReferenceError::Format);
        }
        if digest.is_some_and(|digest| !grammar::is_digest_shape(digest)) {
            return Err(ReferenceError::Format);
        }
        if path.len() > grammar::MAX_PATH_LENGTH {
            return Err(ReferenceError::TooLong);
        }
        Ok(Self {
            tag: tag.map(Tag::parse).transpose()?,
            digest: digest.map(Digest::parse).transpose()?,
            repository: Repository::from_parts(registry, path)?,
        })
    }

    pub(crate) fn new(repository: Repository, tag: Option<Tag>, digest: Option<Digest>) -> Self {
        Self { repository, tag, digest }
    }

    pub(crate) fn into_repository(self) -> Repository {
        self.repository
    }

    /// Returns the repository.
    #[must_use]
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Returns the registry.
    #[must_use]
    pub fn registry(&self) -> &RegistryHost {
        self.repository.registry()
    }

    /// Returns the name of the trust collection: the canonical name without tag and digest.
    #[must_use]
    pub fn gun(&self) -> &Gun {
        self.repository.gun()
    }

    /// Returns the tag if one is written.
    #[must_use]
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// Returns the digest if one is written.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Returns the reference with the tag `latest` if it names neither a tag nor a digest.
    #[must_use]
    pub fn or_latest(self) -> Self {
        let named = self.tag.is_some() || self.digest.is_some();
        if named { self } else { Self { tag: Some(Tag::latest()), ..self } }
    }

    /// Returns the short form that docker shows and the engine expects, for example `alpine:3.20`.
    #[must_use]
    pub fn familiar(&self) -> String {
        self.render(self.repository.familiar())
    }

    fn render(&self, name: &str) -> String {
        let mut text = name.to_owned();
        if let Some(tag) = &self.tag {
            text.push(':');
            text.push_str(tag.as_str());
        }
        if let Some(digest) = &self.digest {
            text.push('@');
            text.push_str(&digest.to_string());
        }
        text
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(self.repository.as_str()))
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reference({self})")
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;
    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Self::parse(text)
    }
}

/// Shortens a refused text for an error.
pub(crate) fn excerpt(text: &str) -> String {
    text.chars().take(EXCERPT_LENGTH).collect()
}

/// Splits the registry off; names without one belong to Docker Hub.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        _ => ("docker.io", text),
    }
}

fn cut(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const D: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn parse(text: &str) -> Reference {
        Reference::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn names_are_brought_to_canonical_form_as_docker_does() {
        for (text, canonical, familiar) in [
            ("alpine", "docker.io/library/alpine", "alpine"),
            ("library/alpine", "docker.io/library/alpine", "alpine"),
            ("docker.io/alpine", "docker.io/library/alpine", "alpine"),
            ("index.docker.io/alpine", "docker.io/library/alpine", "alpine"),
            ("index.docker.io/library/alpine:3", "docker.io/library/alpine:3", "alpine:3"),
            ("user/repo", "docker.io/user/repo", "user/repo"),
            ("example.com:5000/foo/bar:tag", "example.com:5000/foo/bar:tag", "example.com:5000/foo/bar:tag"),
            (
                "registry-1.docker.io/library/alpine",
                "registry-1.docker.io/library/alpine",
                "registry-1.docker.io/library/alpine",
            ),
            ("UPPER/x", "UPPER/x", "UPPER/x"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
            ("example.com", "docker.io/library/example.com", "example.com"),
            ("example.com:5000", "docker.io/library/example.com:5000", "example.com:5000"),
            ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
            ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("docker.io/a.b/c", "docker.io/a.b/c", "docker.io/a.b/c"),
            ("docker.io/localhost/c", "docker.io/localhost/c", "docker.io/localhost/c"),
            ("a__b/c---d.e", "docker.io/a__b/c---d.e", "a__b/c---d.e"),
        ] {
            let reference = parse(text);
            assert_eq!(reference.to_string(), canonical);
            assert_eq!(reference.familiar(), familiar);
        }
    }

    #[test]
    fn tag_and_digest_are_kept_apart() {
        let both = parse(&format!("reg.test/a:v1@{D}"));
        assert_eq!((both.tag().unwrap().as_str(), both.digest().unwrap().to_string().as_str()), ("v1", D));
        assert_eq!(both.gun().as_str(), "reg.test/a");
        assert_eq!(both.to_string(), format!("reg.test/a:v1@{D}"));
        let looks_like_a_digest = parse("a:sha256-0123");
        assert!(looks_like_a_digest.digest().is_none());
    }

    #[test]
    fn latest_is_added_only_to_bare_names() {
        assert_eq!(parse("a").or_latest().familiar(), "a:latest");
        assert_eq!(parse("a:b").or_latest().familiar(), "a:b");
        assert_eq!(parse(&format!("a@{D}")).or_latest().familiar(), format!("a@{D}"));
    }

    #[test]
    fn errors_carry_dockers_texts() {
        for (text, message) in [
            ("", "invalid reference format"),
            ("Foo", "invalid reference format: repository name (library/Foo) must be lowercase"),
            ("a/B:c", "invalid reference format: repository name (a/B) must be lowercase"),
            ("a:", "invalid reference format"),
            ("a@", "invalid reference format"),
            ("a:b:c", "invalid reference format"),
            ("a@sha256:12", "invalid reference format"),
            ("a@sha256:0123456789abcdef0123456789abcdef", "invalid checksum digest length"),
        ] {
            assert_eq!(Reference::parse(text).unwrap_err().to_string(), message, "{text}");
        }
        let identifier = "a".repeat(64);
        assert!(matches!(Reference::parse(&identifier), Err(ReferenceError::Identifier(_))));
        assert_eq!(parse(&format!("{identifier}:tag")).familiar(), format!("docker.io/library/{identifier}:tag"));
        assert_eq!(Reference::parse(&format!("x.y/{}", "a".repeat(256))), Err(ReferenceError::TooLong));
    }

    #[test]
    fn hostile_names_are_refused() {
        for text in [
            "../x",
            "a/../b",
            "/a",
            "a/",
            "a//b",
            " a",
            "a ",
            "a\n",
            "a\0",
            "reg.test/..",
            "http://a/b",
            "a?b",
            "a#b",
            "a%2e",
            "a\\b",
            "-a/b",
            "foo_bar.com/x",
            "reg.test:99999/x",
            "[::1]/",
            "[::g]/x",
            "reg.test:/x",
            ".",
            "a.b/",
            "a:ü",
            "ÄB/x",
            "[::1%25lo]/x",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn unknown_digest_algorithms_are_refused() {
        let text = format!("a@md5:{}", "0".repeat(32));
        assert!(matches!(Reference::parse(&text), Err(ReferenceError::Digest(_))));
        assert!(matches!(Reference::parse(&format!("a@sha256:{}", "A".repeat(64))), Err(ReferenceError::Digest(_))));
    }

    #[test]
    fn a_repository_has_neither_tag_nor_digest() {
        assert_eq!(Repository::parse("alpine").unwrap().path(), "library/alpine");
        assert!(matches!(Repository::parse("alpine:3"), Err(ReferenceError::NotARepository(_))));
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_stable(text in ".{0,80}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
            }
        }

        #[test]
        fn texts_from_the_alphabet_are_refused_or_stable(text in "[a-cA-C0-1.:/@_\\[\\]-]{0,40}") {
            if let Ok(reference) = Reference::parse(&text) {
                prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
                prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
                prop_assert!(reference.gun().as_str().starts_with(reference.registry().as_str()));
            }
        }

        #[test]
        fn well_formed_names_are_accepted(
            host in "[a-z][a-z0-9]{0,8}\\.[a-z]{2,4}(:[1-9][0-9]{0,3})?",
            path in "[a-z0-9]{1,6}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,2}(/[a-z0-9]{1,6}){0,3}",
            tag in "[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}",
        ) {
            let reference = Reference::parse(&format!("{host}/{path}:{tag}")).unwrap();
            prop_assert_eq!(reference.registry().as_str(), host);
            prop_assert_eq!(reference.repository().path(), path);
            prop_assert_eq!(reference.tag().unwrap().as_str(), tag);
        }
    }
}
