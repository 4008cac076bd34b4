//! Shares of an archive's passphrase, for keys that no single person should hold (Shamir 1979, over GF(256)).
//!
//! A secret of 16 random bytes becomes the archive's passphrase: twelve words, as BIP-39 makes them, so that it can also be
//! typed into gpg. The secret and four bytes of its SHA-256 are split, byte by byte, so that any `needed` shares give them
//! back and fewer say nothing at all. A share is printed as [`SHARE_WORDS`] words and carries
//!
//! | bytes | what |
//! | --- | --- |
//! | 1 | the version of this layout, 1 |
//! | 1 | how many shares are needed |
//! | 1 | the share's number, from 1 |
//! | 4 | the archive's fingerprint: the first bytes of the SHA-256 of the bodies of its passphrase packets |
//! | 20 | the share of the secret and its check |
//! | 4 | the first bytes of the SHA-256 of `countersign share` and all of the above |
//!
//! in words of eleven bits each, the last one filled up with zeros.

mod field;
mod share;
mod words;

use std::fmt;
use std::str::FromStr;

use countersign_crypto::{Random, RandomError, digest};
use countersign_vault::Passphrase;
use zeroize::Zeroizing;

use crate::limits::MAX_SHARES;

pub use share::{SHARE_WORDS, Share, ShareError};

/// Bytes of the secret behind the passphrase.
const SECRET: usize = 16;
/// Bytes of its digest that are split with it.
const CHECK: usize = 4;
/// Bytes that are split.
const SPLIT: usize = SECRET + CHECK;

/// How many shares there are, and how many of them are needed: `3/5` is three of five.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scheme {
    needed: u8,
    shares: u8,
}

/// Says why a scheme cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write how many shares are needed, and of how many: 3/5; from 2/2 to {MAX_SHARES}/{MAX_SHARES}")]
pub struct SchemeError;

impl Scheme {
    /// Checks the numbers: at least two are needed, no more than there are, and at most [`MAX_SHARES`].
    ///
    /// # Errors
    /// [`SchemeError`].
    pub fn new(needed: u8, shares: u8) -> Result<Self, SchemeError> {
        if (2..=shares).contains(&needed) && shares <= MAX_SHARES {
            Ok(Self { needed, shares })
        } else {
            Err(SchemeError)
        }
    }

    /// Returns how many shares are needed.
    #[must_use]
    pub fn needed(self) -> u8 {
        self.needed
    }

    /// Returns how many shares there are.
    #[must_use]
    pub fn shares(self) -> u8 {
        self.shares
    }
}

impl FromStr for Scheme {
    type Err = SchemeError;

    fn from_str(text: &str) -> Result<Self, SchemeError> {
        let (needed, shares) = text.split_once('/').ok_or(SchemeError)?;
        Self::new(needed.parse().map_err(|_| SchemeError)?, shares.parse().map_err(|_| SchemeError)?)
    }
}

/// A generated secret, before it is split.
pub struct Shares {
    secret: Zeroizing<[u8; SECRET]>,
}

impl Shares {
    /// Draws a secret.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn draw(random: &mut dyn Random) -> Result<Self, RandomError> {
        let mut secret = Zeroizing::new([0; SECRET]);
        random.fill(&mut *secret)?;
        Ok(Self { secret })
    }

    /// Returns the archive's passphrase: twelve words with a space between them.
    ///
    /// # Errors
    /// Never, as twelve words are no empty passphrase; whoever calls need not know.
    pub fn passphrase(&self) -> Result<Passphrase, ShareError> {
        passphrase(&self.secret)
    }

    /// Splits the secret of the archive with this fingerprint.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn split(
        &self,
        scheme: Scheme,
        fingerprint: [u8; 4],
        random: &mut dyn Random,
    ) -> Result<Vec<Share>, RandomError> {
        let values = Zeroizing::new(checked(&self.secret));
        // One polynomial for every byte: its value at 0 is the byte, everything else is random.
        let mut coefficients = Zeroizing::new(vec![0; usize::from(scheme.needed - 1) * SPLIT]);
        random.fill(&mut coefficients)?;
        let share = |number: u8| {
            let mut points = Zeroizing::new([0; SPLIT]);
            for (at, (point, value)) in points.iter_mut().zip(values.iter()).enumerate() {
                let higher = coefficients.iter().skip(at).step_by(SPLIT).rev();
                let sum = higher.fold(0, |sum, coefficient| field::multiply(sum, number) ^ coefficient);
                *point = field::multiply(sum, number) ^ value;
            }
            Share::new(scheme.needed, number, fingerprint, points)
        };
        Ok((1..=scheme.shares).map(share).collect())
    }

    /// Puts shares together; more than are needed do no harm.
    ///
    /// # Errors
    /// [`ShareError::TooFew`], [`ShareError::Foreign`], [`ShareError::Repeated`], and [`ShareError::NotTheSecret`] when
    /// shares that are whole by themselves give no secret: one of them was made up.
    pub fn combine(shares: &[Share]) -> Result<Self, ShareError> {
        let Some(first) = shares.first() else { return Err(ShareError::TooFew { given: 0, needed: 2 }) };
        for (index, share) in shares.iter().enumerate() {
            if share.fingerprint() != first.fingerprint() || share.needed() != first.needed() {
                return Err(ShareError::Foreign { number: share.number() });
            }
            if shares.iter().take(index).any(|earlier| earlier.number() == share.number()) {
                return Err(ShareError::Repeated { number: share.number() });
            }
        }
        let needed = usize::from(first.needed());
        if shares.len() < needed {
            return Err(ShareError::TooFew { given: shares.len(), needed });
        }
        let values = at_zero(shares);
        let (secret, check) = values.split_at_checked(SECRET).unwrap_or((&[], &[]));
        let secret = Zeroizing::new(<[u8; SECRET]>::try_from(secret).map_err(|_| ShareError::NotTheSecret)?);
        if digest::sha256(&*secret).as_bytes().get(..CHECK) == Some(check) {
            Ok(Self { secret })
        } else {
            Err(ShareError::NotTheSecret)
        }
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shares(…)")
    }
}

/// The secret with the first bytes of its digest.
fn checked(secret: &[u8; SECRET]) -> [u8; SPLIT] {
    let mut values = [0; SPLIT];
    let digest = digest::sha256(secret);
    for (value, byte) in values.iter_mut().zip(secret.iter().chain(digest.as_bytes().iter().take(CHECK))) {
        *value = *byte;
    }
    values
}

/// The polynomials' values at 0 (Lagrange); every share beyond the needed ones has to fit as well.
fn at_zero(shares: &[Share]) -> Zeroizing<[u8; SPLIT]> {
    let mut values = Zeroizing::new([0; SPLIT]);
    for share in shares {
        let others = shares.iter().map(Share::number).filter(|other| *other != share.number());
        let (above, below) = others.fold((1, 1), |(above, below), other| {
            (field::multiply(above, other), field::multiply(below, other ^ share.number()))
        });
        let weight = field::multiply(above, field::inverse(below));
        for (value, point) in values.iter_mut().zip(share.points()) {
            *value ^= field::multiply(*point, weight);
        }
    }
    values
}

/// Twelve words: 128 bits and four bits of their digest (BIP-39).
fn passphrase(secret: &[u8; SECRET]) -> Result<Passphrase, ShareError> {
    let mut bytes = Zeroizing::new(secret.to_vec());
    bytes.push(digest::sha256(secret).as_bytes().first().copied().unwrap_or_default());
    let words = Zeroizing::new(words::of(&bytes, 12));
    Passphrase::new(words.as_bytes().to_vec()).map_err(|_| ShareError::NotTheSecret)
}

#[cfg(test)]
mod tests {
    use countersign_crypto::SystemRandom;

    use super::*;

    const FINGERPRINT: [u8; 4] = [1, 2, 3, 4];

    fn fixed(secret: [u8; SECRET]) -> Shares {
        Shares { secret: Zeroizing::new(secret) }
    }

    fn words(shares: &Shares) -> String {
        String::from_utf8(shares.passphrase().unwrap().bytes().to_vec()).unwrap()
    }

    #[test]
    fn passphrases_are_those_of_the_published_vectors() {
        // The vectors of BIP-39.
        let about = format!("{}about", "abandon ".repeat(11));
        assert_eq!(words(&fixed([0; SECRET])), about);
        assert_eq!(words(&fixed([0xff; SECRET])), format!("{}wrong", "zoo ".repeat(11)));
        assert_eq!(
            words(&fixed([0x7f; SECRET])),
            "legal winner thank year wave sausage worth useful legal winner thank yellow"
        );
        assert_eq!(
            words(&fixed([0x80; SECRET])),
            "letter advice cage absurd amount doctor acoustic avoid letter advice cage above"
        );
    }

    #[test]
    fn any_shares_of_the_needed_number_give_the_secret_and_more_do_too() {
        for (needed, count) in [(2, 2), (2, 3), (3, 5), (5, 5), (16, 16), (2, 16)] {
            let drawn = Shares::draw(&mut SystemRandom).unwrap();
            let shares = drawn.split(Scheme::new(needed, count).unwrap(), FINGERPRINT, &mut SystemRandom).unwrap();
            assert_eq!(shares.len(), usize::from(count));
            for chosen in 0_u32..1 << shares.len().min(10) {
                let chosen: Vec<Share> = (0..)
                    .zip(&shares)
                    .filter(|(at, _)| chosen >> at & 1 == 1)
                    .map(|(_, share)| share.clone())
                    .collect();
                match Shares::combine(&chosen) {
                    Ok(secret) => assert!(chosen.len() >= usize::from(needed) && secret.secret == drawn.secret),
                    Err(error) => {
                        assert!(chosen.len() < usize::from(needed), "{error}");
                        assert!(matches!(error, ShareError::TooFew { .. }), "{error}");
                    }
                }
            }
            assert_eq!(Shares::combine(&shares).unwrap().secret, drawn.secret);
        }
    }

    /// Worked out by hand: two shares of one byte 0x53 with the slope 0xca have 0x53 ^ 0xca and 0x53 ^ 2·0xca, and
    /// 2·0xca is 0x8f in the field of AES (0xca · 2 = 0x194, less the polynomial 0x11b).
    #[test]
    fn shares_are_the_values_of_the_polynomial() {
        struct Slope;
        impl Random for Slope {
            fn fill(&mut self, out: &mut [u8]) -> Result<(), RandomError> {
                out.fill(0xca);
                Ok(())
            }
        }
        let shares = fixed([0x53; SECRET]).split(Scheme::new(2, 3).unwrap(), FINGERPRINT, &mut Slope).unwrap();
        assert_eq!(shares[0].points()[0], 0x53 ^ 0xca);
        assert_eq!(shares[1].points()[0], 0x53 ^ 0x8f);
        assert_eq!(shares[2].points()[0], 0x53 ^ 0xca ^ 0x8f);
    }

    #[test]
    fn fewer_shares_than_needed_leave_every_secret_possible() {
        // For one share of two and any other secret there is a slope that gives the same share.
        let share = fixed([7; SECRET]).split(Scheme::new(2, 2).unwrap(), FINGERPRINT, &mut SystemRandom).unwrap();
        let point = share[0].points()[0];
        for secret in 0..=255_u8 {
            let slope = point ^ secret;
            assert_eq!(field::multiply(slope, 1) ^ secret, point);
        }
    }

    #[test]
    fn shares_that_do_not_belong_together_are_told_apart_from_too_few() {
        let scheme = Scheme::new(3, 5).unwrap();
        let split =
            |fingerprint| Shares::draw(&mut SystemRandom).unwrap().split(scheme, fingerprint, &mut SystemRandom);
        let (ours, theirs, twin) = (split(FINGERPRINT).unwrap(), split([9; 4]).unwrap(), split(FINGERPRINT).unwrap());
        let combine =
            |shares: &[&Share]| Shares::combine(&shares.iter().map(|share| (*share).clone()).collect::<Vec<_>>());
        let mixed = combine(&[&ours[0], &ours[1], &theirs[2]]).unwrap_err();
        assert_eq!(mixed, ShareError::Foreign { number: 3 });
        let repeated = combine(&[&ours[0], &ours[1], &ours[1]]).unwrap_err();
        assert_eq!(repeated, ShareError::Repeated { number: 2 });
        let wrong = combine(&[&ours[0], &ours[1], &twin[2]]).unwrap_err();
        assert_eq!(wrong, ShareError::NotTheSecret);
        let one_too_many = combine(&[&ours[0], &ours[1], &ours[2], &twin[3]]).unwrap_err();
        assert_eq!(one_too_many, ShareError::NotTheSecret);
        assert_eq!(Shares::combine(&[]).unwrap_err(), ShareError::TooFew { given: 0, needed: 2 });
    }

    #[test]
    fn schemes_are_written_as_three_of_five() {
        assert_eq!("3/5".parse(), Scheme::new(3, 5));
        for text in ["", "3", "3/", "/5", "1/5", "0/0", "6/5", "3/17", "3/5/7", "-1/5", "a/b", "256/256", "3 / 5"] {
            assert_eq!(text.parse::<Scheme>(), Err(SchemeError), "{text:?}");
        }
    }

    #[test]
    fn nothing_secret_is_printed() {
        let drawn = fixed([0x53; SECRET]);
        let shares = drawn.split(Scheme::new(2, 2).unwrap(), FINGERPRINT, &mut SystemRandom).unwrap();
        assert_eq!(format!("{drawn:?}"), "Shares(…)");
        // Words of a share are words such as "number", too.
        assert_eq!(format!("{:?}", shares[0]), "Share { needed: 2, number: 1, fingerprint: [1, 2, 3, 4], .. }");
    }
}
