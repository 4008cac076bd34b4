//! Decompressing, with an end to it.

use std::io::Read;

use flate2::bufread::GzDecoder;
use zeroize::Zeroizing;

use super::ArchiveError;
use crate::limits::{EXPANSION_FREE_BYTES, MAX_EXPANSION, MAX_UNPACKED_BYTES};

const GZIP: &[u8] = &[0x1f, 0x8b];

/// Returns the tar archive in a file, decompressed if it was compressed. Nothing may follow the compressed data.
pub(super) fn unpack(file: &[u8]) -> Result<Zeroizing<Vec<u8>>, ArchiveError> {
    if !file.starts_with(GZIP) {
        return Ok(Zeroizing::new(file.to_vec()));
    }
    let by_ratio = EXPANSION_FREE_BYTES.max(file.len().saturating_mul(MAX_EXPANSION));
    let limit = MAX_UNPACKED_BYTES.min(by_ratio);
    let mut decoder = GzDecoder::new(file);
    let mut tar = Zeroizing::new(Vec::new());
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let read = decoder.by_ref().take(bound).read_to_end(&mut tar);
    read.map_err(|_| ArchiveError::Damaged("the compressed data is broken"))?;
    if tar.len() > limit {
        return Err(match limit {
            MAX_UNPACKED_BYTES => ArchiveError::TooLarge { what: "its bytes", limit },
            _ => ArchiveError::Expansion { limit: MAX_EXPANSION },
        });
    }
    if decoder.into_inner().is_empty() {
        Ok(tar)
    } else {
        Err(ArchiveError::Damaged("something follows the compressed data"))
    }
}
