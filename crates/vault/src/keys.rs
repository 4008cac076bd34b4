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
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign_crypto::{Algorithm, KeyId, PrivateKey, Signer};
use countersign_keyfile::KeyBlock;
use zeroize::Zeroizing;

use crate::directory::TrustDirectory;
use crate::error::{FileError, LockError};
use crate::folder::Folder;
use crate::limits::MAX_KEY_BYTES;
use crate::lock::FileLock;
use crate::passphrase::{Passphrase, PassphraseSource};
use crate::token::{NewKeyPlace, Tokens};
use opening::Asked;

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
    pub(crate) directory: TrustDirectory,
    pub(crate) place: NewKeyPlace,
    protection: KeyProtection,
    opened: Arc<Mutex<BTreeMap<KeyId, Arc<PrivateKey>>>>,
}

/// How keys are protected when they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyProtection {
    /// In the only form that docker and notary read: PBKDF2-HMAC-SHA1 with 2,048 rounds.
    #[default]
    Compatible,
    /// PBKDF2-HMAC-SHA256 with 600,000 rounds, which resists guessing better; docker and notary do not read it.
    Pbkdf2Sha256,
    /// scrypt, which takes memory for each guess; docker and notary do not read it.
    Scrypt,
}

impl KeyProtection {
    /// Every form.
    pub const ALL: [Self; 3] = [Self::Compatible, Self::Pbkdf2Sha256, Self::Scrypt];

    /// Returns the form's name in settings and options.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Compatible => "compatible",
            Self::Pbkdf2Sha256 => "pbkdf2-sha256",
            Self::Scrypt => "scrypt",
        }
    }
}

impl FromStr for KeyProtection {
    type Err = UnknownProtection;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|form| form.as_str() == text).ok_or_else(|| UnknownProtection(text.to_owned()))
    }
}

/// Says that a word names no form of protection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no encryption of key files: there are compatible, pbkdf2-sha256 and scrypt")]
pub struct UnknownProtection(String);

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
        let (protection, place) = (directory.protection(), directory.new_key_place().clone());
        Self { directory, place, protection, opened: Arc::default() }
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
        match self.look_up(id)? {
            Some(found) => {
                let token = self.record(id).ok().flatten().map(|record| record.token);
                Ok(Some(KeyEntry { token, ..found.entry }))
            }
            None => listing::find_on_token(&self.directory, id),
        }
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
        let found = self.file_of(id)?;
        let key = Arc::new(found.open(passphrases)?);
        self.opened().insert(*id, Arc::clone(&key));
        Ok(key)
    }

    /// Finds a key wherever it is kept and makes it ready to sign; a file's key is opened as by [`Self::load`].
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn signer(&self, id: &KeyId, passphrases: &dyn PassphraseSource) -> Result<Arc<dyn Signer>, KeyStoreError> {
        if !self.opened().contains_key(id)
            && self.look_up(id)?.is_none()
            && let Some(record) = self.record(id)?
        {
            return self.token_signer(&record, passphrases);
        }
        Ok(self.load(id, passphrases)?)
    }

    /// Finds the file of a key that has to have one.
    fn file_of(&self, id: &KeyId) -> Result<Found, KeyStoreError> {
        if let Some(found) = self.look_up(id)? {
            return Ok(found);
        }
        Err(match self.record(id)? {
            Some(record) => KeyStoreError::OnToken { id: *id, token: record.token },
            None => KeyStoreError::NotFound { id: *id },
        })
    }

    pub(crate) fn tokens(&self) -> &Tokens {
        self.directory.tokens()
    }

    /// Makes a new key and keeps it where new keys are kept.
    ///
    /// # Errors
    /// As [`Self::add`]; when no such key can be made; [`KeyStoreError::Token`].
    pub fn make(
        &self,
        algorithm: Algorithm,
        label: &KeyLabel,
        passphrases: &dyn PassphraseSource,
    ) -> Result<Arc<dyn Signer>, KeyStoreError> {
        if let NewKeyPlace::Token(token) = &self.place {
            return self.make_on_token(token, algorithm, label, passphrases);
        }
        let key =
            PrivateKey::generate(algorithm).map_err(|error| KeyStoreError::NotMade { reason: error.to_string() })?;
        self.add(&key, label, passphrases)?;
        let key = Arc::new(key);
        self.opened().insert(key.public_key().canonical_id(), Arc::clone(&key));
        Ok(key)
    }

    /// Returns how keys are protected that are written from now on.
    #[must_use]
    pub fn protection(&self) -> KeyProtection {
        self.protection
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
        self.open_with(passphrases).map(|(key, _)| key)
    }

    /// As [`Self::open`], and returns the passphrase that did it, none for a key that is not encrypted.
    fn open_with(&self, passphrases: &dyn PassphraseSource) -> Result<(PrivateKey, Option<Passphrase>), KeyStoreError> {
        let KeyEntry { id, role, gun, path, .. } = &self.entry;
        let of = Asked { role, gun: gun.as_ref(), id: Some(*id) };
        let (key, passphrase) = opening::open(&self.block, path, of, passphrases)?;
        let actual = key.public_key().canonical_id();
        if actual == *id {
            Ok((key, passphrase))
        } else {
            Err(KeyStoreError::OtherKey { path: path.clone(), expected: *id, actual })
        }
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
