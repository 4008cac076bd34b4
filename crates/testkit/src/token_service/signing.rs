//! JSON web tokens, signed apart from the code under test.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, DnType, KeyPair, PublicKeyData, RsaKeySize, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Half of an ES256 signature, in bytes.
const P256_SCALAR: usize = 32;
/// How much of the key's digest makes its id, in bytes.
const KEY_ID_DIGEST: usize = 30;

/// The signature algorithm of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA of 2048 bits, PKCS#1 1.5, with SHA-256.
    Rs256,
}

/// How a token tells which key signed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyReference {
    /// By its id in the format of libtrust (`kid`).
    Id,
    /// By the signer's certificate (`x5c`).
    Certificate,
}

/// A key that signs tokens.
#[derive(Debug)]
pub struct TokenKey {
    pair: KeyPair,
    algorithm: TokenAlgorithm,
    reference: KeyReference,
    certificate: rcgen::Certificate,
    certificate_pem: String,
}

impl TokenKey {
    /// Makes a fresh key with a self-signed certificate.
    #[must_use]
    pub fn new(algorithm: TokenAlgorithm, reference: KeyReference) -> Self {
        let pair = match algorithm {
            TokenAlgorithm::Es256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            TokenAlgorithm::Rs256 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        }
        .expect("a key for tokens");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Countersign test tokens");
        let certificate = params.self_signed(&pair).expect("a certificate for the token key");
        let certificate_pem = certificate.pem();
        Self { pair, algorithm, reference, certificate, certificate_pem }
    }

    /// The self-signed certificate as PEM text.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The key's id: the first 240 bits of the SHA-256 of its public key, as twelve groups of base 32.
    #[must_use]
    pub fn id(&self) -> String {
        let digest = Sha256::digest(self.pair.subject_public_key_info());
        let text = base32(digest.get(..KEY_ID_DIGEST).unwrap_or_default());
        text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(":")
    }

    /// Signs the claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        let name = match self.algorithm {
            TokenAlgorithm::Es256 => "ES256",
            TokenAlgorithm::Rs256 => "RS256",
        };
        let header = match self.reference {
            KeyReference::Id => json!({"typ": "JWT", "alg": name, "kid": self.id()}),
            KeyReference::Certificate => {
                json!({"typ": "JWT", "alg": name, "x5c": [STANDARD.encode(self.certificate.der())]})
            }
        };
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair.sign(signed.as_bytes()).expect("a signature of a token");
        let signature = match self.algorithm {
            TokenAlgorithm::Es256 => fixed_width(&signature),
            TokenAlgorithm::Rs256 => signature,
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Turns an ECDSA signature from DER (a sequence of two integers) into two numbers of equal width (RFC 7518, 3.4).
fn fixed_width(der: &[u8]) -> Vec<u8> {
    let mut rest = der.get(2..).expect("a sequence");
    let mut signature = Vec::with_capacity(2 * P256_SCALAR);
    for _ in 0..2 {
        let length = usize::from(*rest.get(1).expect("the length of an integer"));
        let (integer, after) = rest.get(2..).and_then(|rest| rest.split_at_checked(length)).expect("an integer");
        let digits: Vec<u8> = integer.iter().copied().skip_while(|byte| *byte == 0).collect();
        signature.extend(std::iter::repeat_n(0, P256_SCALAR - digits.len()));
        signature.extend(digits);
        rest = after;
    }
    signature
}

/// RFC 4648 base 32 without padding, for lengths that are multiples of five bytes.
fn base32(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for group in bytes.chunks_exact(5) {
        let number = group.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        for place in (0..8).rev() {
            let index = usize::try_from(number >> (5 * place) & 31).unwrap_or(0);
            text.extend(ALPHABET.get(index).map(|letter| char::from(*letter)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{base32, fixed_width};

    #[test]
    fn base32_is_that_of_the_rfc() {
        assert_eq!(base32(b"fooba"), "MZXW6YTB");
    }

    #[test]
    fn short_and_padded_integers_get_their_full_width() {
        let signature = fixed_width(&[0x30, 0x08, 0x02, 0x01, 0x07, 0x02, 0x03, 0x00, 0x80, 0x01]);
        let mut expected = [0; 64];
        expected[31] = 7;
        expected[62] = 0x80;
        expected[63] = 1;
        assert_eq!(signature, expected);
    }
}
