//! The root payload: who may sign what.

use super::{
    Envelope, Header, KeyMap, MetadataError, Payload, RoleKeys, skip_unknown, write_expires, write_joined,
    write_version,
};
use crate::expires::Expires;
use crate::json::{Cursor, Shape, write_string};
use crate::name::{RoleName, Version};
use std::collections::BTreeMap;

/// The root of trust of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// The version.
    pub version: Version,
    /// When it expires.
    pub expires: Expires,
    /// Always `false` in what the reference writes; carried through.
    pub consistent_snapshot: bool,
    /// The keys of all base roles; former root certificates stay.
    pub keys: KeyMap,
    /// The roles by name: the four base roles, and whatever else a file carries.
    pub roles: BTreeMap<Box<str>, RoleKeys>,
}

impl Root {
    /// Returns the keys of a base role.
    #[must_use]
    pub fn trusted(&self, role: &RoleName) -> Option<&RoleKeys> {
        self.roles.get(role.as_str())
    }

    fn check(&self) -> Result<(), MetadataError> {
        let wrong = |reason: String| Err(MetadataError::structure(&RoleName::Root, reason));
        for name in RoleName::BASE {
            let Some(role) = self.trusted(&name) else { return wrong(format!("missing {name} role")) };
            if role.threshold < 1 {
                return wrong(format!("{name} role has a threshold below 1"));
            }
            if role.key_ids.is_empty() {
                return wrong(format!("{name} role has no keys"));
            }
            if let Some(id) = role.key_ids.iter().find(|id| self.keys.get(id).is_none()) {
                return wrong(format!("{name} role lists the key {id}, which is missing"));
            }
        }
        Ok(())
    }
}

fn read_roles(cursor: &mut Cursor<'_>) -> Result<BTreeMap<Box<str>, RoleKeys>, Shape> {
    let mut roles = BTreeMap::new();
    cursor.object("roles", |name, value| {
        let mut role = RoleKeys::default();
        value.object("roles", |member, value| {
            if !role.member(member, value)? {
                skip_unknown(member, value)?;
            }
            Ok::<_, Shape>(())
        })?;
        roles.insert(name.into(), role);
        if roles.len() > super::MAX_KEYS { Err(Shape::new("roles", "at most 4096 roles")) } else { Ok(()) }
    })?;
    Ok(roles)
}

impl Payload for Root {
    fn read(role: &RoleName, envelope: &Envelope) -> Result<Self, MetadataError> {
        let mut header = Header::default();
        let (mut consistent_snapshot, mut keys, mut roles) = (false, None, None);
        envelope.signed().cursor().object("signed", |name, value| {
            match name {
                _ if header.member("Root", name, value)? => {}
                "consistent_snapshot" => consistent_snapshot = value.boolean("consistent_snapshot")?,
                "keys" => keys = Some(KeyMap::read(value)?),
                "roles" => roles = Some(read_roles(value)?),
                _ => skip_unknown(name, value)?,
            }
            Ok::<_, MetadataError>(())
        })?;
        let (version, expires) = header.finish(role)?;
        let keys = keys.ok_or_else(|| Shape::new("keys", "an object"))?;
        let roles = roles.ok_or_else(|| Shape::new("roles", "an object"))?;
        let root = Self { version, expires, consistent_snapshot, keys, roles };
        root.check()?;
        Ok(root)
    }

    fn write(&self) -> Vec<u8> {
        let mut output = b"{\"_type\":\"Root\",\"consistent_snapshot\":".to_vec();
        output.extend_from_slice(if self.consistent_snapshot { b"true" } else { b"false" });
        write_expires(&mut output, &self.expires);
        output.extend_from_slice(b",\"keys\":");
        self.keys.write(&mut output);
        output.extend_from_slice(b",\"roles\":{");
        write_joined(&mut output, &self.roles, |output, (name, role)| {
            write_string(output, name);
            output.extend_from_slice(b":{");
            role.write_ids(output);
            output.extend_from_slice(format!(",\"threshold\":{}}}", role.threshold).as_bytes());
        });
        output.push(b'}');
        write_version(&mut output, self.version);
        output.push(b'}');
        output
    }

    fn version(&self) -> Version {
        self.version
    }

    fn expires(&self) -> &Expires {
        &self.expires
    }
}
