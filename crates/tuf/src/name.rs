//! Names of collections and roles, and version numbers.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Longest accepted collection name in bytes (the width of the reference's database column).
pub const MAX_GUN_LENGTH: usize = 255;
/// Longest accepted role name in bytes (Notary protocol, roles).
pub const MAX_ROLE_LENGTH: usize = 255;

/// The globally unique name of one trusted collection, conventionally `host[:port]/path/name`.
///
/// The name is case-sensitive and ends up in URL paths, directory paths and certificates. The reference checks nothing;
/// here a name that could leave the trust directory, bend a URL or forge a log line cannot be constructed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gun(Box<str>);

/// Says why a text is not a collection name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GunError {
    /// The text is empty.
    #[error("a collection name must not be empty")]
    Empty,
    /// The text is longer than [`MAX_GUN_LENGTH`].
    #[error("a collection name has at most {MAX_GUN_LENGTH} bytes, this one has {0}")]
    TooLong(usize),
    /// A character is not allowed.
    #[error("a collection name must not contain {0:?}")]
    Character(char),
    /// A path segment is empty, `.`, `..` or reserved by the protocol.
    #[error("a collection name must not have the path segment {0:?}")]
    Segment(String),
}

impl Gun {
    /// Checks a text and takes it as a collection name.
    ///
    /// # Errors
    /// Refuses empty and overlong names, anything but printable ASCII, the characters * \ % ? # < > | " and spaces, and
    /// the empty segment, `.`, `..` and `_trust`.
    pub fn parse(text: &str) -> Result<Self, GunError> {
        if text.is_empty() {
            return Err(GunError::Empty);
        }
        if text.len() > MAX_GUN_LENGTH {
            return Err(GunError::TooLong(text.len()));
        }
        let forbidden =
            |c: &char| !c.is_ascii_graphic() || matches!(c, '*' | '\\' | '%' | '?' | '#' | '<' | '>' | '|' | '"');
        if let Some(c) = text.chars().find(forbidden) {
            return Err(GunError::Character(c));
        }
        match text.split('/').find(|segment| matches!(*segment, "" | "." | ".." | "_trust")) {
            Some(segment) => Err(GunError::Segment(segment.to_owned())),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Iterates over the path segments, none of which is empty, `.` or `..`.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl fmt::Display for Gun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Gun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Gun({:?})", self.0)
    }
}

impl FromStr for Gun {
    type Err = GunError;
    fn from_str(text: &str) -> Result<Self, GunError> {
        Self::parse(text)
    }
}

/// A role: one of the four base roles or a delegation below `targets`.
///
/// Ordered as the server processes uploads: fewer slashes first, then by bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum RoleName {
    /// Says who may sign everything else.
    Root,
    /// Signs tags and delegates.
    Targets,
    /// Lists the hashes of all current files.
    Snapshot,
    /// Names the current snapshot; short-lived.
    Timestamp,
    /// A delegation; the name is checked and begins with `targets/`.
    Delegation(DelegationName),
}

/// The checked name of a delegation, for example `targets/releases`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DelegationName(Box<str>);

impl DelegationName {
    /// Returns the full name, beginning with `targets/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name without the leading `targets/`.
    #[must_use]
    pub fn below_targets(&self) -> &str {
        self.0.strip_prefix("targets/").unwrap_or(&self.0)
    }
}

/// Says that a text is no role name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role: use root, targets, snapshot, timestamp, or targets/ followed by a-z 0-9 - _ /")]
pub struct RoleNameError(pub String);

impl RoleName {
    /// Parses a role name.
    ///
    /// # Errors
    /// Refuses everything that the Notary protocol does not allow as a role (character set, length, empty segments).
    pub fn parse(text: &str) -> Result<Self, RoleNameError> {
        match text {
            "root" => Ok(Self::Root),
            "targets" => Ok(Self::Targets),
            "snapshot" => Ok(Self::Snapshot),
            "timestamp" => Ok(Self::Timestamp),
            _ if is_delegation(text) => Ok(Self::Delegation(DelegationName(text.into()))),
            _ => Err(RoleNameError(text.chars().take(MAX_ROLE_LENGTH).collect())),
        }
    }

    /// Returns the name as written in metadata.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
            Self::Delegation(name) => name.as_str(),
        }
    }

    /// Tells whether files of this role list targets: `targets` itself or a delegation.
    #[must_use]
    pub fn lists_targets(&self) -> bool {
        matches!(self, Self::Targets | Self::Delegation(_))
    }

    /// Returns the role whose file describes this delegation; base roles have none.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let Self::Delegation(name) = self else { return None };
        let (parent, _) = name.as_str().rsplit_once('/')?;
        if parent == "targets" { Some(Self::Targets) } else { Some(Self::Delegation(DelegationName(parent.into()))) }
    }

    /// Returns the ancestors of a delegation, `targets` first.
    #[must_use]
    pub fn ancestors(&self) -> Vec<Self> {
        let mut chain: Vec<Self> = std::iter::successors(self.parent(), Self::parent).collect();
        chain.reverse();
        chain
    }

    /// The four base roles.
    pub const BASE: [Self; 4] = [Self::Root, Self::Targets, Self::Snapshot, Self::Timestamp];
}

fn is_delegation(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("targets/") else { return false };
    text.len() <= MAX_ROLE_LENGTH
        && rest.split('/').all(|segment| {
            !segment.is_empty()
                && segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        })
}

impl Ord for RoleName {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |role: &Self| role.as_str().bytes().filter(|b| *b == b'/').count();
        key(self).cmp(&key(other)).then_with(|| self.as_str().cmp(other.as_str()))
    }
}

impl PartialOrd for RoleName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RoleName({})", self.as_str())
    }
}

impl FromStr for RoleName {
    type Err = RoleNameError;
    fn from_str(text: &str) -> Result<Self, RoleNameError> {
        Self::parse(text)
    }
}

/// The version of a metadata file, 1 to 2^53.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    /// The first version.
    pub const FIRST: Self = Self(1);
    /// The highest version: above it a JSON number is not exact everywhere.
    pub const MAX: u64 = 1 << 53;

    /// Takes a number as a version.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        (1..=Self::MAX).contains(&number).then_some(Self(number))
    }

    /// Returns the number.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// Returns the version after this one, none at the upper end.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guns_that_people_have_are_accepted() {
        for gun in [
            "docker.io/library/alpine",
            "localhost:5000/a",
            "[::1]:5000/x",
            "a",
            "UPPER/x",
            "a/".repeat(60).trim_end_matches('/'),
        ] {
            assert_eq!(Gun::parse(gun).unwrap().as_str(), gun);
        }
    }

    #[test]
    fn hostile_guns_are_refused() {
        let long = "a".repeat(256);
        for gun in [
            "",
            "../x",
            "a/../../x",
            "/abs",
            "a//b",
            "a/",
            ".",
            "a/./b",
            "%2e%2e/x",
            "a\\b",
            "a\nb",
            "a\0",
            "a?b",
            "a#b",
            "a b",
            "a*",
            "x/_trust/tuf",
            "a\u{202e}b",
            "аlpine",
            &long,
        ] {
            assert!(Gun::parse(gun).is_err(), "{gun:?}");
        }
    }

    #[test]
    fn role_names_follow_the_protocol() {
        for role in
            ["root", "targets", "snapshot", "timestamp", "targets/a", "targets/releases/deep", "targets/a-b_c/0"]
        {
            assert_eq!(RoleName::parse(role).unwrap().as_str(), role);
        }
        let long = format!("targets/{}", "a".repeat(300));
        for role in [
            "",
            "Root",
            "targets/",
            "targets//a",
            "targets/a/",
            "targets/A",
            "targets/../x",
            "targets/a b",
            "targets/*",
            "/targets/a",
            "targets/a\n",
            "targets/\u{430}",
            "targets/%2e",
            "target/a",
            "root/a",
            &long,
        ] {
            assert!(RoleName::parse(role).is_err(), "{role:?}");
        }
    }

    #[test]
    fn parents_and_order() {
        let deep = RoleName::parse("targets/a/b").unwrap();
        assert_eq!(deep.ancestors(), vec![RoleName::Targets, RoleName::parse("targets/a").unwrap()]);
        assert_eq!(RoleName::Targets.parent(), None);
        let mut roles: Vec<_> =
            ["targets/z", "targets/a/b", "targets", "root"].iter().map(|r| RoleName::parse(r).unwrap()).collect();
        roles.sort();
        assert_eq!(
            roles.iter().map(RoleName::as_str).collect::<Vec<_>>(),
            ["root", "targets", "targets/z", "targets/a/b"]
        );
    }

    #[test]
    fn versions_have_bounds() {
        assert_eq!(Version::new(0), None);
        assert_eq!(Version::new(Version::MAX + 1), None);
        assert_eq!(Version::new(Version::MAX).unwrap().next(), None);
        assert_eq!(Version::FIRST.next().unwrap().get(), 2);
    }
}
