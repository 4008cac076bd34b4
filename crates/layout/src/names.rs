//! The names that images go by in layouts and archives.

use countersign_image::{Descriptor, ImageIndex, Reference};

use crate::error::LayoutError;

/// The annotation with an image's name or tag (OCI image specification, annotations).
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation with an image's full name, as containerd and docker write it.
pub(crate) const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// Most names that an error lists.
const NAMES_SHOWN: usize = 10;

/// An image in a layout or archive, and what it is called there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedImage {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// The full name, if there is one.
    pub reference: Option<Reference>,
    /// The name or tag as written, if there is one.
    pub label: Option<String>,
}

impl NamedImage {
    /// Reads the names from an entry of `index.json`.
    fn from_entry(entry: &Descriptor) -> Self {
        let annotation = |key: &str| entry.annotations.get(key).filter(|value| value.len() <= 1024);
        let label = annotation(REF_NAME);
        // A label without slash and colon is a tag, not a repository on Docker Hub.
        let full_label = label.filter(|label| label.contains(['/', ':']));
        let reference = annotation(CONTAINERD_NAME).or(full_label).and_then(|name| Reference::parse(name).ok());
        Self { descriptor: entry.clone(), reference, label: label.cloned() }
    }

    fn is_called(&self, name: &str) -> bool {
        let same_reference =
            || Reference::parse(name).is_ok_and(|name| self.reference.as_ref() == Some(&name.or_latest()));
        self.label.as_deref() == Some(name) || same_reference()
    }

    fn shown(&self) -> String {
        let name = self.reference.as_ref().map(Reference::familiar).or_else(|| self.label.clone());
        name.map_or_else(|| self.descriptor.digest.to_string(), |name| name.escape_debug().to_string())
    }
}

/// Lists the images of an `index.json`.
pub(crate) fn images_of(index: &ImageIndex) -> Vec<NamedImage> {
    index.manifests.iter().map(NamedImage::from_entry).collect()
}

/// Picks an image by name, label or digest; without a name there must be only one.
///
/// # Errors
/// Fails if none fits, or several different ones do; the error lists what is there.
pub fn choose<'a>(images: &'a [NamedImage], name: Option<&str>) -> Result<&'a NamedImage, LayoutError> {
    let fits = |image: &&NamedImage| {
        name.is_none_or(|name| image.is_called(name) || image.descriptor.digest.to_string() == name)
    };
    let fitting: Vec<&NamedImage> = images.iter().filter(fits).collect();
    match fitting.split_first() {
        Some((first, others)) if others.iter().all(|other| other.descriptor.digest == first.descriptor.digest) => {
            Ok(first)
        }
        found => {
            let how_many = if found.is_some() { "several images" } else { "no image" };
            let asked =
                name.map_or_else(|| "say which image you mean".to_owned(), |name| format!("{name:?} names {how_many}"));
            Err(LayoutError::Choice { asked, there: list(images) })
        }
    }
}

fn list(images: &[NamedImage]) -> String {
    let mut names: Vec<String> = images.iter().take(NAMES_SHOWN).map(NamedImage::shown).collect();
    if images.len() > NAMES_SHOWN {
        names.push(format!("{} more", images.len() - NAMES_SHOWN));
    }
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use countersign_image::MediaType;

    use super::*;

    fn entry(content: &str, annotations: &[(&str, &str)]) -> Descriptor {
        let mut entry = Descriptor::of(MediaType::OCI_MANIFEST, content.as_bytes());
        entry.annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        entry
    }

    #[test]
    fn images_are_found_by_name_label_and_digest() {
        let images = images_of(&ImageIndex::new(
            MediaType::OCI_INDEX,
            vec![
                entry("a", &[(REF_NAME, "v1"), (CONTAINERD_NAME, "docker.io/library/alpine:3")]),
                entry("b", &[(REF_NAME, "reg.test/b:v2")]),
                entry("c", &[]),
            ],
        ));
        assert_eq!(choose(&images, Some("v1")).unwrap(), &images[0]);
        assert_eq!(choose(&images, Some("alpine:3")).unwrap(), &images[0]);
        assert_eq!(choose(&images, Some("reg.test/b:v2")).unwrap(), &images[1]);
        assert_eq!(choose(&images, Some(&images[2].descriptor.digest.to_string())).unwrap(), &images[2]);
        let error = choose(&images, Some("zzz")).unwrap_err().to_string();
        assert!(error.starts_with("\"zzz\" names no image; there is alpine:3, reg.test/b:v2, sha256:"), "{error}");
        assert!(choose(&images, None).is_err());
        assert_eq!(choose(&images[..1], None).unwrap(), &images[0]);
    }

    #[test]
    fn the_same_image_under_two_names_is_one_image() {
        let images = images_of(&ImageIndex::new(
            MediaType::OCI_INDEX,
            vec![entry("a", &[(REF_NAME, "v1")]), entry("a", &[(REF_NAME, "v2")])],
        ));
        assert!(choose(&images, None).is_ok());
    }

    #[test]
    fn names_that_are_none_are_only_labels() {
        let images = images_of(&ImageIndex::new(
            MediaType::OCI_INDEX,
            vec![entry("a", &[(REF_NAME, "../\u{1b}[2J"), (CONTAINERD_NAME, "::")])],
        ));
        assert!(images[0].reference.is_none());
        assert!(!choose(&images, Some("x")).unwrap_err().to_string().contains('\u{1b}'));
    }
}
