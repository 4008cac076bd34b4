//! Writing a message that a passphrase opens.

use countersign_crypto::{Random, RandomError};
use countersign_vault::Passphrase;
use pgp::composed::RawSessionKey;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{DataMode, PacketHeader, PacketTrait, SymEncryptedProtectedData, SymKeyEncryptedSessionKey};
use pgp::types::{Password, StringToKey, Tag};
use rand_core::{CryptoRng, RngCore};
use zeroize::Zeroizing;

/// The cipher: what `gpg --symmetric --cipher-algo AES256` takes.
const CIPHER: SymmetricKeyAlgorithm = SymmetricKeyAlgorithm::AES256;
/// The hash that the passphrase goes through.
const HASH: HashAlgorithm = HashAlgorithm::Sha512;
/// The most that the format can ask for: 65,011,712 bytes are hashed for every guess.
const COUNT: u8 = 255;
const SALT_BYTES: usize = 8;
const KEY_BYTES: usize = 32;

/// Says why a message could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The library refused.
    #[error("the archive could not be encrypted: {0}")]
    Library(String),
}

impl From<pgp::errors::Error> for SealError {
    fn from(error: pgp::errors::Error) -> Self {
        Self::Library(error.to_string())
    }
}

/// Encrypts a file with a passphrase: AES-256, SHA-512 iterated at the strongest count, with a modification detection code,
/// so that gpg 2.2 decrypts it (RFC 9580: version 4 session key packet, version 1 protected data).
///
/// # Errors
/// There is no randomness, or the file is too large for the format.
pub fn seal(file: &[u8], passphrase: &Passphrase, random: &mut dyn Random) -> Result<Vec<u8>, SealError> {
    let mut salt = [0; SALT_BYTES];
    random.fill(&mut salt)?;
    let mut session = Zeroizing::new(vec![0; KEY_BYTES]);
    random.fill(&mut session)?;
    let session = RawSessionKey::from(session);
    let s2k = StringToKey::IteratedAndSalted { hash_alg: HASH, salt, count: COUNT };
    let key = SymKeyEncryptedSessionKey::encrypt_v4(&Password::from(passphrase.bytes()), &session, s2k, CIPHER)?;

    let mut literal = Zeroizing::new(Vec::with_capacity(file.len() + 16));
    // Binary, no name, no date: nothing about the file stands beside it.
    literal.extend_from_slice(&[DataMode::Binary.into(), 0, 0, 0, 0, 0]);
    literal.extend_from_slice(file);
    let mut inner = Zeroizing::new(Vec::with_capacity(literal.len() + 16));
    let length = u32::try_from(literal.len()).map_err(|error| SealError::Library(error.to_string()))?;
    pgp::ser::Serialize::to_writer(&PacketHeader::new_fixed(Tag::LiteralData, length), &mut *inner)?;
    inner.extend_from_slice(&literal);

    let mut lent = Lent { random, failed: None };
    let data = SymEncryptedProtectedData::encrypt_seipdv1(&mut lent, CIPHER, session.as_ref(), &inner)?;
    if let Some(error) = lent.failed {
        return Err(error.into());
    }
    let mut message = Vec::new();
    key.to_writer_with_header(&mut message)?;
    data.to_writer_with_header(&mut message)?;
    Ok(message)
}

/// Our source of randomness as rPGP takes it, which knows no failure: it is asked for afterwards.
struct Lent<'a> {
    random: &'a mut dyn Random,
    failed: Option<RandomError>,
}

impl RngCore for Lent<'_> {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }

    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        if let Err(error) = self.random.fill(out) {
            self.failed = Some(error);
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.random.fill(out).map_err(|error| {
            self.failed = Some(error);
            rand_core::Error::from(std::num::NonZeroU32::MIN)
        })
    }
}

impl CryptoRng for Lent<'_> {}
