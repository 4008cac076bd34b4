//! Media types of image documents and blobs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::reference::excerpt;

/// Longest media type in bytes (RFC 6838, section 4.2: two names of at most 127 characters).
const MAX_LENGTH: usize = 255;

/// A media type without parameters, in lower case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MediaType(std::borrow::Cow<'static, str>);

/// Says that a text is no media type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a media type")]
pub struct MediaTypeError(pub String);

macro_rules! known {
    ($($name:ident = $text:literal, $doc:literal;)*) => {
        impl MediaType {
            $(#[doc = $doc] pub const $name: Self = Self(std::borrow::Cow::Borrowed($text));)*
        }
    };
}

known! {
    OCI_INDEX = "application/vnd.oci.image.index.v1+json", "An OCI image index.";
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json", "An OCI image manifest.";
    OCI_CONFIG = "application/vnd.oci.image.config.v1+json", "An OCI image configuration.";
    OCI_LAYER = "application/vnd.oci.image.layer.v1.tar", "An uncompressed OCI layer.";
    OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip", "A gzip-compressed OCI layer.";
    OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd", "A zstd-compressed OCI layer.";
    DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json", "A docker manifest list.";
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json", "A docker image manifest, schema 2.";
    DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json", "A docker image manifest, schema 1, which is not supported.";
    DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws", "A signed docker image manifest, schema 1, which is not supported.";
    DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json", "A docker image configuration.";
    DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar", "An uncompressed docker layer.";
    DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip", "A gzip-compressed docker layer.";
    OCTET_STREAM = "application/octet-stream", "Bytes of unknown kind.";
}

impl MediaType {
    /// Parses a media type and drops its parameters (`; charset=…`).
    ///
    /// # Errors
    /// Refuses a text without exactly one `/`, with characters outside RFC 6838, or longer than 255 bytes.
    pub fn parse(text: &str) -> Result<Self, MediaTypeError> {
        let essence = text.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
        let name = |part: &str| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
        };
        let valid = essence.len() <= MAX_LENGTH
            && essence.split_once('/').is_some_and(|(kind, subtype)| name(kind) && name(subtype));
        if valid { Ok(Self(essence.to_ascii_lowercase().into())) } else { Err(MediaTypeError(excerpt(text))) }
    }

    /// Returns the media type as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether documents of this type list manifests.
    #[must_use]
    pub fn is_index(&self) -> bool {
        *self == Self::OCI_INDEX || *self == Self::DOCKER_LIST
    }

    /// Tells whether documents of this type list a configuration and layers.
    #[must_use]
    pub fn is_manifest(&self) -> bool {
        *self == Self::OCI_MANIFEST || *self == Self::DOCKER_MANIFEST
    }

    /// Tells whether this is docker's retired first schema.
    #[must_use]
    pub fn is_schema1(&self) -> bool {
        *self == Self::DOCKER_SCHEMA1 || *self == Self::DOCKER_SCHEMA1_SIGNED
    }

    /// Tells whether layers of this type may not be copied and live at other addresses.
    #[must_use]
    pub fn is_foreign_layer(&self) -> bool {
        self.0.starts_with("application/vnd.oci.image.layer.nondistributable.")
            || self.0.starts_with("application/vnd.docker.image.rootfs.foreign.")
    }

    /// Tells whether the type says nothing about the content: what simple servers send for any JSON file.
    #[must_use]
    pub fn is_generic(&self) -> bool {
        matches!(self.as_str(), "application/json" | "application/octet-stream" | "text/plain" | "binary/octet-stream")
    }

    /// Returns the value of the `Accept` header that asks for every document understood here.
    #[must_use]
    pub fn accept_documents() -> String {
        [Self::OCI_INDEX, Self::DOCKER_LIST, Self::OCI_MANIFEST, Self::DOCKER_MANIFEST].map(|kind| kind.0).join(", ")
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MediaType({})", self.0)
    }
}

impl Serialize for MediaType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for MediaType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_capitals_do_not_matter() {
        assert_eq!(
            MediaType::parse("Application/VND.OCI.image.index.v1+json ; charset=utf-8").unwrap(),
            MediaType::OCI_INDEX
        );
    }

    #[test]
    fn texts_that_are_no_media_types_are_refused() {
        for text in ["", "a", "/", "a/", "/b", "a/b/c", "a b/c", "a/b\n", "-a/b", &format!("a/{}", "b".repeat(300))] {
            assert!(MediaType::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn foreign_layers_are_recognised() {
        assert!(
            MediaType::parse("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip").unwrap().is_foreign_layer()
        );
        assert!(
            MediaType::parse("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd")
                .unwrap()
                .is_foreign_layer()
        );
        assert!(!MediaType::OCI_LAYER.is_foreign_layer());
    }
}
