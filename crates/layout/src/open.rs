//! Opens whatever lies at a path.

use std::io::Read;
use std::path::Path;

use countersign_image::{ContentError, Descriptor, ImageSource};

use crate::archive::Archive;
use crate::docker_archive::{DockerArchive, MANIFEST};
use crate::error::LayoutError;
use crate::folder::{INDEX, LayoutFolder, MARKER};
use crate::gzip::open_unpacked;
use crate::names::NamedImage;
use crate::oci_archive::OciArchive;

/// Images on a disk, in any form that is understood.
#[derive(Debug, Clone)]
pub enum LocalImages {
    /// An OCI layout folder.
    Folder(LayoutFolder),
    /// An OCI archive.
    OciArchive(OciArchive),
    /// A docker archive.
    DockerArchive(DockerArchive),
}

/// Opens images at a path: a folder is an OCI layout; an archive is an OCI archive if it holds a layout, else a docker
/// archive.
///
/// # Errors
/// Fails if nothing is understood there, or what is there is damaged or hostile.
pub fn open(path: &Path) -> Result<LocalImages, LayoutError> {
    if fs_err::metadata(path)?.is_dir() {
        let is_layout = fs_err::exists(path.join(MARKER))?;
        return if is_layout {
            LayoutFolder::open(path).map(LocalImages::Folder)
        } else {
            Err(LayoutError::Unknown(path.to_owned()))
        };
    }
    let archive = Archive::read(open_unpacked(path)?)?;
    if archive.find(MARKER).is_some() && archive.find(INDEX).is_some() {
        OciArchive::from_archive(archive).map(LocalImages::OciArchive)
    } else if archive.find(MANIFEST).is_some() {
        DockerArchive::from_archive(archive).map(LocalImages::DockerArchive)
    } else {
        Err(LayoutError::Unknown(path.to_owned()))
    }
}

impl LocalImages {
    /// Lists the images.
    #[must_use]
    pub fn images(&self) -> &[NamedImage] {
        match self {
            Self::Folder(folder) => folder.images(),
            Self::OciArchive(archive) => archive.images(),
            Self::DockerArchive(archive) => archive.images(),
        }
    }

    fn source(&self) -> &dyn ImageSource {
        match self {
            Self::Folder(folder) => folder,
            Self::OciArchive(archive) => archive,
            Self::DockerArchive(archive) => archive,
        }
    }
}

impl ImageSource for LocalImages {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ContentError> {
        self.source().document(descriptor)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ContentError> {
        self.source().blob(descriptor)
    }
}
