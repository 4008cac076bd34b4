//! What a key is for.

use countersign_tuf::{Gun, RoleName};

use super::KeyEntry;

/// Longest role text of a key in bytes.
const MAX_ROLE_BYTES: usize = 255;

/// What a key is for: a role text and, for targets, snapshot and timestamp keys, the collection.
///
/// The role text is a base role, a delegation, or free words for keys that several delegations share (Notary protocol,
/// private key files).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyLabel {
    role: Box<str>,
    gun: Option<Gun>,
}

/// Says why a key cannot be labelled so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLabelError {
    /// Keys of this role belong to one collection, which was not named.
    #[error("a {role} key belongs to one collection: name it")]
    CollectionMissing {
        /// The role.
        role: String,
    },
    /// The role text is empty.
    #[error("the role of a key must not be empty")]
    RoleEmpty,
    /// The role text is too long, has control characters, or begins or ends with a space: it could not be kept in the
    /// key's file.
    #[error("{0:?} does not do as the role of a key")]
    RoleText(String),
}

impl KeyLabel {
    /// Labels a key. The collection is left out where it has no place: for root keys, delegations and free words.
    ///
    /// # Errors
    /// See [`KeyLabelError`].
    pub fn new(role: &str, gun: Option<&Gun>) -> Result<Self, KeyLabelError> {
        if role.is_empty() {
            return Err(KeyLabelError::RoleEmpty);
        }
        if role.len() > MAX_ROLE_BYTES || role.trim() != role || role.chars().any(char::is_control) {
            return Err(KeyLabelError::RoleText(role.chars().take(MAX_ROLE_BYTES).collect()));
        }
        let gun = match (belongs_to_collection(role), gun) {
            (true, None) => return Err(KeyLabelError::CollectionMissing { role: role.to_owned() }),
            (true, Some(gun)) => Some(gun.clone()),
            (false, _) => None,
        };
        Ok(Self { role: role.into(), gun })
    }

    /// Labels a root key.
    #[must_use]
    pub fn root() -> Self {
        Self { role: RoleName::Root.as_str().into(), gun: None }
    }

    /// Takes over what a key file says, whatever it says: it stood in a header before.
    pub(super) fn as_found(entry: &KeyEntry) -> Self {
        Self { role: entry.role.as_str().into(), gun: entry.gun.clone() }
    }

    /// Returns the role text.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Returns the collection that the key belongs to.
    #[must_use]
    pub fn gun(&self) -> Option<&Gun> {
        self.gun.as_ref()
    }
}

/// Tells whether keys of this role belong to one collection.
pub(crate) fn belongs_to_collection(role: &str) -> bool {
    matches!(RoleName::parse(role), Ok(RoleName::Targets | RoleName::Snapshot | RoleName::Timestamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_collection_is_kept_where_it_belongs_only() {
        let gun = Gun::parse("h/a").unwrap();
        for role in ["targets", "snapshot", "timestamp"] {
            assert_eq!(KeyLabel::new(role, Some(&gun)).unwrap().gun(), Some(&gun));
            assert!(matches!(KeyLabel::new(role, None), Err(KeyLabelError::CollectionMissing { .. })));
        }
        for role in ["root", "targets/releases", "alice", "Ünal Öz", "delegation"] {
            let label = KeyLabel::new(role, Some(&gun)).unwrap();
            assert_eq!((label.role(), label.gun()), (role, None));
        }
        assert_eq!(KeyLabel::new("root", None).unwrap(), KeyLabel::root());
    }

    #[test]
    fn a_role_that_would_forge_a_header_is_refused() {
        for role in ["a\nrole: root", "a\r", "\0", " a", "a ", "a\u{85}b", &"a".repeat(256)] {
            assert!(matches!(KeyLabel::new(role, None), Err(KeyLabelError::RoleText(_))), "{role:?}");
        }
        assert_eq!(KeyLabel::new("", None), Err(KeyLabelError::RoleEmpty));
    }
}
