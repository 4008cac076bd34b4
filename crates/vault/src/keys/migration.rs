//! Moving the keys of old clients to the present layout.

use std::path::PathBuf;

use countersign_crypto::KeyId;

use super::listing::{self, Candidate, KeyPlace, OLD_OTHERS, OLD_ROOT};
use super::{Found, KeyStore, KeyStoreError, file_name, write};
use crate::directory::PRIVATE;
use crate::folder::{Folder, Removal};

/// An old key file that was not moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// Where it is, as before.
    pub path: PathBuf,
    /// Why it was not moved.
    pub reason: String,
}

/// The result of a migration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MigrationReport {
    /// The keys that were moved.
    pub moved: Vec<KeyId>,
    /// The files that stay where they were, because they could not be understood or because another key file of that id
    /// is in the way.
    pub kept: Vec<KeptKey>,
}

impl KeyStore {
    /// Tells whether there are directories of old clients.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn needs_migration(&self) -> Result<bool, KeyStoreError> {
        let Some(private) = self.directory.folder(PRIVATE)? else { return Ok(false) };
        Ok(private.stat(OLD_ROOT)?.is_some() || private.stat(OLD_OTHERS)?.is_some())
    }

    /// Moves keys of notary 0.1 to 0.3 to `private/<id>.key`; role and collection go from the path into headers, the
    /// encrypted key stays as it is (Notary protocol, legacy formats and migration).
    ///
    /// An old file goes only after the new one is safely written. What cannot be moved stays, with its directory; the
    /// reference deletes it.
    ///
    /// # Errors
    /// When a file cannot be written or removed. A second run continues.
    pub fn migrate(&self) -> Result<MigrationReport, KeyStoreError> {
        let mut report = MigrationReport::default();
        if !self.needs_migration()? {
            return Ok(report);
        }
        let lock = self.lock()?;
        let private = self.private(&lock)?;
        for candidate in listing::candidates(&self.directory)? {
            if candidate.place == KeyPlace::Legacy {
                self.move_one(&private, candidate, &mut report)?;
            }
        }
        for name in [OLD_ROOT, OLD_OTHERS] {
            if let Some(folder) = private.child(name)? {
                folder.remove_empty_below()?;
                private.remove_empty(name)?;
            }
        }
        private.sync()?;
        Ok(report)
    }

    fn move_one(
        &self,
        private: &Folder,
        candidate: Candidate,
        report: &mut MigrationReport,
    ) -> Result<(), KeyStoreError> {
        let Found { entry, folder, name, block, .. } = match candidate.read() {
            Ok(found) => found,
            Err((skipped, _)) => {
                report.kept.push(KeptKey { path: skipped.path, reason: skipped.reason.to_string() });
                return Ok(());
            }
        };
        match listing::look_up(&self.directory, &entry.id) {
            // Nothing is in the way, or what a run that was interrupted wrote.
            Ok(Some(there)) if there.entry.place == KeyPlace::Legacy => {
                write(private, &entry.id, &block)?;
            }
            Ok(Some(there)) if there.block.to_pem() == block.to_pem() => {}
            Ok(_) | Err(_) => {
                let reason =
                    format!("another file holds that key: {}", private.path_of(file_name(&entry.id)).display());
                report.kept.push(KeptKey { path: entry.path, reason });
                return Ok(());
            }
        }
        if folder.remove_file(&name)? == Removal::Removed {
            folder.sync()?;
        }
        report.moved.push(entry.id);
        Ok(())
    }
}
