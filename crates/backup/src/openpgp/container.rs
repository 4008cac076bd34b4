//! What kind of archive a file is, and opening one with a passphrase.

use std::fmt;

use countersign_crypto::digest;
use countersign_vault::Passphrase;
use pgp::composed::{PlainSessionKey, RawSessionKey, decrypt_session_key_with_password};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PacketHeader, SymEncryptedProtectedData, SymKeyEncryptedSessionKey};
use pgp::types::{Password, Seipdv1ReadMode, StringToKey, Tag};
use zeroize::{Zeroize, Zeroizing};

use super::packet::{self, Packet};
use super::{OpenError, armor, plain};
use crate::limits::{MAX_FILE_BYTES, MAX_PASSPHRASES};

const GZIP: &[u8] = &[0x1f, 0x8b];
const TAR: &[u8] = b"ustar";
const TAR_AT: usize = 257;

/// An archive, by what opens it.
pub enum Container {
    /// Nothing: it is a tar archive, compressed or not.
    Plain(Zeroizing<Vec<u8>>),
    /// A passphrase.
    Locked(Locked),
    /// Only gpg can decrypt it, and why: it is encrypted to a public key, or in a form of newer versions.
    NeedsGpg(&'static str),
}

/// A message that a passphrase opens.
pub struct Locked {
    passphrases: Vec<SymKeyEncryptedSessionKey>,
    fingerprint: [u8; 4],
    data: Vec<u8>,
}

impl Container {
    /// Looks at a file and takes it apart as far as that needs no secret.
    ///
    /// # Errors
    /// Every [`OpenError`] but [`OpenError::WrongPassphrase`].
    pub fn read(file: &[u8]) -> Result<Self, OpenError> {
        if file.len() > MAX_FILE_BYTES {
            return Err(OpenError::TooLarge { limit: MAX_FILE_BYTES });
        }
        if is_tar(file) {
            return Ok(Self::Plain(Zeroizing::new(file.to_vec())));
        }
        if armor::is_armored(file) {
            return Self::of_message(&armor::remove(file)?);
        }
        Self::of_message(file)
    }

    fn of_message(message: &[u8]) -> Result<Self, OpenError> {
        if !begins_like_a_message(message) {
            return Err(OpenError::NotAnArchive);
        }
        let mut packets = packet::read(message)?;
        packets.retain(|packet| packet.tag != packet::MARKER);
        let Some(data) = packets.pop() else { return Err(OpenError::NotAnArchive) };
        if packets.iter().any(|packet| !matches!(packet.tag, packet::RECIPIENT | packet::PASSPHRASE)) {
            return Err(OpenError::Damaged("its packets are not those of one encrypted message"));
        }
        match (data.tag, data.body.first()) {
            (packet::PROTECTED, Some(1)) => {}
            (packet::PROTECTED, Some(2)) | (packet::GNUPG_AEAD, _) => {
                return Ok(Self::NeedsGpg("it is encrypted in a form that gpg 2.2 does not write"));
            }
            (packet::UNPROTECTED, _) => return Err(OpenError::Damaged("nothing in it shows whether it was changed")),
            _ => return Err(OpenError::Damaged("it ends without encrypted data")),
        }
        let locked: Vec<&Packet> = packets.iter().filter(|packet| packet.tag == packet::PASSPHRASE).collect();
        if locked.is_empty() {
            return Ok(Self::NeedsGpg("it is encrypted to somebody's public key"));
        }
        if locked.len() > MAX_PASSPHRASES {
            return Err(OpenError::Damaged("it is encrypted to too many passphrases"));
        }
        let mut seen = Vec::new();
        let mut passphrases = Vec::new();
        for packet in locked {
            seen.extend_from_slice(&packet.body);
            passphrases.push(session_key(&packet.body)?);
        }
        passphrases.retain(is_affordable);
        if passphrases.is_empty() {
            return Ok(Self::NeedsGpg("its passphrase is turned into a key in a way that gpg 2.2 does not know"));
        }
        let fingerprint = *digest::sha256(&seen).as_bytes().first_chunk().unwrap_or(&[0; 4]);
        Ok(Self::Locked(Locked { passphrases, fingerprint, data: data.body }))
    }
}

/// Tells whether bytes are a tar archive, compressed or not.
fn is_tar(bytes: &[u8]) -> bool {
    bytes.starts_with(GZIP) || bytes.get(TAR_AT..).is_some_and(|bytes| bytes.starts_with(TAR))
}

/// Tells whether the first byte is that of a packet that encrypted messages begin with.
fn begins_like_a_message(bytes: &[u8]) -> bool {
    let tag = match bytes.first() {
        Some(first @ 0xc0..=0xff) => first & 0x3f,
        Some(first @ 0x80..=0xbf) => (first >> 2) & 0x0f,
        _ => return false,
    };
    matches!(
        tag,
        packet::RECIPIENT
            | packet::PASSPHRASE
            | packet::MARKER
            | packet::UNPROTECTED
            | packet::PROTECTED
            | packet::GNUPG_AEAD
    )
}

fn header(tag: Tag, body: &[u8]) -> PacketHeader {
    PacketHeader::new_fixed(tag, u32::try_from(body.len()).unwrap_or(u32::MAX))
}

fn session_key(body: &[u8]) -> Result<SymKeyEncryptedSessionKey, OpenError> {
    SymKeyEncryptedSessionKey::try_from_reader(header(Tag::SymKeyEncryptedSessionKey, body), body)
        .map_err(|_| OpenError::Damaged("the packet for the passphrase is malformed"))
}

/// Accepts what gpg 2.2 writes; Argon2 could ask for all the memory of the machine.
fn is_affordable(packet: &SymKeyEncryptedSessionKey) -> bool {
    matches!(packet, SymKeyEncryptedSessionKey::V4 { .. })
        && matches!(
            packet.s2k(),
            Some(StringToKey::Simple { .. } | StringToKey::Salted { .. } | StringToKey::IteratedAndSalted { .. })
        )
}

impl Locked {
    /// Returns four bytes that tell this message from others; every new message has others, whatever its content.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 4] {
        self.fingerprint
    }

    /// Decrypts the archive and checks that nobody changed it.
    ///
    /// # Errors
    /// [`OpenError::WrongPassphrase`], [`OpenError::Damaged`], [`OpenError::TooLarge`].
    pub fn open(&self, passphrase: &Passphrase) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let password = Password::from(passphrase.bytes());
        for packet in &self.passphrases {
            let Ok(PlainSessionKey::V3_4 { sym_alg, key }) = &decrypt_session_key_with_password(packet, &password)
            else {
                continue;
            };
            if self.fits(*sym_alg, key) {
                return self.decrypt(*sym_alg, key);
            }
        }
        Err(OpenError::WrongPassphrase)
    }

    /// Tells whether a key decrypts the first bytes to what they must be: random bytes, the last two of which are repeated.
    fn fits(&self, algorithm: SymmetricKeyAlgorithm, key: &RawSessionKey) -> bool {
        let block = algorithm.block_size();
        // Every algorithm with a block and a key has its place in the table of the standard.
        if block == 0 || algorithm.key_size() == 0 || key.len() != algorithm.key_size() {
            return false;
        }
        let Some(first) = self.data.get(1..block + 3) else { return false };
        let mut first = first.to_vec();
        let decrypted = algorithm.decrypt_with_iv_regular(key.as_ref(), &vec![0; block], &mut first);
        let fits = decrypted.is_ok() && first.get(block - 2..block) == first.get(block..block + 2);
        first.zeroize();
        fits
    }

    fn decrypt(&self, algorithm: SymmetricKeyAlgorithm, key: &RawSessionKey) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        const CHANGED: OpenError = OpenError::Damaged("its check value does not fit");
        let tag = Tag::SymEncryptedProtectedData;
        let data = SymEncryptedProtectedData::try_from_reader(header(tag, &self.data), self.data.as_slice());
        let mode = Seipdv1ReadMode::CheckFirst { max_message_size: self.data.len() };
        let inner = data.and_then(|data| data.decrypt(key.as_ref(), Some(algorithm), mode)).map_err(|_| CHANGED)?;
        plain::read(&Zeroizing::new(inner))
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(bytes) => write!(f, "Plain({} bytes)", bytes.len()),
            Self::Locked(locked) => locked.fmt(f),
            Self::NeedsGpg(reason) => write!(f, "NeedsGpg({reason:?})"),
        }
    }
}

impl fmt::Debug for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}
