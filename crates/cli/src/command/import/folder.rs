//! A folder of archives: the files as the trust service's own paths name them, and a listing for each collection.
//!
//! `v2/<GUN>/_trust/tuf/<version>.<role>.json` and `v2/<GUN>/_trust/archive.json` (Notary protocol, routes). Files are
//! added, never replaced: two different files of one version are what no honest service gives.

mod collection;

pub(super) use collection::{CollectionFolder, Proof, Saved};

use crate::error::{CliError, Kind};
use countersign_trust::archive::{Archive, Kept};
use countersign_tuf::Gun;
use countersign_tuf::update::MAX_FILE;
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

const LISTING: &str = "archive.json";
/// Largest listing in bytes: a hundred thousand files.
const MAX_LISTING: u64 = 32 << 20;
/// Most collections that are looked for in a folder.
const MAX_COLLECTIONS: usize = 100_000;
/// Most levels of folders that are looked into: a name of 255 bytes has at most 128 segments.
const MAX_DEPTH: usize = 130;
const FORMAT: u32 = 1;

/// The folder.
pub(super) struct ArchiveFolder(PathBuf);

/// What is written beside a collection's files.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    format: u32,
    gun: String,
    service: String,
    taken_at: jiff::Timestamp,
    files: Vec<ListedFile>,
    gaps: Vec<ListedGap>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedFile {
    role: String,
    version: u64,
    length: u64,
    sha256: String,
    /// Whether it was the present one.
    present: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListedGap {
    file: String,
    reason: String,
}

impl ArchiveFolder {
    pub(super) fn at(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn of(&self, gun: &Gun) -> PathBuf {
        gun.segments().fold(self.0.join("v2"), |path, segment| path.join(segment)).join("_trust")
    }

    /// Opens what is there of a collection, to add to it.
    pub(super) fn collection(&self, gun: &Gun) -> Result<CollectionFolder, CliError> {
        CollectionFolder::open(gun, self.of(gun))
    }

    /// Reads an archive and the service that it is from; every file has to be the one that is listed.
    pub(super) fn read(&self, gun: &Gun) -> Result<(Archive, String), CliError> {
        let none = || CliError::user(format!("there is no archive of {gun} in {}", self.0.display()));
        self.collection(gun)?.read()?.ok_or_else(none)
    }

    /// Finds all collections of which there is an archive, by name.
    pub(super) fn collections(&self) -> Result<Vec<Gun>, CliError> {
        let (mut found, mut left) = (Vec::new(), vec![(self.0.join("v2"), String::new(), 0)]);
        while let Some((folder, name, depth)) = left.pop() {
            for entry in fs::read_dir(&folder).map_err(|error| local(&error))? {
                let entry = entry.map_err(|error| local(&error))?;
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let Some(segment) = entry.file_name().to_str().filter(|_| is_folder).map(str::to_owned) else {
                    continue;
                };
                if segment == "_trust" {
                    found.extend(Gun::parse(&name).ok().filter(|_| entry.path().join(LISTING).is_file()));
                } else if depth < MAX_DEPTH {
                    let name = if name.is_empty() { segment } else { format!("{name}/{segment}") };
                    left.push((entry.path(), name, depth + 1));
                }
                if found.len() + left.len() > MAX_COLLECTIONS {
                    return Err(CliError::user(format!(
                        "{} holds more than {MAX_COLLECTIONS} folders",
                        self.0.display()
                    )));
                }
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// Adds a file; one of the same version that is there already stays.
fn add_file(path: &Path, bytes: &[u8]) -> Result<Kept, CliError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| local(&error))?;
    }
    if read_file(path, MAX_FILE)?.is_none() && place(path, bytes, Placing::New)? == Placed::Yes {
        return Ok(Kept::Yes);
    }
    Ok(if read_file(path, MAX_FILE)?.is_some_and(|there| there == bytes) { Kept::Yes } else { Kept::Other })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Placing {
    New,
    Replacing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    Yes,
    Taken,
}

/// Writes a file whole or not at all.
fn place(path: &Path, bytes: &[u8], placing: Placing) -> Result<Placed, CliError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| local(&error))?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(|error| local(&error))?;
    let placed = match placing {
        Placing::New => file.persist_noclobber(path),
        Placing::Replacing => file.persist(path),
    };
    match placed {
        Ok(_) => {}
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => return Ok(Placed::Taken),
        Err(error) => return Err(local(&error.error)),
    }
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| local(&error))?;
    Ok(Placed::Yes)
}

fn read_listing(folder: &Path) -> Result<Option<Listing>, CliError> {
    let path = folder.join(LISTING);
    let Some(text) = read_file(&path, MAX_LISTING)? else { return Ok(None) };
    let listing = serde_json::from_slice(&text);
    listing.map(Some).map_err(|error| CliError::new(Kind::Local, format!("{} is damaged: {error}", path.display())))
}

fn read_file(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, CliError> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(local(&error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| local(&error))?;
    if bytes.len() as u64 > limit {
        return Err(local(&format_args!("{} is larger than {limit} bytes", path.display())));
    }
    Ok(Some(bytes))
}

fn local(error: &dyn Display) -> CliError {
    CliError::new(Kind::Local, error)
}
