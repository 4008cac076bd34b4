//! Indexes and manifests, read with limits and without ambiguity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::descriptor::{Descriptor, DescriptorError, null_is_default};
use crate::digest::Digest;
use crate::media_type::MediaType;
use crate::strict_json;

/// Largest manifest or index in bytes; the limit that registries use.
pub const MAX_DOCUMENT_BYTES: usize = 4 * 1024 * 1024;
/// Most layers of a manifest and most entries of an index.
pub const MAX_ENTRIES: usize = 1024;

/// A document that a tag or digest names: an index of manifests or the manifest of one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Lists manifests for several platforms.
    Index(ImageIndex),
    /// Lists the configuration and the layers of one image.
    Manifest(Box<ImageManifest>),
}

/// An OCI image index or docker manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageIndex {
    /// The kind of document.
    pub media_type: MediaType,
    /// The documents listed.
    pub manifests: Vec<Descriptor>,
    /// Remarks on the index.
    pub annotations: BTreeMap<String, String>,
}

/// An OCI or docker image manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageManifest {
    /// The kind of document.
    pub media_type: MediaType,
    /// The image's configuration.
    pub config: Descriptor,
    /// The image's layers, the lowest first.
    pub layers: Vec<Descriptor>,
    /// The document that this one belongs to; a signature or an attestation has one.
    pub subject: Option<Descriptor>,
    /// Remarks on the image.
    pub annotations: BTreeMap<String, String>,
}

/// Says why bytes are not an acceptable document.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The document is too large.
    #[error("a manifest may have at most {MAX_DOCUMENT_BYTES} bytes, this one has {0}")]
    TooLarge(usize),
    /// The bytes are not JSON of the right shape, or readable in two ways.
    #[error("malformed manifest: {0}")]
    Json(#[from] serde_json::Error),
    /// The schema version is not 2.
    #[error("manifests of schema {0} are not supported: push the image again with a current tool")]
    Schema(u64),
    /// The kind of document is not known.
    #[error("{0} is not a manifest or an index")]
    UnknownKind(MediaType),
    /// The document says it is another kind than the server or the index says.
    #[error("the manifest is announced as {announced} and calls itself {found}")]
    KindMismatch {
        /// What the server or the index says.
        announced: MediaType,
        /// What the document says.
        found: MediaType,
    },
    /// The document has the members of two kinds.
    #[error(
        "the document has the members of {kind} and also {member:?}: refused because programs may read it differently"
    )]
    Ambiguous {
        /// The kind it is announced as.
        kind: MediaType,
        /// The member that does not belong there.
        member: &'static str,
    },
    /// A member that this kind needs is missing.
    #[error("the document of kind {kind} has no {member:?}")]
    Missing {
        /// The kind of document.
        kind: MediaType,
        /// The missing member.
        member: &'static str,
    },
    /// There are too many entries.
    #[error("{0} entries in a manifest, at most {MAX_ENTRIES} are allowed")]
    TooManyEntries(usize),
    /// An entry is not acceptable.
    #[error(transparent)]
    Descriptor(#[from] DescriptorError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    media_type: Option<MediaType>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    manifests: Option<Vec<Descriptor>>,
    subject: Option<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    annotations: BTreeMap<String, String>,
    fs_layers: Option<serde::de::IgnoredAny>,
    history: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SchemaOnly {
    schema_version: u64,
}

impl Document {
    /// Reads a document. `announced` is the kind that the server or the enclosing index says it is, if it says one.
    ///
    /// # Errors
    /// Refuses documents that are too large, not JSON, of an unknown kind, of another kind than announced, or that
    /// programs may read as two different kinds (CVE-2021-41190).
    pub fn parse(bytes: &[u8], announced: Option<&MediaType>) -> Result<Self, DocumentError> {
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(DocumentError::TooLarge(bytes.len()));
        }
        strict_json::check(bytes)?;
        let SchemaOnly { schema_version } = serde_json::from_slice(bytes)?;
        if schema_version != 2 {
            return Err(DocumentError::Schema(schema_version));
        }
        let raw: Raw = serde_json::from_slice(bytes)?;
        let kind = kind_of(&raw, announced.filter(|kind| !kind.is_generic()))?;
        refuse_ambiguity(&raw, &kind)?;
        if kind.is_index() {
            index(raw, kind).map(Self::Index)
        } else {
            manifest(raw, kind).map(Box::new).map(Self::Manifest)
        }
    }

    /// Returns the kind of document.
    #[must_use]
    pub fn media_type(&self) -> &MediaType {
        match self {
            Self::Index(index) => &index.media_type,
            Self::Manifest(manifest) => &manifest.media_type,
        }
    }

    /// Describes the document, given the bytes it was read from.
    #[must_use]
    pub fn describe(&self, bytes: &[u8]) -> Descriptor {
        Descriptor::of(self.media_type().clone(), bytes)
    }
}

impl ImageManifest {
    /// Puts a manifest together.
    #[must_use]
    pub fn new(media_type: MediaType, config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { media_type, config, layers, subject: None, annotations: BTreeMap::new() }
    }

    /// Lists everything the manifest is made of: the configuration, then the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// Writes the manifest.
    ///
    /// # Errors
    /// Fails only if the JSON writer does.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'a> {
            schema_version: u8,
            media_type: &'a MediaType,
            config: &'a Descriptor,
            layers: &'a [Descriptor],
            #[serde(skip_serializing_if = "Option::is_none")]
            subject: Option<&'a Descriptor>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            annotations: &'a BTreeMap<String, String>,
        }
        serde_json::to_vec(&Written {
            schema_version: 2,
            media_type: &self.media_type,
            config: &self.config,
            layers: &self.layers,
            subject: self.subject.as_ref(),
            annotations: &self.annotations,
        })
    }
}

impl ImageIndex {
    /// Puts an index together.
    #[must_use]
    pub fn new(media_type: MediaType, manifests: Vec<Descriptor>) -> Self {
        Self { media_type, manifests, annotations: BTreeMap::new() }
    }

    /// Writes the index.
    ///
    /// # Errors
    /// Fails only if the JSON writer does.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Written<'a> {
            schema_version: u8,
            media_type: &'a MediaType,
            manifests: &'a [Descriptor],
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            annotations: &'a BTreeMap<String, String>,
        }
        serde_json::to_vec(&Written {
            schema_version: 2,
            media_type: &self.media_type,
            manifests: &self.manifests,
            annotations: &self.annotations,
        })
    }
}

/// Decides the kind: what is announced and what the document says must agree; if neither speaks, the members decide.
fn kind_of(raw: &Raw, announced: Option<&MediaType>) -> Result<MediaType, DocumentError> {
    let kind = match (announced, &raw.media_type) {
        (Some(announced), Some(found)) if announced != found => {
            return Err(DocumentError::KindMismatch { announced: announced.clone(), found: found.clone() });
        }
        (Some(kind), _) | (None, Some(kind)) => kind.clone(),
        (None, None) if raw.manifests.is_some() => MediaType::OCI_INDEX,
        (None, None) => MediaType::OCI_MANIFEST,
    };
    if kind.is_schema1() {
        return Err(DocumentError::Schema(1));
    }
    if kind.is_index() || kind.is_manifest() { Ok(kind) } else { Err(DocumentError::UnknownKind(kind)) }
}

fn refuse_ambiguity(raw: &Raw, kind: &MediaType) -> Result<(), DocumentError> {
    let foreign = [
        ("manifests", raw.manifests.is_some() && kind.is_manifest()),
        ("layers", raw.layers.is_some() && kind.is_index()),
        ("config", raw.config.is_some() && kind.is_index()),
        ("fsLayers", raw.fs_layers.is_some()),
        ("history", raw.history.is_some()),
    ];
    match foreign.into_iter().find(|(_, present)| *present) {
        Some((member, _)) => Err(DocumentError::Ambiguous { kind: kind.clone(), member }),
        None => Ok(()),
    }
}

fn index(raw: Raw, kind: MediaType) -> Result<ImageIndex, DocumentError> {
    let manifests = entries(raw.manifests, &kind, "manifests")?;
    Ok(ImageIndex { media_type: kind, manifests, annotations: raw.annotations })
}

fn manifest(raw: Raw, kind: MediaType) -> Result<ImageManifest, DocumentError> {
    let layers = entries(raw.layers, &kind, "layers")?;
    let config = raw.config.ok_or_else(|| DocumentError::Missing { kind: kind.clone(), member: "config" })?;
    config.check()?;
    Ok(ImageManifest { media_type: kind, config, layers, subject: raw.subject, annotations: raw.annotations })
}

fn entries(
    list: Option<Vec<Descriptor>>,
    kind: &MediaType,
    member: &'static str,
) -> Result<Vec<Descriptor>, DocumentError> {
    let list = list.ok_or_else(|| DocumentError::Missing { kind: kind.clone(), member })?;
    if list.len() > MAX_ENTRIES {
        return Err(DocumentError::TooManyEntries(list.len()));
    }
    list.iter().try_for_each(Descriptor::check)?;
    Ok(list)
}

impl Digest {
    /// Reads the document that has this digest.
    ///
    /// # Errors
    /// Refuses bytes with another digest and whatever [`Document::parse`] refuses.
    pub fn open(&self, bytes: &[u8], announced: Option<&MediaType>) -> Result<Document, crate::OpenError> {
        self.verify(bytes)?;
        Ok(Document::parse(bytes, announced)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn descriptor() -> String {
        serde_json::to_string(&Descriptor::of(MediaType::OCI_LAYER_GZIP, b"x")).unwrap()
    }

    fn manifest_text(extra: &str) -> String {
        let d = descriptor();
        format!(r#"{{"schemaVersion":2,"config":{d},"layers":[{d}]{extra}}}"#)
    }

    #[test]
    fn documents_survive_json() {
        let d = Descriptor::of(MediaType::DOCKER_LAYER_GZIP, b"x");
        let manifest = ImageManifest::new(MediaType::DOCKER_MANIFEST, d.clone(), vec![d.clone()]);
        assert_eq!(
            Document::parse(&manifest.to_bytes().unwrap(), None).unwrap(),
            Document::Manifest(Box::new(manifest))
        );
        let index = ImageIndex::new(MediaType::OCI_INDEX, vec![d]);
        assert_eq!(Document::parse(&index.to_bytes().unwrap(), None).unwrap(), Document::Index(index));
    }

    #[test]
    fn documents_without_a_kind_are_known_by_their_members() {
        assert_eq!(Document::parse(manifest_text("").as_bytes(), None).unwrap().media_type(), &MediaType::OCI_MANIFEST);
        let json = MediaType::parse("application/json").unwrap();
        assert_eq!(
            Document::parse(br#"{"schemaVersion":2,"manifests":[]}"#, Some(&json)).unwrap().media_type(),
            &MediaType::OCI_INDEX
        );
    }

    #[test]
    fn another_kind_than_announced_is_refused() {
        let text = manifest_text(r#","mediaType":"application/vnd.oci.image.manifest.v1+json""#);
        assert!(Document::parse(text.as_bytes(), Some(&MediaType::OCI_MANIFEST)).is_ok());
        assert!(matches!(
            Document::parse(text.as_bytes(), Some(&MediaType::OCI_INDEX)),
            Err(DocumentError::KindMismatch { .. })
        ));
        assert!(matches!(
            Document::parse(text.as_bytes(), Some(&MediaType::DOCKER_MANIFEST)),
            Err(DocumentError::KindMismatch { .. })
        ));
    }

    #[test]
    fn documents_with_the_members_of_two_kinds_are_refused() {
        let d = descriptor();
        for text in [
            manifest_text(&format!(r#","manifests":[{d}]"#)),
            manifest_text(r#","manifests":[]"#),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{d}],"layers":[]}}"#
            ),
            format!(
                r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{d}],"config":{d}}}"#
            ),
            manifest_text(r#","fsLayers":[]"#),
            manifest_text(r#","history":[]"#),
        ] {
            assert!(matches!(Document::parse(text.as_bytes(), None), Err(DocumentError::Ambiguous { .. })), "{text}");
        }
        assert!(matches!(
            Document::parse(manifest_text(r#","Manifests":[]"#).as_bytes(), None),
            Err(DocumentError::Json(_))
        ));
        assert!(matches!(
            Document::parse(manifest_text(r#","layers":[]"#).as_bytes(), None),
            Err(DocumentError::Json(_))
        ));
    }

    #[test]
    fn old_and_unknown_kinds_are_refused() {
        assert!(matches!(
            Document::parse(br#"{"schemaVersion":1,"name":"x","fsLayers":[]}"#, None),
            Err(DocumentError::Schema(1))
        ));
        assert!(matches!(
            Document::parse(manifest_text("").as_bytes(), Some(&MediaType::DOCKER_SCHEMA1_SIGNED)),
            Err(DocumentError::Schema(1))
        ));
        assert!(matches!(
            Document::parse(manifest_text("").as_bytes(), Some(&MediaType::OCI_LAYER)),
            Err(DocumentError::UnknownKind(_))
        ));
        for text in [
            "",
            "[]",
            "null",
            "{}",
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"layers":[]}"#,
            r#"{"schemaVersion":"2","layers":[]}"#,
        ] {
            assert!(Document::parse(text.as_bytes(), None).is_err(), "{text}");
        }
    }

    #[test]
    fn huge_documents_and_long_lists_are_refused() {
        assert!(matches!(Document::parse(&vec![b' '; MAX_DOCUMENT_BYTES + 1], None), Err(DocumentError::TooLarge(_))));
        let list = vec![descriptor(); MAX_ENTRIES + 1].join(",");
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{list}]}}"#);
        assert!(matches!(Document::parse(text.as_bytes(), None), Err(DocumentError::TooManyEntries(_))));
    }

    #[test]
    fn bytes_with_another_digest_are_not_opened() {
        let text = manifest_text("");
        assert!(Digest::of(text.as_bytes()).open(text.as_bytes(), None).is_ok());
        assert!(matches!(Digest::of(b"other").open(text.as_bytes(), None), Err(crate::OpenError::Digest(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Document::parse(&bytes, None);
        }

        #[test]
        fn no_damage_makes_the_reader_panic(position in 0_usize..400, byte in any::<u8>()) {
            let mut bytes = manifest_text("").into_bytes();
            if let Some(place) = bytes.get_mut(position) {
                *place = byte;
            }
            let _ = Document::parse(&bytes, None);
        }
    }
}
