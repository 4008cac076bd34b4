//! Keys inside metadata, and which of them a role trusts.

use super::{skip_unknown, write_joined};
use crate::json::{Cursor, Shape};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_crypto::{KeyId, KeyType, PublicKey};
use std::collections::BTreeMap;

/// Most keys that one file may list.
pub const MAX_KEYS: usize = 4096;
/// Largest answer in bytes to a question for a service's public key; an RSA key of 8192 bits takes a tenth of it.
pub const MAX_SERVED_KEY: usize = 16 << 10;

/// The public keys of one file by the id they are filed under, which need not be their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyMap {
    keys: BTreeMap<KeyId, PublicKey>,
    carries_private: bool,
}

impl KeyMap {
    /// Reads `keys`; `null` is empty.
    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Shape> {
        let mut map = Self::default();
        if cursor.take_null() {
            return Ok(map);
        }
        cursor.object("keys", |id, value| {
            let id: KeyId = id.parse().map_err(|_| Shape::new("keys", "64 lower-case hexadecimal digits as key id"))?;
            let key = read_key(value, &mut map.carries_private)?;
            map.keys.insert(id, key);
            if map.keys.len() > MAX_KEYS { Err(Shape::new("keys", "at most 4096 keys")) } else { Ok(()) }
        })?;
        Ok(map)
    }

    /// Appends the canonical form.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        output.push(b'{');
        write_joined(output, &self.keys, |output, (id, key)| {
            output.extend_from_slice(format!("\"{id}\":").as_bytes());
            output.extend_from_slice(key.to_json().as_bytes());
        });
        output.push(b'}');
    }

    /// Finds a key by the id it is filed under.
    #[must_use]
    pub fn get(&self, id: &KeyId) -> Option<&PublicKey> {
        self.keys.get(id)
    }

    /// Iterates over ids and keys, by id.
    pub fn iter(&self) -> impl Iterator<Item = (&KeyId, &PublicKey)> {
        self.keys.iter()
    }

    /// Files a key under its own id.
    pub fn insert(&mut self, key: PublicKey) {
        self.keys.insert(key.id(), key);
    }

    /// Keeps the keys for which `keep` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&KeyId) -> bool) {
        self.keys.retain(|id, _| keep(id));
    }

    /// Tells whether a key came with a private half: an accident that must not be published.
    #[must_use]
    pub fn carries_private(&self) -> bool {
        self.carries_private
    }
}

/// Reads one public key object of metadata or of a server's answer.
pub(crate) fn read_key(cursor: &mut Cursor<'_>, carries_private: &mut bool) -> Result<PublicKey, Shape> {
    let (mut kind, mut public) = (None, None);
    cursor.object("key", |name, value| {
        match name {
            "keytype" => kind = Some(KeyType::from(&*value.string("keytype")?)),
            "keyval" => value.object("keyval", |name, value| {
                match name {
                    "public" => {
                        let text = value.string("public")?;
                        let bytes = STANDARD.decode(text.as_bytes());
                        public = Some(bytes.map_err(|_| Shape::new("public", "standard base64"))?);
                    }
                    "private" => *carries_private |= value.skip() != b"null",
                    _ => skip_unknown(name, value)?,
                }
                Ok::<_, Shape>(())
            })?,
            _ => skip_unknown(name, value)?,
        }
        Ok::<_, Shape>(())
    })?;
    match (kind, public) {
        (Some(kind), Some(public)) if !public.is_empty() => Ok(PublicKey::new(kind, public)),
        _ => Err(Shape::new("key", "keytype and keyval with a public key")),
    }
}

/// Reads a public key as a trust service hands it out, and refuses what must never get into a root.
///
/// # Errors
/// The text is larger than [`MAX_SERVED_KEY`] or no public key object, carries a private half, or the key can never verify a
/// signature.
pub fn read_public_key(text: &bytes::Bytes) -> Result<PublicKey, super::MetadataError> {
    if text.len() > MAX_SERVED_KEY {
        return Err(crate::json::JsonError::TooLarge(text.len()).into());
    }
    let canonical = crate::json::Canonical::read(text)?;
    let mut carries_private = false;
    let key = read_key(&mut canonical.cursor(), &mut carries_private)?;
    if carries_private {
        return Err(Shape::new("private", "null: a private key must not leave its owner").into());
    }
    match key.verifying_key() {
        Ok(_) => Ok(key),
        Err(error) => Err(Shape::new(format!("public ({error})"), "a key that can verify signatures").into()),
    }
}

/// Which keys may sign for a role, and how many of them must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleKeys {
    /// The key ids (TUF key ids) in the file's order.
    pub key_ids: Vec<KeyId>,
    /// How many distinct keys must sign.
    pub threshold: u64,
}

impl RoleKeys {
    /// Takes keys of which one signature is enough, as the reference always writes.
    #[must_use]
    pub fn any_of(key_ids: Vec<KeyId>) -> Self {
        Self { key_ids, threshold: 1 }
    }

    /// Reads the members `keyids` and `threshold` of a role.
    pub(crate) fn member(&mut self, name: &str, value: &mut Cursor<'_>) -> Result<bool, Shape> {
        match name {
            "keyids" if value.take_null() => {}
            "keyids" => value.array("keyids", |item| {
                let id = item.string("keyids")?.parse();
                self.key_ids.push(id.map_err(|_| Shape::new("keyids", "64 lower-case hexadecimal digits"))?);
                if self.key_ids.len() > MAX_KEYS { Err(Shape::new("keyids", "at most 4096 key ids")) } else { Ok(()) }
            })?,
            "threshold" => self.threshold = value.unsigned("threshold")?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Appends `"keyids":[…]` in canonical form.
    pub(crate) fn write_ids(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(b"\"keyids\":[");
        write_joined(output, &self.key_ids, |output, id| output.extend_from_slice(format!("\"{id}\"").as_bytes()));
        output.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Canonical;

    fn key(byte: u8) -> PublicKey {
        PublicKey::new(KeyType::Ed25519, vec![byte; 32])
    }

    fn role(text: &str) -> Result<RoleKeys, Shape> {
        let canonical = Canonical::read(&text.to_owned().into()).unwrap();
        let mut role = RoleKeys::default();
        canonical.cursor().object("role", |name, value| {
            if !role.member(name, value)? {
                value.skip();
            }
            Ok::<_, Shape>(())
        })?;
        Ok(role)
    }

    #[test]
    fn roles_read_what_they_write() {
        let ids = vec![key(1).id(), key(2).id()];
        let mut text = b"{".to_vec();
        RoleKeys::any_of(ids.clone()).write_ids(&mut text);
        text.extend_from_slice(b",\"threshold\":1,\"unknown\":{}}");
        assert_eq!(role(std::str::from_utf8(&text).unwrap()), Ok(RoleKeys::any_of(ids)));
        assert_eq!(role(r#"{"keyids":null}"#), Ok(RoleKeys::default()));
    }

    #[test]
    fn malformed_roles_are_refused() {
        for text in [
            r#"{"keyids":{}}"#,
            r#"{"keyids":["x"]}"#,
            r#"{"keyids":[null]}"#,
            r#"{"threshold":-1}"#,
            r#"{"threshold":null}"#,
            r#"{"threshold":"1"}"#,
            "[]",
        ] {
            assert!(role(text).is_err(), "{text}");
        }
        let many = format!(r#"{{"keyids":[{}]}}"#, vec![format!("\"{}\"", key(1).id()); MAX_KEYS + 1].join(","));
        assert!(role(&many).is_err());
    }

    #[test]
    fn a_map_of_keys_reads_what_it_writes_and_forgets_private_halves() {
        let mut map = KeyMap::default();
        map.insert(key(1));
        map.insert(key(2));
        map.insert(PublicKey::new(KeyType::from("unheard-of"), b"anything".to_vec()));
        let mut text = Vec::new();
        map.write(&mut text);
        let canonical = Canonical::read(&text.clone().into()).unwrap();
        assert_eq!(canonical.as_bytes(), text, "written in canonical form");
        assert_eq!(KeyMap::read(&mut canonical.cursor()), Ok(map.clone()));
        let leaky = String::from_utf8(text.clone()).unwrap().replacen("\"private\":null", "\"private\":\"AAAA\"", 1);
        let canonical = Canonical::read(&leaky.into()).unwrap();
        let read = KeyMap::read(&mut canonical.cursor()).unwrap();
        assert!(read.carries_private() && !map.carries_private());
        let mut again = Vec::new();
        read.write(&mut again);
        assert_eq!(again, text);
    }

    #[test]
    fn a_key_stays_under_the_id_it_is_filed_under() {
        let id = key(9).id();
        let text = format!("{{\"{id}\":{}}}", key(1).to_json());
        let canonical = Canonical::read(&text.into()).unwrap();
        let map = KeyMap::read(&mut canonical.cursor()).unwrap();
        assert_eq!(map.get(&id), Some(&key(1)));
        assert_eq!(map.get(&key(1).id()), None);
    }
}
