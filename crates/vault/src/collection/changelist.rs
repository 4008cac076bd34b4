//! The staged changes of a collection: files, one change each, applied in the byte order of their names.
//!
//! Names are `<nanoseconds since 1970, 20 digits>_<random UUID>.change` (Notary protocol, changelist). Docker and notary
//! count every regular file in the directory as a change, so nothing else is ever put there, not even for a moment.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;

use super::{CHANGELIST, CollectionError, LocalCollection, LockedCollection, METADATA};
use crate::folder::{EntryKind, Folder, Staged};
use crate::limits::{MAX_CHANGE_BYTES, MAX_CHANGELIST_BYTES, MAX_CHANGES};

/// The file name of a staged change; ordered as changes are applied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeId(Box<str>);

impl ChangeId {
    /// Returns the file name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes a name that is safe to print and short enough for a file.
    fn from_name(name: &str) -> Option<Self> {
        let printable = name.bytes().all(|b| b.is_ascii_graphic()) && !name.starts_with('.');
        printable.then(|| Self(name.into()))
    }

    fn new(nanoseconds: u64) -> Self {
        Self(format!("{nanoseconds:020}_{}.change", uuid::Uuid::new_v4()).into())
    }

    /// Returns the time in the name, if there is one.
    fn nanoseconds(&self) -> Option<u64> {
        let (digits, _) = self.0.split_once('_')?;
        if digits.len() == 20 { digits.parse().ok() } else { None }
    }
}

impl fmt::Display for ChangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One staged change as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedChange {
    /// The file's name.
    pub id: ChangeId,
    /// The file's content.
    pub bytes: Vec<u8>,
}

/// A name in the changelist directory that is no change and was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedChange {
    /// The path met; not safe to print as it is.
    pub path: PathBuf,
}

/// All staged changes of a collection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The changes in the order in which they are applied.
    pub staged: Vec<StagedChange>,
    /// What was left out: links, pipes, and files whose names are not printable ASCII or begin with a dot. Directories are
    /// ignored without a word, as by the reference.
    pub skipped: Vec<SkippedChange>,
}

impl LocalCollection {
    /// Reads the staged changes.
    ///
    /// # Errors
    /// When a change cannot be read, is larger than [`MAX_CHANGE_BYTES`], or all together pass a limit: a part of what was
    /// staged must not be published as if it were everything.
    pub fn changes(&self) -> Result<Changes, CollectionError> {
        let mut changes = Changes::default();
        let Some(folder) = self.sub_folder(CHANGELIST)? else { return Ok(changes) };
        let mut total = 0_u64;
        for name in self.change_names(&folder)? {
            let Name::Change(id) = name else {
                if let Name::Hostile(path) = name {
                    changes.skipped.push(SkippedChange { path });
                }
                continue;
            };
            // Gone meanwhile: another process published or removed it.
            let Some(bytes) = folder.read(id.as_str(), MAX_CHANGE_BYTES)? else { continue };
            total = total.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            if total > MAX_CHANGELIST_BYTES {
                return Err(self.too_many(MAX_CHANGELIST_BYTES, "bytes"));
            }
            changes.staged.push(StagedChange { id, bytes });
        }
        Ok(changes)
    }

    fn change_names(&self, folder: &Folder) -> Result<Vec<Name>, CollectionError> {
        let names: Vec<Name> = folder
            .entries()?
            .into_iter()
            .map(|entry| match (entry.kind, entry.text().and_then(ChangeId::from_name)) {
                (EntryKind::Folder, _) => Name::Folder,
                (EntryKind::File, Some(id)) => Name::Change(id),
                _ => Name::Hostile(folder.path_of(&entry.name)),
            })
            .collect();
        if names.len() > MAX_CHANGES {
            return Err(self.too_many(MAX_CHANGES.try_into().unwrap_or(u64::MAX), "changes"));
        }
        Ok(names)
    }

    pub(super) fn too_many(&self, limit: u64, unit: &'static str) -> CollectionError {
        CollectionError::TooManyChanges { gun: self.gun().clone(), limit, unit }
    }
}

enum Name {
    Change(ChangeId),
    Hostile(PathBuf),
    Folder,
}

impl LockedCollection {
    /// Stages changes in this order, after all that are staged already, however the clock runs.
    ///
    /// All are on the disk before the first gets its name. Returns their names.
    ///
    /// # Errors
    /// When a change is larger than [`MAX_CHANGE_BYTES`], there are too many, or a file cannot be written.
    pub fn stage(&self, now: Timestamp, changes: &[Vec<u8>]) -> Result<Vec<ChangeId>, CollectionError> {
        if changes.iter().any(|bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_CHANGE_BYTES) {
            return Err(self.too_many(MAX_CHANGE_BYTES, "bytes in one change"));
        }
        let folder = self.make_folder()?;
        let (target, source) = (folder.make(CHANGELIST)?, folder.make(METADATA)?);
        let names = self.change_names(&target)?;
        if names.len().saturating_add(changes.len()) > MAX_CHANGES {
            return Err(self.too_many(MAX_CHANGES.try_into().unwrap_or(u64::MAX), "changes"));
        }
        let ids = self.next_ids(now, &names, changes.len())?;
        source.sweep()?;
        let staged = changes.iter().map(|bytes| source.stage(bytes)).collect::<Result<Vec<Staged>, _>>()?;
        for (file, id) in staged.into_iter().zip(&ids) {
            file.publish(&target, id.as_str())?;
        }
        Ok(ids)
    }

    /// Removes staged changes by name, typically those that were published; names that are not there are no error.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_changes<'a>(&self, ids: impl IntoIterator<Item = &'a ChangeId>) -> Result<(), CollectionError> {
        let Some(folder) = self.sub_folder(CHANGELIST)? else { return Ok(()) };
        for id in ids {
            folder.remove_file(id.as_str())?;
        }
        Ok(folder.sync()?)
    }

    /// Removes everything but directories from the changelist, also what reading it left out.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn clear_changes(&self) -> Result<(), CollectionError> {
        let Some(folder) = self.sub_folder(CHANGELIST)? else { return Ok(()) };
        // Oldest last: what a crash leaves is a beginning of the list, which makes sense by itself.
        for entry in folder.entries()?.iter().rev().filter(|entry| entry.kind != EntryKind::Folder) {
            folder.remove_file(&entry.name)?;
        }
        Ok(folder.sync()?)
    }

    fn next_ids(&self, now: Timestamp, names: &[Name], count: usize) -> Result<Vec<ChangeId>, CollectionError> {
        let now = u64::try_from(now.as_nanosecond()).unwrap_or(0);
        let last = names.iter().rev().find_map(|name| match name {
            Name::Change(id) => id.nanoseconds().map(|time| (id, time)),
            _ => None,
        });
        let first = match last {
            None => now,
            Some((id, time)) => now.max(time.checked_add(1).ok_or_else(|| self.no_later(id))?),
        };
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let end = match (first.checked_add(count), last) {
            (Some(end), _) => end,
            (None, Some((id, _))) => return Err(self.no_later(id)),
            (None, None) => return Err(self.too_many(u64::MAX, "nanoseconds since 1970")),
        };
        Ok((first..end).map(ChangeId::new).collect())
    }

    fn no_later(&self, last: &ChangeId) -> CollectionError {
        CollectionError::NoLaterChange { gun: self.gun().clone(), last: last.clone() }
    }
}
