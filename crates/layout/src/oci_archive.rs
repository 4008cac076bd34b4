//! OCI layouts in a tar archive.

use std::io::Read;
use std::path::Path;

use countersign_image::{ContentError, Descriptor, ImageSource, MAX_DOCUMENT_BYTES};

use crate::archive::Archive;
use crate::error::LayoutError;
use crate::folder::{INDEX, MARKER, MAX_MARKER, blob_path, check_marker, parse_index};
use crate::gzip::open_unpacked;
use crate::names::{NamedImage, images_of};

/// An OCI layout in a tar archive, compressed or not; also what `docker save` writes since version 25.
#[derive(Debug, Clone)]
pub struct OciArchive {
    archive: Archive,
    images: Vec<NamedImage>,
}

impl OciArchive {
    /// Opens an archive and reads which images it holds.
    ///
    /// # Errors
    /// Fails if the archive is damaged, hostile, or holds no layout of a known version.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        Self::from_archive(Archive::read(open_unpacked(path)?)?)
    }

    pub(crate) fn from_archive(archive: Archive) -> Result<Self, LayoutError> {
        let file = |name: &str, limit| archive.small(name, limit)?.ok_or_else(|| LayoutError::Missing(name.to_owned()));
        check_marker(&file(MARKER, MAX_MARKER)?)?;
        let index = parse_index(&file(INDEX, MAX_DOCUMENT_BYTES as u64)?)?;
        Ok(Self { images: images_of(&index), archive })
    }

    /// Lists the images.
    #[must_use]
    pub fn images(&self) -> &[NamedImage] {
        &self.images
    }
}

impl ImageSource for OciArchive {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ContentError> {
        let found = self.archive.small(&blob_path(&descriptor.digest), MAX_DOCUMENT_BYTES as u64)?;
        found.ok_or_else(|| ContentError::Missing(descriptor.digest.clone()))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ContentError> {
        let digest = &descriptor.digest;
        let place = self.archive.find(&blob_path(digest)).ok_or_else(|| ContentError::Missing(digest.clone()))?;
        if place.size != descriptor.size {
            return Err(ContentError::Size { digest: digest.clone(), wanted: descriptor.size, found: place.size });
        }
        Ok(Box::new(self.archive.window(place)))
    }
}
