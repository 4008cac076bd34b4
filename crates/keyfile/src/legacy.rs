//! The encryption of old PEM files: RFC 1421 headers, openssl's key derivation. Only read, never written.

use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use crate::cipher::{Cipher, MAX_KEY};
use crate::error::KeyFileError;

/// The header that names cipher and IV.
pub(crate) const DEK_INFO: &str = "DEK-Info";

/// Bytes of the IV that salt the key.
const SALT: usize = 8;

pub(crate) fn decrypt(dek_info: &str, body: &[u8], passphrase: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
    let (name, iv) = dek_info.split_once(',').ok_or(KeyFileError::Malformed("the DEK-Info header has no comma"))?;
    let cipher = match name.trim() {
        "DES-CBC" => Cipher::Des,
        "DES-EDE3-CBC" => Cipher::TripleDes,
        "AES-128-CBC" => Cipher::Aes128,
        "AES-192-CBC" => Cipher::Aes192,
        "AES-256-CBC" => Cipher::Aes256,
        other => return Err(KeyFileError::UnsupportedEncryption(other.chars().take(32).collect())),
    };
    let iv = hex::decode(iv.trim()).map_err(|_| KeyFileError::Malformed("the IV is not hexadecimal"))?;
    let salt = iv
        .get(..SALT)
        .filter(|_| iv.len() == cipher.block_length())
        .ok_or(KeyFileError::Malformed("the IV has the wrong length"))?;
    let key = derive(passphrase, salt, cipher.key_length());
    cipher.decrypt(&key, &iv, body)
}

/// Chains MD5 over passphrase and salt, as openssl's `EVP_BytesToKey` does with one round.
fn derive(passphrase: &[u8], salt: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    let mut key = Zeroizing::new(Vec::with_capacity(MAX_KEY + 16));
    let mut last: Option<md5::digest::Output<Md5>> = None;
    while key.len() < length {
        let mut hasher = Md5::new();
        if let Some(last) = &last {
            hasher.update(last);
        }
        hasher.update(passphrase);
        hasher.update(salt);
        let digest = hasher.finalize();
        key.extend_from_slice(&digest);
        last = Some(digest);
    }
    key.truncate(length);
    key
}
