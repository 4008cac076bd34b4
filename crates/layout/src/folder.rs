//! OCI layouts as folders.

use std::io::Read;
use std::path::{Path, PathBuf};

use countersign_image::{
    ContentError, Descriptor, Digest, Document, ImageIndex, ImageSource, MAX_DOCUMENT_BYTES, MediaType,
};
use fs_err::File;
use serde::Deserialize;

use crate::error::LayoutError;
use crate::names::{NamedImage, images_of};

/// The file that marks a layout, and what it says.
pub(crate) const MARKER: &str = "oci-layout";
pub(crate) const MARKER_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// The file that lists a layout's images.
pub(crate) const INDEX: &str = "index.json";
/// Largest marker in bytes.
pub(crate) const MAX_MARKER: u64 = 4096;

/// An OCI layout folder (OCI image specification, image layout).
#[derive(Debug, Clone)]
pub struct LayoutFolder {
    root: PathBuf,
    images: Vec<NamedImage>,
}

impl LayoutFolder {
    /// Opens a layout and reads which images it holds.
    ///
    /// # Errors
    /// Fails if the folder is no layout of a known version or its list of images is not acceptable.
    pub fn open(root: &Path) -> Result<Self, LayoutError> {
        check_marker(&read_file(&root.join(MARKER), MAX_MARKER)?)?;
        let index = parse_index(&read_file(&root.join(INDEX), MAX_DOCUMENT_BYTES as u64)?)?;
        Ok(Self { root: root.to_owned(), images: images_of(&index) })
    }

    /// Lists the images.
    #[must_use]
    pub fn images(&self) -> &[NamedImage] {
        &self.images
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.root.join(blob_path(digest))
    }
}

impl ImageSource for LayoutFolder {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ContentError> {
        let path = self.path(&descriptor.digest);
        if !fs_err::exists(&path)? {
            return Err(ContentError::Missing(descriptor.digest.clone()));
        }
        Ok(read_file(&path, MAX_DOCUMENT_BYTES as u64)?)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ContentError> {
        let path = self.path(&descriptor.digest);
        if !fs_err::exists(&path)? {
            return Err(ContentError::Missing(descriptor.digest.clone()));
        }
        let found = regular_size(&path)?;
        if found != descriptor.size {
            return Err(ContentError::Size { digest: descriptor.digest.clone(), wanted: descriptor.size, found });
        }
        Ok(Box::new(File::open(&path)?))
    }
}

/// Where a layout keeps content, relative to its root and with slashes.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// Checks the marker's version.
pub(crate) fn check_marker(bytes: &[u8]) -> Result<(), LayoutError> {
    #[derive(Deserialize)]
    struct Marker {
        #[serde(rename = "imageLayoutVersion")]
        version: String,
    }
    let marker: Marker =
        serde_json::from_slice(bytes).map_err(|error| LayoutError::Json { file: MARKER.to_owned(), error })?;
    if marker.version.starts_with("1.") { Ok(()) } else { Err(LayoutError::Version(marker.version)) }
}

/// Reads the list of a layout's images.
pub(crate) fn parse_index(bytes: &[u8]) -> Result<ImageIndex, LayoutError> {
    match Document::parse(bytes, Some(&MediaType::OCI_INDEX))? {
        Document::Index(index) => Ok(index),
        Document::Manifest(_) => Err(LayoutError::Missing(INDEX.to_owned())),
    }
}

/// Returns the size of a regular file. Links and pipes are refused: they lead elsewhere or never end.
fn regular_size(path: &Path) -> Result<u64, LayoutError> {
    let metadata = fs_err::symlink_metadata(path)?;
    if metadata.is_file() {
        Ok(metadata.len())
    } else {
        Err(LayoutError::NotAFile(path.display().to_string(), u64::MAX))
    }
}

fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>, LayoutError> {
    if !fs_err::exists(path)? {
        return Err(LayoutError::Missing(path.display().to_string()));
    }
    if regular_size(path)? > limit {
        return Err(LayoutError::NotAFile(path.display().to_string(), limit));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}
