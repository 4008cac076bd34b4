//! Signatures of JSON web tokens (RFC 7515, RFC 7518), by asymmetric keys only.
//!
//! The key decides: an RSA key verifies PKCS#1 1.5 signatures, a key on a curve only what belongs to that curve. The name
//! of the algorithm in a token can only disagree, and thereby make the signature invalid.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, VerificationAlgorithm,
};
use der::Encode as _;
use der::asn1::UintRef;

use crate::curve::Curve;
use crate::digest::sha256;
use crate::key_type::KeyType;
use crate::public_key::{KeyError, PublicKey};
use crate::spki::{SubjectPublicKey, ec_der, rsa_der};
use crate::verifying_key::SignatureError;

/// How much of a key's digest makes its libtrust id, in bytes.
const ID_BYTES: usize = 30;

/// Names an algorithm of RFC 7518 that verifies with a public key; `none` and `HS…` have no name here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JwsAlgorithm {
    /// RSA PKCS#1 1.5 with SHA-256.
    Rs256,
    /// RSA PKCS#1 1.5 with SHA-384.
    Rs384,
    /// RSA PKCS#1 1.5 with SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
}

impl JwsAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 6] = [Self::Rs256, Self::Rs384, Self::Rs512, Self::Es256, Self::Es384, Self::Es512];

    /// Finds the algorithm with exactly this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }
}

/// A public key that passed every check and may verify tokens.
#[derive(Debug, Clone)]
pub struct JwsKey {
    spki: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    /// The PKCS#1 form.
    Rsa(Vec<u8>),
    Ec(Curve, Vec<u8>),
}

impl JwsKey {
    /// Takes a DER `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// When the key is of another kind, or too weak to be accepted.
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        // Applies every rule about keys.
        let key = PublicKey::from_spki_der(der)?;
        let kind = match SubjectPublicKey::parse(key.key_type(), der)? {
            SubjectPublicKey::Rsa { pkcs1 } => Kind::Rsa(pkcs1.to_vec()),
            SubjectPublicKey::Ec { curve, point } => Kind::Ec(curve, point.to_vec()),
        };
        Ok(Self { spki: der.to_vec(), kind })
    }

    /// Takes the modulus and exponent of an RSA key, as RFC 7518 (6.3.1) writes them.
    ///
    /// # Errors
    /// When they are no acceptable key.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let malformed = |error: der::Error| KeyError::malformed(&KeyType::Rsa, error);
        let key = pkcs1::RsaPublicKeyRef {
            modulus: UintRef::new(modulus).map_err(malformed)?,
            public_exponent: UintRef::new(exponent).map_err(malformed)?,
        };
        Self::from_spki_der(&rsa_der(&key.to_der().map_err(malformed)?).map_err(malformed)?)
    }

    /// Takes the coordinates of a point, each as long as its curve wants (RFC 7518, 6.2.1).
    ///
    /// # Errors
    /// When they are no acceptable key.
    pub fn from_point(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        if x.len() != curve.field_length() || y.len() != curve.field_length() {
            return Err(KeyError::malformed(&KeyType::Ecdsa, "a coordinate has not the length of its curve"));
        }
        let point = [&[4], x, y].concat();
        Self::from_spki_der(&ec_der(curve, &point).map_err(|error| KeyError::malformed(&KeyType::Ecdsa, error))?)
    }

    /// Verifies a signature over a token's first two parts with the dot between them.
    ///
    /// # Errors
    /// When the algorithm is not one of this key, or the signature is not by it over this message.
    pub fn verify(&self, algorithm: JwsAlgorithm, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let (verification, key): (&'static dyn VerificationAlgorithm, &[u8]) = match (&self.kind, algorithm) {
            (Kind::Rsa(key), JwsAlgorithm::Rs256) => (&RSA_PKCS1_2048_8192_SHA256, key),
            (Kind::Rsa(key), JwsAlgorithm::Rs384) => (&RSA_PKCS1_2048_8192_SHA384, key),
            (Kind::Rsa(key), JwsAlgorithm::Rs512) => (&RSA_PKCS1_2048_8192_SHA512, key),
            (Kind::Ec(Curve::P256, point), JwsAlgorithm::Es256) => (&ECDSA_P256_SHA256_FIXED, point),
            (Kind::Ec(Curve::P384, point), JwsAlgorithm::Es384) => (&ECDSA_P384_SHA384_FIXED, point),
            (Kind::Ec(Curve::P521, point), JwsAlgorithm::Es512) => (&ECDSA_P521_SHA512_FIXED, point),
            (kind, _) => {
                let key_type = if matches!(kind, Kind::Rsa(_)) { KeyType::Rsa } else { KeyType::Ecdsa };
                return Err(SignatureError::MethodMismatch { key_type, method: algorithm.as_str().into() });
            }
        };
        let key = ParsedPublicKey::new(verification, key).map_err(|_| SignatureError::Invalid)?;
        key.verify_sig(message, signature).map_err(|_| SignatureError::Invalid)
    }

    /// Returns the DER `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the id that libtrust gives the key: the first 240 bits of the SHA-256 of its DER, in base 32, twelve groups of
    /// four with colons between them.
    #[must_use]
    pub fn libtrust_id(&self) -> String {
        let digest = sha256(&self.spki);
        let mut text = String::with_capacity(59);
        for (index, letter) in base32(digest.as_bytes().get(..ID_BYTES).unwrap_or_default()).enumerate() {
            if index > 0 && index % 4 == 0 {
                text.push(':');
            }
            text.push(letter);
        }
        text
    }
}

/// RFC 4648 base 32, for lengths that are multiples of five bytes.
fn base32(bytes: &[u8]) -> impl Iterator<Item = char> + '_ {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    bytes.chunks_exact(5).flat_map(|group| {
        let number = group.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        (0..8).rev().filter_map(move |place| {
            let index = usize::try_from(number >> (5 * place) & 31).ok()?;
            ALPHABET.get(index).map(|letter| char::from(*letter))
        })
    })
}

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData, SigningKey};

    use super::*;

    #[test]
    fn only_asymmetric_algorithms_have_names_and_each_exactly_one() {
        for name in ["none", "None", "", "HS256", "rs256", "RS256 ", "PS256", "EdDSA", "ES256K"] {
            assert_eq!(JwsAlgorithm::parse(name), None, "{name}");
        }
        for algorithm in JwsAlgorithm::ALL {
            assert_eq!(JwsAlgorithm::parse(algorithm.as_str()), Some(algorithm));
        }
    }

    #[test]
    fn a_key_verifies_with_its_own_algorithm_only_and_no_other_message_or_signature() {
        let pair = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA384, rcgen::RsaKeySize::_2048).unwrap();
        let key = JwsKey::from_spki_der(&pair.subject_public_key_info()).unwrap();
        let signature = pair.sign(b"head.body").unwrap();
        key.verify(JwsAlgorithm::Rs384, b"head.body", &signature).unwrap();
        assert_eq!(key.verify(JwsAlgorithm::Rs384, b"head.bodz", &signature), Err(SignatureError::Invalid));
        for algorithm in JwsAlgorithm::ALL.into_iter().filter(|other| *other != JwsAlgorithm::Rs384) {
            assert!(key.verify(algorithm, b"head.body", &signature).is_err(), "{algorithm:?}");
        }
        for nothing in [&[][..], &[0; 64], &[0; 256]] {
            assert!(key.verify(JwsAlgorithm::Rs384, b"head.body", nothing).is_err());
        }
    }

    #[derive(der::Sequence)]
    struct Halves<'a> {
        r: UintRef<'a>,
        s: UintRef<'a>,
    }

    fn fixed_width(signature: &[u8], half: usize) -> Vec<u8> {
        let Halves { r, s } = der::Decode::from_der(signature).unwrap();
        let wide = |number: UintRef<'_>| [&vec![0; half - number.as_bytes().len()], number.as_bytes()].concat();
        [wide(r), wide(s)].concat()
    }

    #[test]
    fn a_curve_has_one_algorithm_and_zeros_are_no_signature() {
        let pairs = [
            (&rcgen::PKCS_ECDSA_P256_SHA256, JwsAlgorithm::Es256, 64),
            (&rcgen::PKCS_ECDSA_P384_SHA384, JwsAlgorithm::Es384, 96),
            (&rcgen::PKCS_ECDSA_P521_SHA512, JwsAlgorithm::Es512, 132),
        ];
        for (kind, own, length) in pairs {
            let pair = KeyPair::generate_for(kind).unwrap();
            let key = JwsKey::from_spki_der(&pair.subject_public_key_info()).unwrap();
            // rcgen signs in DER, which a token never has.
            let der = pair.sign(b"m").unwrap();
            assert_eq!(key.verify(own, b"m", &der), Err(SignatureError::Invalid));
            let signature = fixed_width(&der, length / 2);
            key.verify(own, b"m", &signature).unwrap();
            assert_eq!(key.verify(own, b"m", &vec![0; length]), Err(SignatureError::Invalid));
            for other in JwsAlgorithm::ALL.into_iter().filter(|other| *other != own) {
                assert!(matches!(key.verify(other, b"m", &signature), Err(SignatureError::MethodMismatch { .. })));
            }
        }
    }

    #[test]
    fn keys_made_of_numbers_are_the_keys_that_have_them() {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let spki = pair.subject_public_key_info();
        let (rest, y) = spki.split_at(spki.len() - 32);
        let x = &rest[rest.len() - 32..];
        assert_eq!(JwsKey::from_point(Curve::P256, x, y).unwrap().spki_der(), spki);
        assert!(JwsKey::from_point(Curve::P256, y, x).is_err(), "not on the curve");
        assert!(JwsKey::from_point(Curve::P384, x, y).is_err());
        assert!(JwsKey::from_rsa(&[0xC1; 256], &[1, 0, 1]).is_ok());
        for (modulus, exponent) in [(&[0xC1; 128][..], &[1, 0, 1][..]), (&[0xC1; 256], &[2]), (&[0xC1; 256], &[])] {
            assert!(JwsKey::from_rsa(modulus, exponent).is_err());
        }
    }
}
