//! Whether a root may be trusted: certificates, rotation, pins (Notary protocol, root validation and trust pinning).

use crate::metadata::Root;
use crate::name::{Gun, RoleName, Version};
use crate::pinning::Pin;
use crate::verify::{Expired, ThresholdError, TrustedKeys, Unverified, Verified};
use countersign_crypto::PublicKey;
use countersign_crypto::certificate::{CertificateBundle, Expiry};
use jiff::Timestamp;

/// Says why a root is not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// No root key has a usable certificate for this collection.
    #[error("could not validate the path to a trusted root: unable to retrieve valid leaf certificates for {0}")]
    NoLeafCertificates(Gun),
    /// Too few of the previous root's keys have signed.
    #[error(
        "could not rotate trust to a new trusted root: failed to validate data with current trusted certificates ({0})"
    )]
    NotRotated(ThresholdError),
    /// No certificate matches the pin.
    #[error(
        "could not validate the path to a trusted root: unable to match any certificates to trust_pinning config for {0}"
    )]
    Pin(Gun),
    /// Nothing is known about the collection and first use is not allowed.
    #[error("{0} is not pinned, and trust on first use is not allowed: pin its root key or authority first")]
    FirstUse(Gun),
    /// Too few of the root's own keys have signed.
    #[error("could not validate the path to a trusted root: failed to validate integrity of roots ({0})")]
    NotSigned(ThresholdError),
    /// The root has expired.
    #[error(transparent)]
    Expired(#[from] Expired),
    /// A root does not follow its predecessor by exactly one.
    #[error("root has version {found} where {expected} was expected: the chain of roots must not have gaps")]
    Version {
        /// The version that had to come.
        expected: Version,
        /// The version that came.
        found: Version,
    },
}

/// Whether the time is held against a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// The root and its certificates must be valid now: it is the newest.
    Current(Timestamp),
    /// They may have expired by now: it is a link to a newer one, or cached.
    Past(Timestamp),
}

impl Age {
    fn expiry(self) -> Expiry {
        match self {
            Self::Current(_) => Expiry::Enforced,
            Self::Past(_) => Expiry::Ignored,
        }
    }

    fn now(self) -> Timestamp {
        match self {
            Self::Current(now) | Self::Past(now) => now,
        }
    }
}

/// A root certificate for this collection that passes the checks.
struct Leaf {
    key: PublicKey,
    bundle: CertificateBundle,
}

/// Collects the root role's certificates whose common name is the collection's, as keys rebuilt from what was parsed.
///
/// A key whose rebuilt PEM has another id than the one it is filed under is not recognised: what was hashed must be what
/// was checked.
fn leaves(root: &Root, gun: &Gun, age: Age) -> Vec<Leaf> {
    let ids = root.trusted(&RoleName::Root).map(|role| role.key_ids.as_slice()).unwrap_or_default();
    let usable = ids.iter().filter_map(|id| {
        let listed = root.keys.get(id)?;
        if !listed.key_type().is_certificate() {
            return None;
        }
        let bundle = CertificateBundle::parse(listed.bytes()).ok()?.checked(age.now(), age.expiry()).ok()?;
        let key = bundle.rebuilt_key().ok()?;
        let ours = name_matches(bundle.leaf().common_name()?, gun) && key.id() == *id;
        ours.then_some(Leaf { key, bundle })
    });
    usable.collect()
}

/// Tells whether a certificate's common name is for a collection: equal, or a prefix before trailing asterisks.
fn name_matches(common_name: &str, gun: &Gun) -> bool {
    let prefix = common_name.trim_end_matches('*');
    common_name == gun.as_str() || (prefix.len() < common_name.len() && gun.as_str().starts_with(prefix))
}

/// Tells whether a root's certificates are for more collections than this one.
pub(crate) fn has_wildcard_name(root: &Root, gun: &Gun) -> bool {
    leaves(root, gun, Age::Past(Timestamp::UNIX_EPOCH))
        .iter()
        .any(|leaf| leaf.bundle.leaf().common_name().is_some_and(|name| name.ends_with('*')))
}

/// Lists the names of a root's certificates for this collection that end before a time, and when they do.
pub(crate) fn certificates_ending_before(root: &Root, gun: &Gun, time: Timestamp) -> Vec<(String, Timestamp)> {
    let leaves = leaves(root, gun, Age::Past(Timestamp::UNIX_EPOCH));
    let ending = leaves.iter().map(|leaf| leaf.bundle.leaf()).filter(|leaf| leaf.not_after() < time);
    ending.filter_map(|leaf| Some((leaf.common_name()?.to_owned(), leaf.not_after()))).collect()
}

/// Tells whether a root that is trusted would be accepted now from a stranger too: it, its certificates and their chain
/// to a pin are valid now.
pub(crate) fn check_current(root: &Verified<Root>, gun: &Gun, pin: Pin<'_>, now: Timestamp) -> Result<(), RootError> {
    root.unexpired(now)?;
    verify_root(root.clone().into_unverified(), gun, pin, Age::Current(now)).map(drop)
}

/// Verifies the root that a client already trusts, or a first one, against itself and the pin.
pub(crate) fn verify_root(
    candidate: Unverified<Root>,
    gun: &Gun,
    pin: Pin<'_>,
    age: Age,
) -> Result<Verified<Root>, RootError> {
    let root = candidate.untrusted();
    let mut leaves = leaves(root, gun, age);
    if leaves.is_empty() {
        return Err(RootError::NoLeafCertificates(gun.clone()));
    }
    match pin {
        Pin::FirstUse => {}
        Pin::Denied => return Err(RootError::FirstUse(gun.clone())),
        Pin::Certificates(ids) => leaves.retain(|leaf| ids.contains(&leaf.key.id())),
        Pin::Authorities(authorities) => {
            leaves.retain(|leaf| {
                let descends = |at: Timestamp| leaf.bundle.verify_chain_to(authorities, at).is_ok();
                descends(age.now()) || (matches!(age, Age::Past(_)) && descends(leaf.bundle.leaf().not_before()))
            });
        }
    }
    if leaves.is_empty() {
        return Err(RootError::Pin(gun.clone()));
    }
    let threshold = root.trusted(&RoleName::Root).map_or(u64::MAX, |role| role.threshold);
    let keys = TrustedKeys::of(&RoleName::Root, leaves.into_iter().map(|leaf| leaf.key), threshold);
    let verified = candidate.verify(&keys).map_err(|(error, _)| RootError::NotSigned(error))?;
    if let Age::Current(now) = age {
        verified.unexpired(now)?;
    }
    Ok(verified)
}

/// Verifies the root that follows a trusted one: version plus one, signed by the old keys and by its own.
pub(crate) fn verify_successor(
    previous: &Root,
    candidate: Unverified<Root>,
    gun: &Gun,
    pin: Pin<'_>,
    age: Age,
) -> Result<Verified<Root>, RootError> {
    let found = candidate.untrusted().version;
    match previous.version.next() {
        Some(expected) if expected == found => {}
        expected => return Err(RootError::Version { expected: expected.unwrap_or(previous.version), found }),
    }
    signed_by(previous, &candidate, gun)?;
    verify_root(candidate, gun, pin, age)
}

/// Checks that a root carries enough signatures of another root's keys; those keys' certificates may have expired.
pub(crate) fn signed_by(previous: &Root, candidate: &Unverified<Root>, gun: &Gun) -> Result<(), RootError> {
    let threshold = previous.trusted(&RoleName::Root).map_or(u64::MAX, |role| role.threshold);
    let old = leaves(previous, gun, Age::Past(Timestamp::UNIX_EPOCH)).into_iter().map(|leaf| leaf.key);
    candidate.also_signed_by(&TrustedKeys::of(&RoleName::Root, old, threshold)).map_err(RootError::NotRotated)
}
