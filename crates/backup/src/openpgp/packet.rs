//! The frame of packets (RFC 9580, packet syntax).

use super::OpenError;
use crate::limits::MAX_PACKETS;

/// Packet types that are told apart here.
pub(super) const RECIPIENT: u8 = 1;
pub(super) const SIGNATURE: u8 = 2;
pub(super) const PASSPHRASE: u8 = 3;
pub(super) const ONE_PASS_SIGNATURE: u8 = 4;
pub(super) const COMPRESSED: u8 = 8;
pub(super) const UNPROTECTED: u8 = 9;
pub(super) const MARKER: u8 = 10;
pub(super) const LITERAL: u8 = 11;
pub(super) const PROTECTED: u8 = 18;
pub(super) const GNUPG_AEAD: u8 = 20;

/// Shortest first part of a body in parts.
const MIN_FIRST_PART: usize = 512;

/// One packet; the body of one that came in parts is put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) tag: u8,
    pub(super) body: Vec<u8>,
}

const SHORT: OpenError = OpenError::Damaged("it ends in the middle of a packet");
const MALFORMED: OpenError = OpenError::Damaged("a packet is malformed");

/// Takes a message apart into its packets, to its last byte.
pub(super) fn read(mut input: &[u8]) -> Result<Vec<Packet>, OpenError> {
    let mut packets = Vec::new();
    while let Some((&first, rest)) = input.split_first() {
        if packets.len() >= MAX_PACKETS {
            return Err(OpenError::Damaged("it has too many packets"));
        }
        input = rest;
        let packet = match first {
            0xc0..=0xff => new_format(first & 0x3f, &mut input)?,
            0x80..=0xbf => old_format((first >> 2) & 0x0f, first & 3, &mut input)?,
            _ => return Err(OpenError::Damaged("there is something between or behind its packets")),
        };
        packets.push(packet);
    }
    Ok(packets)
}

/// Tells whether packets of this type may come in parts or without a length.
fn is_data(tag: u8) -> bool {
    matches!(tag, COMPRESSED | UNPROTECTED | LITERAL | PROTECTED | GNUPG_AEAD)
}

fn new_format(tag: u8, input: &mut &[u8]) -> Result<Packet, OpenError> {
    let mut body = Vec::new();
    let mut first = true;
    loop {
        let (length, last) = match byte(input)? {
            short @ 0..=191 => (usize::from(short), true),
            high @ 192..=223 => ((usize::from(high) - 192) * 256 + usize::from(byte(input)?) + 192, true),
            power @ 224..=254 => (1 << (power & 0x1f), false),
            255 => (number(input, 4)?, true),
        };
        if !last && (!is_data(tag) || (first && length < MIN_FIRST_PART)) {
            return Err(MALFORMED);
        }
        body.extend_from_slice(take(input, length)?);
        if last {
            return Ok(Packet { tag, body });
        }
        first = false;
    }
}

fn old_format(tag: u8, kind: u8, input: &mut &[u8]) -> Result<Packet, OpenError> {
    let length = match kind {
        0 => number(input, 1)?,
        1 => number(input, 2)?,
        2 => number(input, 4)?,
        _ if is_data(tag) => input.len(),
        _ => return Err(MALFORMED),
    };
    Ok(Packet { tag, body: take(input, length)?.to_vec() })
}

fn byte(input: &mut &[u8]) -> Result<u8, OpenError> {
    let (&first, rest) = input.split_first().ok_or(SHORT)?;
    *input = rest;
    Ok(first)
}

fn number(input: &mut &[u8], bytes: usize) -> Result<usize, OpenError> {
    let bytes = take(input, bytes)?;
    Ok(bytes.iter().fold(0, |number, byte| (number << 8) | usize::from(*byte)))
}

fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], OpenError> {
    let (taken, rest) = input.split_at_checked(length).ok_or(SHORT)?;
    *input = rest;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(tag: u8, body: &[u8]) -> Packet {
        Packet { tag, body: body.to_vec() }
    }

    #[test]
    fn lengths_of_every_form_are_read() {
        let long = [7; 300];
        let mut two = vec![0xcb, 192, 108];
        two.extend(long);
        let mut four = vec![0xcb, 255, 0, 0, 1, 44];
        four.extend(long);
        let mut old = vec![0xad, 1, 44];
        old.extend(long);
        for message in [two, four, old] {
            assert_eq!(read(&message).unwrap(), [packet(LITERAL, &long)]);
        }
        assert_eq!(read(&[0xcb, 1, 9, 0xac, 2, 8, 7]).unwrap(), [packet(LITERAL, &[9]), packet(LITERAL, &[8, 7])]);
        assert_eq!(read(&[0xa3, 1, 2, 3]).unwrap(), [packet(COMPRESSED, &[1, 2, 3])], "to the end");
        let mut parts = vec![0xd2, 0xe9];
        parts.extend([1; 512]);
        parts.extend([0xe0, 2, 1, 3]);
        let [read] = read(&parts).unwrap().try_into().unwrap();
        assert_eq!((read.tag, read.body.len()), (PROTECTED, 514));
    }

    #[test]
    fn what_is_cut_or_continued_is_refused() {
        for message in [
            &[0xcb][..],
            &[0xcb, 2, 1],
            &[0xcb, 192],
            &[0xcb, 255, 0, 0, 1],
            &[0xad, 1],
            &[0xaf, 1],
            &[0xcb, 0, 0x00],
            &[0xcb, 0, b'-'],
            &[0xcb, 255, 0xff, 0xff, 0xff, 0xff, 0],
            // A key packet of unknown length, and one in parts; a first part that is too short.
            &[0x8f, 1],
            &[0xc3, 0xe0, 1, 0],
            &[0xd2, 0xe1, 1, 1, 0],
        ] {
            if message == [0xaf, 1] {
                assert!(read(message).is_ok(), "old format, indeterminate length of literal data");
                continue;
            }
            assert!(matches!(read(message), Err(OpenError::Damaged(_))), "{message:x?}");
        }
        let many = [0xcb, 0].repeat(MAX_PACKETS + 1);
        assert!(matches!(read(&many), Err(OpenError::Damaged(_))));
        assert_eq!(read(&many[2..]).unwrap().len(), MAX_PACKETS);
    }
}
