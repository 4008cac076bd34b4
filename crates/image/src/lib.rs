//! Image references, digests, manifests and media types.
//!
//! This crate reads no file and opens no connection. It turns text and bytes into types that cannot hold anything
//! malformed: a [`Reference`] follows docker's grammar, a [`Digest`] names an algorithm that is understood, a
//! [`Document`] is either an index or an image manifest and never both.

mod content;
mod descriptor;
mod digest;
mod document;
mod grammar;
mod host;
mod media_type;
mod platform;
mod reference;
mod repository;
mod strict_json;
mod tree;

pub use content::{ContentError, HasContent, ImageSink, ImageSource, OpenError};
pub use descriptor::{Descriptor, DescriptorError, MAX_ANNOTATIONS, MAX_URLS};
pub use digest::{Algorithm, Digest, DigestError, DigestMismatch, Hasher};
pub use document::{Document, DocumentError, ImageIndex, ImageManifest, MAX_DOCUMENT_BYTES, MAX_ENTRIES};
pub use host::RegistryHost;
pub use media_type::{MediaType, MediaTypeError};
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
pub use repository::{Repository, Tag};
pub use tree::{ImageTree, MAX_INDEX_DEPTH, MAX_TREE_DOCUMENTS, PlatformWalk, TreeError, WalkStep};
