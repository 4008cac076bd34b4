//! Delegations: who else may sign targets, and which.

use super::{KeyMap, MetadataError, RoleKeys, skip_unknown, write_joined};
use crate::json::{Cursor, Shape, write_string};
use crate::name::RoleName;

/// Most delegations that one file may describe.
pub const MAX_DELEGATED_ROLES: usize = 4096;
/// Most path prefixes of one delegation.
pub const MAX_PATHS: usize = 65_536;

/// One delegated role as its parent describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedRole {
    /// The full role name, a direct child of the describing role.
    pub name: RoleName,
    /// Who may sign.
    pub keys: RoleKeys,
    /// Prefixes of the target names that may be signed; `""` is everything, none is nothing.
    pub paths: Vec<Box<str>>,
}

/// The delegations of a targets file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegations {
    /// The keys of the roles.
    pub keys: KeyMap,
    /// The roles in the file's order, which is the order of priority; `None` where the file has `null`.
    pub roles: Option<Vec<DelegatedRole>>,
}

impl Default for Delegations {
    fn default() -> Self {
        Self { keys: KeyMap::default(), roles: Some(Vec::new()) }
    }
}

impl Delegations {
    /// Iterates over the roles in order of priority.
    pub fn iter(&self) -> impl Iterator<Item = &DelegatedRole> {
        self.roles.iter().flatten()
    }

    /// Finds a role by name.
    #[must_use]
    pub fn get(&self, name: &RoleName) -> Option<&DelegatedRole> {
        self.iter().find(|role| role.name == *name)
    }

    pub(crate) fn read(parent: &RoleName, cursor: &mut Cursor<'_>) -> Result<Self, MetadataError> {
        let mut delegations = Self { keys: KeyMap::default(), roles: None };
        if cursor.take_null() {
            return Ok(delegations);
        }
        cursor.object("delegations", |name, value| {
            match name {
                "keys" => delegations.keys = KeyMap::read(value)?,
                "roles" if value.take_null() => {}
                "roles" => {
                    let mut roles = Vec::new();
                    value.array("roles", |item| {
                        roles.push(read_role(item)?);
                        let bounded = roles.len() <= MAX_DELEGATED_ROLES;
                        if bounded { Ok(()) } else { Err(Shape::new("roles", "at most 4096 delegations")) }
                    })?;
                    delegations.roles = Some(roles);
                }
                _ => skip_unknown(name, value)?,
            }
            Ok::<_, Shape>(())
        })?;
        delegations.check(parent)?;
        Ok(delegations)
    }

    fn check(&self, parent: &RoleName) -> Result<(), MetadataError> {
        let wrong = |reason: String| Err(MetadataError::structure(parent, reason));
        let mut names = std::collections::BTreeSet::new();
        for role in self.iter() {
            if role.name.parent().as_ref() != Some(parent) {
                return wrong(format!("delegation {} is not a direct child of {parent}", role.name));
            }
            if !names.insert(&role.name) {
                return wrong(format!("delegation {} is described twice", role.name));
            }
            if role.keys.threshold < 1 {
                return wrong(format!("delegation {} has a threshold below 1", role.name));
            }
            if let Some(id) = role.keys.key_ids.iter().find(|id| self.keys.get(id).is_none()) {
                return wrong(format!("delegation {} lists the key {id}, which is missing", role.name));
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(b"{\"keys\":");
        self.keys.write(output);
        output.extend_from_slice(b",\"roles\":");
        match &self.roles {
            None => output.extend_from_slice(b"null"),
            Some(roles) => {
                output.push(b'[');
                write_joined(output, roles, write_role);
                output.push(b']');
            }
        }
        output.push(b'}');
    }
}

fn read_role(cursor: &mut Cursor<'_>) -> Result<DelegatedRole, Shape> {
    let (mut role_name, mut keys, mut paths) = (None, RoleKeys::default(), Vec::new());
    cursor.object("delegation", |name, value| {
        match name {
            _ if keys.member(name, value)? => {}
            "name" => {
                let text = value.string("name")?;
                let parsed = RoleName::parse(&text).map_err(|_| Shape::new("name", "a delegation role name"))?;
                role_name = Some(parsed);
            }
            "paths" if value.take_null() => {}
            "paths" => value.array("paths", |item| {
                paths.push(item.string("paths")?.into());
                if paths.len() > MAX_PATHS { Err(Shape::new("paths", "at most 65536 paths")) } else { Ok(()) }
            })?,
            _ => skip_unknown(name, value)?,
        }
        Ok::<_, Shape>(())
    })?;
    let name = role_name.ok_or_else(|| Shape::new("delegation", "a name"))?;
    Ok(DelegatedRole { name, keys, paths })
}

fn write_role(output: &mut Vec<u8>, role: &DelegatedRole) {
    output.push(b'{');
    role.keys.write_ids(output);
    output.extend_from_slice(b",\"name\":");
    write_string(output, role.name.as_str());
    if !role.paths.is_empty() {
        output.extend_from_slice(b",\"paths\":[");
        write_joined(output, &role.paths, |output, path| write_string(output, path));
        output.push(b']');
    }
    output.extend_from_slice(format!(",\"threshold\":{}}}", role.keys.threshold).as_bytes());
}
