//! What is inside the encryption: data, perhaps compressed, perhaps with signatures around it.

use std::io::Read;

use pgp::packet::{Decompressor, LiteralDataHeader};
use zeroize::Zeroizing;

use super::OpenError;
use super::packet::{self, Packet};
use crate::limits::{EXPANSION_FREE_BYTES, MAX_COMPRESSED_LAYERS, MAX_EXPANSION, MAX_UNPACKED_BYTES};

const OTHER: OpenError = OpenError::Damaged("there is something else than one file in it");

/// Returns the one file in a decrypted message. Signatures are not looked at: the passphrase is what an archive is
/// trusted by.
pub(super) fn read(message: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut current = Zeroizing::new(message.to_vec());
    for _ in 0..=MAX_COMPRESSED_LAYERS {
        let mut packets = packet::read(&current)?;
        packets.retain(|packet| !matches!(packet.tag, packet::MARKER | packet::ONE_PASS_SIGNATURE | packet::SIGNATURE));
        let Ok([Packet { tag, body }]) = <[Packet; 1]>::try_from(packets) else { return Err(OTHER) };
        let body = Zeroizing::new(body);
        match tag {
            packet::LITERAL => return literal(&body),
            packet::COMPRESSED => current = decompress(&body)?,
            _ => return Err(OTHER),
        }
    }
    Err(OpenError::Damaged("it is compressed too many times over"))
}

fn literal(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let mut rest = body;
    LiteralDataHeader::try_from_reader(&mut rest).map_err(|_| OTHER)?;
    Ok(Zeroizing::new(rest.to_vec()))
}

fn decompress(body: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    const BROKEN: OpenError = OpenError::Damaged("its compressed data is broken");
    let limit = MAX_UNPACKED_BYTES.min(EXPANSION_FREE_BYTES.max(body.len().saturating_mul(MAX_EXPANSION)));
    let reader = Decompressor::from_reader(body).map_err(|_| BROKEN)?;
    let mut data = Zeroizing::new(Vec::new());
    let bound = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(bound).read_to_end(&mut data).map_err(|_| BROKEN)?;
    if data.len() > limit { Err(OpenError::TooLarge { limit }) } else { Ok(data) }
}
