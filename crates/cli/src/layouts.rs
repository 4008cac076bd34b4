//! Images on this machine's disk, as `--from` and `--to` name them.

use crate::error::{CliError, Kind};
use countersign_image::{Descriptor, Reference};
use countersign_layout::{LayoutError, LayoutWriter, LocalImages, choose, open};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

/// What is written to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Layout,
    OciArchive,
    DockerArchive,
}

/// A place to read an image from: a folder or archive, whatever is there.
#[derive(Debug, Clone)]
pub(crate) struct Source(PathBuf);

/// A place to write an image to, and in which form.
#[derive(Debug, Clone)]
pub(crate) struct Target(Form, PathBuf);

const FORMS: [(&str, Form); 3] =
    [("oci:", Form::Layout), ("oci-archive:", Form::OciArchive), ("docker-archive:", Form::DockerArchive)];

impl FromStr for Source {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let path = FORMS.iter().find_map(|(prefix, _)| text.strip_prefix(prefix)).unwrap_or(text);
        if path.is_empty() { Err("name a folder or an archive".into()) } else { Ok(Self(path.into())) }
    }
}

impl FromStr for Target {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = FORMS.iter().find_map(|(prefix, form)| Some((*form, text.strip_prefix(prefix)?)));
        match found {
            Some((form, path)) if !path.is_empty() => Ok(Self(form, path.into())),
            _ => Err("use oci:DIR, oci-archive:FILE or docker-archive:FILE".into()),
        }
    }
}

impl From<LayoutError> for CliError {
    fn from(error: LayoutError) -> Self {
        Self::new(Kind::Local, error)
    }
}

impl Source {
    /// Opens the place and picks the image: the one of this name, or the only one.
    pub(crate) fn open(&self, wanted: &Reference) -> Result<(Arc<LocalImages>, Descriptor), CliError> {
        let images = open(&self.0)?;
        let named = choose(images.images(), Some(&wanted.familiar()));
        let image = named.or_else(|_| choose(images.images(), None))?.descriptor.clone();
        Ok((Arc::new(images), image))
    }
}

impl Target {
    /// Prepares to write; nothing appears at the place before all is there.
    pub(crate) fn create(&self) -> Result<Arc<LayoutWriter>, CliError> {
        Ok(Arc::new(LayoutWriter::create(&self.1)?))
    }

    /// Tells whether only images of one platform can be written.
    pub(crate) fn is_single_platform(&self) -> bool {
        self.0 == Form::DockerArchive
    }

    /// Names what was written and puts it in place.
    pub(crate) fn finish(
        &self,
        writer: Arc<LayoutWriter>,
        image: &Descriptor,
        reference: &Reference,
    ) -> Result<(), CliError> {
        writer.name(image, Some(reference));
        let writer = Arc::into_inner(writer).ok_or_else(|| CliError::internal(&"the image is still being written"))?;
        match self.0 {
            Form::Layout => writer.finish_folder()?,
            Form::OciArchive => writer.finish_oci_archive()?,
            Form::DockerArchive => writer.finish_docker_archive()?,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_say_their_form() {
        assert!("docker-archive:x.tar".parse::<Target>().unwrap().is_single_platform());
        assert!(!"oci:x".parse::<Target>().unwrap().is_single_platform());
        for text in ["x.tar", "oci:", "", "tar:x"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
