//! A folder of archives: the files as the trust service's own paths name them, and a listing for each collection.
//!
//! `v2/<GUN>/_trust/tuf/<version>.<role>.json` and `v2/<GUN>/_trust/archive.json` (Notary protocol, routes). Files are
//! added, never replaced: two different files of one version are what no honest service gives.

use crate::error::{CliError, Kind};
use bytes::Bytes;
use countersign_crypto::digest::sha256;
use countersign_trust::archive::{Archive, Gap};
use countersign_tuf::update::MAX_FILE;
use countersign_tuf::{Gun, RoleName, Version};
use fs_err as fs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

    /// Adds an archive to what is there of its collection already.
    pub(super) fn add(&self, archive: &Archive, service: &str) -> Result<(), CliError> {
        let folder = self.of(&archive.gun);
        let earlier = read_listing(&folder)?;
        fs::create_dir_all(folder.join("tuf")).map_err(|error| local(&error))?;
        let mut files = earlier.map(|listing| listing.files).unwrap_or_default();
        for file in &mut files {
            file.present = false;
        }
        for ((role, version), bytes) in &archive.files {
            let listed = ListedFile {
                role: role.to_string(),
                version: version.get(),
                length: bytes.len() as u64,
                sha256: sha256(bytes).hex(),
                present: archive.present.get(role) == Some(version),
            };
            files.retain(|file| (&file.role, file.version) != (&listed.role, listed.version));
            files.push(listed);
            add_file(&file_of(&folder, role, *version), bytes, (&archive.gun, role, *version))?;
        }
        let gap = |gap: &Gap| ListedGap { file: gap.file.clone(), reason: gap.reason.clone() };
        let listing = Listing {
            format: FORMAT,
            gun: archive.gun.to_string(),
            service: service.to_owned(),
            taken_at: archive.taken_at,
            files,
            gaps: archive.gaps.iter().map(gap).collect(),
        };
        let text = serde_json::to_vec_pretty(&listing).map_err(|error| CliError::internal(&error))?;
        place(&folder.join(LISTING), &text, Placing::Replacing).map(drop)
    }

    /// Reads an archive; every file has to be the one that is listed.
    pub(super) fn read(&self, gun: &Gun) -> Result<(Archive, String), CliError> {
        let folder = self.of(gun);
        let Some(listing) = read_listing(&folder)? else {
            return Err(CliError::user(format!("there is no archive of {gun} in {}", self.0.display())));
        };
        let damaged = |what: &dyn Display| {
            CliError::new(Kind::Local, format!("the archive of {gun} in {} is damaged: {what}", self.0.display()))
        };
        if listing.gun != gun.as_str() || listing.format != FORMAT {
            return Err(damaged(&format_args!("{LISTING} is about {} in format {}", listing.gun, listing.format)));
        }
        let (mut files, mut present) = (BTreeMap::new(), BTreeMap::new());
        for file in &listing.files {
            let role = RoleName::parse(&file.role).map_err(|error| damaged(&error))?;
            let version = Version::new(file.version).ok_or_else(|| damaged(&"a version is out of range"))?;
            let path = file_of(&folder, &role, version);
            let bytes: Bytes = read_file(&path, MAX_FILE)?.ok_or_else(|| damaged(&path.display()))?.into();
            if sha256(&bytes).hex() != file.sha256 {
                return Err(damaged(&format_args!("{} has other bytes than {LISTING} says", path.display())));
            }
            if file.present {
                present.insert(role.clone(), version);
            }
            files.insert((role, version), bytes);
        }
        let gaps = listing.gaps.into_iter().map(|gap| Gap { file: gap.file, reason: gap.reason }).collect();
        let archive = Archive { gun: gun.clone(), taken_at: listing.taken_at, files, present, gaps };
        Ok((archive, listing.service))
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

fn file_of(folder: &Path, role: &RoleName, version: Version) -> PathBuf {
    folder.join("tuf").join(format!("{version}.{role}.json"))
}

/// Adds a file; one of the same version that is there already has to be the same.
fn add_file(path: &Path, bytes: &[u8], (gun, role, version): (&Gun, &RoleName, Version)) -> Result<(), CliError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(|error| local(&error))?;
    }
    if read_file(path, MAX_FILE)?.is_none() && place(path, bytes, Placing::New)? == Placed::Yes {
        return Ok(());
    }
    if read_file(path, MAX_FILE)?.is_some_and(|there| there == bytes) {
        return Ok(());
    }
    let message = format!("the service gives another version {version} of {role} of {gun} than it gave before");
    Err(CliError::new(Kind::Trust, message)
        .hint(format!("the earlier one is kept in {}: ask the owner which of the two they signed", path.display())))
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
