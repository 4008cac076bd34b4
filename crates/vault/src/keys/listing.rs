//! Finding key files, in the present layout and in those of old clients.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::path::PathBuf;

use countersign_crypto::KeyId;
use countersign_keyfile::KeyBlock;
use countersign_tuf::Gun;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::{Found, KeyStoreError, SUFFIX, file, file_name};
use crate::directory::{PRIVATE, TrustDirectory};
use crate::error::{FileError, FileKind};
use crate::folder::{self, Entry, EntryKind, Folder};
use crate::limits::{MAX_DEPTH, MAX_KEY_BYTES};
use crate::token::{Record, TokenIdentity};

/// Root keys of clients before 0.4.
pub(super) const OLD_ROOT: &str = "root_keys";
/// All other keys of clients before 0.4, in directories named after the collection.
pub(super) const OLD_OTHERS: &str = "tuf_keys";

/// A private key as its file's name and headers describe it; the key itself was not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// The canonical key id, from the file's name.
    pub id: KeyId,
    /// The role text; empty if the file has none.
    pub role: String,
    /// The collection that the key belongs to.
    pub gun: Option<Gun>,
    /// The file; for a key on a token what is noted of it.
    pub path: PathBuf,
    /// Which layout the file belongs to.
    pub place: KeyPlace,
    /// When the file was last written, if the file system tells; nothing else says how old a key is. For a key on a
    /// token: since when it is known here.
    pub modified: Option<Timestamp>,
    /// The token that holds the key, perhaps besides a file; none for a key that is in a file alone.
    pub token: Option<TokenIdentity>,
}

impl KeyEntry {
    /// Tells whether there is a file of the key.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.place != KeyPlace::Token
    }

    /// Says for people where the key is kept.
    #[must_use]
    pub fn kept(&self) -> String {
        match (&self.token, self.has_file()) {
            (Some(token), true) => format!("file, token {token}"),
            (Some(token), false) => format!("token {token}"),
            (None, _) => "file".to_owned(),
        }
    }

    fn on_token(record: Record, path: PathBuf) -> Self {
        let (id, role, gun) = (record.id(), record.label.role().to_owned(), record.label.gun().cloned());
        let modified = Some(record.since);
        Self { id, role, gun, path, place: KeyPlace::Token, modified, token: Some(record.token) }
    }
}

/// Which layout a key file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyPlace {
    /// `private/<id>.key`.
    Plain,
    /// Somewhere else below `private`.
    Nested,
    /// `private/root_keys` or `private/tuf_keys`, written by notary 0.1 to 0.3.
    Legacy,
    /// On a token; there is no file with it.
    Token,
}

/// A file that ends in `.key` and is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// The path met; not safe to print as it is.
    pub path: PathBuf,
    /// Why it is left out.
    pub reason: SkippedKeyReason,
}

/// Why a key file is left out of a listing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkippedKeyReason {
    /// It is a symbolic link or no regular file; the reference leaves links out too.
    #[error("it is {0}, not a regular file")]
    NotRegular(FileKind),
    /// Its name is not a key id.
    #[error("its name is not a key id, which is 64 lower-case hexadecimal digits")]
    Name,
    /// Another file holds the key of that id and comes first.
    #[error("another file holds the key of that id")]
    Duplicate,
    /// It could not be read.
    #[error("it could not be read: {0}")]
    Unreadable(String),
    /// It is not one private key in PEM.
    #[error("it is not a usable private key: {0}")]
    Malformed(String),
}

/// The result of listing a key store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyListing {
    /// The keys in the order of their ids.
    pub keys: Vec<KeyEntry>,
    /// The files that were left out.
    pub skipped: Vec<SkippedKey>,
}

/// A file that may be a key, and where it is.
pub(super) struct Candidate {
    pub(super) folder: Folder,
    pub(super) entry: Entry,
    pub(super) place: KeyPlace,
    /// The directories between `tuf_keys` and the file.
    pub(super) below: Vec<String>,
}

impl Candidate {
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path_of(&self.entry.name)
    }

    /// Tells whether the file's name says that it holds this key.
    pub(super) fn holds(&self, id: &KeyId) -> bool {
        self.name().is_some_and(|(found, _)| found == *id)
    }

    fn name(&self) -> Option<(KeyId, Option<&str>)> {
        split_name(self.place, self.entry.text()?)
    }

    /// Reads the file; headers that only the place implies are filled in.
    pub(super) fn read(self) -> Result<Found, (SkippedKey, Option<FileError>)> {
        let path = self.path();
        let skip = |reason| (SkippedKey { path: path.clone(), reason }, None);
        if self.entry.kind == EntryKind::Other {
            let kind = self.folder.stat(&self.entry.name).ok().flatten().map_or(FileKind::Device, |s| folder::kind(&s));
            return Err(skip(SkippedKeyReason::NotRegular(kind)));
        }
        if self.name().is_none() {
            return Err(skip(SkippedKeyReason::Name));
        }
        let bytes = match self.folder.read(&self.entry.name, MAX_KEY_BYTES) {
            Ok(Some(bytes)) => Zeroizing::new(bytes),
            Ok(None) => return Err(skip(SkippedKeyReason::Unreadable("it was removed meanwhile".to_owned()))),
            Err(error) => {
                let reason = SkippedKeyReason::Unreadable(error.to_string());
                return Err((SkippedKey { path: path.clone(), reason }, Some(error)));
            }
        };
        let name = self.entry.text().unwrap_or_default().to_owned();
        let understood = understand(self.place, &self.below, &name, &bytes).map_err(skip)?;
        let Understood { id, role, gun, block } = understood;
        let modified = self.folder.stat(&self.entry.name).ok().flatten();
        let modified = modified.and_then(|stat| Timestamp::from_second(stat.st_mtime).ok());
        let entry = KeyEntry { id, role, gun, path: path.clone(), place: self.place, modified, token: None };
        Ok(Found { entry, folder: self.folder, name, bytes, block })
    }
}

/// What a key file says, and what only its place says.
pub(super) struct Understood {
    pub(super) id: KeyId,
    pub(super) role: String,
    pub(super) gun: Option<Gun>,
    pub(super) block: KeyBlock,
}

/// Reads a key file; headers that only the place implies are filled in.
pub(super) fn understand(
    place: KeyPlace,
    below: &[String],
    name: &str,
    bytes: &[u8],
) -> Result<Understood, SkippedKeyReason> {
    let (id, role) = split_name(place, name).ok_or(SkippedKeyReason::Name)?;
    let mut block = file::parse_one(bytes).map_err(SkippedKeyReason::Malformed)?;
    let malformed = |error: &dyn std::fmt::Display| SkippedKeyReason::Malformed(error.to_string());
    let role = role.or(block.role()).unwrap_or_default().to_owned();
    let gun = if below.is_empty() { block.gun().map(str::to_owned) } else { Some(below.join("/")) };
    if place == KeyPlace::Legacy {
        file::describe(&mut block, &role, gun.as_deref()).map_err(|error| malformed(&error))?;
    }
    let gun = gun.as_deref().map(Gun::parse).transpose().map_err(|error| malformed(&error))?;
    Ok(Understood { id, role, gun, block })
}

/// Splits a file's name into key id and, in the oldest layout, role.
fn split_name(place: KeyPlace, name: &str) -> Option<(KeyId, Option<&str>)> {
    let stem = name.strip_suffix(SUFFIX)?;
    let (id, role) = match (place, stem.split_once('_')) {
        (KeyPlace::Legacy, Some((id, role))) => (id, Some(role)),
        _ => (stem, None),
    };
    Some((id.parse().ok()?, role))
}

/// Tells whether a directory directly below `private` is one of old clients.
pub(super) fn is_old(name: &str) -> bool {
    name == OLD_ROOT || name == OLD_OTHERS
}

pub(super) fn list(directory: &TrustDirectory) -> Result<KeyListing, FileError> {
    let mut listing = KeyListing::default();
    let mut keys: BTreeMap<KeyId, KeyEntry> = BTreeMap::new();
    for candidate in candidates(directory)? {
        match candidate.read() {
            Ok(found) if keys.contains_key(&found.entry.id) => {
                listing.skipped.push(SkippedKey { path: found.entry.path, reason: SkippedKeyReason::Duplicate });
            }
            Ok(found) => drop(keys.insert(found.entry.id, found.entry)),
            Err((skipped, _)) => listing.skipped.push(skipped),
        }
    }
    let (records, skipped) = Record::list(directory)?;
    listing.skipped.extend(skipped);
    for (record, path) in records {
        // A key that has a file, too, is used from there.
        match keys.entry(record.id()) {
            Slot::Occupied(mut file) => file.get_mut().token = Some(record.token),
            Slot::Vacant(free) => drop(free.insert(KeyEntry::on_token(record, path))),
        }
    }
    listing.keys = keys.into_values().collect();
    Ok(listing)
}

/// Finds what is noted of a key on a token.
pub(super) fn find_on_token(directory: &TrustDirectory, id: &KeyId) -> Result<Option<KeyEntry>, KeyStoreError> {
    let record = Record::find(directory, id)?;
    Ok(record.map(|record| {
        let path = Record::path(directory, id);
        KeyEntry::on_token(record, path)
    }))
}

/// Finds the file of a key. A file of that name that cannot be used is an error: the key is not missing, it is broken.
pub(super) fn look_up(directory: &TrustDirectory, id: &KeyId) -> Result<Option<Found>, KeyStoreError> {
    let Some(private) = directory.folder(PRIVATE)? else { return Ok(None) };
    let name = file_name(id);
    let found = match private.stat(&name)? {
        Some(stat) => {
            let kind = if folder::kind(&stat) == FileKind::Regular { EntryKind::File } else { EntryKind::Other };
            let entry = Entry { name: name.into(), kind };
            Some(Candidate { folder: private, entry, place: KeyPlace::Plain, below: Vec::new() })
        }
        None => candidates(directory)?.into_iter().find(|candidate| candidate.holds(id)),
    };
    let Some(candidate) = found else { return Ok(None) };
    candidate.read().map(Some).map_err(|(skipped, error)| match (error, skipped.reason) {
        (Some(error), _) => error.into(),
        (None, SkippedKeyReason::NotRegular(kind)) => FileError::NotRegular { path: skipped.path, kind }.into(),
        (None, SkippedKeyReason::Malformed(reason) | SkippedKeyReason::Unreadable(reason)) => {
            KeyStoreError::Malformed { path: skipped.path, reason }
        }
        (None, SkippedKeyReason::Name | SkippedKeyReason::Duplicate) => KeyStoreError::NotFound { id: *id },
    })
}

/// Returns everything that ends in `.key`: the plain place first, then nested ones, then those of old clients.
pub(super) fn candidates(directory: &TrustDirectory) -> Result<Vec<Candidate>, FileError> {
    let mut found = Vec::new();
    if let Some(private) = directory.folder(PRIVATE)? {
        collect(&private, KeyPlace::Plain, &mut Vec::new(), 0, &mut found)?;
    }
    found.sort_by_key(|candidate| candidate.place);
    Ok(found)
}

fn collect(
    folder: &Folder,
    place: KeyPlace,
    below: &mut Vec<String>,
    depth: usize,
    found: &mut Vec<Candidate>,
) -> Result<(), FileError> {
    if depth > MAX_DEPTH {
        return Err(FileError::TooMany { path: folder.path().to_owned(), limit: MAX_DEPTH });
    }
    for entry in folder.entries()? {
        if entry.kind != EntryKind::Folder {
            if entry.name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
                found.push(Candidate { folder: folder.clone(), entry, place, below: below.clone() });
            }
            continue;
        }
        let Some(child) = folder.child(&entry.name)? else { continue };
        let old = depth == 0 && entry.text().is_some_and(is_old);
        let inside_old = place == KeyPlace::Legacy;
        let inner = if old || inside_old { KeyPlace::Legacy } else { KeyPlace::Nested };
        if inside_old {
            below.push(entry.name.to_string_lossy().into_owned());
        }
        collect(&child, inner, below, depth + 1, found)?;
        if inside_old {
            below.pop();
        }
    }
    Ok(())
}
