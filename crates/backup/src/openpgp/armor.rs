//! Armor: a message as text.

use std::io::Read;

use pgp::armor::{BlockType, Dearmor, DearmorOptions};
use zeroize::Zeroizing;

use super::OpenError;
use crate::limits::MAX_FILE_BYTES;

const BEGIN: &[u8] = b"-----BEGIN PGP MESSAGE-----";

/// Tells whether a file is an armored message; white space before it does not matter.
pub(super) fn is_armored(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(BEGIN)
}

/// Takes the armor off.
pub(super) fn remove(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    const BROKEN: OpenError = OpenError::Damaged("its armor is broken");
    let mut dearmor = Dearmor::with_options(bytes.trim_ascii_start(), DearmorOptions::new().set_limit(MAX_FILE_BYTES));
    let mut message = Zeroizing::new(Vec::new());
    dearmor.read_to_end(&mut message).map_err(|_| BROKEN)?;
    // The check value is optional. rPGP's own comparison counts some bytes twice.
    let fits = dearmor.checksum.is_none_or(|found| found == u64::from(check_value(&message)));
    if dearmor.typ == Some(BlockType::Message) && fits { Ok(message) } else { Err(BROKEN) }
}

/// The 24 bits at the end of armor (RFC 9580, optional checksum).
fn check_value(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x0186_4cfb;
    bytes.iter().fold(0x00b7_04ce, |value, byte| {
        (0..8).fold(value ^ (u32::from(*byte) << 16), |value, _| {
            let shifted = value << 1;
            if shifted & 0x0100_0000 == 0 { shifted } else { shifted ^ POLYNOMIAL }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_the_published_one() {
        // The catalogue of CRCs: CRC-24/OPENPGP.
        assert_eq!(check_value(b"123456789"), 0x0021_cf02);
    }
}
