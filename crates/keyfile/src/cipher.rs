//! The block ciphers in CBC mode that key files use.

use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, BlockModeEncrypt as _, KeyIvInit};
use zeroize::Zeroizing;

use crate::error::KeyFileError;

/// The longest key of any cipher here.
pub(crate) const MAX_KEY: usize = 32;

/// A block cipher with its key length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cipher {
    Des,
    TripleDes,
    Aes128,
    Aes192,
    Aes256,
}

impl Cipher {
    pub(crate) const fn key_length(self) -> usize {
        match self {
            Self::Des => 8,
            Self::Aes128 => 16,
            Self::TripleDes | Self::Aes192 => 24,
            Self::Aes256 => 32,
        }
    }

    pub(crate) const fn block_length(self) -> usize {
        match self {
            Self::Des | Self::TripleDes => 8,
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
        }
    }

    /// Decrypts and takes the padding off; without integrity, a wrong key is only noticed by that, and not always.
    pub(crate) fn decrypt(self, key: &[u8], iv: &[u8], text: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyFileError> {
        if text.is_empty() || !text.len().is_multiple_of(self.block_length()) {
            return Err(KeyFileError::Malformed("the ciphertext is not a whole number of blocks"));
        }
        let mut buffer = Zeroizing::new(text.to_vec());
        let length = match self {
            Self::Des => decrypt::<cbc::Decryptor<des::Des>>(key, iv, &mut buffer),
            Self::TripleDes => decrypt::<cbc::Decryptor<des::TdesEde3>>(key, iv, &mut buffer),
            Self::Aes128 => decrypt::<cbc::Decryptor<aes::Aes128>>(key, iv, &mut buffer),
            Self::Aes192 => decrypt::<cbc::Decryptor<aes::Aes192>>(key, iv, &mut buffer),
            Self::Aes256 => decrypt::<cbc::Decryptor<aes::Aes256>>(key, iv, &mut buffer),
        }?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

fn decrypt<D>(key: &[u8], iv: &[u8], buffer: &mut [u8]) -> Result<usize, KeyFileError>
where
    D: KeyIvInit + BlockModeDecrypt,
{
    let decryptor = D::new_from_slices(key, iv).map_err(|_| KeyFileError::Malformed("the IV has the wrong length"))?;
    decryptor.decrypt_padded::<Pkcs7>(buffer).map(<[u8]>::len).map_err(|_| KeyFileError::WrongPassphrase)
}

/// Encrypts with AES-256, the only cipher that is written.
pub(crate) fn encrypt_aes256(key: &[u8], iv: &[u8], text: &[u8]) -> Result<Vec<u8>, KeyFileError> {
    let encryptor = cbc::Encryptor::<aes::Aes256>::new_from_slices(key, iv).map_err(|_| KeyFileError::NotWritten)?;
    let mut buffer = Zeroizing::new(vec![0; text.len() + 16]);
    buffer.get_mut(..text.len()).ok_or(KeyFileError::NotWritten)?.copy_from_slice(text);
    let ciphertext =
        encryptor.encrypt_padded::<Pkcs7>(&mut buffer, text.len()).map_err(|_| KeyFileError::NotWritten)?;
    Ok(ciphertext.to_vec())
}
