//! JWE in the one profile that the reference's signer keeps its keys in: compact, PBES2-HS256+A128KW, A256GCM.
//!
//! RFC 7516, RFC 7518 4.8 and 5.3; Notary protocol, signer database.

use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _};
use aes_kw::KwAes128;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_crypto::{KeyType, PrivateKey, Random};
use pbkdf2::pbkdf2_hmac;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::KeyFileError;
use crate::{MAX_BODY, MAX_ITERATIONS};

/// `keywrap_alg` in the signer's database.
pub const KEY_WRAP: &str = "PBES2-HS256+A128KW";
/// `encryption_alg` in the signer's database.
pub const ENCRYPTION: &str = "A256GCM";

/// Rounds of PBKDF2 that the reference writes.
const ITERATIONS: u32 = 8192;
/// Salt bytes that the reference writes, and the fewest and most that are read (RFC 7518, 4.8.1.1).
const SALT: usize = 12;
const SALT_RANGE: std::ops::RangeInclusive<usize> = 8..=64;
const KEK: usize = 16;
const CEK: usize = 32;
const WRAPPED: usize = CEK + 8;
const IV: usize = 12;
const TAG: usize = 16;

/// The protected header, in the reference's order of members; nothing else may be in it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    enc: String,
    p2c: u64,
    p2s: String,
}

/// Encrypts bytes with a passphrase.
///
/// # Errors
/// When the passphrase is empty or there is no randomness.
pub fn seal(text: &[u8], passphrase: &[u8], random: &mut dyn Random) -> Result<String, KeyFileError> {
    if passphrase.is_empty() {
        return Err(KeyFileError::EmptyPassphrase);
    }
    let (mut salt, mut iv, mut cek) = ([0; SALT], [0; IV], Zeroizing::new([0; CEK]));
    random.fill(&mut salt)?;
    random.fill(&mut iv)?;
    random.fill(cek.as_mut_slice())?;
    let header = Header {
        alg: KEY_WRAP.to_owned(),
        enc: ENCRYPTION.to_owned(),
        p2c: ITERATIONS.into(),
        p2s: URL_SAFE_NO_PAD.encode(salt),
    };
    let header = serde_json::to_vec(&header).map_err(|_| KeyFileError::NotWritten)?;
    let header = URL_SAFE_NO_PAD.encode(header);

    let mut wrapped = [0; WRAPPED];
    let kek = kek(passphrase, &salt, ITERATIONS);
    KwAes128::new_from_slice(kek.as_slice())
        .map_err(|_| KeyFileError::NotWritten)?
        .wrap_key(cek.as_slice(), &mut wrapped)
        .map_err(|_| KeyFileError::NotWritten)?;
    let sealed = Aes256Gcm::new_from_slice(cek.as_slice())
        .map_err(|_| KeyFileError::NotWritten)?
        .encrypt(&iv.into(), Payload { msg: text, aad: header.as_bytes() })
        .map_err(|_| KeyFileError::NotWritten)?;
    let (ciphertext, tag) = sealed.split_at_checked(text.len()).ok_or(KeyFileError::NotWritten)?;
    let parts = [&wrapped[..], &iv, ciphertext, tag].map(|part| URL_SAFE_NO_PAD.encode(part));
    Ok(format!("{header}.{}", parts.join(".")))
}

/// Decrypts what [`seal`] or the reference's signer wrote.
///
/// # Errors
/// When the text is not a JWE of this profile, the passphrase does not fit, or the content was changed.
pub fn open(text: &str, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    if text.len() > 2 * MAX_BODY {
        return Err(KeyFileError::TooLarge("the JWE"));
    }
    let mut parts = text.split('.');
    let mut part = || parts.next().ok_or(KeyFileError::Malformed("it is not a compact JWE"));
    let (header, wrapped, iv, ciphertext, tag) = (part()?, part()?, part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(KeyFileError::Malformed("it is not a compact JWE"));
    }
    let (salt, iterations) = read_header(header)?;
    let wrapped: [u8; WRAPPED] = exact(wrapped)?;
    let iv: [u8; IV] = exact(iv)?;
    let tag: [u8; TAG] = exact(tag)?;
    let mut sealed = base64url(ciphertext)?;
    sealed.extend_from_slice(&tag);

    let mut cek = Zeroizing::new([0; CEK]);
    let kek = kek(passphrase, &salt, iterations);
    KwAes128::new_from_slice(kek.as_slice())
        .map_err(|_| KeyFileError::WrongPassphrase)?
        .unwrap_key(&wrapped, cek.as_mut_slice())
        .map_err(|_| KeyFileError::WrongPassphrase)?;
    Aes256Gcm::new_from_slice(cek.as_slice())
        .map_err(|_| KeyFileError::Damaged)?
        .decrypt(&iv.into(), Payload { msg: &sealed, aad: header.as_bytes() })
        .map(Zeroizing::new)
        .map_err(|_| KeyFileError::Damaged)
}

/// Encrypts a private key for the signer's database.
///
/// # Errors
/// As [`seal`].
pub fn seal_key(key: &PrivateKey, passphrase: &[u8], random: &mut dyn Random) -> Result<String, KeyFileError> {
    seal(&key.to_private_bytes()?, passphrase, random)
}

/// Decrypts a private key from the signer's database; the type is the row's `algorithm`.
///
/// # Errors
/// As [`open`], and when the content is not a key of that type.
pub fn open_key(text: &str, key_type: &KeyType, passphrase: &[u8]) -> Result<PrivateKey, KeyFileError> {
    Ok(PrivateKey::from_private_bytes(key_type, &open(text, passphrase)?)?)
}

/// Derives the key that wraps the content key; the salt is the algorithm's name, a zero byte and the salt of the header.
fn kek(passphrase: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<[u8; KEK]> {
    let salt = [KEY_WRAP.as_bytes(), &[0], salt].concat();
    let mut kek = Zeroizing::new([0; KEK]);
    pbkdf2_hmac::<sha2::Sha256>(passphrase, &salt, iterations, kek.as_mut_slice());
    kek
}

fn read_header(encoded: &str) -> Result<(Vec<u8>, u32), KeyFileError> {
    let header: Header = serde_json::from_slice(&base64url(encoded)?)
        .map_err(|_| KeyFileError::Malformed("the JWE header is not of the expected form"))?;
    for (found, expected) in [(&header.alg, KEY_WRAP), (&header.enc, ENCRYPTION)] {
        if found != expected {
            return Err(KeyFileError::UnsupportedEncryption(found.escape_debug().take(64).collect()));
        }
    }
    let iterations = u32::try_from(header.p2c)
        .ok()
        .filter(|count| (1..=MAX_ITERATIONS).contains(count))
        .ok_or(KeyFileError::Iterations { found: header.p2c, limit: MAX_ITERATIONS })?;
    let salt = base64url(&header.p2s)?;
    if !SALT_RANGE.contains(&salt.len()) {
        return Err(KeyFileError::Malformed("the JWE salt has an unusual length"));
    }
    Ok((salt, iterations))
}

fn base64url(text: &str) -> Result<Vec<u8>, KeyFileError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyFileError::Malformed("the JWE is not base64url"))
}

fn exact<const N: usize>(text: &str) -> Result<[u8; N], KeyFileError> {
    base64url(text)?.try_into().map_err(|_| KeyFileError::Malformed("a part of the JWE has the wrong length"))
}
