//! Reads tar archives in place: a table of what lies where, and windows on the parts.
//!
//! Nothing is ever unpacked, so paths are only names. Names that would lead elsewhere when unpacked are refused all the
//! same: they have no business in an image, and other programs may unpack what passed here.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::Arc;

use fs_err::File;
use tar::{EntryType, Header, PaxExtensions};

use crate::error::LayoutError;

/// Most entries of one archive.
pub const MAX_ENTRIES: usize = 65_536;
/// Longest path in an archive in bytes.
pub const MAX_PATH: usize = 4096;
/// Largest extension header in bytes.
const MAX_EXTENSION: u64 = 64 * 1024;
/// Size of a block in bytes (POSIX.1-1988).
const BLOCK: u64 = 512;

/// An archive and the table of its files.
#[derive(Debug, Clone)]
pub(crate) struct Archive {
    file: Arc<File>,
    files: HashMap<String, Place>,
    links: HashMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

impl Archive {
    /// Reads the table of an archive.
    pub(crate) fn read(file: File) -> Result<Self, LayoutError> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(LayoutError::NotAFile(file.path().display().to_string(), u64::MAX));
        }
        let mut archive = Self { file: Arc::new(file), files: HashMap::new(), links: HashMap::new() };
        archive.read_table(metadata.len())?;
        Ok(archive)
    }

    fn read_table(&mut self, length: u64) -> Result<(), LayoutError> {
        let mut offset = 0;
        let mut pending = Extension::default();
        let mut entries = 0_usize;
        while let Some(header) = self.header(offset, length)? {
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(refuse(offset, format!("it has more than {MAX_ENTRIES} entries")));
            }
            let kind = header.entry_type();
            let own_size = header.entry_size().map_err(|_| refuse(offset, "the size of an entry is malformed"))?;
            let is_extension = kind.is_gnu_longname()
                || kind.is_gnu_longlink()
                || kind.is_pax_local_extensions()
                || kind.is_pax_global_extensions();
            let size = if is_extension { own_size } else { pending.size.unwrap_or(own_size) };
            let place = Place { offset: offset + BLOCK, size };
            let end = place.offset.checked_add(size).filter(|end| *end <= length);
            let end = end.ok_or_else(|| refuse(offset, "an entry reaches beyond the end of the archive"))?;
            if is_extension {
                pending.read(kind, &self.extension(place, offset)?, offset)?;
            } else {
                self.entry(&header, place, std::mem::take(&mut pending), offset)?;
            }
            offset = end.next_multiple_of(BLOCK);
        }
        Ok(())
    }

    /// Reads the header at an offset; nothing at the end of the archive.
    fn header(&self, offset: u64, length: u64) -> Result<Option<Header>, LayoutError> {
        if offset >= length {
            return Ok(None);
        }
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let window = Window { file: Arc::clone(&self.file), at: offset, end: length };
        { window }.read_exact(block).map_err(|_| refuse(offset, "it ends in the middle of a header"))?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        if header.cksum().is_ok_and(|found| found == sum) {
            Ok(Some(header))
        } else {
            Err(refuse(offset, "the checksum of a header is wrong"))
        }
    }

    fn extension(&self, place: Place, offset: u64) -> Result<Vec<u8>, LayoutError> {
        if place.size > MAX_EXTENSION {
            return Err(refuse(offset, "an extension header is too large"));
        }
        let mut bytes = Vec::new();
        self.window(place).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn entry(&mut self, header: &Header, place: Place, extension: Extension, offset: u64) -> Result<(), LayoutError> {
        let raw = extension.path.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = header.entry_type();
        if kind.is_dir() {
            return checked_path(&raw).map(drop).map_err(|reason| refuse(offset, reason));
        }
        let path = checked_path(&raw).map_err(|reason| refuse(offset, reason))?;
        if path.is_empty() || self.files.contains_key(&path) || self.links.contains_key(&path) {
            return Err(refuse(offset, format!("{path:?} is there twice")));
        }
        match kind {
            EntryType::Regular | EntryType::Continuous => {
                self.files.insert(path, place);
            }
            EntryType::Symlink => {
                let target = extension
                    .link
                    .or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned))
                    .unwrap_or_default();
                let target = resolve(&path, &target)
                    .ok_or_else(|| refuse(offset, format!("the link {path:?} leads out of the archive")))?;
                self.links.insert(path, target);
            }
            _ => return Err(refuse(offset, format!("{path:?} is neither a file nor a folder"))),
        }
        Ok(())
    }

    /// Finds a file; a link to a file in the archive counts, as old docker versions write them for repeated layers.
    pub(crate) fn find(&self, path: &str) -> Option<Place> {
        let direct = self.files.get(path);
        direct.or_else(|| self.files.get(self.links.get(path)?)).copied()
    }

    /// Opens a window on a part of the archive.
    pub(crate) fn window(&self, place: Place) -> Window {
        Window { file: Arc::clone(&self.file), at: place.offset, end: place.offset.saturating_add(place.size) }
    }

    /// Reads a small file whole; nothing if it is not there.
    pub(crate) fn small(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, LayoutError> {
        let Some(place) = self.find(path) else { return Ok(None) };
        if place.size > limit {
            return Err(LayoutError::NotAFile(path.to_owned(), limit));
        }
        let mut bytes = Vec::new();
        self.window(place).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}

/// What extension headers say about the next entry.
#[derive(Debug, Default)]
struct Extension {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Extension {
    fn read(&mut self, kind: EntryType, bytes: &[u8], offset: u64) -> Result<(), LayoutError> {
        let until_zero = || bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec();
        if kind.is_gnu_longname() {
            self.path = Some(until_zero());
        } else if kind.is_gnu_longlink() {
            self.link = Some(until_zero());
        } else {
            for record in PaxExtensions::new(bytes) {
                let record = record.map_err(|_| refuse(offset, "an extension header is malformed"))?;
                let value = record.value_bytes();
                match record.key_bytes() {
                    b"path" | b"linkpath" | b"size" if kind.is_pax_global_extensions() => {
                        return Err(refuse(offset, "one name or size is given for all entries"));
                    }
                    b"path" => self.path = Some(value.to_vec()),
                    b"linkpath" => self.link = Some(value.to_vec()),
                    b"size" => {
                        let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                        self.size = Some(size.ok_or_else(|| refuse(offset, "the size of an entry is malformed"))?);
                    }
                    key if key.starts_with(b"GNU.sparse.") => {
                        return Err(refuse(offset, "sparse files are not supported"));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// A part of an archive, read on its own; several can be read at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Window {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let Some(part) = buffer.get_mut(..wanted).filter(|part| !part.is_empty()) else { return Ok(0) };
        let count = read_at(&self.file, part, self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(unix)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file.file(), buffer, offset)
}

#[cfg(windows)]
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_read(file.file(), buffer, offset)
}

/// Checks a path and takes off what means nothing: a leading `./` and a trailing `/`.
fn checked_path(raw: &[u8]) -> Result<String, String> {
    if raw.len() > MAX_PATH {
        return Err(format!("a path is longer than {MAX_PATH} bytes"));
    }
    let text = std::str::from_utf8(raw).map_err(|_| "a path is not UTF-8".to_owned())?;
    let bare = text.strip_prefix("./").unwrap_or(text);
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let bare = if bare == "." { "" } else { bare };
    let hostile = |segment: &str| matches!(segment, "" | "." | "..");
    if text.starts_with('/') || text.contains('\\') || text.chars().any(char::is_control) {
        return Err(format!("the path {text:?} is not relative or has strange characters"));
    }
    if !bare.is_empty() && bare.split('/').any(hostile) {
        return Err(format!("the path {text:?} leads elsewhere"));
    }
    Ok(bare.to_owned())
}

/// Resolves the target of a link relative to its folder; nothing if it leads out of the archive.
fn resolve(link: &str, target: &[u8]) -> Option<String> {
    let target = std::str::from_utf8(target).ok().filter(|target| !target.is_empty() && target.len() <= MAX_PATH)?;
    if target.starts_with('/') || target.contains('\\') {
        return None;
    }
    let mut segments: Vec<&str> = link.split('/').collect();
    segments.pop();
    for segment in target.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            segment => segments.push(segment),
        }
    }
    Some(segments.join("/"))
}

fn refuse(offset: u64, reason: impl Into<String>) -> LayoutError {
    LayoutError::Archive { offset, reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["../x", "a/../b", "/etc/passwd", "a//b", "a/./b", "a\\b", "C:\\x", "a\0b", "a\nb", "..", "a/.."] {
            assert!(checked_path(path.as_bytes()).is_err(), "{path:?}");
        }
        assert!(checked_path(b"\xff").is_err());
        assert!(checked_path("a".repeat(MAX_PATH + 1).as_bytes()).is_err());
        for (path, expected) in [("./a/b", "a/b"), ("a/b/", "a/b"), ("./", ""), ("a:b", "a:b")] {
            assert_eq!(checked_path(path.as_bytes()).unwrap(), expected);
        }
    }

    #[test]
    fn links_stay_in_the_archive() {
        assert_eq!(resolve("b/layer.tar", b"../a/layer.tar").unwrap(), "a/layer.tar");
        for target in ["../../x", "/etc/passwd", "", "..\\x"] {
            assert_eq!(resolve("b/layer.tar", target.as_bytes()), None, "{target}");
        }
    }
}
