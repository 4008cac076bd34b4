//! What a referencing file says about a referenced one: length, hashes, custom data.

use crate::json::{Cursor, Shape};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign_crypto::digest::{HashPair, Sha256Digest, Sha512Digest};
use std::borrow::Cow;

/// Length and hashes of a file or image manifest, with optional custom data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMeta {
    /// The length in bytes.
    pub length: u64,
    /// The SHA-256 digest.
    pub sha256: Option<Sha256Digest>,
    /// The SHA-512 digest.
    pub sha512: Option<Sha512Digest>,
    /// Hashes of algorithms we do not know, as their canonical members `"name":"value"`; carried through, never relied on.
    pub other_hashes: Vec<Bytes>,
    /// Custom data of a target in canonical form.
    pub custom: Option<Bytes>,
}

impl FileMeta {
    /// Describes a metadata file by its bytes, with both hashes as the reference does.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        let length = file.len() as u64;
        let (sha256, sha512) = hash_both(file);
        Self { length, sha256: Some(sha256), sha512: Some(sha512), other_hashes: Vec::new(), custom: None }
    }

    /// Describes an image manifest as docker does: length and SHA-256 alone.
    #[must_use]
    pub fn of_manifest(digest: Sha256Digest, length: u64) -> Self {
        Self { length, sha256: Some(digest), sha512: None, other_hashes: Vec::new(), custom: None }
    }

    /// Reads a file meta; at least one hash must be of a known algorithm and every known one well-formed.
    ///
    /// # Errors
    /// The value is shaped otherwise.
    pub fn read(cursor: &mut Cursor<'_>) -> Result<Self, Shape> {
        let (mut length, mut meta) =
            (None, Self { length: 0, sha256: None, sha512: None, other_hashes: Vec::new(), custom: None });
        cursor.object("file meta", |name, value| {
            match name {
                "length" => length = Some(value.unsigned("length")?),
                "hashes" if !value.take_null() => {
                    value.object("hashes", |algorithm, hash| meta.read_hash(algorithm, hash))?;
                }
                "custom" if !value.take_null() => meta.custom = Some(Bytes::copy_from_slice(value.skip())),
                "hashes" | "custom" => {}
                _ => super::skip_unknown(name, value)?,
            }
            Ok::<_, Shape>(())
        })?;
        meta.length = length.ok_or_else(|| Shape::new("length", "a length in bytes"))?;
        if meta.sha256.is_none() && meta.sha512.is_none() {
            return Err(Shape::new("hashes", "a sha256 or sha512 hash"));
        }
        Ok(meta)
    }

    fn read_hash(&mut self, algorithm: &str, hash: &mut Cursor<'_>) -> Result<(), Shape> {
        match algorithm {
            "sha256" => self.sha256 = Some(Sha256Digest::from_bytes(decode(hash, "32 bytes in base64")?)),
            "sha512" => self.sha512 = Some(Sha512Digest::from_bytes(decode(hash, "64 bytes in base64")?)),
            _ => {
                let mut member = Vec::new();
                crate::json::write_string(&mut member, algorithm);
                member.push(b':');
                member.extend_from_slice(hash.skip());
                self.other_hashes.push(member.into());
            }
        }
        Ok(())
    }

    /// Appends the canonical form.
    pub(crate) fn write(&self, output: &mut Vec<u8>) {
        output.push(b'{');
        if let Some(custom) = &self.custom {
            output.extend_from_slice(b"\"custom\":");
            output.extend_from_slice(custom);
            output.push(b',');
        }
        output.extend_from_slice(b"\"hashes\":{");
        let mut members: Vec<Bytes> = self.other_hashes.clone();
        members.extend(self.sha256.map(|hash| format!("\"sha256\":\"{}\"", STANDARD.encode(hash.as_bytes())).into()));
        members.extend(self.sha512.map(|hash| format!("\"sha512\":\"{}\"", STANDARD.encode(hash.as_bytes())).into()));
        members.sort_by(|a, b| member_name(a).cmp(&member_name(b)));
        super::write_joined(output, members, |output, member| output.extend_from_slice(&member));
        output.extend_from_slice(format!("}},\"length\":{}}}", self.length).as_bytes());
    }

    /// Tells whether a file is exactly the one described: its length and every known hash.
    ///
    /// # Errors
    /// Names what differs.
    pub fn check(&self, file: &[u8]) -> Result<(), Mismatch> {
        let length = file.len() as u64;
        if length != self.length {
            return Err(Mismatch::Length { expected: self.length, found: length });
        }
        let (sha256, sha512) = if self.sha512.is_some() {
            let (sha256, sha512) = hash_both(file);
            (sha256, Some(sha512))
        } else {
            (countersign_crypto::digest::sha256(file), None)
        };
        if let Some(expected) = self.sha256.filter(|expected| *expected != sha256) {
            return Err(Mismatch::Hash { algorithm: "sha256", expected: expected.hex() });
        }
        if let Some(expected) = self.sha512.filter(|expected| sha512 != Some(*expected)) {
            return Err(Mismatch::Hash { algorithm: "sha512", expected: expected.hex() });
        }
        Ok(())
    }
}

/// Says how a file differs from its description.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// The length differs.
    #[error("length did not match: expected {expected} bytes, got {found}")]
    Length {
        /// What the description says.
        expected: u64,
        /// What the file has.
        found: u64,
    },
    /// A hash differs.
    #[error("{algorithm} checksum did not match: expected {expected}")]
    Hash {
        /// Which hash.
        algorithm: &'static str,
        /// The description's value in hexadecimal.
        expected: String,
    },
}

/// Reads the name of a member: names sort by what they mean, not by how they are quoted.
fn member_name(member: &[u8]) -> Option<Cow<'_, str>> {
    Cursor::at(member, 0).string("hashes").ok()
}

/// Computes both hashes in one pass over the bytes.
fn hash_both(file: &[u8]) -> (Sha256Digest, Sha512Digest) {
    let mut pair = HashPair::new();
    file.chunks(16 << 10).for_each(|chunk| pair.update(chunk));
    pair.finish()
}

fn decode<const N: usize>(cursor: &mut Cursor<'_>, expected: &'static str) -> Result<[u8; N], Shape> {
    let wrong = || Shape::new("hashes", expected);
    let text = cursor.string("hashes")?;
    let mut bytes = [0; N];
    match STANDARD.decode_slice(text.as_bytes(), &mut bytes) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Canonical;

    fn read(text: &str) -> Result<FileMeta, Shape> {
        let canonical = Canonical::read(&Bytes::copy_from_slice(text.as_bytes())).unwrap();
        FileMeta::read(&mut canonical.cursor())
    }

    fn wrong(algorithm: &'static str, outcome: &Result<(), Mismatch>) -> bool {
        matches!(outcome, Err(Mismatch::Hash { algorithm: found, .. }) if *found == algorithm)
    }

    #[test]
    fn every_known_hash_counts_with_one_or_two_algorithms() {
        let file = b"content";
        let both = FileMeta::of(file);
        let short = FileMeta { sha512: None, ..both.clone() };
        let long = FileMeta { sha256: None, ..both.clone() };
        for meta in [&both, &short, &long] {
            assert_eq!(meta.check(file), Ok(()));
            assert!(matches!(meta.check(b"content+"), Err(Mismatch::Length { expected: 7, found: 8 })));
            assert!(meta.check(b"Content").is_err());
        }
        let other = FileMeta::of(b"CONTENT");
        assert!(wrong("sha256", &FileMeta { sha256: other.sha256, ..both.clone() }.check(file)));
        assert!(wrong("sha512", &FileMeta { sha512: other.sha512, ..both.clone() }.check(file)));
        assert!(wrong("sha256", &FileMeta { sha256: other.sha256, ..short }.check(file)));
        assert!(wrong("sha512", &FileMeta { sha512: other.sha512, ..long }.check(file)));
        assert!(FileMeta { length: 8, ..both }.check(file).is_err());
    }

    #[test]
    fn without_a_known_algorithm_there_is_no_description() {
        for text in
            [r#"{"hashes":{},"length":1}"#, r#"{"hashes":{"md5":"AAAA"},"length":1}"#, r#"{"length":1}"#, "[]", "null"]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hashes_have_the_length_of_their_algorithm() {
        for (algorithm, length) in [("sha256", 32), ("sha512", 64)] {
            for (bytes, right) in [(length, true), (length - 1, false), (length + 1, false), (0, false), (4, false)] {
                let text =
                    format!(r#"{{"hashes":{{"{algorithm}":"{}"}},"length":1}}"#, STANDARD.encode(vec![7; bytes]));
                assert_eq!(read(&text).is_ok(), right, "{text}");
            }
        }
    }

    #[test]
    fn everything_signed_is_written_again() {
        let digest = STANDARD.encode([7; 32]);
        let text = format!(
            r#"{{"custom":{{"a":[1,null]}},"hashes":{{"blake3":"x","sha256":"{digest}","zzz":[1]}},"length":5}}"#
        );
        let mut written = Vec::new();
        read(&text).unwrap().write(&mut written);
        assert_eq!(String::from_utf8(written).unwrap(), text);
    }

    #[test]
    fn descriptions_differ_in_their_custom_data_too() {
        let one = FileMeta::of(b"x");
        assert_eq!(one, FileMeta::of(b"x"));
        assert_ne!(one, FileMeta { custom: Some("1".into()), ..one.clone() });
        assert_ne!(one, FileMeta { sha512: None, ..one.clone() });
    }
}
