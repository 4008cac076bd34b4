//! Keys that a PKCS#11 token holds and does not hand out.
//!
//! A key of ours on a token is a pair of objects whose `CKA_ID` is the canonical key id and whose `CKA_LABEL` says what the key
//! is for ([`label_text`]). The trust directory knows it by a record in `.countersign/token-keys/<id>.json`: id, role, collection,
//! public key, and the token's label and serial number, nothing secret. So keys can be listed and looked for while the token is in
//! a drawer, a missing token is told from a missing key, and the public key that a signature has to fit does not come from
//! the token that made the signature.
//!
//! Which module to load is said by the settings alone, never by the record: whoever could write the trust directory would run code.

mod config;
#[cfg(feature = "pkcs11")]
mod device;
#[cfg(not(feature = "pkcs11"))]
#[path = "token/absent.rs"]
mod device;
mod error;
mod keys;
mod record;
mod service;
mod uri;

use std::fmt;
use std::sync::Arc;

use countersign_tuf::Gun;

use crate::keys::KeyLabel;

pub use config::{TokenConfig, TokenSelector};
pub use device::Tokens;
pub use error::TokenError;
pub use keys::{Adopted, NewKeyPlace};
pub(crate) use record::Record;
pub use service::{ServiceToken, ServiceTokenLimits, ServiceTokenState};
pub use uri::{TokenUri, TokenUriError};

/// What tells one token from others: what it says of itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenIdentity {
    /// Its label.
    pub label: Arc<str>,
    /// Its serial number.
    pub serial: Arc<str>,
}

impl fmt::Display for TokenIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.label)?;
        if self.serial.is_empty() { Ok(()) } else { write!(f, " (serial number {})", self.serial.escape_debug()) }
    }
}

/// Whether a module was started anew since somebody entered it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "pkcs11"), expect(dead_code, reason = "only a module is started"))]
enum Renewed {
    Yes,
    No,
}

/// The beginning of the labels of our keys.
const LABEL: &str = "countersign ";
/// Stands for the collection of keys that belong to none.
const NO_GUN: &str = "-";

/// Writes what a key is for as the label of its objects: `countersign GUN ROLE`, with `-` for no collection. A collection's name
/// has no spaces; a role may.
pub(crate) fn label_text(label: &KeyLabel) -> String {
    format!("{LABEL}{} {}", label.gun().map_or(NO_GUN, Gun::as_str), label.role())
}

/// Reads such a label; none if it is none of ours.
pub(crate) fn read_label(text: &str) -> Option<KeyLabel> {
    let (gun, role) = text.strip_prefix(LABEL)?.split_once(' ')?;
    let gun = if gun == NO_GUN { None } else { Some(Gun::parse(gun).ok()?) };
    KeyLabel::new(role, gun.as_ref()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_say_what_a_key_is_for() {
        let gun = Gun::parse("reg.example:5000/acme/app").unwrap();
        for label in [
            KeyLabel::root(),
            KeyLabel::new("targets", Some(&gun)).unwrap(),
            KeyLabel::new("targets/releases", None).unwrap(),
            KeyLabel::new("Ünal Öz, release", None).unwrap(),
        ] {
            assert_eq!(read_label(&label_text(&label)), Some(label));
        }
        assert_eq!(label_text(&KeyLabel::root()), "countersign - root");
        for foreign in
            ["", "root", "countersign", "countersign root", "countersign - ", "countersign - targets", "Signing key"]
        {
            assert_eq!(read_label(foreign), None, "{foreign}");
        }
    }
}
