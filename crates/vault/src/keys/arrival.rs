//! Taking several key files into the store at once: all of them or none.
//!
//! The files are written under temporary names first. Then a note of them is written: from that moment on they belong to
//! the store, and should this process die, the next one that writes keys gives them their names.

use countersign_crypto::KeyId;
use zeroize::Zeroizing;

use super::{CarriedKey, KeyStore, KeyStoreError, file_name};
use crate::directory::OWN;
use crate::error::FileError;
use crate::failpoint;
use crate::folder::{Folder, Staged, is_temporary_name};
use crate::limits::{MAX_ARRIVALS, MAX_KEY_BYTES};
use crate::lock::FileLock;

/// The note of key files that are about to get their names.
const NOTE: &str = "arriving";
/// Longest line of the note: a temporary name, a space, an id and a line break.
const MAX_LINE: usize = 256;

/// How a carried key compares with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// The store has no key of that id.
    Absent,
    /// The store has the very same file.
    Same,
    /// The store has another file under that id: the same key with another passphrase, or a damaged or foreign one.
    Differs,
}

/// What becomes of keys that the store has in another form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Differing {
    /// Nothing at all is taken in.
    Refuse,
    /// The store's own file stays, and the other keys are taken in.
    KeepOurs,
}

impl KeyStore {
    /// Compares carried keys with the store, in their order; nothing is written.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn compare(&self, keys: &[CarriedKey]) -> Result<Vec<Presence>, KeyStoreError> {
        keys.iter().map(|key| self.presence(key)).collect()
    }

    /// Stores carried keys as they are: either all that the store does not have, or none. No file is ever replaced.
    ///
    /// Returns what was found before, in the order of the keys; those that were absent are stored now.
    ///
    /// # Errors
    /// [`KeyStoreError::Differs`] with [`Differing::Refuse`]; [`KeyStoreError::TooManyAtOnce`]; when a file cannot be
    /// written: then none of the keys is stored.
    pub fn take_in(&self, keys: &[CarriedKey], differing: Differing) -> Result<Vec<Presence>, KeyStoreError> {
        if keys.len() > MAX_ARRIVALS {
            return Err(KeyStoreError::TooManyAtOnce { limit: MAX_ARRIVALS });
        }
        for key in keys {
            if u64::try_from(key.pem().len()).unwrap_or(u64::MAX) > MAX_KEY_BYTES {
                return Err(FileError::TooLarge { path: key.file_name().into(), limit: MAX_KEY_BYTES }.into());
            }
        }
        let lock = self.lock()?;
        let private = self.private(&lock)?;
        let found = self.compare(keys)?;
        let differ = keys.iter().zip(&found).filter(|(_, presence)| **presence == Presence::Differs);
        let differ: Vec<KeyId> = differ.map(|(key, _)| key.id()).collect();
        if differing == Differing::Refuse && !differ.is_empty() {
            return Err(KeyStoreError::Differs { ids: differ });
        }
        let absent = keys.iter().zip(&found).filter(|(_, presence)| **presence == Presence::Absent);
        let absent: Vec<&CarriedKey> = absent.map(|(key, _)| key).collect();
        if !absent.is_empty() {
            self.arrive(&private, &absent, &lock)?;
        }
        Ok(found)
    }

    fn presence(&self, key: &CarriedKey) -> Result<Presence, KeyStoreError> {
        match self.look_up(&key.id()) {
            Ok(None) => Ok(Presence::Absent),
            Ok(Some(found)) if key.holds(&found.block) => Ok(Presence::Same),
            Ok(Some(_)) | Err(KeyStoreError::Malformed { .. } | KeyStoreError::File(FileError::NotRegular { .. })) => {
                Ok(Presence::Differs)
            }
            Err(error) => Err(error),
        }
    }

    fn arrive(&self, private: &Folder, keys: &[&CarriedKey], lock: &FileLock) -> Result<(), KeyStoreError> {
        let mut staged: Vec<(Staged, String)> = Vec::new();
        let mut note = String::new();
        for key in keys {
            let file = private.stage(key.pem())?;
            if let Some(modified) = key.modified() {
                file.date(modified)?;
            }
            note.extend([file.name(), " ", &key.id().to_string(), "\n"]);
            staged.push((file, key.file_name()));
        }
        // The temporary names have to be on the disk before the note that speaks of them.
        private.sync()?;
        let own = self.own(lock)?;
        own.replace(NOTE, note.as_bytes())?;
        let mut named = Vec::new();
        for (file, name) in staged {
            if let Err(error) = file.publish_new(private, &name) {
                // Whatever was in the way, the keys must not arrive by halves: first the note goes, then what was named.
                own.remove_file(NOTE)?;
                own.sync()?;
                for name in &named {
                    private.remove_file(name)?;
                }
                private.sync()?;
                return Err(error.into());
            }
            named.push(name);
        }
        private.sync()?;
        own.remove_file(NOTE)?;
        Ok(own.sync()?)
    }

    /// Gives key files their names that a process which died had taken in.
    pub(super) fn finish_arrivals(&self, private: &Folder, lock: &FileLock) -> Result<(), FileError> {
        let own = self.own(lock)?;
        own.sweep()?;
        let limit = u64::try_from(MAX_ARRIVALS * MAX_LINE).unwrap_or(u64::MAX);
        let Some(note) = own.read(NOTE, limit)? else { return Ok(()) };
        for line in Zeroizing::new(String::from_utf8_lossy(&note).into_owned()).lines() {
            let Some((temporary, id)) = line.split_once(' ') else { continue };
            if let (true, Ok(id)) = (is_temporary_name(temporary), id.parse::<KeyId>()) {
                private.adopt(temporary, &file_name(&id))?;
            }
        }
        private.sync()?;
        own.remove_file(NOTE)?;
        failpoint::step("arrivals finished");
        own.sync()
    }

    /// Opens the folder of the note, where only whoever holds the lock writes.
    fn own(&self, _lock: &FileLock) -> Result<Folder, FileError> {
        self.directory.make_folder(OWN)?.make("keys")
    }
}
