//! A leaf certificate with the authorities that come along.

use jiff::Timestamp;

use super::chain::{self, ChainError};
use super::{Certificate, CertificateError, Expiry};
use crate::key_type::KeyType;
use crate::public_key::{KeyError, PublicKey};

/// Holds the certificates of one `*-x509` key: the leaf, then its intermediate authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateBundle {
    leaf: Certificate,
    intermediates: Vec<Certificate>,
}

impl CertificateBundle {
    /// Reads the PEM text of a key: one leaf first, then only certificate authorities.
    ///
    /// # Errors
    /// When the text holds anything else.
    pub fn parse(pem: &[u8]) -> Result<Self, CertificateError> {
        let mut certificates = Certificate::list_from_pem(pem)?.into_iter();
        let leaf = certificates.next().ok_or(CertificateError::Empty)?;
        let intermediates: Vec<_> = certificates.collect();
        if leaf.is_ca() || !intermediates.iter().all(Certificate::is_ca) {
            return Err(CertificateError::NotLeafFirst);
        }
        Ok(Self { leaf, intermediates })
    }

    /// Returns the certificate of the signing key.
    #[must_use]
    pub const fn leaf(&self) -> &Certificate {
        &self.leaf
    }

    /// Returns the intermediate authorities in the order of the file.
    #[must_use]
    pub fn intermediates(&self) -> &[Certificate] {
        &self.intermediates
    }

    /// Checks the leaf and drops every intermediate that fails the same checks.
    ///
    /// Dropping one changes the rebuilt text and with it the key's ID, so that signatures under the old ID no longer
    /// count (Notary protocol, root validation and trust pinning).
    ///
    /// # Errors
    /// When the leaf fails.
    pub fn checked(mut self, now: Timestamp, expiry: Expiry) -> Result<Self, CertificateError> {
        self.leaf.check(now, expiry)?;
        self.intermediates.retain(|authority| authority.check(now, expiry).is_ok());
        Ok(self)
    }

    /// Writes all certificates in the normal form, as the reference does before it recomputes a root key's ID.
    #[must_use]
    pub fn rebuild_pem(&self) -> Vec<u8> {
        let mut text = self.leaf.to_pem();
        for authority in &self.intermediates {
            text.push_str(&authority.to_pem());
        }
        text.into_bytes()
    }

    /// Returns the key as it would be listed after rebuilding: its ID is the one root validation recognises.
    ///
    /// # Errors
    /// When the leaf's key is neither ECDSA nor RSA.
    pub fn rebuilt_key(&self) -> Result<PublicKey, KeyError> {
        let key_type = match self.leaf.bare_type()? {
            KeyType::Rsa => KeyType::RsaX509,
            _ => KeyType::EcdsaX509,
        };
        Ok(PublicKey::new(key_type, self.rebuild_pem()))
    }

    /// Checks that the leaf descends from a pinned authority, over the bundle's own intermediates.
    ///
    /// Every signature, period of validity, authority flag, path length and name constraint counts. Extended key usage
    /// does not: root certificates are made for code signing, and the reference, which wants server authentication,
    /// thereby refuses its own.
    ///
    /// # Errors
    /// When no pin is a usable authority or no path leads to one.
    pub fn verify_chain_to(&self, pins: &[Certificate], now: Timestamp) -> Result<(), ChainError> {
        chain::verify(&self.leaf, &self.intermediates, pins, now)
    }
}
