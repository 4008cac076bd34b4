//! Encrypted PKCS#8: PBES2 with PBKDF2 or scrypt and AES in CBC mode (RFC 8018; RFC 7914; Notary protocol, private key files).

use countersign_crypto::Random;
use der::asn1::OctetStringRef;
use der::{Decode as _, Encode as _, Sequence};
use pbkdf2::pbkdf2_hmac;
use pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt, ScryptParams};
use zeroize::Zeroizing;

use crate::cipher::{Cipher, MAX_KEY, encrypt_aes256};
use crate::error::KeyFileError;
use crate::{MAX_ITERATIONS, MAX_SCRYPT_MEMORY, MAX_SCRYPT_WORK};

/// Rounds of PBKDF2 that the reference writes, and the only ones its users can count on.
const COMPATIBLE_ITERATIONS: u32 = 2048;
/// Rounds of PBKDF2-HMAC-SHA256 of the strong form (OWASP, password storage, 2023).
const STRONG_ITERATIONS: u32 = 600_000;
/// Salt bytes of the reference; the strong form has twice as many.
const COMPATIBLE_SALT: usize = 8;
/// The cost of scrypt as it is written, N, r and p: 16 MiB, five times over (OWASP, password storage, 2023). openssl reads no
/// file that asks for more than 32 MiB.
const SCRYPT: (u64, u16, u16) = (1 << 14, 8, 5);

/// The outer structure, `EncryptedPrivateKeyInfo`.
#[derive(Sequence)]
struct Encrypted<'a> {
    scheme: pkcs5::EncryptionScheme,
    text: &'a OctetStringRef,
}

/// How hard the key is to guess the passphrase of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strength {
    Compatible,
    Pbkdf2Sha256,
    Scrypt,
}

pub(crate) fn decrypt(body: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let encrypted = Encrypted::from_der(body).map_err(|error| unreadable(body, error))?;
    let pkcs5::EncryptionScheme::Pbes2(Parameters { kdf, encryption }) = encrypted.scheme else {
        return Err(KeyFileError::UnsupportedEncryption("PBES1".to_owned()));
    };
    let (cipher, iv) = match &encryption {
        EncryptionScheme::Aes128Cbc { iv } => (Cipher::Aes128, iv),
        EncryptionScheme::Aes192Cbc { iv } => (Cipher::Aes192, iv),
        EncryptionScheme::Aes256Cbc { iv } => (Cipher::Aes256, iv),
        other => return Err(KeyFileError::UnsupportedEncryption(format!("cipher {}", other.oid()))),
    };
    let key = match &kdf {
        Kdf::Pbkdf2(params) => {
            check(params, cipher)?;
            derive(params, cipher.key_length(), passphrase)?
        }
        Kdf::Scrypt(params) => scrypt_key(params, cipher, passphrase)?,
        other => return Err(KeyFileError::UnsupportedEncryption(format!("key derivation {}", other.oid()))),
    };
    cipher.decrypt(&key, iv, encrypted.text.as_bytes())
}

pub(crate) fn encrypt(
    text: &[u8],
    passphrase: &[u8],
    strength: Strength,
    random: &mut dyn Random,
) -> Result<Vec<u8>, KeyFileError> {
    if passphrase.is_empty() {
        return Err(KeyFileError::EmptyPassphrase);
    }
    let mut salt = match strength {
        Strength::Compatible => vec![0; COMPATIBLE_SALT],
        Strength::Pbkdf2Sha256 | Strength::Scrypt => vec![0; 2 * COMPATIBLE_SALT],
    };
    let mut iv = [0; 16];
    random.fill(&mut salt)?;
    random.fill(&mut iv)?;
    let salt = Salt::new(&salt).map_err(|_| KeyFileError::NotWritten)?;
    let pbkdf2 = |salt, iteration_count, prf| Pbkdf2Params { salt, iteration_count, key_length: None, prf };
    let (kdf, key) = match strength {
        Strength::Compatible => derived(pbkdf2(salt, COMPATIBLE_ITERATIONS, Pbkdf2Prf::HmacWithSha1), passphrase)?,
        Strength::Pbkdf2Sha256 => derived(pbkdf2(salt, STRONG_ITERATIONS, Pbkdf2Prf::HmacWithSha256), passphrase)?,
        Strength::Scrypt => {
            let (cost_parameter, block_size, parallelization) = SCRYPT;
            let params = ScryptParams { salt, cost_parameter, block_size, parallelization, key_length: None };
            let key = scrypt_key(&params, Cipher::Aes256, passphrase)?;
            (Kdf::Scrypt(params), key)
        }
    };
    let text = encrypt_aes256(&key, &iv, text)?;
    let encrypted = Encrypted {
        scheme: pkcs5::EncryptionScheme::Pbes2(Parameters { kdf, encryption: EncryptionScheme::Aes256Cbc { iv } }),
        text: OctetStringRef::new(&text).map_err(|_| KeyFileError::NotWritten)?,
    };
    encrypted.to_der().map_err(|_| KeyFileError::NotWritten)
}

fn derived(params: Pbkdf2Params, passphrase: &[u8]) -> Result<(Kdf, Zeroizing<Vec<u8>>), KeyFileError> {
    let key = derive(&params, Cipher::Aes256.key_length(), passphrase)?;
    Ok((Kdf::Pbkdf2(params), key))
}

/// Derives a key with scrypt, unless that takes more memory or time than a key is worth.
fn scrypt_key(params: &ScryptParams, cipher: Cipher, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let ScryptParams { cost_parameter: cost, block_size, parallelization, .. } = *params;
    let refused = || KeyFileError::Scrypt { cost, block_size, parallelization };
    let blocks = cost.checked_mul(block_size.into()).ok_or_else(refused)?;
    let memory = blocks.checked_mul(128).ok_or_else(refused)?;
    let work = blocks.checked_mul(parallelization.into()).ok_or_else(refused)?;
    if cost < 2 || !cost.is_power_of_two() || memory > MAX_SCRYPT_MEMORY || work > MAX_SCRYPT_WORK {
        return Err(refused());
    }
    if params.salt.as_bytes().is_empty() {
        return Err(KeyFileError::Malformed("the salt is empty"));
    }
    if params.key_length.is_some_and(|length| usize::from(length) != cipher.key_length()) {
        return Err(KeyFileError::Malformed("the key length does not fit the cipher"));
    }
    let log_n = u8::try_from(cost.trailing_zeros()).map_err(|_| refused())?;
    let checked = scrypt::Params::new(log_n, block_size.into(), parallelization.into()).map_err(|_| refused())?;
    let mut key = Zeroizing::new(vec![0; cipher.key_length()]);
    scrypt::scrypt(passphrase, params.salt.as_bytes(), &checked, &mut key).map_err(|_| refused())?;
    Ok(key)
}

/// Refuses parameters that protect nothing or take forever.
fn check(params: &Pbkdf2Params, cipher: Cipher) -> Result<(), KeyFileError> {
    if !(1..=MAX_ITERATIONS).contains(&params.iteration_count) {
        return Err(KeyFileError::Iterations { found: params.iteration_count.into(), limit: MAX_ITERATIONS });
    }
    if params.salt.as_bytes().is_empty() {
        return Err(KeyFileError::Malformed("the salt is empty"));
    }
    if params.key_length.is_some_and(|length| usize::from(length) != cipher.key_length()) {
        return Err(KeyFileError::Malformed("the key length does not fit the cipher"));
    }
    Ok(())
}

fn derive(params: &Pbkdf2Params, length: usize, passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let mut key = Zeroizing::new(vec![0; length.min(MAX_KEY)]);
    let (salt, rounds) = (params.salt.as_bytes(), params.iteration_count);
    match params.prf {
        Pbkdf2Prf::HmacWithSha1 => pbkdf2_hmac::<sha1::Sha1>(passphrase, salt, rounds, &mut key),
        Pbkdf2Prf::HmacWithSha224 => pbkdf2_hmac::<sha2::Sha224>(passphrase, salt, rounds, &mut key),
        Pbkdf2Prf::HmacWithSha256 => pbkdf2_hmac::<sha2::Sha256>(passphrase, salt, rounds, &mut key),
        Pbkdf2Prf::HmacWithSha384 => pbkdf2_hmac::<sha2::Sha384>(passphrase, salt, rounds, &mut key),
        Pbkdf2Prf::HmacWithSha512 => pbkdf2_hmac::<sha2::Sha512>(passphrase, salt, rounds, &mut key),
        other => return Err(KeyFileError::UnsupportedEncryption(format!("hash {}", other.oid()))),
    }
    Ok(key)
}

/// Tells an unknown algorithm or number of rounds from bytes that are no encrypted key at all.
fn unreadable(body: &[u8], error: der::Error) -> KeyFileError {
    #[derive(Sequence)]
    struct AnyEncrypted<'a> {
        scheme: der::AnyRef<'a>,
        text: &'a OctetStringRef,
    }
    match (AnyEncrypted::from_der(body), error.kind()) {
        (Ok(_), der::ErrorKind::OidUnknown { oid }) => KeyFileError::UnsupportedEncryption(oid.to_string()),
        (Ok(_), _) => KeyFileError::UnsupportedEncryption("unknown parameters".to_owned()),
        (Err(_), _) => KeyFileError::Malformed("it is not an encrypted PKCS#8 key"),
    }
}
