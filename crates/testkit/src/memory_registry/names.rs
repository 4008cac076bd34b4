//! The grammar of repositories, tags and digests (OCI distribution specification 1.1, "Pulling manifests").

/// The longest repository name, in bytes.
const REPOSITORY_LIMIT: usize = 255;
/// The longest tag, in bytes.
const TAG_LIMIT: usize = 128;
/// Length of a SHA-256 in hexadecimal characters.
const SHA256_HEX: usize = 64;

/// Whether a repository name is well formed.
pub(super) fn is_repository(name: &str) -> bool {
    name.len() <= REPOSITORY_LIMIT && name.split('/').all(is_component)
}

fn is_component(component: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = component.bytes();
    edge(bytes.clone().next())
        && edge(bytes.clone().next_back())
        && bytes.clone().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte))
        && !component.contains("..")
        && !component.contains("___")
}

/// Whether a tag is well formed.
pub(super) fn is_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    tag.len() <= TAG_LIMIT
        && bytes.next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Whether a digest is a well formed SHA-256.
pub(super) fn is_digest(digest: &str) -> bool {
    digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == SHA256_HEX && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::{is_digest, is_repository, is_tag};

    #[test]
    fn names_that_are_not_names_are_told_apart() {
        assert!(is_repository("acme/app-1/a.b__c"));
        for name in ["", "Acme", "a//b", "/a", "a/", "../a", "a/..", "-a", "a b", "a:b"] {
            assert!(!is_repository(name), "{name}");
        }
        assert!(is_tag("V1.0-rc_1"));
        for tag in ["", ".a", "-a", "a/b", "a:b", &"a".repeat(129)] {
            assert!(!is_tag(tag), "{tag}");
        }
        assert!(is_digest(&format!("sha256:{}", "a".repeat(64))));
        for digest in
            ["sha256:", "sha256:zz", &format!("sha256:{}", "A".repeat(64)), &format!("sha512:{}", "a".repeat(128))]
        {
            assert!(!is_digest(digest), "{digest}");
        }
    }
}
