//! OCI layout folders and docker and OCI archives.
//!
//! Each of them is an [`ImageSource`](countersign_image::ImageSource) that lists its images and opens their parts, and
//! [`LayoutWriter`] is the [`ImageSink`](countersign_image::ImageSink) that writes any of them. Archives are never
//! unpacked: their parts are read where they lie, so a hostile path leads nowhere. Everything written appears whole or
//! not at all.

mod archive;
mod docker_archive;
mod error;
mod folder;
mod gzip;
mod names;
mod oci_archive;
mod open;
mod writer;

pub use archive::{MAX_ENTRIES, MAX_PATH};
pub use docker_archive::DockerArchive;
pub use error::LayoutError;
pub use folder::LayoutFolder;
pub use gzip::MAX_UNPACKED;
pub use names::{NamedImage, choose};
pub use oci_archive::OciArchive;
pub use open::{LocalImages, open};
pub use writer::LayoutWriter;
