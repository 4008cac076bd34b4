//! Key files outside the store: on their way into a backup, or out of one.

use std::fmt;
use std::path::{Path, PathBuf};

use countersign_crypto::{KeyId, PrivateKey};
use countersign_keyfile::KeyBlock;
use countersign_tuf::Gun;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::listing::{self, Understood};
use super::opening::Asked;
use super::{Found, KeyPlace, KeyStore, KeyStoreError, SUFFIX, SkippedKeyReason, opening};
use crate::passphrase::PassphraseSource;

/// A key file as it is carried from one trust directory to another: in the present layout, encrypted or not exactly as it
/// was.
#[derive(Clone)]
pub struct CarriedKey {
    id: KeyId,
    role: String,
    gun: Option<Gun>,
    modified: Option<Timestamp>,
    pem: Zeroizing<Vec<u8>>,
    block: KeyBlock,
}

impl CarriedKey {
    /// Understands a file by its names below `private`, the last of which is the file's own; the directories matter where
    /// they are those of old clients (Notary protocol, legacy formats and migration).
    ///
    /// # Errors
    /// Says why the file is no key.
    pub fn read(names: &[&str], bytes: &[u8]) -> Result<Self, SkippedKeyReason> {
        let Some((name, above)) = names.split_last() else { return Err(SkippedKeyReason::Name) };
        let (place, below) = match above {
            [first, below @ ..] if listing::is_old(first) => (KeyPlace::Legacy, below),
            [] => (KeyPlace::Plain, above),
            _ => (KeyPlace::Nested, &[][..]),
        };
        let below: Vec<String> = below.iter().map(|name| (*name).to_owned()).collect();
        Ok(Self::new(listing::understand(place, &below, name, bytes)?, place, bytes))
    }

    fn new(understood: Understood, place: KeyPlace, bytes: &[u8]) -> Self {
        let Understood { id, role, gun, block } = understood;
        let pem = match place {
            KeyPlace::Legacy => Zeroizing::new(block.to_pem().as_bytes().to_vec()),
            KeyPlace::Plain | KeyPlace::Nested | KeyPlace::Token => Zeroizing::new(bytes.to_vec()),
        };
        Self { id, role, gun, modified: None, pem, block }
    }

    /// Returns the id that the file's name says; [`Self::open`] checks it.
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Returns the role text, empty if the file has none.
    #[must_use]
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Returns the collection that the key belongs to.
    #[must_use]
    pub fn gun(&self) -> Option<&Gun> {
        self.gun.as_ref()
    }

    /// Says when the file was written: taken in, the key is as old as it was.
    #[must_use]
    pub fn written(mut self, modified: Option<Timestamp>) -> Self {
        self.modified = modified;
        self
    }

    /// Returns when the file was written, as far as that is known.
    #[must_use]
    pub fn modified(&self) -> Option<Timestamp> {
        self.modified
    }

    /// Returns the file's name in the present layout, `<id>.key`.
    #[must_use]
    pub fn file_name(&self) -> String {
        super::file_name(&self.id)
    }

    /// Returns the file's bytes.
    #[must_use]
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }

    /// Tells whether a passphrase is needed to use the key.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.block.is_encrypted()
    }

    /// Tells whether two files hold the same block with the same headers, however they are laid out as text.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.holds(&other.block)
    }

    pub(super) fn holds(&self, block: &KeyBlock) -> bool {
        *self.block.to_pem() == *block.to_pem()
    }

    /// Opens the key and checks that it is the one that the name says.
    ///
    /// # Errors
    /// [`KeyStoreError::PassphraseInvalid`], [`KeyStoreError::OtherKey`], [`KeyStoreError::Malformed`].
    pub fn open(&self, passphrases: &dyn PassphraseSource) -> Result<PrivateKey, KeyStoreError> {
        let path = PathBuf::from(self.file_name());
        let of = Asked { role: &self.role, gun: self.gun.as_ref(), id: Some(self.id) };
        let (key, _) = opening::open(&self.block, Path::new(&path), of, passphrases)?;
        let actual = key.public_key().canonical_id();
        if actual == self.id { Ok(key) } else { Err(KeyStoreError::OtherKey { path, expected: self.id, actual }) }
    }
}

impl KeyStore {
    /// Takes a key file out for carrying it elsewhere; the store keeps it. Needs no passphrase.
    ///
    /// # Errors
    /// [`KeyStoreError::NotFound`], and when the file is there but cannot be used.
    pub fn carry(&self, id: &KeyId) -> Result<CarriedKey, KeyStoreError> {
        let Found { entry, folder, name, bytes, block } = self.file_of(id)?;
        let modified = folder.stat(&name)?.and_then(|stat| Timestamp::from_second(stat.st_mtime).ok());
        let understood = Understood { id: entry.id, role: entry.role, gun: entry.gun, block };
        Ok(CarriedKey { modified, ..CarriedKey::new(understood, entry.place, &bytes) })
    }
}

impl fmt::Debug for CarriedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CarriedKey")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("gun", &self.gun)
            .finish_non_exhaustive()
    }
}

/// Tells whether a file's name ends as those of keys do.
#[must_use]
pub fn is_key_file_name(name: &str) -> bool {
    name.ends_with(SUFFIX)
}
