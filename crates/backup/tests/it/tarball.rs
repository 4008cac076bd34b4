//! Tar archives made by hand, also those that tar would not make.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

/// Builds an archive entry by entry.
#[derive(Default)]
pub(crate) struct Tarball(Vec<u8>);

impl Tarball {
    /// Adds a regular file.
    pub(crate) fn file(self, path: &str, bytes: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, "", bytes)
    }

    /// Adds an entry whose path is written as it is.
    pub(crate) fn entry(self, path: &str, kind: EntryType, target: &str, bytes: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o6777);
        header.set_mtime(1);
        let raw = header.as_old_mut();
        raw.name[..path.len().min(100)].copy_from_slice(&path.as_bytes()[..path.len().min(100)]);
        raw.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_cksum();
        self.raw(header.as_bytes()).raw(bytes).pad()
    }

    /// Adds bytes as they are.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn pad(mut self) -> Self {
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// The archive with its end.
    pub(crate) fn tar(self) -> Vec<u8> {
        self.raw(&[0; 1024]).0
    }

    /// The archive without its end.
    pub(crate) fn unfinished(self) -> Vec<u8> {
        self.0
    }

    /// The compressed archive.
    pub(crate) fn gz(self) -> Vec<u8> {
        gz(&self.tar())
    }
}

pub(crate) fn gz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
