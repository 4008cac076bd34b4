//! What the trust directory keeps of a key on a token: nothing secret.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_crypto::{KeyId, KeyType, PublicKey};
use countersign_tuf::Gun;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::TokenIdentity;
use crate::directory::{OWN, TrustDirectory};
use crate::error::FileError;
use crate::folder::{Folder, Removal};
use crate::keys::{KeyLabel, KeyStoreError, SkippedKey, SkippedKeyReason};

const FOLDER: &str = "token-keys";
const SUFFIX: &str = ".json";
/// Largest record in bytes; that of an RSA key of 8192 bits has about 2,000.
const MAX_RECORD: u64 = 64 * 1024;

/// A key on a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) label: KeyLabel,
    pub(crate) public_key: PublicKey,
    pub(crate) token: TokenIdentity,
    /// Since when the trust directory knows it.
    pub(crate) since: Timestamp,
}

/// The records with their paths, and what is none.
pub(crate) type Listed = (Vec<(Record, PathBuf)>, Vec<SkippedKey>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    version: u8,
    role: String,
    gun: Option<String>,
    key_type: String,
    public_key: String,
    token_label: String,
    token_serial: String,
    since: Timestamp,
}

impl Record {
    pub(crate) fn id(&self) -> KeyId {
        self.public_key.canonical_id()
    }

    /// Tells whether two records are of one key, for the same purpose and on the same token.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        (&self.label, &self.public_key, &self.token) == (&other.label, &other.public_key, &other.token)
    }

    /// Writes the record, flushed.
    pub(crate) fn write(&self, directory: &TrustDirectory) -> Result<(), KeyStoreError> {
        let document = Document {
            version: 1,
            role: self.label.role().to_owned(),
            gun: self.label.gun().map(ToString::to_string),
            key_type: self.public_key.key_type().as_str().to_owned(),
            public_key: STANDARD.encode(self.public_key.bytes()),
            token_label: self.token.label.to_string(),
            token_serial: self.token.serial.to_string(),
            since: self.since,
        };
        let text = serde_json::to_string_pretty(&document)
            .map_err(|error| KeyStoreError::NotMade { reason: error.to_string() })?;
        let folder = directory.make_folder(OWN)?.make(FOLDER)?;
        Ok(folder.replace(file_name(&self.id()), text.as_bytes())?)
    }

    /// Removes the record of a key.
    pub(crate) fn remove(directory: &TrustDirectory, id: &KeyId) -> Result<Removal, FileError> {
        let Some(folder) = folder(directory)? else { return Ok(Removal::Absent) };
        let removed = folder.remove_file(file_name(id))?;
        folder.sync()?;
        Ok(removed)
    }

    /// Returns where the record of a key is.
    pub(crate) fn path(directory: &TrustDirectory, id: &KeyId) -> PathBuf {
        directory.path().join(OWN).join(FOLDER).join(file_name(id))
    }

    /// Finds the record of a key.
    pub(crate) fn find(directory: &TrustDirectory, id: &KeyId) -> Result<Option<Self>, KeyStoreError> {
        let Some(folder) = folder(directory)? else { return Ok(None) };
        let name = file_name(id);
        let Some(bytes) = folder.read(&name, MAX_RECORD)? else { return Ok(None) };
        let malformed = |reason| KeyStoreError::Malformed { path: folder.path_of(&name), reason };
        Self::read(id, &bytes).map(Some).map_err(malformed)
    }

    /// Lists all records with their paths, and what is none.
    pub(crate) fn list(directory: &TrustDirectory) -> Result<Listed, FileError> {
        let (mut found, mut skipped) = (Vec::new(), Vec::new());
        let Some(folder) = folder(directory)? else { return Ok((found, skipped)) };
        for entry in folder.entries()? {
            let Some(name) = entry.text().and_then(|name| name.strip_suffix(SUFFIX)) else { continue };
            let path = folder.path_of(&entry.name);
            let Ok(id) = name.parse::<KeyId>() else {
                skipped.push(SkippedKey { path, reason: SkippedKeyReason::Name });
                continue;
            };
            let read = match folder.read(&entry.name, MAX_RECORD) {
                Ok(Some(bytes)) => Self::read(&id, &bytes).map_err(SkippedKeyReason::Malformed),
                Ok(None) => continue,
                Err(error) => Err(SkippedKeyReason::Unreadable(error.to_string())),
            };
            match read {
                Ok(record) => found.push((record, path)),
                Err(reason) => skipped.push(SkippedKey { path, reason }),
            }
        }
        Ok((found, skipped))
    }

    fn read(id: &KeyId, bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if document.version != 1 {
            return Err(format!("it is of version {}, and only 1 is known", document.version));
        }
        let gun = document.gun.as_deref().map(Gun::parse).transpose().map_err(|error| error.to_string())?;
        let label = KeyLabel::new(&document.role, gun.as_ref()).map_err(|error| error.to_string())?;
        let public = STANDARD.decode(&document.public_key).map_err(|_| "its public key is not base64".to_owned())?;
        let public_key = PublicKey::new(KeyType::from(document.key_type.as_str()), public);
        if public_key.canonical_id() != *id {
            return Err(format!("its public key is that of {}", public_key.canonical_id()));
        }
        let token = TokenIdentity { label: document.token_label.into(), serial: document.token_serial.into() };
        Ok(Self { label, public_key, token, since: document.since })
    }
}

fn folder(directory: &TrustDirectory) -> Result<Option<Folder>, FileError> {
    match directory.folder(OWN)? {
        Some(own) => own.child(FOLDER),
        None => Ok(None),
    }
}

fn file_name(id: &KeyId) -> String {
    format!("{id}{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_crypto::{Algorithm, PrivateKey};

    fn record() -> Record {
        let gun = Gun::parse("reg.example/acme/app").unwrap();
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        Record {
            label: KeyLabel::new("targets", Some(&gun)).unwrap(),
            public_key: key.public_key().clone(),
            token: TokenIdentity { label: "release".into(), serial: "0a1b".into() },
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_record_is_found_again_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = TrustDirectory::create(folder.path()).unwrap();
        let record = record();
        assert_eq!(Record::find(&directory, &record.id()).unwrap(), None);
        record.write(&directory).unwrap();
        assert_eq!(Record::find(&directory, &record.id()).unwrap().as_ref(), Some(&record));
        let (found, skipped) = Record::list(&directory).unwrap();
        assert!(found.len() == 1 && found[0].0 == record && skipped.is_empty());
        assert_eq!(Record::remove(&directory, &record.id()).unwrap(), Removal::Removed);
        assert_eq!(Record::remove(&directory, &record.id()).unwrap(), Removal::Absent);
        assert_eq!(Record::find(&directory, &record.id()).unwrap(), None);
    }

    #[test]
    fn a_record_that_was_changed_is_named_and_never_used() {
        let folder = tempfile::tempdir().unwrap();
        let directory = TrustDirectory::create(folder.path()).unwrap();
        let (record, other) = (record(), record());
        record.write(&directory).unwrap();
        let path = folder.path().join(OWN).join(FOLDER).join(file_name(&record.id()));
        let text = std::fs::read_to_string(&path).unwrap();
        let key = |record: &Record| STANDARD.encode(record.public_key.bytes());
        for changed in [
            text.replace(&key(&record), &key(&other)),
            text.replace("\"version\": 1", "\"version\": 2"),
            text.replace("reg.example/acme/app", "REG/../x"),
            text.replace("\"role\": \"targets\"", "\"role\": \"\""),
            text.replace("token-label", "module"),
            text[..text.len() / 2].to_owned(),
            String::new(),
        ] {
            std::fs::write(&path, changed).unwrap();
            assert!(matches!(Record::find(&directory, &record.id()), Err(KeyStoreError::Malformed { .. })));
            let (found, skipped) = Record::list(&directory).unwrap();
            assert!(found.is_empty() && skipped.len() == 1);
        }
        std::fs::write(&path, vec![b' '; 65 * 1024]).unwrap();
        assert!(Record::find(&directory, &record.id()).is_err());
        std::fs::rename(&path, path.with_file_name("x.json")).unwrap();
        let (_, skipped) = Record::list(&directory).unwrap();
        assert_eq!(skipped[0].reason, SkippedKeyReason::Name);
    }
}
