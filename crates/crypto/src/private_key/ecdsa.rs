//! ECDSA private keys.

use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{EcdsaKeyPair, KeyPair as _};
use der::{Decode as _, Encode as _};
use sec1::{EcParameters, EcPrivateKey};
use zeroize::Zeroizing;

use super::PrivateKeyError;
use crate::curve::Curve;
use crate::digest::sha256;
use crate::key_type::KeyType;
use crate::public_key::KeyError;
use crate::spki;

const MALFORMED: PrivateKeyError = PrivateKeyError::Malformed(KeyType::Ecdsa);

pub(super) struct EcdsaKey {
    curve: Curve,
    pair: EcdsaKeyPair,
}

impl EcdsaKey {
    pub(super) fn generate(curve: Curve) -> Result<Self, PrivateKeyError> {
        let pair = EcdsaKeyPair::generate(curve.signing()).map_err(|_| PrivateKeyError::Library)?;
        Ok(Self { curve, pair })
    }

    pub(super) fn from_sec1(der: &[u8], known: Option<Curve>) -> Result<Self, PrivateKeyError> {
        let key = EcPrivateKey::from_der(der).map_err(|_| MALFORMED)?;
        let named = match key.parameters.and_then(EcParameters::named_curve) {
            Some(oid) => Some(Curve::from_oid(oid).ok_or_else(|| KeyError::UnsupportedCurve(oid.to_string()))?),
            None => None,
        };
        let curve = match (named, known) {
            (Some(named), Some(known)) if named != known => {
                return Err(PrivateKeyError::Inconsistent(KeyType::Ecdsa));
            }
            (Some(curve), _) | (None, Some(curve)) => curve,
            (None, None) => return Err(KeyError::UnsupportedCurve("without a name".to_owned()).into()),
        };
        let normal = private_only(curve, key.private_key)?;
        let pair = EcdsaKeyPair::from_private_key_der(curve.signing(), &normal).map_err(|_| MALFORMED)?;
        if key.public_key.is_some_and(|public| public != pair.public_key().as_ref()) {
            return Err(PrivateKeyError::Inconsistent(KeyType::Ecdsa));
        }
        Ok(Self { curve, pair })
    }

    pub(super) const fn curve(&self) -> Curve {
        self.curve
    }

    pub(super) fn public_der(&self) -> Result<Vec<u8>, PrivateKeyError> {
        spki::ec_der(self.curve, self.pair.public_key().as_ref()).map_err(|_| PrivateKeyError::Library)
    }

    pub(super) fn to_sec1(&self) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
        let scalar: EcPrivateKeyBin<'_> =
            self.pair.private_key().as_be_bytes().map_err(|_| PrivateKeyError::Library)?;
        encode(self.curve, scalar.as_ref(), Some(self.pair.public_key().as_ref()))
    }

    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let digest = self.curve.digest(&sha256(message)).ok()?;
        let signature = self.pair.sign_digest(&digest).ok()?;
        Some(signature.as_ref().to_vec())
    }

    pub(super) fn sign_certificate(&self, tbs: &[u8]) -> Option<Vec<u8>> {
        let der = self.to_sec1().ok()?;
        let pair = EcdsaKeyPair::from_private_key_der(self.curve.certificate_signing(), &der).ok()?;
        let signature = pair.sign(&SystemRandom::new(), tbs).ok()?;
        Some(signature.as_ref().to_vec())
    }
}

/// Rewrites the private number in the curve's full width: old writers cut or added leading zeros.
fn private_only(curve: Curve, scalar: &[u8]) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    let length = curve.field_length();
    let zeros = scalar.iter().take_while(|byte| **byte == 0).count();
    let digits = scalar.get(zeros..).filter(|digits| digits.len() <= length).ok_or(MALFORMED)?;
    let mut full = Zeroizing::new(vec![0; length - digits.len()]);
    full.reserve_exact(digits.len());
    full.extend_from_slice(digits);
    encode(curve, &full, None)
}

fn encode(curve: Curve, scalar: &[u8], public: Option<&[u8]>) -> Result<Zeroizing<Vec<u8>>, PrivateKeyError> {
    EcPrivateKey { private_key: scalar, parameters: Some(EcParameters::NamedCurve(curve.oid())), public_key: public }
        .to_der()
        .map(Zeroizing::new)
        .map_err(|_| PrivateKeyError::Library)
}
