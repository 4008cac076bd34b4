//! Whose signatures count: a bundle of certificates and a key set.

use std::collections::BTreeMap;
use std::path::Path;

use countersign_crypto::certificate::Certificate;
use countersign_crypto::{JwsAlgorithm, JwsKey};
use serde::Deserialize;

use crate::watched::read_file;

use super::super::settings::AccessError;
use super::jwk::Jwk;

/// Most keys of one set.
const MAX_KEYS: usize = 256;

/// The certificates and keys of the token service.
#[derive(Debug)]
pub(super) struct Trusted {
    certificates: Vec<Certificate>,
    keys: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    key: JwsKey,
    /// The only algorithm that it is for, if its owner says so.
    only: Option<JwsAlgorithm>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Jwk>,
}

impl Trusted {
    /// Reads both files; at least one key has to be in them.
    pub(super) fn read(bundle: Option<&Path>, set: Option<&Path>) -> Result<Self, AccessError> {
        let mut trusted = Self { certificates: Vec::new(), keys: BTreeMap::new() };
        if let Some(path) = bundle {
            trusted.add_bundle(path)?;
        }
        if let Some(path) = set {
            trusted.add_set(path)?;
        }
        if trusted.keys.is_empty() { Err(AccessError::NoKeys) } else { Ok(trusted) }
    }

    fn add_bundle(&mut self, path: &Path) -> Result<(), AccessError> {
        let unusable = |source| AccessError::Certificates { path: path.to_owned(), source };
        self.certificates = Certificate::list_from_pem(&read(path)?).map_err(unusable)?;
        for certificate in &self.certificates {
            let key = JwsKey::from_spki_der(certificate.spki_der());
            let key = key.map_err(|source| AccessError::CertificateKey { path: path.to_owned(), source })?;
            self.keys.insert(key.libtrust_id(), Known { key, only: None });
        }
        Ok(())
    }

    fn add_set(&mut self, path: &Path) -> Result<(), AccessError> {
        let unusable = |reason: String| AccessError::KeySet { path: path.to_owned(), reason };
        let set: KeySet = serde_json::from_slice(&read(path)?).map_err(|error| unusable(error.to_string()))?;
        if set.keys.len() > MAX_KEYS {
            return Err(unusable(format!("it has more than {MAX_KEYS} keys")));
        }
        for (index, jwk) in (1..).zip(&set.keys) {
            let unusable = |reason: String| unusable(format!("key {index}: {reason}"));
            let (key, only) = (jwk.key().map_err(unusable)?, jwk.algorithm().map_err(unusable)?);
            let own = jwk.id().map(str::to_owned);
            for id in own.into_iter().chain([key.libtrust_id()]) {
                let other = self.keys.insert(id.clone(), Known { key: key.clone(), only });
                if other.is_some_and(|other| other.key.spki_der() != key.spki_der()) {
                    return Err(unusable(format!("another key has the id {id:?}")));
                }
            }
        }
        Ok(())
    }

    /// Returns the certificates, each of which counts as itself and, if it is an authority, for those that it has signed.
    pub(super) fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Finds a key by its own id, or by the id that libtrust gives it.
    pub(super) fn by_id(&self, id: &str, algorithm: JwsAlgorithm) -> Option<&JwsKey> {
        let known = self.keys.get(id)?;
        known.only.is_none_or(|only| only == algorithm).then_some(&known.key)
    }

    /// Tells whether a key is one of these, and for this algorithm too.
    pub(super) fn holds(&self, key: &JwsKey, algorithm: JwsAlgorithm) -> bool {
        self.said_of(key).any(|only| only.is_none_or(|only| only == algorithm))
    }

    /// Tells whether a key, which a certificate vouches for, is said here to be for another algorithm.
    pub(super) fn forbids(&self, key: &JwsKey, algorithm: JwsAlgorithm) -> bool {
        self.said_of(key).next().is_some() && !self.holds(key, algorithm)
    }

    fn said_of(&self, key: &JwsKey) -> impl Iterator<Item = Option<JwsAlgorithm>> {
        self.keys.values().filter(|known| known.key.spki_der() == key.spki_der()).map(|known| known.only)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AccessError> {
    read_file(path).map_err(|source| AccessError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    /// RFC 8725, section 3.1.
    #[test]
    fn a_key_for_one_algorithm_is_for_no_other_however_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.json");
        let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
        let of = |members: &str| {
            let key = format!(r#"{{"kty":"RSA","n":"{modulus}","e":"AQAB"{members}}}"#);
            fs_err::write(&path, format!(r#"{{"keys":[{key}]}}"#)).unwrap();
            let trusted = Trusted::read(None, Some(&path)).unwrap();
            (trusted, serde_json::from_str::<Jwk>(&key).unwrap().key().unwrap())
        };
        let (trusted, key) = of(r#","kid":"a","alg":"RS512""#);
        for (algorithm, right) in [(JwsAlgorithm::Rs512, true), (JwsAlgorithm::Rs256, false)] {
            assert_eq!(trusted.by_id("a", algorithm).is_some(), right);
            assert_eq!(trusted.holds(&key, algorithm), right);
            assert_eq!(trusted.forbids(&key, algorithm), !right);
        }
        let (trusted, key) = of("");
        for algorithm in [JwsAlgorithm::Rs512, JwsAlgorithm::Rs256] {
            assert!(trusted.holds(&key, algorithm) && !trusted.forbids(&key, algorithm));
        }
    }
}
