//! RSA private keys.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use der::asn1::OctetStringRef;
use der::{AnyRef, Decode as _, Sequence};
use pkcs1::RsaPrivateKeyRef;
use zeroize::Zeroizing;

use super::{Algorithm, PrivateKeyError};
use crate::key_type::KeyType;
use crate::spki;

const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed(KeyType::Rsa);

pub(super) struct RsaKey {
    pair: RsaKeyPair,
    pkcs1: Zeroizing<Vec<u8>>,
}

/// The outer half of a PKCS#8 key, as the library writes it.
#[derive(Sequence)]
struct Envelope<'a> {
    version: u8,
    algorithm: AnyRef<'a>,
    key: &'a OctetStringRef,
}

impl RsaKey {
    pub(super) fn generate(bits: u16) -> Result<Self, PrivateKeyError> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            8192 => KeySize::Rsa8192,
            _ => return Err(PrivateKeyError::UnsupportedAlgorithm(Algorithm::Rsa { bits })),
        };
        let pair = RsaKeyPair::generate(size).map_err(|_| PrivateKeyError::Library)?;
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| PrivateKeyError::Library)?;
        let envelope = Envelope::from_der(pkcs8.as_ref()).map_err(|_| PrivateKeyError::Library)?;
        let pkcs1 = Zeroizing::new(envelope.key.as_bytes().to_vec());
        Ok(Self { pair, pkcs1 })
    }

    pub(super) fn from_pkcs1(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let key = RsaPrivateKeyRef::from_der(der).map_err(|_| MALFORMED)?;
        let public = der::Encode::to_der(&key.public_key()).map_err(|_| MALFORMED)?;
        spki::check_rsa(&KeyType::Rsa, &public)?;
        let pair = RsaKeyPair::from_der(der).map_err(|_| MALFORMED)?;
        Ok(Self { pair, pkcs1: Zeroizing::new(der.to_vec()) })
    }

    pub(super) fn pkcs1(&self) -> &[u8] {
        &self.pkcs1
    }

    pub(super) fn public_der(&self) -> Result<Vec<u8>, PrivateKeyError> {
        spki::rsa_der(self.pair.public_key().as_ref()).map_err(|_| PrivateKeyError::Library)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.sign_with(&RSA_PSS_SHA256, message)
    }

    pub(super) fn sign_certificate(&self, tbs: &[u8]) -> Option<Vec<u8>> {
        self.sign_with(&RSA_PKCS1_SHA256, tbs)
    }

    fn sign_with(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(encoding, &SystemRandom::new(), message, &mut signature).ok()?;
        Some(signature)
    }
}
