//! Staged changes, as the files of a change list hold them.

use crate::json::{Canonical, Cursor, JsonError, Shape, write_string};
use crate::metadata::{FileMeta, read_key};
use crate::name::RoleName;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign_crypto::{KeyId, PublicKey};

/// One change that is to be made at the next publication (Notary protocol, changelist).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets what a name stands for.
    AddTarget {
        /// The signing role.
        role: RoleName,
        /// The name.
        name: String,
        /// What it stands for.
        meta: FileMeta,
    },
    /// Removes a name.
    RemoveTarget {
        /// The signing role.
        role: RoleName,
        /// The name.
        name: String,
    },
    /// Creates a delegation, or adds to it.
    CreateDelegation {
        /// The delegation.
        role: RoleName,
        /// Its keys and paths.
        edit: DelegationEdit,
    },
    /// Changes a delegation that exists.
    UpdateDelegation {
        /// The delegation.
        role: RoleName,
        /// What changes.
        edit: DelegationEdit,
    },
    /// Removes keys (canonical ids) from all delegations below a role.
    PurgeKeys {
        /// `targets` or a delegation.
        below: RoleName,
        /// The keys.
        keys: Vec<KeyId>,
    },
    /// Removes a delegation.
    DeleteDelegation {
        /// The delegation.
        role: RoleName,
    },
    /// Signs a role's file anew as it is.
    Witness {
        /// The role.
        role: RoleName,
    },
    /// Replaces all keys of a base role.
    ReplaceKeys {
        /// The base role.
        role: RoleName,
        /// The new keys.
        keys: Vec<PublicKey>,
    },
}

/// What changes about a delegation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DelegationEdit {
    /// The threshold of a new delegation.
    pub threshold: Option<u64>,
    /// Keys to add.
    pub add_keys: Vec<PublicKey>,
    /// Keys to remove, by canonical id.
    pub remove_keys: Vec<KeyId>,
    /// Paths to add.
    pub add_paths: Vec<Box<str>>,
    /// Paths to remove.
    pub remove_paths: Vec<Box<str>>,
    /// Whether all paths go before `add_paths` come.
    pub clear_paths: bool,
}

/// Says why a file is not a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The text is not JSON.
    #[error("staged change: {0}")]
    Json(#[from] JsonError),
    /// A member is missing or of the wrong kind.
    #[error("staged change: {0}")]
    Shape(#[from] Shape),
    /// The combination of action, type and role means nothing.
    #[error("staged change: action {action:?}, type {kind:?}, role {role:?} mean nothing together")]
    Unknown {
        /// The action.
        action: String,
        /// The type.
        kind: String,
        /// The role.
        role: String,
    },
}

impl Change {
    /// Returns what is done, as a change file says it: `create`, `update` or `delete`.
    #[must_use]
    pub fn action(&self) -> &'static str {
        match self {
            Self::AddTarget { .. } | Self::CreateDelegation { .. } | Self::ReplaceKeys { .. } => "create",
            Self::UpdateDelegation { .. } | Self::PurgeKeys { .. } | Self::Witness { .. } => "update",
            Self::RemoveTarget { .. } | Self::DeleteDelegation { .. } => "delete",
        }
    }

    /// Returns where it is done, as a change file says it: a role, or all below one.
    #[must_use]
    pub fn scope(&self) -> String {
        match self {
            Self::AddTarget { role, .. }
            | Self::RemoveTarget { role, .. }
            | Self::CreateDelegation { role, .. }
            | Self::UpdateDelegation { role, .. }
            | Self::DeleteDelegation { role }
            | Self::Witness { role } => role.to_string(),
            Self::PurgeKeys { below, .. } => format!("{below}/*"),
            Self::ReplaceKeys { .. } => RoleName::Root.to_string(),
        }
    }

    /// Returns to what it is done, as a change file says it: `target`, `delegation`, `witness` or `role`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AddTarget { .. } | Self::RemoveTarget { .. } => "target",
            Self::CreateDelegation { .. }
            | Self::UpdateDelegation { .. }
            | Self::PurgeKeys { .. }
            | Self::DeleteDelegation { .. } => "delegation",
            Self::Witness { .. } => "witness",
            Self::ReplaceKeys { .. } => "role",
        }
    }

    /// Returns the name or base role that it is done to; empty where there is none.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::AddTarget { name, .. } | Self::RemoveTarget { name, .. } => name,
            Self::ReplaceKeys { role, .. } => role.as_str(),
            _ => "",
        }
    }

    /// Reads a change file.
    ///
    /// # Errors
    /// The bytes are not one.
    pub fn read(file: &Bytes) -> Result<Self, ChangeError> {
        let mut raw = Raw::default();
        Canonical::read(file)?.cursor().object("change", |name, value| {
            match name {
                "action" => raw.action = value.string("action")?.into_owned(),
                "role" => raw.role = value.string("role")?.into_owned(),
                "type" => raw.kind = value.string("type")?.into_owned(),
                "path" => raw.path = value.string("path")?.into_owned(),
                "data" if value.take_null() => {}
                "data" => {
                    let text = value.string("data")?;
                    raw.data = STANDARD.decode(text.as_bytes()).map_err(|_| Shape::new("data", "standard base64"))?;
                }
                _ => {
                    value.skip();
                }
            }
            Ok::<_, Shape>(())
        })?;
        raw.interpret()
    }

    /// Writes the change as the reference does.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let data = match self {
            Self::AddTarget { meta, .. } => {
                let mut data = Vec::new();
                meta.write(&mut data);
                Some(data)
            }
            Self::CreateDelegation { edit, .. } | Self::UpdateDelegation { edit, .. } => Some(edit.write()),
            Self::PurgeKeys { keys, .. } => {
                Some(DelegationEdit { remove_keys: keys.clone(), ..DelegationEdit::default() }.write())
            }
            Self::ReplaceKeys { role, keys } => {
                let keys: Vec<String> = keys.iter().map(PublicKey::to_json).collect();
                Some(format!("{{\"keys\":[{}],\"role\":\"{role}\"}}", keys.join(",")).into_bytes())
            }
            Self::RemoveTarget { .. } | Self::DeleteDelegation { .. } | Self::Witness { .. } => None,
        };
        let (action, role, kind, path) = (self.action(), self.scope(), self.kind(), self.path());
        let mut output =
            format!("{{\"action\":\"{action}\",\"role\":\"{role}\",\"type\":\"{kind}\",\"path\":").into_bytes();
        let mut name = Vec::new();
        write_string(&mut name, path);
        crate::json::write_wire(&mut output, &name);
        match data {
            Some(data) => {
                let mut inner = Vec::with_capacity(data.len());
                crate::json::write_wire(&mut inner, &data);
                output.extend_from_slice(format!(",\"data\":\"{}\"}}", STANDARD.encode(inner)).as_bytes());
            }
            None => output.extend_from_slice(b",\"data\":null}"),
        }
        output
    }
}

#[derive(Default)]
struct Raw {
    action: String,
    role: String,
    kind: String,
    path: String,
    data: Vec<u8>,
}

impl Raw {
    fn interpret(self) -> Result<Change, ChangeError> {
        let role = |text: &str| RoleName::parse(text).map_err(|_| Shape::new("role", "a role"));
        let data = || Canonical::read(&Bytes::from(self.data.clone()));
        match (self.kind.as_str(), self.action.as_str()) {
            ("target", "create" | "update") => {
                let meta = FileMeta::read(&mut data()?.cursor())?;
                Ok(Change::AddTarget { role: role(&self.role)?, name: self.path, meta })
            }
            ("target", "delete") => Ok(Change::RemoveTarget { role: role(&self.role)?, name: self.path }),
            ("delegation", "create") => Ok(Change::CreateDelegation {
                role: role(&self.role)?,
                edit: DelegationEdit::read(&mut data()?.cursor())?,
            }),
            ("delegation", "update") => {
                let edit = DelegationEdit::read(&mut data()?.cursor())?;
                match self.role.strip_suffix("/*") {
                    Some(below) => {
                        let below = role(below)?;
                        if !below.lists_targets() {
                            return Err(Shape::new("role", "targets or a delegation before /*").into());
                        }
                        Ok(Change::PurgeKeys { below, keys: edit.remove_keys })
                    }
                    None => Ok(Change::UpdateDelegation { role: role(&self.role)?, edit }),
                }
            }
            ("delegation", "delete") => Ok(Change::DeleteDelegation { role: role(&self.role)? }),
            ("witness", "update") => Ok(Change::Witness { role: role(&self.role)? }),
            ("role", "create") => replace_keys(&mut data()?.cursor()),
            _ => Err(ChangeError::Unknown { action: self.action, kind: self.kind, role: self.role }),
        }
    }
}

fn replace_keys(cursor: &mut Cursor<'_>) -> Result<Change, ChangeError> {
    let (mut base, mut keys) = (None, Vec::new());
    cursor.object("data", |name, value| {
        match name {
            "role" => base = RoleName::parse(&value.string("role")?).ok(),
            "keys" => keys = read_keys(value)?,
            _ => {
                value.skip();
            }
        }
        Ok::<_, Shape>(())
    })?;
    match base {
        Some(role) if RoleName::BASE.contains(&role) => Ok(Change::ReplaceKeys { role, keys }),
        _ => Err(Shape::new("role", "a base role").into()),
    }
}

fn read_keys(cursor: &mut Cursor<'_>) -> Result<Vec<PublicKey>, Shape> {
    let mut keys = Vec::new();
    cursor.array("keys", |item| {
        keys.push(read_key(item, &mut false)?);
        Ok::<_, Shape>(())
    })?;
    Ok(keys)
}

fn read_texts(cursor: &mut Cursor<'_>) -> Result<Vec<Box<str>>, Shape> {
    let mut texts = Vec::new();
    cursor.array("paths", |item| {
        texts.push(item.string("paths")?.into());
        Ok::<_, Shape>(())
    })?;
    Ok(texts)
}

impl DelegationEdit {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, Shape> {
        let mut edit = Self::default();
        cursor.object("data", |name, value| {
            match name {
                "threshold" => edit.threshold = Some(value.unsigned("threshold")?).filter(|threshold| *threshold > 0),
                "add_keys" if !value.take_null() => edit.add_keys = read_keys(value)?,
                "remove_keys" if !value.take_null() => value.array("remove_keys", |item| {
                    let id = item.string("remove_keys")?.parse();
                    edit.remove_keys.push(id.map_err(|_| Shape::new("remove_keys", "key ids"))?);
                    Ok::<_, Shape>(())
                })?,
                "add_paths" if !value.take_null() => edit.add_paths = read_texts(value)?,
                "remove_paths" if !value.take_null() => edit.remove_paths = read_texts(value)?,
                "clear_paths" => edit.clear_paths = value.boolean("clear_paths")?,
                "add_keys" | "remove_keys" | "add_paths" | "remove_paths" => {}
                _ => {
                    value.skip();
                }
            }
            Ok::<_, Shape>(())
        })?;
        Ok(edit)
    }

    fn write(&self) -> Vec<u8> {
        let texts = |texts: &[Box<str>]| {
            let mut output = Vec::new();
            crate::metadata::write_joined(&mut output, texts, |output, text| write_string(output, text));
            String::from_utf8_lossy(&output).into_owned()
        };
        let mut members = Vec::new();
        members.extend(self.threshold.map(|threshold| format!("\"threshold\":{threshold}")));
        if !self.add_keys.is_empty() {
            let keys: Vec<String> = self.add_keys.iter().map(PublicKey::to_json).collect();
            members.push(format!("\"add_keys\":[{}]", keys.join(",")));
        }
        if !self.remove_keys.is_empty() {
            let ids: Vec<String> = self.remove_keys.iter().map(|id| format!("\"{id}\"")).collect();
            members.push(format!("\"remove_keys\":[{}]", ids.join(",")));
        }
        for (name, paths) in [("add_paths", &self.add_paths), ("remove_paths", &self.remove_paths)] {
            members.extend((!paths.is_empty()).then(|| format!("\"{name}\":[{}]", texts(paths))));
        }
        members.extend(self.clear_paths.then(|| "\"clear_paths\":true".to_owned()));
        format!("{{{}}}", members.join(",")).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(text: &str) -> Change {
        let change = Change::read(&Bytes::copy_from_slice(text.as_bytes())).unwrap();
        assert_eq!(Change::read(&change.write().into()).unwrap(), change);
        change
    }

    #[test]
    fn paths_of_a_delegation() {
        let text = r#"{"action":"create","role":"targets/releases","type":"delegation","path":"","data":"eyJhZGRfcGF0aHMiOlsiYSIsImIiXX0="}"#;
        let change = round_trip(text);
        assert_eq!(String::from_utf8(change.write()).unwrap(), text);
        let Change::CreateDelegation { edit, .. } = change else { panic!() };
        assert_eq!(edit.add_paths, ["a".into(), "b".into()]);
    }

    #[test]
    fn names_with_special_characters_survive() {
        let change = Change::RemoveTarget { role: RoleName::Targets, name: "a<\"\\é\u{2028}".into() };
        assert_eq!(Change::read(&change.write().into()).unwrap(), change);
    }

    fn staged(action: &str, role: &str, kind: &str, path: &str, data: &str) -> String {
        let data = STANDARD.encode(data);
        format!(r#"{{"action":"{action}","role":"{role}","type":"{kind}","path":"{path}","data":"{data}"}}"#)
    }

    #[test]
    fn every_kind_of_change_survives() {
        let digest = STANDARD.encode([7; 32]);
        let meta = format!(r#"{{"hashes":{{"sha256":"{digest}"}},"length":6}}"#);
        let key = PublicKey::new(countersign_crypto::KeyType::Ed25519, vec![1; 32]);
        let (json, id) = (key.to_json(), key.id());
        assert!(matches!(round_trip(&staged("create", "targets", "target", "v1", &meta)), Change::AddTarget { .. }));
        // Keys and paths in one document, as old clients wrote it.
        let both = format!(r#"{{"threshold":1,"add_keys":[{json}],"add_paths":[""],"new_name":"x"}}"#);
        let change = round_trip(&staged("create", "targets/a", "delegation", "", &both));
        let Change::CreateDelegation { edit, .. } = change else { panic!() };
        assert_eq!((edit.threshold, edit.add_keys, edit.add_paths), (Some(1), vec![key.clone()], vec!["".into()]));
        let removal = format!(r#"{{"remove_keys":["{id}"],"remove_paths":["a"],"clear_paths":true}}"#);
        let change = round_trip(&staged("update", "targets/a", "delegation", "", &removal));
        let Change::UpdateDelegation { edit, .. } = change else { panic!() };
        assert!(edit.clear_paths && edit.remove_keys == [id]);
        let purge = format!(r#"{{"remove_keys":["{id}"]}}"#);
        let change = round_trip(&staged("update", "targets/*", "delegation", "", &purge));
        assert_eq!(change, Change::PurgeKeys { below: RoleName::Targets, keys: vec![id] });
        let replace = format!(r#"{{"keys":[{json}],"role":"snapshot"}}"#);
        let change = round_trip(&staged("create", "root", "role", "snapshot", &replace));
        assert_eq!(change, Change::ReplaceKeys { role: RoleName::Snapshot, keys: vec![key] });
        let witness = r#"{"action":"update","role":"targets/a","type":"witness","path":"","data":null}"#;
        assert!(matches!(round_trip(witness), Change::Witness { .. }));
        let delete = r#"{"action":"delete","role":"targets/a","type":"delegation","path":"","data":null}"#;
        assert!(matches!(round_trip(delete), Change::DeleteDelegation { .. }));
    }

    #[test]
    fn keys_are_purged_below_targets_only() {
        for role in ["root/*", "snapshot/*", "*", "/*", "targets/A/*", "targets//*"] {
            let text = staged("update", role, "delegation", "", "{}");
            assert!(Change::read(&text.clone().into()).is_err(), "{text}");
        }
    }

    #[test]
    fn damaged_changes_are_refused() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"action":"create","role":"targets/../x","type":"target","path":"a","data":null}"#,
            r#"{"action":"explode","role":"targets","type":"target","path":"a","data":null}"#,
            r#"{"action":"create","role":"targets","type":"target","path":"a","data":"e30="}"#,
            r#"{"action":"create","role":"targets/a","type":"delegation","path":"","data":"eyJhZGRfa2V5cyI6W251bGxdfQ=="}"#,
        ] {
            assert!(Change::read(&Bytes::copy_from_slice(text.as_bytes())).is_err(), "{text}");
        }
    }
}
