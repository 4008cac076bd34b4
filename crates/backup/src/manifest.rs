//! The manifest in an archive: what is in it, for people and programs.

use countersign_crypto::KeyId;
use countersign_vault::CarriedKey;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::archive::FOLDER;

/// The manifest's file name; docker and notary do not look at it.
pub(crate) const FILE_NAME: &str = "countersign-backup.json";
const FORMAT: &str = "countersign-backup";
const VERSION: u64 = 1;

/// Lists what an archive holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `countersign-backup`.
    pub format: String,
    /// The version of the archive's layout, 1.
    pub version: u64,
    /// When the archive was made.
    pub created: Timestamp,
    /// The keys, in the order of their ids.
    pub keys: Vec<ManifestKey>,
}

/// One key of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestKey {
    /// The key's id.
    pub id: String,
    /// Its role text, empty if its file has none.
    pub role: String,
    /// The collection it belongs to.
    pub gun: Option<String>,
    /// Its path in the archive.
    pub file: String,
    /// When its file was written, as far as that is known.
    pub modified: Option<Timestamp>,
    /// Whether a passphrase is needed to use it.
    pub encrypted: bool,
}

/// Says why a manifest, and with it the archive, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is not the JSON it should be.
    #[error("the manifest in the archive cannot be read: {0}")]
    Malformed(String),
    /// A newer version wrote it.
    #[error("the archive has the layout of version {found}, and this program knows version {VERSION} only: update it")]
    Version {
        /// The version found.
        found: u64,
    },
}

impl Manifest {
    pub(crate) fn of(keys: &[CarriedKey], created: Timestamp) -> Self {
        let mut keys: Vec<ManifestKey> = keys.iter().map(ManifestKey::of).collect();
        keys.sort_by(|one, other| one.id.cmp(&other.id));
        Self { format: FORMAT.to_owned(), version: VERSION, created, keys }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Versioned {
            format: String,
            version: u64,
        }
        let malformed = |error: serde_json::Error| ManifestError::Malformed(error.to_string());
        let Versioned { format, version } = serde_json::from_slice(bytes).map_err(malformed)?;
        if format != FORMAT {
            return Err(ManifestError::Malformed(format!("it says that it is {format:?}")));
        }
        if version != VERSION {
            return Err(ManifestError::Version { found: version });
        }
        serde_json::from_slice(bytes).map_err(malformed)
    }

    pub(crate) fn write(&self) -> Result<Vec<u8>, ManifestError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(|error| ManifestError::Malformed(error.to_string()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Returns the keys that are listed and not among these: whoever made the archive anew left them out.
    #[must_use]
    pub fn missing_from(&self, keys: &[CarriedKey]) -> Vec<KeyId> {
        let listed = self.keys.iter().filter_map(|key| key.id.parse::<KeyId>().ok());
        listed.filter(|id| !keys.iter().any(|key| key.id() == *id)).collect()
    }
}

impl ManifestKey {
    fn of(key: &CarriedKey) -> Self {
        Self {
            id: key.id().to_string(),
            role: key.role().to_owned(),
            gun: key.gun().map(ToString::to_string),
            file: format!("{FOLDER}{}", key.file_name()),
            modified: key.modified(),
            encrypted: key.is_encrypted(),
        }
    }
}
