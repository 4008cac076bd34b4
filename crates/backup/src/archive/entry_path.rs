//! Paths of entries, which are looked at and never written to.

use super::ArchiveError;
use crate::limits::MAX_PATH_BYTES;

/// Root keys, and all others, of clients before 0.4 (Notary protocol, legacy formats and migration).
const OLD: [&str; 2] = ["root_keys", "tuf_keys"];
/// The directory of private keys.
const PRIVATE: &str = "private";

/// An entry's path as its names: without what means "here" and without the slash that makes it look absolute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EntryPath(Vec<String>);

impl EntryPath {
    /// Reads a path. A slash in front is dropped, as tar does: nothing is ever written to a path of an archive.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ArchiveError> {
        let text = String::from_utf8_lossy(bytes);
        let refuse = |reason| Err(ArchiveError::UnsafePath { path: text.chars().take(255).collect(), reason });
        if bytes.len() > MAX_PATH_BYTES {
            return refuse("is too long");
        }
        if text.contains('\u{fffd}') {
            return refuse("is not UTF-8");
        }
        if text.contains('\\') || text.chars().any(char::is_control) {
            return refuse("has backslashes or control characters");
        }
        let names: Vec<String> = text.split('/').filter(|name| !matches!(*name, "" | ".")).map(str::to_owned).collect();
        if names.iter().any(|name| name == "..") {
            return refuse("leads out of the archive");
        }
        if names.first().is_some_and(|first| matches!(first.as_bytes(), [b'a'..=b'z' | b'A'..=b'Z', b':', ..])) {
            return refuse("begins with a drive");
        }
        Ok(Self(names))
    }

    /// Returns the file's own name.
    pub(crate) fn name(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Returns the names below the directory of private keys, whatever stands before it: only for the layouts of old
    /// clients do the directories mean something.
    pub(crate) fn below_private(&self) -> Vec<&str> {
        let names: Vec<&str> = self.0.iter().map(String::as_str).collect();
        let old = |at: &usize| names.get(*at).is_some_and(|name| OLD.contains(name));
        let places: Vec<usize> = (0..names.len().saturating_sub(1)).filter(old).collect();
        let begins = |at: &&usize| at.checked_sub(1).is_none_or(|before| names.get(before) == Some(&PRIVATE));
        match places.iter().find(begins).or(places.first()) {
            Some(at) => names.get(*at..).unwrap_or_default().to_vec(),
            None => names.last().copied().into_iter().collect(),
        }
    }

    /// Returns the path for messages and comparisons.
    pub(crate) fn text(&self) -> String {
        self.0.join("/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_prefix_is_dropped_and_old_layouts_are_found() {
        let below = |path: &str| EntryPath::parse(path.as_bytes()).unwrap().below_private().join("/");
        for prefix in
            ["", "./", "/", "root/.docker/trust/private/", "home/x/.docker/trust/private/", "private/", "//a//./"]
        {
            assert_eq!(below(&format!("{prefix}ab.key")), "ab.key", "{prefix}");
        }
        for prefix in ["", "root/.docker/trust/private/", "/home/private/.notary/private/"] {
            assert_eq!(below(&format!("{prefix}root_keys/ab_root.key")), "root_keys/ab_root.key", "{prefix}");
            let gun = "tuf_keys/docker.io/private/tuf_keys/app/ab.key";
            assert_eq!(below(&format!("{prefix}{gun}")), gun, "{prefix}");
        }
        assert_eq!(below("home/tuf_keys/.notary/private/tuf_keys/a/ab.key"), "tuf_keys/a/ab.key");
        assert_eq!(below("private/tuf_keys"), "tuf_keys", "a file of that name is no directory");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "../x",
            "a/../x",
            "a/..",
            "..",
            "/..",
            "./../x",
            "a\\b",
            "..\\x",
            "C:/x",
            "c:x",
            "a\nb",
            "a\0b",
            "a\u{1b}[2J",
        ] {
            assert!(EntryPath::parse(path.as_bytes()).is_err(), "{path:?}");
        }
        assert!(EntryPath::parse(&[b'a', 0xff]).is_err());
        assert!(EntryPath::parse(&[b'a'; MAX_PATH_BYTES + 1]).is_err());
        for path in ["...", "a/..b", "localhost:5000/app", "tuf/c:5000/a"] {
            EntryPath::parse(path.as_bytes()).unwrap();
        }
    }
}
