//! The store of private keys.
//!
//! Keys lie in `private/<canonical key id>.key`, one PEM block each, encrypted in the reference's form (Notary protocol,
//! private key files). Directories of old clients (`root_keys`, `tuf_keys`) are read where they are;
//! [`KeyStore::migrate`] moves them.

mod arrival;
mod bundle;
mod carried;
mod change;
mod error;
mod file;
mod label;
mod listing;
mod migration;
mod opening;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_crypto::{KeyId, PrivateKey};
use countersign_keyfile::KeyBlock;
use zeroize::Zeroizing;

use crate::directory::TrustDirectory;
use crate::error::{FileError, LockError};
use crate::folder::Folder;
use crate::limits::MAX_KEY_BYTES;
use crate::lock::FileLock;
use crate::passphrase::PassphraseSource;

pub use arrival::{Differing, Presence};
pub use bundle::{
    ExportedKeys, ImportDefaults, ImportReport, ImportedKey, KeySelection, SkippedBlock, SkippedBlockReason,
};
pub use carried::{CarriedKey, is_key_file_name};
pub use change::Addition;
pub use error::KeyStoreError;
pub use label::{KeyLabel, KeyLabelError};
pub use listing::{KeyEntry, KeyListing, KeyPlace, SkippedKey, SkippedKeyReason};
pub use migration::{KeptKey, MigrationReport};

const LOCK: &str = "keys.lock";
const SUFFIX: &str = ".key";

/// The private keys of a trust directory.
///
/// Keys that were opened are kept in memory for as long as this value or a clone of it lives, and wiped after that.
#[derive(Clone)]
pub struct KeyStore {
    directory: TrustDirectory,
    protection: KeyProtection,
    opened: Arc<Mutex<BTreeMap<KeyId, Arc<PrivateKey>>>>,
}

/// How keys are protected when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyProtection {
    /// In the only form that docker and notary read: PBKDF2-HMAC-SHA1 with 2,048 rounds.
    #[default]
    Compatible,
    /// In a form that resists guessing better and that docker and notary do not read.
    Strong,
}

/// A key file that was found and read.
struct Found {
    entry: KeyEntry,
    folder: Folder,
    name: String,
    bytes: Zeroizing<Vec<u8>>,
    block: KeyBlock,
}

impl KeyStore {
    pub(crate) fn new(directory: TrustDirectory) -> Self {
        Self { directory, protection: KeyProtection::Compatible, opened: Arc::default() }
    }

    /// Chooses how keys are protected that are written from now on.
    #[must_use]
    pub fn with_protection(mut self, protection: KeyProtection) -> Self {
        self.protection = protection;
        self
    }

    /// Lists the keys in the order of their ids, and the files that could not be used. Needs no passphrase.
    ///
    /// # Errors
    /// When a directory cannot be read, or one of them is a symbolic link.
    pub fn list(&self) -> Result<KeyListing, KeyStoreError> {
        Ok(listing::list(&self.directory)?)
    }

    /// Finds one key without opening it, `None` if there is no such key.
    ///
    /// # Errors
    /// When there is a file of that name which cannot be read.
    pub fn find(&self, id: &KeyId) -> Result<Option<KeyEntry>, KeyStoreError> {
        Ok(self.look_up(id)?.map(|found| found.entry))
    }

    /// Opens a key, asking for its passphrase up to [`crate::limits::EXISTING_PASSPHRASE_ATTEMPTS`] times.
    ///
    /// # Errors
    /// [`KeyStoreError::NotFound`], [`KeyStoreError::PassphraseInvalid`], and [`KeyStoreError::OtherKey`] when the file
    /// holds another key than its name says.
    pub fn load(&self, id: &KeyId, passphrases: &dyn PassphraseSource) -> Result<Arc<PrivateKey>, KeyStoreError> {
        if let Some(key) = self.opened().get(id) {
            return Ok(Arc::clone(key));
        }
        let found = self.look_up(id)?.ok_or(KeyStoreError::NotFound { id: *id })?;
        let key = Arc::new(found.open(passphrases)?);
        self.opened().insert(*id, Arc::clone(&key));
        Ok(key)
    }

    /// Reads a key's file: the plain place first, then wherever else a file of that id is.
    fn look_up(&self, id: &KeyId) -> Result<Option<Found>, KeyStoreError> {
        listing::look_up(&self.directory, id)
    }

    fn lock(&self) -> Result<FileLock, LockError> {
        self.directory.lock(LOCK)
    }

    /// Opens, and makes if missing, the directory that new keys go to. Only for whoever holds the lock.
    fn private(&self, lock: &FileLock) -> Result<Folder, FileError> {
        let folder = self.directory.make_folder(crate::directory::PRIVATE)?;
        self.finish_arrivals(&folder, lock)?;
        folder.sweep()?;
        Ok(folder)
    }

    fn opened(&self) -> MutexGuard<'_, BTreeMap<KeyId, Arc<PrivateKey>>> {
        // The map is whole after every operation, also one that panicked.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Found {
    /// Opens the key and checks that it is the one that the file's name says.
    fn open(&self, passphrases: &dyn PassphraseSource) -> Result<PrivateKey, KeyStoreError> {
        let KeyEntry { id, role, path, .. } = &self.entry;
        let (key, _) = opening::open(&self.block, path, role, Some(*id), passphrases)?;
        let actual = key.public_key().canonical_id();
        if actual == *id { Ok(key) } else { Err(KeyStoreError::OtherKey { path: path.clone(), expected: *id, actual }) }
    }
}

impl fmt::Debug for KeyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyStore").field("directory", &self.directory).finish_non_exhaustive()
    }
}

fn file_name(id: &KeyId) -> String {
    format!("{id}{SUFFIX}")
}

/// Writes a key's block to its plain place.
fn write(private: &Folder, id: &KeyId, block: &KeyBlock) -> Result<PathBuf, KeyStoreError> {
    let (name, bytes) = (file_name(id), block.to_pem());
    let path = private.path_of(&name);
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_KEY_BYTES {
        return Err(FileError::TooLarge { path, limit: MAX_KEY_BYTES }.into());
    }
    private.replace(&name, bytes.as_bytes())?;
    Ok(path)
}
