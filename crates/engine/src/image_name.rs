//! How an image is named to an engine.

use countersign_image::{Digest, Reference, Repository};

/// A name under which an engine knows an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageName(String);

impl ImageName {
    /// Names an image by its id: the digest of its configuration, or of its index in the containerd image store.
    #[must_use]
    pub fn id(id: &Digest) -> Self {
        Self(id.to_string())
    }

    /// Names all images of a repository, where an engine takes that.
    pub(crate) fn repository(repository: &Repository) -> Self {
        Self(repository.familiar().to_owned())
    }

    /// Returns the name as the engine wants it: familiar, for example `alpine:3.20`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name for use in a path: slashes and colons stay, brackets of IPv6 addresses are escaped.
    pub(crate) fn in_path(&self) -> String {
        use std::fmt::Write;
        let mut escaped = String::with_capacity(self.0.len());
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/:@".contains(&byte) {
                escaped.push(char::from(byte));
            } else {
                let _ = write!(escaped, "%{byte:02X}");
            }
        }
        escaped
    }
}

impl From<&Reference> for ImageName {
    fn from(reference: &Reference) -> Self {
        Self(reference.familiar())
    }
}

#[cfg(test)]
mod tests {
    use super::ImageName;
    use countersign_image::Reference;

    #[test]
    fn names_are_familiar_and_safe_in_a_path() {
        let name = |text: &str| ImageName::from(&Reference::parse(text).unwrap()).in_path();
        assert_eq!(name("docker.io/library/alpine:3"), "alpine:3");
        assert_eq!(name("[::1]:5000/a/b:1"), "%5B::1%5D:5000/a/b:1");
    }
}
