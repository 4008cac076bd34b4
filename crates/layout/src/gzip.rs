//! Compressed archives are unpacked once, to a temporary file without a name, within a limit.

use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::MultiGzDecoder;
use fs_err::File;

use crate::error::LayoutError;

/// Most bytes that a compressed archive or layer may unpack to.
pub const MAX_UNPACKED: u64 = 256 * 1024 * 1024 * 1024;
/// The first bytes of gzip data (RFC 1952).
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The first bytes of zstd data (RFC 8878).
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How some bytes are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// Looks at the beginning of some content.
pub(crate) fn detect(content: &mut impl Read) -> io::Result<Compression> {
    let mut start = Vec::new();
    content.take(4).read_to_end(&mut start)?;
    Ok(if start.starts_with(&MAGIC) {
        Compression::Gzip
    } else if start == ZSTD_MAGIC {
        Compression::Zstd
    } else {
        Compression::None
    })
}

/// Opens an archive file; if it is compressed, what it unpacks to.
pub(crate) fn open_unpacked(path: &std::path::Path) -> Result<File, LayoutError> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(LayoutError::NotAFile(path.display().to_string(), u64::MAX));
    }
    let compression = detect(&mut file)?;
    file.seek(SeekFrom::Start(0))?;
    match compression {
        Compression::None => Ok(file),
        Compression::Zstd => {
            Err(LayoutError::Archive { offset: 0, reason: "it is compressed with zstd: unpack it first".to_owned() })
        }
        Compression::Gzip => {
            let mut unpacked = File::from_parts(tempfile::tempfile()?, path);
            let count =
                io::copy(&mut MultiGzDecoder::new(io::BufReader::new(file)).take(MAX_UNPACKED + 1), &mut unpacked)?;
            if count > MAX_UNPACKED {
                return Err(LayoutError::TooLarge(MAX_UNPACKED));
            }
            Ok(unpacked)
        }
    }
}

/// Reads gzip data unpacked, within the limit.
pub(crate) fn unpack(content: impl Read) -> impl Read {
    MultiGzDecoder::new(io::BufReader::new(content)).take(MAX_UNPACKED)
}
