//! Bits as words: eleven bits each, from the English list of BIP-39.
//!
//! No two words of the list begin with the same four letters, so that the beginnings suffice. The list is in the public
//! domain (CC0, as published with rust-bitcoin's `bip39`; BIP-39 itself is under the MIT licence).

use zeroize::Zeroizing;

static LIST: &str = include_str!("english.txt");

const BITS: usize = 11;
/// Letters that tell all words apart.
const TELLING: usize = 4;

/// Writes as many bits as the words take; what is missing in the bytes is zero.
pub(super) fn of(bytes: &[u8], words: usize) -> String {
    let mut text = String::with_capacity(words * 9);
    for word in 0..words {
        let index =
            (word * BITS..(word + 1) * BITS).fold(0, |index, bit| (index << 1) | usize::from(is_set(bytes, bit)));
        if word > 0 {
            text.push(' ');
        }
        text.push_str(LIST.lines().nth(index).unwrap_or_default());
    }
    text
}

/// Reads words into bytes, the last of which is filled up with zeros; `Err` is the place, from 1, of a word that is not in
/// the list.
pub(super) fn read<'a>(words: impl Iterator<Item = &'a str>) -> Result<Zeroizing<Vec<u8>>, usize> {
    let (mut bytes, mut buffer, mut held) = (Zeroizing::new(Vec::new()), 0_usize, 0);
    for (place, word) in (1_usize..).zip(words) {
        buffer = (buffer << BITS) | index_of(word).ok_or(place)?;
        held += BITS;
        while held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(buffer >> held & 0xff).unwrap_or_default());
        }
        buffer &= (1 << held) - 1;
    }
    if held > 0 {
        bytes.push(u8::try_from((buffer << (8 - held)) & 0xff).unwrap_or_default());
    }
    Ok(bytes)
}

fn is_set(bytes: &[u8], bit: usize) -> bool {
    bytes.get(bit / 8).is_some_and(|byte| byte >> (7 - bit % 8) & 1 == 1)
}

/// Finds a word by itself or by its first four letters or more. Looks at all of them, whichever it is.
fn index_of(word: &str) -> Option<usize> {
    let word = Zeroizing::new(word.to_ascii_lowercase());
    let mut found = None;
    for (index, known) in LIST.lines().enumerate() {
        if known == *word || (word.len() >= TELLING && known.starts_with(word.as_str())) {
            found = Some(index);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use countersign_crypto::digest;

    use super::*;

    #[test]
    fn the_list_is_the_published_one() {
        let published = "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda";
        assert_eq!(digest::sha256(LIST.as_bytes()).hex(), published);
        assert_eq!(LIST.lines().count(), 1 << BITS);
        let beginnings: BTreeSet<_> = LIST.lines().map(|word| word.get(..TELLING).unwrap_or(word)).collect();
        assert_eq!(beginnings.len(), 1 << BITS);
    }

    #[test]
    fn words_are_read_as_they_were_written_also_by_their_beginnings() {
        let bytes: Vec<u8> = (0..31).map(|byte| byte * 8 + 3).collect();
        let text = of(&bytes, 23);
        // 253 bits: five more than the bytes have.
        let mut filled = bytes.clone();
        filled.push(0);
        assert_eq!(*read(text.split(' ')).unwrap(), filled);
        let short: Vec<_> = text.split(' ').map(|word| word.get(..TELLING).unwrap_or(word).to_uppercase()).collect();
        assert_eq!(*read(short.iter().map(String::as_str)).unwrap(), filled);
    }

    #[test]
    fn what_is_no_word_is_named_by_its_place() {
        assert_eq!(read(["abandon", "zebr", "xyzzy"].into_iter()), Err(3));
        assert_eq!(read(["aba"].into_iter()), Err(1));
        assert_eq!(read(["abandonn"].into_iter()), Err(1));
        assert_eq!(index_of("act"), Some(19));
        assert_eq!(index_of("acti"), Some(20), "action");
    }
}
