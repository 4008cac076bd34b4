//! One share, and how it is written.

use std::fmt;

use countersign_crypto::digest;
use zeroize::Zeroizing;

use super::{SPLIT, words};
use crate::limits::{MAX_SHARE_TEXT, MAX_SHARES};

/// Words of a share.
pub const SHARE_WORDS: usize = 23;
const VERSION: u8 = 1;
const FINGERPRINT: usize = 4;
const CHECKSUM: usize = 4;
/// Bytes of a share: version, needed, number, fingerprint, points, checksum.
const LENGTH: usize = 3 + FINGERPRINT + SPLIT + CHECKSUM;
/// What the checksum is about, so that it fits nothing else.
const PURPOSE: &[u8] = b"countersign share";

/// One share of an archive's passphrase.
#[derive(Clone)]
pub struct Share {
    needed: u8,
    number: u8,
    fingerprint: [u8; FINGERPRINT],
    points: Zeroizing<[u8; SPLIT]>,
}

/// Says what is wrong with shares.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// A word is not in the list.
    #[error("word {place} of the share is none that shares have: check its spelling")]
    UnknownWord {
        /// Its place, from 1.
        place: usize,
    },
    /// It has too few or too many words.
    #[error("a share has {SHARE_WORDS} words, this has {found}")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// Words are wrong or in the wrong order.
    #[error("the share does not fit its check value: a word is wrong, or two are swapped")]
    Checksum,
    /// It was made by a newer version.
    #[error("the share was made by a newer version of this program")]
    Version,
    /// Another archive's share, or one of another splitting.
    #[error("share {number} belongs to another archive than the share before it")]
    Foreign {
        /// Its number.
        number: u8,
    },
    /// A share was given twice.
    #[error("share {number} was given twice")]
    Repeated {
        /// Its number.
        number: u8,
    },
    /// There are not enough of them.
    #[error("{needed} shares are needed, {given} were given")]
    TooFew {
        /// How many were given.
        given: usize,
        /// How many are needed.
        needed: usize,
    },
    /// Whole shares of one archive that do not belong together.
    #[error("the shares do not belong together: one of them was not made with the others")]
    NotTheSecret,
}

impl Share {
    pub(super) fn new(needed: u8, number: u8, fingerprint: [u8; 4], points: Zeroizing<[u8; SPLIT]>) -> Self {
        Self { needed, number, fingerprint, points }
    }

    /// Returns how many shares are needed.
    #[must_use]
    pub fn needed(&self) -> u8 {
        self.needed
    }

    /// Returns the share's number, from 1.
    #[must_use]
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Returns the fingerprint of the archive that it belongs to.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; FINGERPRINT] {
        self.fingerprint
    }

    pub(super) fn points(&self) -> &[u8; SPLIT] {
        &self.points
    }

    /// Writes the share as words; not to be kept or shown but to whom it belongs.
    #[must_use]
    pub fn words(&self) -> Zeroizing<String> {
        let mut bytes = self.bytes();
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        Zeroizing::new(words::of(&bytes, SHARE_WORDS))
    }

    /// Reads a share: words in any case with white space between them, or their first four letters. Numbers in front of
    /// words, as in a list, are passed over.
    ///
    /// # Errors
    /// [`ShareError::UnknownWord`], [`ShareError::Length`], [`ShareError::Checksum`], [`ShareError::Version`].
    pub fn read(text: &str) -> Result<Self, ShareError> {
        if text.len() > MAX_SHARE_TEXT {
            return Err(ShareError::Length { found: text.split_whitespace().count() });
        }
        let is_word = |word: &&str| !word.trim_end_matches(['.', ':', ')']).bytes().all(|byte| byte.is_ascii_digit());
        let words: Vec<&str> = text.split_whitespace().filter(is_word).collect();
        let bytes = words::read(words.iter().copied()).map_err(|place| ShareError::UnknownWord { place })?;
        if words.len() != SHARE_WORDS {
            return Err(ShareError::Length { found: words.len() });
        }
        let (share, rest) = bytes.split_at_checked(LENGTH).ok_or(ShareError::Checksum)?;
        let (share, check) = share.split_at_checked(LENGTH - CHECKSUM).ok_or(ShareError::Checksum)?;
        if check != checksum(share) || rest.iter().any(|byte| *byte != 0) {
            return Err(ShareError::Checksum);
        }
        let ([version, needed, number], rest) = share.split_first_chunk().ok_or(ShareError::Checksum)?;
        let (fingerprint, points) = rest.split_first_chunk().ok_or(ShareError::Checksum)?;
        let points = Zeroizing::new(<[u8; SPLIT]>::try_from(points).map_err(|_| ShareError::Checksum)?);
        let numbers = (2..=MAX_SHARES).contains(needed) && (1..=MAX_SHARES).contains(number);
        match (*version, numbers) {
            (VERSION, true) => Ok(Self::new(*needed, *number, *fingerprint, points)),
            (VERSION, false) => Err(ShareError::Checksum),
            _ => Err(ShareError::Version),
        }
    }

    fn bytes(&self) -> Zeroizing<Vec<u8>> {
        // As long as it gets: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH));
        bytes.extend_from_slice(&[VERSION, self.needed, self.number]);
        bytes.extend_from_slice(&self.fingerprint);
        bytes.extend_from_slice(&*self.points);
        bytes
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("needed", &self.needed)
            .field("number", &self.number)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

fn checksum(share: &[u8]) -> [u8; CHECKSUM] {
    let mut text = Zeroizing::new(PURPOSE.to_vec());
    text.extend_from_slice(share);
    *digest::sha256(&text).as_bytes().first_chunk().unwrap_or(&[0; CHECKSUM])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share() -> Share {
        let points = Zeroizing::new(std::array::from_fn(|at| u8::try_from(at).unwrap() * 7));
        Share::new(3, 2, [0xde, 0xad, 0xbe, 0xef], points)
    }

    #[test]
    fn a_share_is_read_as_it_was_written() {
        let words = share().words();
        assert_eq!(words.split(' ').count(), SHARE_WORDS);
        let listed: Vec<_> = (1..).zip(words.split(' ')).map(|(number, word)| format!("{number}. {word}\n")).collect();
        for text in [words.to_string(), words.to_uppercase(), words.replace(' ', "\n\t "), listed.concat()] {
            let read = Share::read(&text).unwrap();
            assert_eq!((read.needed, read.number, read.fingerprint), (3, 2, [0xde, 0xad, 0xbe, 0xef]));
            assert_eq!(read.points, share().points);
        }
    }

    /// The words were worked out by another program, from the table in the documentation of the module.
    #[test]
    fn the_words_of_a_share_stay_what_they_are() {
        assert_eq!(
            *share().words(),
            "absurd blossom response fork upon length bring section bring bone middle idea virtual chase fabric hobby \
             harvest lonely text armor lucky clog elite"
        );
    }

    #[test]
    fn every_wrong_word_and_every_swap_is_noticed() {
        let words = share().words();
        let words: Vec<&str> = words.split(' ').collect();
        for place in 0..SHARE_WORDS {
            let mut wrong = words.clone();
            wrong[place] = if wrong[place] == "zoo" { "zone" } else { "zoo" };
            assert_eq!(Share::read(&wrong.join(" ")).unwrap_err(), ShareError::Checksum);
            let mut unknown = words.clone();
            unknown[place] = "countersign";
            assert_eq!(Share::read(&unknown.join(" ")).unwrap_err(), ShareError::UnknownWord { place: place + 1 });
            let mut swapped = words.clone();
            swapped.swap(place, (place + 1) % SHARE_WORDS);
            if swapped != words {
                assert_eq!(Share::read(&swapped.join(" ")).unwrap_err(), ShareError::Checksum);
            }
        }
        let short = words[1..].join(" ");
        assert_eq!(Share::read(&short).unwrap_err(), ShareError::Length { found: SHARE_WORDS - 1 });
        let long = format!("{} zoo", words.join(" "));
        assert_eq!(Share::read(&long).unwrap_err(), ShareError::Length { found: SHARE_WORDS + 1 });
        assert!(matches!(Share::read(""), Err(ShareError::Length { found: 0 })));
        assert!(matches!(Share::read(&"zoo ".repeat(100_000)), Err(ShareError::Length { .. })));
    }
}
