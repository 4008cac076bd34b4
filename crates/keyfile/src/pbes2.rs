//! Encrypted PKCS#8: PBES2 with PBKDF2 and AES in CBC mode (RFC 8018; Notary protocol, private key files).

use countersign_crypto::Random;
use der::asn1::OctetStringRef;
use der::{Decode as _, Encode as _, Sequence};
use pbkdf2::pbkdf2_hmac;
use pkcs5::pbes2::{EncryptionScheme, Kdf, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt};
use zeroize::Zeroizing;

use crate::MAX_ITERATIONS;
use crate::cipher::{Cipher, MAX_KEY, encrypt_aes256};
use crate::error::KeyFileError;

/// Rounds of PBKDF2 that the reference writes, and the only ones its users can count on.
const COMPATIBLE_ITERATIONS: u32 = 2048;
/// Rounds of PBKDF2-HMAC-SHA256 of the strong form (OWASP, password storage, 2023).
const STRONG_ITERATIONS: u32 = 600_000;
/// Salt bytes of the reference; the strong form has twice as many.
const COMPATIBLE_SALT: usize = 8;

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
    Strong,
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
    let Kdf::Pbkdf2(params) = kdf else {
        return Err(KeyFileError::UnsupportedEncryption("key derivation other than PBKDF2".to_owned()));
    };
    check(&params, cipher)?;
    let key = derive(&params, cipher.key_length(), passphrase)?;
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
    let (salt_length, iteration_count, prf) = match strength {
        Strength::Compatible => (COMPATIBLE_SALT, COMPATIBLE_ITERATIONS, Pbkdf2Prf::HmacWithSha1),
        Strength::Strong => (2 * COMPATIBLE_SALT, STRONG_ITERATIONS, Pbkdf2Prf::HmacWithSha256),
    };
    let mut salt = vec![0; salt_length];
    let mut iv = [0; 16];
    random.fill(&mut salt)?;
    random.fill(&mut iv)?;
    let salt = Salt::new(&salt).map_err(|_| KeyFileError::NotWritten)?;
    let params = Pbkdf2Params { salt, iteration_count, key_length: None, prf };
    let key = derive(&params, Cipher::Aes256.key_length(), passphrase)?;
    let text = encrypt_aes256(&key, &iv, text)?;
    let encrypted = Encrypted {
        scheme: pkcs5::EncryptionScheme::Pbes2(Parameters {
            kdf: Kdf::Pbkdf2(params),
            encryption: EncryptionScheme::Aes256Cbc { iv },
        }),
        text: OctetStringRef::new(&text).map_err(|_| KeyFileError::NotWritten)?,
    };
    encrypted.to_der().map_err(|_| KeyFileError::NotWritten)
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
