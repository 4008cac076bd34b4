//! The path from a leaf certificate to a pinned authority.

use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath,
    anchor_from_trusted_cert,
};

use super::{Certificate, Expiry};

/// Says why a certificate does not descend from a pinned authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// None of the pinned certificates is a certificate authority that is valid now.
    #[error("invalid CA certs provided: none of the {pins} pinned certificates is a valid certificate authority")]
    NoUsableAuthority {
        /// How many certificates were pinned.
        pins: usize,
    },
    /// No path leads to a pinned authority.
    #[error("the certificate does not descend from a pinned certificate authority: {0}")]
    NoPath(String),
}

/// Accepts every extended key usage, but not a malformed one.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, mut purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        purposes.try_for_each(|purpose| purpose.map(drop))
    }
}

pub(super) fn verify(
    leaf: &Certificate,
    intermediates: &[Certificate],
    pins: &[Certificate],
    now: Timestamp,
) -> Result<(), ChainError> {
    let no_path = |error: &dyn std::fmt::Display| ChainError::NoPath(error.to_string());
    let seconds = u64::try_from(now.as_second()).map_err(|error| no_path(&error))?;
    let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));

    let usable: Vec<&Certificate> = pins.iter().filter(|pin| is_usable(pin, now)).collect();
    let pinned: Vec<CertificateDer<'_>> = usable.iter().map(|pin| CertificateDer::from(pin.der())).collect();
    let (mut anchors, mut limits) = (Vec::new(), Vec::new());
    for (der, pin) in pinned.iter().zip(&usable) {
        if let Ok(anchor) = anchor_from_trusted_cert(der) {
            anchors.push(anchor);
            limits.push(pin.path_length());
        }
    }
    if anchors.is_empty() {
        return Err(ChainError::NoUsableAuthority { pins: pins.len() });
    }

    let end_entity = CertificateDer::from(leaf.der());
    let end_entity = EndEntityCert::try_from(&end_entity).map_err(|error| no_path(&error))?;
    // The path builder does not look at key usage, so authorities that may not issue are left out before.
    let between: Vec<CertificateDer<'_>> = intermediates
        .iter()
        .filter(|authority| authority.may_issue())
        .map(|authority| CertificateDer::from(authority.der()))
        .collect();
    end_entity
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &between,
            time,
            AnyUsage,
            None,
            Some(&|path: &VerifiedPath<'_>| within_limit(path, &anchors, &limits)),
        )
        .map(drop)
        .map_err(|error| no_path(&error))
}

/// Tells whether a pin is an authority, passes the checks and is valid now, without leeway.
fn is_usable(pin: &Certificate, now: Timestamp) -> bool {
    pin.may_issue() && pin.not_before() <= now && pin.check(now, Expiry::Enforced).is_ok()
}

/// Applies the pinned authority's own path length, which the path builder leaves to whoever trusts the authority.
fn within_limit(path: &VerifiedPath<'_>, anchors: &[TrustAnchor<'_>], limits: &[Option<usize>]) -> Result<(), Error> {
    let between = path.intermediate_certificates().count();
    let limit =
        anchors.iter().zip(limits).find(|(anchor, _)| std::ptr::eq(*anchor, path.anchor())).map(|(_, limit)| *limit);
    match limit {
        Some(None) => Ok(()),
        Some(Some(limit)) if between <= limit => Ok(()),
        Some(Some(_)) | None => Err(Error::PathLenConstraintViolated),
    }
}
