//! Adding and removing keys, and changing passphrases.

use countersign_crypto::{KeyId, PrivateKey};
use countersign_keyfile::KeyBlock;

use super::listing::{self, KeyPlace};
use super::{Found, KeyLabel, KeyStore, KeyStoreError, file, opening, write};
use crate::folder::Removal;
use crate::lock::FileLock;
use crate::passphrase::PassphraseSource;

/// The result of adding a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// The key was encrypted and written.
    Added,
    /// The key was there already for the same role and was left as it is.
    AlreadyThere,
}

impl KeyStore {
    /// Encrypts a key under a new passphrase and stores it.
    ///
    /// # Errors
    /// [`KeyStoreError::OtherRole`] when the key is there for another role; [`KeyStoreError::NoNewPassphrase`].
    pub fn add(
        &self,
        key: &PrivateKey,
        label: &KeyLabel,
        passphrases: &dyn PassphraseSource,
    ) -> Result<Addition, KeyStoreError> {
        let id = key.public_key().canonical_id();
        if self.is_there(&id, label)? {
            return Ok(Addition::AlreadyThere);
        }
        opening::with_new_passphrase(label.role(), label.gun(), id, passphrases, |passphrase| {
            let block = file::seal(key, passphrase, self.protection, label)?;
            let lock = self.lock()?;
            if self.is_there(&id, label)? {
                return Ok(Addition::AlreadyThere);
            }
            write(&self.private(&lock)?, &id, &block)?;
            Ok(Addition::Added)
        })
    }

    /// Removes a key's files from wherever they are; a key that is not there is no error, and one on a token stays there.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove(&self, id: &KeyId) -> Result<Removal, KeyStoreError> {
        let lock = self.lock()?;
        self.opened().remove(id);
        let mut removed = Removal::Absent;
        // From the oldest place to the plain one: a crash must not let an older copy come forward.
        for candidate in listing::candidates(&self.directory)?.into_iter().rev().filter(|c| c.holds(id)) {
            if candidate.folder.remove_file(&candidate.entry.name)? == Removal::Removed {
                candidate.folder.sync()?;
                removed = Removal::Removed;
            }
        }
        drop(lock);
        Ok(removed)
    }

    /// Opens a key with its passphrase and protects it with a new one. The key then lies in the plain place.
    ///
    /// # Errors
    /// As [`KeyStore::load`] and [`KeyStore::add`]; [`KeyStoreError::ChangedMeanwhile`] when another process wrote the file.
    pub fn change_passphrase(
        &self,
        id: &KeyId,
        current: &dyn PassphraseSource,
        new: &dyn PassphraseSource,
    ) -> Result<(), KeyStoreError> {
        let found = self.file_of(id)?;
        let label = KeyLabel::as_found(&found.entry);
        let key = found.open(current)?;
        opening::with_new_passphrase(&found.entry.role, found.entry.gun.as_ref(), *id, new, |passphrase| {
            let block = file::seal(&key, passphrase, self.protection, &label)?;
            let lock = self.lock()?;
            self.replace(&found, &block, &lock)
        })
    }

    /// Opens a key with its passphrase and encrypts it anew, in the form in which this store writes keys, under the same
    /// passphrase. The key then lies in the plain place.
    ///
    /// # Errors
    /// As [`KeyStore::load`]; [`KeyStoreError::NotEncrypted`] for a key that has no passphrase, and
    /// [`KeyStoreError::ChangedMeanwhile`] when another process wrote the file.
    pub fn encrypt_anew(&self, id: &KeyId, passphrases: &dyn PassphraseSource) -> Result<(), KeyStoreError> {
        let found = self.file_of(id)?;
        let label = KeyLabel::as_found(&found.entry);
        let (key, passphrase) = found.open_with(passphrases)?;
        let passphrase = passphrase.ok_or(KeyStoreError::NotEncrypted { id: *id })?;
        let block = file::seal(&key, &passphrase, self.protection, &label)?;
        let lock = self.lock()?;
        self.replace(&found, &block, &lock)
    }

    /// Writes a changed block unless the file is not the one that was read.
    fn replace(&self, read: &Found, block: &KeyBlock, lock: &FileLock) -> Result<(), KeyStoreError> {
        let id = read.entry.id;
        let same = self.look_up(&id)?.is_some_and(|now| now.entry.path == read.entry.path && now.bytes == read.bytes);
        if !same {
            return Err(KeyStoreError::ChangedMeanwhile { path: read.entry.path.clone() });
        }
        write(&self.private(lock)?, &id, block)?;
        if read.entry.place != KeyPlace::Plain {
            read.folder.remove_file(&read.name)?;
            read.folder.sync()?;
        }
        Ok(())
    }

    fn is_there(&self, id: &KeyId, label: &KeyLabel) -> Result<bool, KeyStoreError> {
        match self.look_up(id)? {
            None => Ok(false),
            Some(found) if found.entry.role == label.role() => Ok(true),
            Some(found) => Err(KeyStoreError::OtherRole { id: *id, role: found.entry.role }),
        }
    }
}
