//! Descriptors: what kind of content, how large, and under which digest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::platform::Platform;

/// Most foreign addresses one descriptor may carry.
pub const MAX_URLS: usize = 16;
/// Most annotations one descriptor may carry.
pub const MAX_ANNOTATIONS: usize = 256;
/// Largest content size in bytes; what Go's signed numbers hold.
const MAX_SIZE: u64 = i64::MAX as u64;

/// Names content by digest, size and media type (OCI image specification, descriptor).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The kind of content.
    pub media_type: MediaType,
    /// The digest of the content.
    pub digest: Digest,
    /// The size of the content in bytes.
    pub size: u64,
    /// Other addresses of the content, which are shown but never used.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
    /// Remarks on the content.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// The kind of artifact, if it is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// What the content runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

/// Says why a descriptor is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DescriptorError {
    /// The size is larger than any content.
    #[error("the size {0} of {1} is impossible")]
    Size(u64, Digest),
    /// There are too many addresses.
    #[error("{0} addresses for {1}, at most {MAX_URLS} are allowed")]
    Urls(usize, Digest),
    /// There are too many annotations.
    #[error("{0} annotations on {1}, at most {MAX_ANNOTATIONS} are allowed")]
    Annotations(usize, Digest),
}

impl Descriptor {
    /// Describes content of which nothing but kind, digest and size is known.
    #[must_use]
    pub fn new(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self {
            media_type,
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            artifact_type: None,
            platform: None,
        }
    }

    /// Describes bytes that are at hand.
    #[must_use]
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Tells whether this is a layer that lives elsewhere and may be missing from the registry.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.media_type.is_foreign_layer()
    }

    /// Checks the limits that the type itself does not enforce.
    ///
    /// # Errors
    /// Refuses impossible sizes and overlong lists.
    pub fn check(&self) -> Result<(), DescriptorError> {
        if self.size > MAX_SIZE {
            return Err(DescriptorError::Size(self.size, self.digest.clone()));
        }
        if self.urls.len() > MAX_URLS {
            return Err(DescriptorError::Urls(self.urls.len(), self.digest.clone()));
        }
        if self.annotations.len() > MAX_ANNOTATIONS {
            return Err(DescriptorError::Annotations(self.annotations.len(), self.digest.clone()));
        }
        Ok(())
    }
}

/// Takes `null` for an absent list, as writers in Go produce it.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_survive_json() {
        let mut descriptor = Descriptor::of(MediaType::OCI_MANIFEST, b"x");
        descriptor.platform = Some(Platform::parse("linux/arm/v7").unwrap());
        let text = serde_json::to_string(&descriptor).unwrap();
        assert_eq!(serde_json::from_str::<Descriptor>(&text).unwrap(), descriptor);
    }

    #[test]
    fn malformed_descriptors_are_refused() {
        let digest = Digest::of(b"x");
        for text in [
            "{}".to_owned(),
            format!(r#"{{"mediaType":"a/b","digest":"{digest}"}}"#),
            format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":-1}}"#),
            format!(r#"{{"mediaType":"a/b","digest":"{digest}","size":1.5}}"#),
            r#"{"mediaType":"a/b","digest":"sha256:","size":1}"#.to_owned(),
            format!(r#"{{"mediaType":"","digest":"{digest}","size":1}}"#),
        ] {
            assert!(serde_json::from_str::<Descriptor>(&text).is_err(), "{text}");
        }
        let huge = Descriptor::new(MediaType::OCTET_STREAM, digest, u64::MAX);
        assert!(matches!(huge.check(), Err(DescriptorError::Size(..))));
    }
}
