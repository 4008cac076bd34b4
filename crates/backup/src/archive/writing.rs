//! Writing an archive that `tar xz` unpacks for its owner alone.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tar::{Builder, EntryType, Header};
use zeroize::Zeroizing;

/// The folder of keys in our archives: unpacked in `~/.docker`, they lie where docker looks.
pub(crate) const FOLDER: &str = "trust/private/";
const FOLDERS: [&str; 2] = ["trust/", FOLDER];

/// A file for an archive.
pub(crate) struct Member<'a> {
    pub(crate) path: String,
    pub(crate) bytes: &'a [u8],
    pub(crate) modified: Timestamp,
}

/// Writes an archive; only the owner may read what is unpacked from it.
pub(crate) fn write(members: &[Member<'_>], now: Timestamp) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut builder = Builder::new(GzEncoder::new(Wiped(Zeroizing::default()), Compression::default()));
    for path in FOLDERS {
        let mut header = header(EntryType::Directory, 0o700, 0, now);
        builder.append_data(&mut header, path, io::empty())?;
    }
    for member in members {
        let size = u64::try_from(member.bytes.len()).unwrap_or(u64::MAX);
        let mut header = header(EntryType::Regular, 0o600, size, member.modified);
        builder.append_data(&mut header, &member.path, member.bytes)?;
    }
    let encoder = builder.into_inner()?;
    Ok(encoder.finish()?.0)
}

/// A buffer that is wiped, for writing to.
struct Wiped(Zeroizing<Vec<u8>>);

impl Write for Wiped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn header(kind: EntryType, mode: u32, size: u64, modified: Timestamp) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(modified.as_second()).unwrap_or(0));
    header
}
