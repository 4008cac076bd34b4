//! Reading a tar archive to its end, and refusing it for anything that does not belong into a backup.

use std::collections::BTreeSet;
use std::io::Read;

use countersign_vault::is_key_file_name;
use jiff::Timestamp;
use tar::{Archive, Entry, EntryType};
use zeroize::Zeroizing;

use super::{ArchiveError, EntryPath, LeftOut, unpacking};
use crate::limits::{MAX_ENTRIES, MAX_KEYS, MAX_MANIFEST_BYTES};
use crate::manifest::FILE_NAME;

const BLOCK: usize = 512;

/// A file of an archive that is of use.
pub(crate) struct File {
    pub(crate) path: EntryPath,
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    /// When it was written, as far as the archive says.
    pub(crate) modified: Option<Timestamp>,
}

/// What an archive holds.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) keys: Vec<File>,
    pub(crate) manifest: Option<File>,
    pub(crate) left_out: Vec<LeftOut>,
}

/// Reads an archive, compressed or not.
pub(crate) fn read(file: &[u8]) -> Result<Files, ArchiveError> {
    let tar = unpacking::unpack(file)?;
    if tar.len() < BLOCK || !tar.len().is_multiple_of(BLOCK) {
        return Err(if tar.len() < BLOCK { ArchiveError::NotTar } else { SHORT });
    }
    let mut archive = Archive::new(tar.as_slice());
    let mut reader = Reader::default();
    for entry in archive.entries().map_err(|_| ArchiveError::NotTar)? {
        reader.take(entry.map_err(|_| reader.broken())?)?;
    }
    check_end(&tar, reader.end)?;
    Ok(reader.files)
}

const SHORT: ArchiveError = ArchiveError::Damaged("it ends too early");

#[derive(Default)]
struct Reader {
    files: Files,
    seen: BTreeSet<String>,
    entries: usize,
    /// Where the last entry ends.
    end: usize,
}

impl Reader {
    /// Says what a header that cannot be read means.
    fn broken(&self) -> ArchiveError {
        if self.entries == 0 { ArchiveError::NotTar } else { ArchiveError::Damaged("the header of an entry is broken") }
    }

    fn take(&mut self, mut entry: Entry<'_, &[u8]>) -> Result<(), ArchiveError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(ArchiveError::TooLarge { what: "its entries", limit: MAX_ENTRIES });
        }
        let size = usize::try_from(entry.size()).map_err(|_| SHORT)?;
        let begin = usize::try_from(entry.raw_file_position()).map_err(|_| SHORT)?;
        self.end = begin.checked_add(size).and_then(|end| end.checked_next_multiple_of(BLOCK)).ok_or(SHORT)?;
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let path = EntryPath::parse(&entry.path_bytes())?;
        match kind {
            EntryType::Directory => return Ok(()),
            EntryType::Regular | EntryType::Continuous => {}
            other => return Err(ArchiveError::Kind { path: path.text(), kind: spelled(other) }),
        }
        let is_key = is_key_file_name(path.name());
        // Keys whose names differ in capitals alone would be one file on some systems.
        let text = path.text();
        if !self.seen.insert(if is_key { text.to_lowercase() } else { text.clone() }) {
            return Err(ArchiveError::Repeated { path: text });
        }
        if is_key {
            if self.files.keys.len() >= MAX_KEYS {
                return Err(ArchiveError::TooLarge { what: "its keys", limit: MAX_KEYS });
            }
            let modified = modified(&entry);
            let bytes = content(&mut entry, size)?;
            self.files.keys.push(File { path, bytes, modified });
        } else if path.name() == FILE_NAME && self.files.manifest.is_none() && size <= MAX_MANIFEST_BYTES {
            let bytes = content(&mut entry, size)?;
            self.files.manifest = Some(File { path, bytes, modified: None });
        } else {
            self.files.left_out.push(LeftOut { path: text, reason: "it is no private key".to_owned() });
        }
        Ok(())
    }
}

/// Returns when a file was written, as far as the archive says.
fn modified(entry: &Entry<'_, &[u8]>) -> Option<Timestamp> {
    let seconds = entry.header().mtime().ok().filter(|seconds| *seconds > 0)?;
    Timestamp::from_second(i64::try_from(seconds).ok()?).ok()
}

/// Reads the bytes of an entry; all of them are in memory already.
fn content(entry: &mut Entry<'_, &[u8]>, size: usize) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
    let mut bytes = Zeroizing::new(Vec::new());
    entry.read_to_end(&mut bytes).map_err(|_| SHORT)?;
    if bytes.len() == size { Ok(bytes) } else { Err(SHORT) }
}

/// Checks that the archive has its end, two blocks of zeros, and nothing behind it.
fn check_end(tar: &[u8], end: usize) -> Result<(), ArchiveError> {
    let rest = tar.get(end..).ok_or(SHORT)?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(ArchiveError::Damaged("something follows its end"));
    }
    if rest.len() < 2 * BLOCK { Err(SHORT) } else { Ok(()) }
}

fn spelled(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a named pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "of an unknown kind",
    }
}
