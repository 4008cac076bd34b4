//! How the bytes of large files are stored: compressed, and where there is an earlier version of the role that is stored by
//! itself, as what is different from that one.
//!
//! A difference is always one from a version that is stored by itself: whoever reads a file reads two rows at most, and no
//! version but that one is needed for it. When the differences have grown, a version is stored by itself again. What is
//! stored is only ever read back against the digest of the file, so that nothing wrong in here, or in the database, can
//! become a wrong file.

use std::io;

use bytes::Bytes;
use countersign_crypto::digest::Sha256Digest;
use countersign_tuf::Version;
use zstd::zstd_safe::{self, CCtx, CParameter, DCtx};

use crate::{NewMetadata, StoreError};

/// Files below this many bytes are stored as they are: there is little to win.
pub(crate) const SMALL: usize = 16 * 1024;
/// Files above this many bytes are packed and unpacked away from the threads that wait for the database.
const PACKED_HERE: usize = 64 * 1024;
/// Files above this many bytes are stored by nobody.
const LARGEST: usize = 1 << 30;
/// A difference that is not so many times smaller than the version it refers to is not worth it any more.
const GAIN: usize = 64;
/// The fastest level: most of a file are hashes, which no level makes smaller, and what is repeated is found at every level.
const LEVEL: i32 = 1;
/// The base-two logarithm of the furthest that is looked back: everything that files may have.
const WINDOWS: std::ops::RangeInclusive<u32> = 18..=30;

/// A version that is stored by itself.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) version: Version,
    pub(crate) sha256: Sha256Digest,
    pub(crate) bytes: Bytes,
    /// How many bytes it takes in the database.
    pub(crate) stored: usize,
}

/// Leaves a reference out that is damaged: it must not keep anybody from storing a file that is not.
pub(crate) fn usable(found: Result<Option<Reference>, StoreError>) -> Result<Option<Reference>, StoreError> {
    match found {
        Err(StoreError::Damaged { .. }) => Ok(None),
        found => found,
    }
}

/// A file as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// Length of the file; 0: `data` is the file.
    pub(crate) length: i64,
    /// The version that has to be read with it, and its digest; none: it is stored by itself.
    pub(crate) base: Option<(Version, Sha256Digest)>,
    pub(crate) data: Bytes,
}

impl Packed {
    /// A file as it is.
    pub(crate) fn plain(file: &Bytes) -> Self {
        Self { length: 0, base: None, data: file.clone() }
    }

    /// Packs a file, with the version that differences may refer to.
    pub(crate) async fn of(file: &NewMetadata, reference: Option<Reference>) -> Result<Self, StoreError> {
        let bytes = file.bytes().clone();
        if bytes.len() < SMALL || bytes.len() > LARGEST {
            return Ok(Self::plain(&bytes));
        }
        let large = bytes.len() > PACKED_HERE;
        away(large, move || pack(&bytes, reference.as_ref())).await
    }
}

fn pack(file: &Bytes, reference: Option<&Reference>) -> Result<Packed, StoreError> {
    let failed = |error: io::Error| StoreError::damaged("file that is being packed", &error);
    let length = i64::try_from(file.len()).unwrap_or(i64::MAX);
    if let Some(reference) = reference {
        let data = compress(file, &reference.bytes).map_err(failed)?;
        if data.len().saturating_mul(GAIN) <= reference.stored {
            return Ok(Packed { length, base: Some((reference.version, reference.sha256)), data: data.into() });
        }
    }
    let data = compress(file, &[]).map_err(failed)?;
    if data.len() < file.len() { Ok(Packed { length, base: None, data: data.into() }) } else { Ok(Packed::plain(file)) }
}

/// Returns the file that was packed; `base` is the whole version it refers to, if it refers to one.
pub(crate) async fn unpack(length: i64, data: Vec<u8>, base: Option<Bytes>) -> Result<Vec<u8>, StoreError> {
    if length == 0 {
        return Ok(data);
    }
    let damaged = || StoreError::damaged("length", &length);
    let length = usize::try_from(length).ok().filter(|length| *length <= LARGEST).ok_or_else(damaged)?;
    away(length > PACKED_HERE, move || {
        let base = base.unwrap_or_default();
        let unpacked = decompress(&data, &base, length);
        unpacked.map_err(|error| StoreError::damaged("data", &error))
    })
    .await
}

/// The window in which everything that was or will be there can be found.
fn window(bytes: usize) -> u32 {
    (usize::BITS - bytes.leading_zeros()).clamp(*WINDOWS.start(), *WINDOWS.end())
}

fn compress(file: &[u8], base: &[u8]) -> io::Result<Vec<u8>> {
    let mut context = CCtx::create();
    let window = CParameter::WindowLog(window(base.len() + file.len()));
    for parameter in
        [CParameter::CompressionLevel(LEVEL), window, CParameter::EnableLongDistanceMatching(!base.is_empty())]
    {
        context.set_parameter(parameter).map_err(named)?;
    }
    context.ref_prefix(base).map_err(named)?;
    let mut packed = Vec::with_capacity(zstd_safe::compress_bound(file.len()));
    context.compress2(&mut packed, file).map_err(named)?;
    packed.shrink_to_fit();
    Ok(packed)
}

/// Unpacks a file of this length: there is no room for more.
fn decompress(data: &[u8], base: &[u8], length: usize) -> io::Result<Vec<u8>> {
    let mut context = DCtx::create();
    context.ref_prefix(base).map_err(named)?;
    let mut file = Vec::with_capacity(length);
    context.decompress(&mut file, data).map_err(named)?;
    if file.len() == length { Ok(file) } else { Err(io::Error::other("not as long as it was")) }
}

fn named(code: zstd_safe::ErrorCode) -> io::Error {
    io::Error::other(zstd_safe::get_error_name(code))
}

/// Does work that takes a while on a thread for such work.
async fn away<T: Send + 'static>(
    is_large: bool,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    if !is_large {
        return work();
    }
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::damaged("file that is being packed", &error)))
}

#[cfg(test)]
mod tests {
    use countersign_crypto::digest::sha256;
    use countersign_tuf::RoleName;

    use super::*;

    /// A file like one with so many tags: digests that nobody can make smaller, between words that repeat.
    fn tags(count: usize) -> Bytes {
        let tag = |n: usize| {
            format!(r#""v{n}":{{"hashes":{{"sha256":"{}"}},"length":524}},"#, sha256(&n.to_le_bytes()).hex())
        };
        (0..count).map(tag).collect::<String>().into()
    }

    fn file(bytes: &Bytes) -> NewMetadata {
        NewMetadata::new(RoleName::Targets, Version::FIRST, bytes.clone())
    }

    async fn reference(bytes: &Bytes) -> Reference {
        let packed = Packed::of(&file(bytes), None).await.unwrap();
        let stored = packed.data.len();
        Reference { version: Version::FIRST, sha256: sha256(bytes), bytes: bytes.clone(), stored }
    }

    #[tokio::test]
    async fn files_of_every_size_come_back_with_and_without_a_reference() {
        for count in [0, 1, 100, 200, 201, 1_000, 20_000] {
            let (old, new) = (tags(count), tags(count + 1));
            for reference in [None, Some(reference(&old).await), Some(reference(&Bytes::from_static(b"else")).await)] {
                let base = reference.as_ref().map(|reference| reference.bytes.clone());
                let packed = Packed::of(&file(&new), reference).await.unwrap();
                let base = packed.base.is_some().then(|| base.unwrap());
                assert!(packed.data.len() <= new.len());
                let unpacked = unpack(packed.length, packed.data.to_vec(), base).await.unwrap();
                assert!(unpacked == new, "{count}");
            }
        }
    }

    #[tokio::test]
    async fn one_more_tag_is_small_and_a_file_of_its_own_is_not_taken_for_a_difference() {
        let old = tags(10_000);
        let reference = reference(&old).await;
        let more = Packed::of(&file(&tags(10_001)), Some(reference.clone())).await.unwrap();
        assert!(more.base.is_some() && more.data.len() < 500, "{}", more.data.len());
        let other = Packed::of(&file(&tags(20_000)), Some(reference)).await.unwrap();
        assert!(other.base.is_none());
    }

    #[tokio::test]
    async fn what_is_damaged_is_an_error_and_never_larger_than_it_was() {
        let packed = Packed::of(&file(&tags(1_000)), None).await.unwrap();
        let data = packed.data.to_vec();
        for length in [1, packed.length - 1, packed.length + 1, i64::MAX, -1] {
            assert!(unpack(length, data.clone(), None).await.is_err(), "{length}");
        }
        assert!(unpack(packed.length, data[..data.len() / 2].to_vec(), None).await.is_err());
        assert!(unpack(packed.length, b"no compressed data".to_vec(), None).await.is_err());
        let bomb = compress(&vec![0; 10_000_000], &[]).unwrap();
        assert!(unpack(1_000, bomb, None).await.is_err());
    }
}
