//! The envelope: `signed` beside `signatures`.

use super::MetadataError;
use crate::json::{Canonical, Cursor, Reader, Shape, write_string, write_wire};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use countersign_crypto::{KeyId, Method};

/// Most signatures that one file may carry; verifying them is the costly part of reading a file.
pub const MAX_SIGNATURES: usize = 256;

/// One signature as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// The key that is said to have made it (TUF key id).
    pub key_id: KeyId,
    /// The algorithm that is said to have been used.
    pub method: Method,
    /// The signature itself.
    pub bytes: Vec<u8>,
}

/// A metadata file taken apart, nothing about it verified yet.
#[derive(Debug, Clone)]
pub struct Envelope {
    file: Bytes,
    signed: Canonical,
    signatures: Vec<Signature>,
}

impl Envelope {
    /// Takes a file apart: exactly the members `signed` (an object) and `signatures`.
    ///
    /// Signatures whose `keyid` is no key id are left out: no key can have made them.
    ///
    /// # Errors
    /// The file is not acceptable JSON, has other members, or is not shaped like an envelope.
    pub fn read(file: Bytes) -> Result<Self, MetadataError> {
        let (mut signed, mut signatures) = (None, None);
        {
            let mut reader = Reader::new(&file)?;
            reader.punctuation(b'{', "'{' of an envelope")?;
            loop {
                let name = reader.value()?;
                let name = name.cursor().string("envelope")?.into_owned();
                reader.punctuation(b':', "':'")?;
                let value = reader.value()?;
                let slot = match name.as_str() {
                    "signed" => &mut signed,
                    "signatures" => &mut signatures,
                    _ => return Err(Shape::new("envelope", "no members but signed and signatures").into()),
                };
                if slot.replace(value).is_some() {
                    return Err(crate::json::JsonError::Repeated(name).into());
                }
                if reader.peek() != Some(b',') {
                    break;
                }
                reader.punctuation(b',', "','")?;
            }
            reader.punctuation(b'}', "',' or '}'")?;
            reader.end()?;
        }
        let signed = signed.ok_or_else(|| Shape::new("envelope", "the member signed"))?;
        let signatures = signatures.ok_or_else(|| Shape::new("envelope", "the member signatures"))?;
        Ok(Self { signatures: read_signatures(signatures.cursor())?, signed, file })
    }

    /// Puts a payload and its signatures together in the reference's spelling.
    #[must_use]
    pub fn compose(canonical: Vec<u8>, signatures: Vec<Signature>) -> Self {
        let mut file = Vec::with_capacity(canonical.len() + 64 + signatures.len() * 256);
        file.extend_from_slice(b"{\"signed\":");
        write_wire(&mut file, &canonical);
        file.extend_from_slice(b",\"signatures\":[");
        super::write_joined(&mut file, &signatures, |output, signature| {
            output.extend_from_slice(format!("{{\"keyid\":\"{}\",\"method\":", signature.key_id).as_bytes());
            let mut method = Vec::new();
            write_string(&mut method, signature.method.as_str());
            write_wire(output, &method);
            output.extend_from_slice(format!(",\"sig\":\"{}\"}}", STANDARD.encode(&signature.bytes)).as_bytes());
        });
        file.extend_from_slice(b"]}");
        Self { file: file.into(), signed: Canonical::trusted(canonical), signatures }
    }

    /// Returns the file's bytes exactly as received: what hashes cover and caches keep.
    #[must_use]
    pub fn file(&self) -> &Bytes {
        &self.file
    }

    /// Returns the canonical form of `signed`: what signatures cover.
    #[must_use]
    pub fn signed(&self) -> &Canonical {
        &self.signed
    }

    /// Returns the signatures in the file's order.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }
}

fn read_signatures(mut cursor: Cursor<'_>) -> Result<Vec<Signature>, MetadataError> {
    let mut signatures = Vec::new();
    let mut count = 0;
    cursor.array("signatures", |item| {
        count += 1;
        if count > MAX_SIGNATURES {
            return Err(MetadataError::from(Shape::new("signatures", "at most 256 signatures")));
        }
        let (mut key_id, mut method, mut bytes) = (None, None, None);
        item.object("signatures", |name, value| {
            match name {
                "keyid" => key_id = Some(value.string("keyid")?.into_owned()),
                "method" => method = Some(Method::parse(&value.string("method")?)),
                "sig" => {
                    let text = value.string("sig")?;
                    bytes = Some(STANDARD.decode(text.as_bytes()).map_err(|_| Shape::new("sig", "standard base64"))?);
                }
                _ => super::skip_unknown(name, value)?,
            }
            Ok::<_, Shape>(())
        })?;
        let incomplete = || Shape::new("signatures", "keyid, method and sig");
        let key_id = key_id.ok_or_else(incomplete)?;
        let (method, bytes) = (method.ok_or_else(incomplete)?, bytes.ok_or_else(incomplete)?);
        if let Ok(key_id) = key_id.parse() {
            signatures.push(Signature { key_id, method, bytes });
        }
        Ok(())
    })?;
    Ok(signatures)
}
