//! What `docker save` writes: a `manifest.json` of its own, configurations, and layers.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;

use countersign_image::{
    Algorithm, ContentError, Descriptor, Digest, ImageManifest, ImageSource, MediaType, Reference,
};
use serde::Deserialize;

use crate::archive::{Archive, Place};
use crate::error::LayoutError;
use crate::gzip::{Compression, detect, open_unpacked, unpack};
use crate::names::NamedImage;

/// The file that lists a docker archive's images.
pub(crate) const MANIFEST: &str = "manifest.json";
/// Largest `manifest.json` in bytes.
const MAX_MANIFEST: u64 = 4 * 1024 * 1024;
/// Largest image configuration in bytes.
const MAX_CONFIG: u64 = 8 * 1024 * 1024;
/// Most images, names of one image, and layers of one image.
const MAX_LISTED: usize = 1024;

/// A docker archive, compressed or not, with proper manifests made from it.
///
/// The archive holds no registry manifest. One of docker's schema 2 is made here: the configuration and the layers as
/// they lie in the archive, with digests computed on opening. Its digest is the same each time, but it is not the one
/// that an engine would push, which compresses layers first.
#[derive(Debug, Clone)]
pub struct DockerArchive {
    archive: Archive,
    images: Vec<NamedImage>,
    manifests: HashMap<Digest, Vec<u8>>,
    blobs: HashMap<Digest, Place>,
}

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    names: Option<Vec<String>>,
    #[serde(rename = "Layers", default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Configuration {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Option<Vec<Digest>>,
}

impl DockerArchive {
    /// Opens an archive, hashes its layers and checks them against the configurations.
    ///
    /// # Errors
    /// Fails if the archive is damaged, hostile, or holds layers that are not what a configuration says.
    pub fn open(path: &Path) -> Result<Self, LayoutError> {
        Self::from_archive(Archive::read(open_unpacked(path)?)?)
    }

    pub(crate) fn from_archive(archive: Archive) -> Result<Self, LayoutError> {
        let bytes = archive.small(MANIFEST, MAX_MANIFEST)?.ok_or_else(|| LayoutError::Missing(MANIFEST.to_owned()))?;
        let listed: Vec<Listed> = serde_json::from_slice(&bytes).map_err(|error| json(MANIFEST, error))?;
        if listed.len() > MAX_LISTED {
            return Err(too_many("images"));
        }
        let mut images = Self { archive, images: Vec::new(), manifests: HashMap::new(), blobs: HashMap::new() };
        let mut known = HashMap::new();
        for image in listed {
            images.add(image, &mut known)?;
        }
        Ok(images)
    }

    /// Lists the images; one with several names is there several times.
    #[must_use]
    pub fn images(&self) -> &[NamedImage] {
        &self.images
    }

    fn add(&mut self, listed: Listed, known: &mut HashMap<String, (Descriptor, Digest)>) -> Result<(), LayoutError> {
        let (layers, names) = (listed.layers.unwrap_or_default(), listed.names.unwrap_or_default());
        if layers.len() > MAX_LISTED || names.len() > MAX_LISTED {
            return Err(too_many("layers or names"));
        }
        let missing = || LayoutError::Missing(listed.config.clone());
        let place = self.archive.find(&listed.config).ok_or_else(missing)?;
        let bytes = self.archive.small(&listed.config, MAX_CONFIG)?.ok_or_else(missing)?;
        let configuration: Configuration =
            serde_json::from_slice(&bytes).map_err(|error| json(&listed.config, error))?;
        let config = Descriptor::of(MediaType::DOCKER_CONFIG, &bytes);
        self.blobs.insert(config.digest.clone(), place);
        let diff_ids = configuration.rootfs.diff_ids.unwrap_or_default();
        if diff_ids.len() != layers.len() {
            let (wanted, found) = (format!("{} layers", diff_ids.len()), format!("one of {}", layers.len()));
            return Err(LayoutError::Layer { layer: listed.config, wanted, found });
        }
        let mut descriptors = Vec::with_capacity(layers.len());
        for (layer, wanted) in layers.into_iter().zip(diff_ids) {
            descriptors.push(self.layer(layer, &wanted, known)?);
        }
        let manifest = ImageManifest::new(MediaType::DOCKER_MANIFEST, config, descriptors);
        let bytes = manifest.to_bytes().map_err(|error| json(MANIFEST, error))?;
        let descriptor = Descriptor::of(MediaType::DOCKER_MANIFEST, &bytes);
        self.manifests.insert(descriptor.digest.clone(), bytes);
        if names.is_empty() {
            self.images.push(NamedImage { descriptor, reference: None, label: None });
            return Ok(());
        }
        for name in names {
            let reference = Reference::parse(&name)
                .map_err(|error| LayoutError::Name { name: name.chars().take(200).collect(), error })?;
            self.images.push(NamedImage {
                descriptor: descriptor.clone(),
                reference: Some(reference),
                label: Some(name),
            });
        }
        Ok(())
    }

    /// Describes a layer and checks that it unpacks to what the configuration says.
    fn layer(
        &mut self,
        name: String,
        wanted: &Digest,
        known: &mut HashMap<String, (Descriptor, Digest)>,
    ) -> Result<Descriptor, LayoutError> {
        if !known.contains_key(&name) {
            let place = self.archive.find(&name).ok_or_else(|| LayoutError::Missing(name.clone()))?;
            let measured = self.measure(place, wanted.algorithm())?;
            self.blobs.insert(measured.0.digest.clone(), place);
            known.insert(name.clone(), measured);
        }
        match known.get(&name) {
            Some((descriptor, unpacked)) if unpacked == wanted => Ok(descriptor.clone()),
            Some((_, unpacked)) => {
                Err(LayoutError::Layer { layer: name, wanted: wanted.to_string(), found: unpacked.to_string() })
            }
            None => Err(LayoutError::Missing(name)),
        }
    }

    /// Hashes a layer as it is and as it unpacks.
    fn measure(&self, place: Place, algorithm: Algorithm) -> Result<(Descriptor, Digest), LayoutError> {
        let media_type = match detect(&mut self.archive.window(place))? {
            Compression::None => MediaType::DOCKER_LAYER,
            Compression::Gzip => MediaType::DOCKER_LAYER_GZIP,
            Compression::Zstd => {
                return Err(LayoutError::Archive {
                    offset: place.offset,
                    reason: "a layer is compressed with zstd, which docker archives do not know".to_owned(),
                });
            }
        };
        let digest = hash(self.archive.window(place), Algorithm::Sha256)?;
        let unpacked = if media_type == MediaType::DOCKER_LAYER_GZIP {
            hash(unpack(self.archive.window(place)), algorithm)?
        } else if algorithm == Algorithm::Sha256 {
            digest.clone()
        } else {
            hash(self.archive.window(place), algorithm)?
        };
        Ok((Descriptor::new(media_type, digest, place.size), unpacked))
    }
}

impl ImageSource for DockerArchive {
    fn document(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ContentError> {
        self.manifests.get(&descriptor.digest).cloned().ok_or_else(|| ContentError::Missing(descriptor.digest.clone()))
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send>, ContentError> {
        let digest = &descriptor.digest;
        let place = self.blobs.get(digest).ok_or_else(|| ContentError::Missing(digest.clone()))?;
        Ok(Box::new(self.archive.window(*place)))
    }
}

/// Hashes a stream without holding it.
pub(crate) fn hash(mut content: impl Read, algorithm: Algorithm) -> io::Result<Digest> {
    let mut hasher = algorithm.hasher();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = content.read(&mut buffer)?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(buffer.get(..count).unwrap_or_default());
    }
}

fn json(file: &str, error: serde_json::Error) -> LayoutError {
    LayoutError::Json { file: file.chars().take(200).collect(), error }
}

fn too_many(what: &str) -> LayoutError {
    LayoutError::Archive { offset: 0, reason: format!("{MANIFEST} lists more than {MAX_LISTED} {what}") }
}
