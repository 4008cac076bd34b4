//! Metadata files: the envelope, the four kinds of payload, and their spelling on the wire.

mod delegation;
mod envelope;
mod file_meta;
mod keys;
mod listing;
mod root;
mod targets;

pub use delegation::{DelegatedRole, Delegations, MAX_DELEGATED_ROLES, MAX_PATHS};
pub use envelope::{Envelope, MAX_SIGNATURES, Signature};
pub use file_meta::{FileMeta, Mismatch};
pub(crate) use keys::read_key;
pub use keys::{KeyMap, MAX_KEYS, MAX_SERVED_KEY, RoleKeys, read_public_key};
pub use listing::{Snapshot, Timestamp};
pub use root::Root;
pub use targets::{Entries, MAX_TARGETS, Targets};

use crate::expires::Expires;
use crate::json::{Cursor, JsonError, Shape};
use crate::name::{RoleName, Version};

/// Says why bytes are not a metadata file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The bytes are not acceptable JSON.
    #[error("not a metadata file: {0}")]
    Json(#[from] JsonError),
    /// A member is missing or of the wrong kind.
    #[error("malformed metadata: {0}")]
    Shape(#[from] Shape),
    /// The content breaks a rule for its role.
    #[error("{role} type metadata invalid: {reason}")]
    Structure {
        /// The role that the file is for.
        role: RoleName,
        /// The rule.
        reason: String,
    },
}

impl MetadataError {
    pub(crate) fn structure(role: &RoleName, reason: impl Into<String>) -> Self {
        Self::Structure { role: role.clone(), reason: reason.into() }
    }
}

/// A payload that can be read from the canonical form of `signed` and written back to it.
pub trait Payload: Sized {
    /// Reads the payload of a file of `role`.
    ///
    /// # Errors
    /// The content has the wrong shape or breaks a rule for its role.
    fn read(role: &RoleName, envelope: &Envelope) -> Result<Self, MetadataError>;

    /// Writes the payload in canonical form.
    fn write(&self) -> Vec<u8>;

    /// Returns the version.
    fn version(&self) -> Version;

    /// Returns the expiry.
    fn expires(&self) -> &Expires;
}

/// The names of all members that files of metadata have.
const MEMBERS: [&str; 24] = [
    "_type",
    "consistent_snapshot",
    "custom",
    "delegations",
    "expires",
    "hashes",
    "keyid",
    "keyids",
    "keys",
    "keytype",
    "keyval",
    "length",
    "meta",
    "method",
    "name",
    "paths",
    "private",
    "public",
    "roles",
    "sig",
    "signatures",
    "targets",
    "threshold",
    "version",
];

/// Passes over a member that is not known. One whose name is a known one in capitals is refused: the reference takes the
/// one for the other, and two readers of one file would see two things.
fn skip_unknown(name: &str, value: &mut Cursor<'_>) -> Result<(), Shape> {
    let looks_like = |known: &&str| name != *known && folded(name).eq(known.chars());
    if MEMBERS.iter().any(looks_like) {
        return Err(Shape::new(format!("member {name:?}"), "no other spelling of a known name"));
    }
    value.skip();
    Ok(())
}

/// Spells a name as Go's reader of JSON compares it: without regard to case, for which two letters beyond ASCII count, too.
fn folded(name: &str) -> impl Iterator<Item = char> {
    name.chars().map(|letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    })
}

/// The members that every payload has.
#[derive(Default)]
struct Header {
    kind: bool,
    expires: Option<Expires>,
    version: Option<Version>,
}

impl Header {
    /// Reads the member if it is a common one; tells whether it was.
    fn member(&mut self, kind: &'static str, name: &str, cursor: &mut Cursor<'_>) -> Result<bool, Shape> {
        match name {
            "_type" => self.kind = cursor.string("_type")? == kind,
            "expires" => {
                let text = cursor.string("expires")?;
                self.expires = Some(Expires::parse(&text).ok_or_else(|| Shape::new("expires", "an RFC 3339 time"))?);
            }
            "version" => {
                let number = cursor.unsigned("version")?;
                self.version =
                    Some(Version::new(number).ok_or_else(|| Shape::new("version", "a number from 1 to 2^53"))?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self, role: &RoleName) -> Result<(Version, Expires), MetadataError> {
        if !self.kind {
            return Err(MetadataError::structure(role, "wrong or missing _type"));
        }
        let version = self.version.ok_or_else(|| Shape::new("version", "a number"))?;
        let expires = self.expires.ok_or_else(|| Shape::new("expires", "an RFC 3339 time"))?;
        Ok((version, expires))
    }
}

/// Appends `,"expires":"…"` in canonical form.
fn write_expires(output: &mut Vec<u8>, expires: &Expires) {
    output.extend_from_slice(b",\"expires\":");
    crate::json::write_string(output, expires.as_str());
}

/// Appends `,"version":…` in canonical form.
fn write_version(output: &mut Vec<u8>, version: Version) {
    output.extend_from_slice(format!(",\"version\":{version}").as_bytes());
}

/// Appends items with commas between.
pub(crate) fn write_joined<T>(
    output: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            output.push(b',');
        }
        write(output, item);
    }
}
