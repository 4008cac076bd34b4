//! Trust pinning: what a collection's root may be before it is known.

use crate::name::Gun;
use countersign_crypto::KeyId;
use countersign_crypto::certificate::Certificate;
use std::collections::BTreeSet;

/// What happens with a collection that nothing is known about and no pin speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstUse {
    /// The first root seen is taken, as docker does.
    #[default]
    Allow,
    /// It is refused.
    Deny,
}

/// The pins of a configuration (Notary protocol, trust pinning).
#[derive(Debug, Clone, Default)]
pub struct Pinning {
    certificates: Vec<(String, BTreeSet<KeyId>)>,
    authorities: Vec<(String, Vec<Certificate>)>,
    first_use: FirstUse,
}

/// The pin that applies to one collection.
#[derive(Debug, Clone, Copy)]
pub enum Pin<'a> {
    /// One of these root keys (TUF ids of their certificates) must be in the root.
    Certificates(&'a BTreeSet<KeyId>),
    /// A root certificate must chain to one of these authorities.
    Authorities(&'a [Certificate]),
    /// No pin: the first root seen is taken.
    FirstUse,
    /// No pin, and first use is not allowed.
    Denied,
}

impl Pinning {
    /// Starts without pins.
    #[must_use]
    pub fn new(first_use: FirstUse) -> Self {
        Self { first_use, ..Self::default() }
    }

    /// Returns the same pins under another first-use rule.
    #[must_use]
    pub fn with_first_use(self, first_use: FirstUse) -> Self {
        Self { first_use, ..self }
    }

    /// Pins a collection, or with a trailing `*` all whose names begin so, to root certificates by TUF key id.
    pub fn pin_certificates(&mut self, pattern: impl Into<String>, ids: impl IntoIterator<Item = KeyId>) {
        self.certificates.push((pattern.into(), ids.into_iter().collect()));
    }

    /// Pins all collections below a prefix, which ends at a path boundary, to certificate authorities.
    pub fn pin_authorities(&mut self, prefix: impl Into<String>, authorities: Vec<Certificate>) {
        self.authorities.push((prefix.into(), authorities));
    }

    /// Finds the pin of a collection: exact certificates, then the longest certificate wildcard, then the longest
    /// authority prefix, then the first-use rule.
    #[must_use]
    pub fn pin(&self, gun: &Gun) -> Pin<'_> {
        let gun = gun.as_str();
        let exact = self.certificates.iter().find(|(pattern, _)| pattern == gun);
        let wildcards = self.certificates.iter().filter_map(|(pattern, ids)| Some((pattern.strip_suffix('*')?, ids)));
        let wildcard = wildcards.filter(|(prefix, _)| gun.starts_with(prefix)).max_by_key(|(prefix, _)| prefix.len());
        if let Some(ids) = exact.map(|(_, ids)| ids).or(wildcard.map(|(_, ids)| ids)) {
            return Pin::Certificates(ids);
        }
        let below = self.authorities.iter().filter(|(prefix, _)| is_path_prefix(prefix, gun));
        match (below.max_by_key(|(prefix, _)| prefix.len()), self.first_use) {
            (Some((_, authorities)), _) => Pin::Authorities(authorities),
            (None, FirstUse::Allow) => Pin::FirstUse,
            (None, FirstUse::Deny) => Pin::Denied,
        }
    }
}

/// Tells whether a prefix covers whole path segments: `a/pin` covers `a/pin/x`, not `a/pinned`.
fn is_path_prefix(prefix: &str, gun: &str) -> bool {
    gun.strip_prefix(prefix)
        .is_some_and(|rest| prefix.is_empty() || prefix.ends_with('/') || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(pin: Pin<'_>) -> Option<usize> {
        match pin {
            Pin::Certificates(ids) => Some(ids.len()),
            _ => None,
        }
    }

    fn some_ids(count: u8) -> Vec<KeyId> {
        (0..count).map(|n| KeyId::from_bytes([n; 32])).collect()
    }

    #[test]
    fn exact_pins_win_over_the_longest_wildcard() {
        let mut pinning = Pinning::default();
        pinning.pin_certificates("a/*", some_ids(1));
        pinning.pin_certificates("a/b/*", some_ids(2));
        pinning.pin_certificates("a/b/c", some_ids(3));
        let count = |gun: &str| ids(pinning.pin(&Gun::parse(gun).unwrap()));
        assert_eq!(count("a/b/c"), Some(3));
        assert_eq!(count("a/b/d"), Some(2));
        assert_eq!(count("a/x"), Some(1));
        assert_eq!(count("b/x"), None);
    }

    #[test]
    fn authority_prefixes_end_at_a_path_boundary() {
        let mut pinning = Pinning::new(FirstUse::Deny);
        pinning.pin_authorities("host/pin", Vec::new());
        let pin = |gun: &str| matches!(pinning.pin(&Gun::parse(gun).unwrap()), Pin::Authorities(_));
        assert!(pin("host/pin") && pin("host/pin/x"));
        assert!(!pin("host/pinned-elsewhere"));
    }

    #[test]
    fn names_without_a_pin_follow_the_first_use_rule() {
        let gun = Gun::parse("a/b").unwrap();
        assert!(matches!(Pinning::default().pin(&gun), Pin::FirstUse));
        assert!(matches!(Pinning::new(FirstUse::Deny).pin(&gun), Pin::Denied));
    }
}
