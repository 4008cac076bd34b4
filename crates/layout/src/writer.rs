//! Writes layouts and archives: everything is gathered in a temporary folder beside the target and appears at once.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use countersign_image::{
    ContentError, Descriptor, Digest, Document, HasContent, ImageIndex, ImageManifest, ImageSink, MediaType, Reference,
};
use fs_err::File;
use serde::Serialize;
use tar::{Builder, EntryType, Header};
use tempfile::{NamedTempFile, TempDir};

use crate::docker_archive::MANIFEST;
use crate::error::LayoutError;
use crate::folder::{INDEX, MARKER, MARKER_TEXT, blob_path};
use crate::names::{CONTAINERD_NAME, REF_NAME};

/// Gathers images and then writes them as a folder or an archive.
///
/// Content is hashed while it is written. Whatever fails, nothing is left behind; an existing target is never touched.
#[derive(Debug)]
pub struct LayoutWriter {
    target: PathBuf,
    staging: TempDir,
    named: Mutex<Vec<Descriptor>>,
}

impl LayoutWriter {
    /// Begins to write to a path, which must not exist; its folder must.
    ///
    /// # Errors
    /// Fails if there is something at the path, or nothing can be written beside it.
    pub fn create(target: &Path) -> Result<Self, LayoutError> {
        if fs_err::symlink_metadata(target).is_ok() {
            return Err(LayoutError::Exists(target.to_owned()));
        }
        let staging = temporary().tempdir_in(parent(target))?;
        for algorithm in ["sha256", "sha512"] {
            fs_err::create_dir_all(staging.path().join("blobs").join(algorithm))?;
        }
        Ok(Self { target: target.to_owned(), staging, named: Mutex::new(Vec::new()) })
    }

    /// Lists an image under a name; its content has to be written too.
    pub fn name(&self, descriptor: &Descriptor, reference: Option<&Reference>) {
        let mut entry = descriptor.clone();
        if let Some(reference) = reference {
            entry.annotations.insert(CONTAINERD_NAME.to_owned(), reference.to_string());
            if let Some(tag) = reference.tag() {
                entry.annotations.insert(REF_NAME.to_owned(), tag.to_string());
            }
        }
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if !named.contains(&entry) {
            named.push(entry);
        }
    }

    /// Puts an OCI layout folder at the target.
    ///
    /// # Errors
    /// Fails if the disk does, or if something has appeared at the target; nothing is left behind then.
    pub fn finish_folder(self) -> Result<(), LayoutError> {
        self.write_lists()?;
        if fs_err::symlink_metadata(&self.target).is_ok() {
            return Err(LayoutError::Exists(self.target));
        }
        fs_err::rename(self.staging.path(), &self.target)?;
        // The folder has moved away; there is nothing to clean up any more.
        drop(self.staging.keep());
        sync_folder(parent(&self.target))
    }

    /// Puts an OCI archive at the target.
    ///
    /// # Errors
    /// As [`Self::finish_folder`].
    pub fn finish_oci_archive(self) -> Result<(), LayoutError> {
        self.write_lists()?;
        self.finish_archive(|writer, archive| {
            for name in [MARKER, INDEX] {
                append(archive, name, &writer.staging.path().join(name))?;
            }
            for digest in writer.digests()? {
                let path = blob_path(&digest);
                append(archive, &path, &writer.staging.path().join(&path))?;
            }
            Ok(())
        })
    }

    /// Puts a docker archive at the target, which `docker load` reads. Only images of one platform can be in it.
    ///
    /// # Errors
    /// As [`Self::finish_folder`]; also if a named image is an index.
    pub fn finish_docker_archive(self) -> Result<(), LayoutError> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            config: String,
            repo_tags: Vec<String>,
            layers: Vec<String>,
        }
        let mut listed = Vec::new();
        let mut files = std::collections::BTreeMap::new();
        for entry in self.named.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let manifest = self.manifest(entry)?;
            let config = format!("{}.json", manifest.config.digest.hex());
            let layer = |layer: &Descriptor| (format!("{}.tar", layer.digest.hex()), layer.digest.clone());
            let layers: Vec<_> = manifest.layers.iter().map(layer).collect();
            let name = entry.annotations.get(CONTAINERD_NAME).and_then(|name| Reference::parse(name).ok());
            let repo_tags = name.filter(|name| name.tag().is_some()).map(|name| tagged(&name)).into_iter().collect();
            listed.push(Listed {
                config: config.clone(),
                repo_tags,
                layers: layers.iter().map(|(name, _)| name.clone()).collect(),
            });
            files.insert(config, manifest.config.digest.clone());
            files.extend(layers);
        }
        let list =
            serde_json::to_vec(&listed).map_err(|error| LayoutError::Json { file: MANIFEST.to_owned(), error })?;
        fs_err::write(self.staging.path().join(MANIFEST), list)?;
        self.finish_archive(|writer, archive| {
            for (name, digest) in &files {
                append(archive, name, &writer.staging.path().join(blob_path(digest)))?;
            }
            append(archive, MANIFEST, &writer.staging.path().join(MANIFEST))
        })
    }

    fn finish_archive(
        self,
        fill: impl FnOnce(&Self, &mut Builder<&mut File>) -> Result<(), LayoutError>,
    ) -> Result<(), LayoutError> {
        let temporary = temporary_file(parent(&self.target))?;
        let mut output = File::from_parts(temporary.reopen()?, temporary.path());
        let mut archive = Builder::new(&mut output);
        fill(&self, &mut archive)?;
        archive.finish()?;
        drop(archive);
        output.sync_all()?;
        match temporary.persist_noclobber(&self.target) {
            Ok(_) => sync_folder(parent(&self.target)),
            Err(failure) if failure.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(LayoutError::Exists(self.target))
            }
            Err(failure) => Err(failure.error.into()),
        }
    }

    fn write_lists(&self) -> Result<(), LayoutError> {
        let named = self.named.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let index = ImageIndex::new(MediaType::OCI_INDEX, named).to_bytes();
        let index = index.map_err(|error| LayoutError::Json { file: INDEX.to_owned(), error })?;
        write_synced(&self.staging.path().join(MARKER), MARKER_TEXT.as_bytes())?;
        write_synced(&self.staging.path().join(INDEX), &index)
    }

    fn manifest(&self, entry: &Descriptor) -> Result<ImageManifest, LayoutError> {
        let bytes = fs_err::read(self.staging.path().join(blob_path(&entry.digest)))?;
        match entry.digest.open(&bytes, Some(&entry.media_type))? {
            Document::Manifest(manifest) => Ok(*manifest),
            Document::Index(_) => Err(LayoutError::NotOneImage),
        }
    }

    /// Lists everything that was written, in a fixed order.
    fn digests(&self) -> Result<Vec<Digest>, LayoutError> {
        let mut digests = Vec::new();
        for algorithm in ["sha256", "sha512"] {
            for entry in fs_err::read_dir(self.staging.path().join("blobs").join(algorithm))? {
                let name = entry?.file_name();
                digests.push(Digest::parse(&format!("{algorithm}:{}", name.to_string_lossy()))?);
            }
        }
        digests.sort();
        Ok(digests)
    }

    fn store(&self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<(), LayoutError> {
        let mut temporary = temporary_file(self.staging.path())?;
        let mut hasher = descriptor.digest.algorithm().hasher();
        let mut buffer = vec![0; 64 * 1024];
        let mut found = 0_u64;
        let wrong_size =
            |found| ContentError::Size { digest: descriptor.digest.clone(), wanted: descriptor.size, found };
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            found = found.saturating_add(count as u64);
            if found > descriptor.size {
                return Err(wrong_size(found).into());
            }
            let piece = buffer.get(..count).unwrap_or_default();
            hasher.update(piece);
            temporary.write_all(piece)?;
        }
        if found != descriptor.size {
            return Err(wrong_size(found).into());
        }
        descriptor.digest.compare(hasher.finish()).map_err(ContentError::Digest)?;
        temporary.as_file().sync_all()?;
        let place = self.staging.path().join(blob_path(&descriptor.digest));
        temporary.persist(place).map_err(|failure| failure.error)?;
        Ok(())
    }
}

impl ImageSink for LayoutWriter {
    fn has(&self, descriptor: &Descriptor) -> Result<HasContent, ContentError> {
        let present = fs_err::exists(self.staging.path().join(blob_path(&descriptor.digest)))?;
        Ok(if present { HasContent::Present } else { HasContent::Absent })
    }

    fn put_document(&self, descriptor: &Descriptor, bytes: &[u8]) -> Result<(), ContentError> {
        Ok(self.store(descriptor, &mut io::Cursor::new(bytes))?)
    }

    fn put_blob(&self, descriptor: &Descriptor, content: &mut dyn Read) -> Result<(), ContentError> {
        Ok(self.store(descriptor, content)?)
    }
}

/// The name that docker archives know: without digest, short.
fn tagged(reference: &Reference) -> String {
    match reference.tag() {
        Some(tag) => reference.repository().with_tag(tag.clone()).familiar(),
        None => reference.familiar(),
    }
}

/// Adds a file under fixed rights and times, so that the same images give the same archive.
fn append(archive: &mut Builder<&mut File>, name: &str, path: &Path) -> Result<(), LayoutError> {
    let file = File::open(path)?;
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(file.metadata()?.len());
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    archive.append_data(&mut header, name, file)?;
    Ok(())
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), LayoutError> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a rename last through a power loss.
fn sync_folder(path: &Path) -> Result<(), LayoutError> {
    if cfg!(unix) {
        File::open(path)?.sync_all()?;
    }
    Ok(())
}

/// Temporary files and folders usually are private; these get the rights that the user's umask leaves to new files.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".countersign-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o777));
    }
    builder
}

fn temporary_file(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = temporary();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
