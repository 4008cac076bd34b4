//! Who the caller is at the service: `NOTARY_AUTH`, or a person who is asked.

use crate::prompt::Voice;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_registry::credentials::Credential;
use zeroize::Zeroizing;

/// User name and password, with a colon between them, in base64.
const VARIABLE: &str = "NOTARY_AUTH";

/// Reads the variable; one that is malformed counts as unset, as with the reference.
pub(super) fn from_environment() -> Option<Credential> {
    let text = Zeroizing::new(std::env::var(VARIABLE).ok()?);
    read(&text)
}

fn read(text: &str) -> Option<Credential> {
    let pair = Zeroizing::new(String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?);
    let (name, password) = pair.split_once(':')?;
    let credential = Credential::password(name.trim(), password.trim().to_owned().into());
    (!credential.is_anonymous()).then_some(credential)
}

/// Asks for user name and password.
pub(super) fn ask() -> Option<Credential> {
    let name = Voice::Notary.hears("Enter username: ")?;
    let name = name.trim();
    if name.is_empty() {
        return None;
    }
    let password = Voice::Notary.hears_secret("Enter password: ")?;
    let credential = Credential::password(name, password.trim().to_owned().into());
    (!credential.is_anonymous()).then_some(credential)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_password_in_base64_and_nothing_else() {
        let named = |text: &str| match read(&STANDARD.encode(text)) {
            Some(Credential::Password { username, .. }) => Some(username),
            _ => None,
        };
        assert_eq!(named("alice:secret\n"), Some("alice".to_owned()));
        assert_eq!(named("alice:se:cret"), Some("alice".to_owned()));
        for wrong in ["alice", "", ":", ":secret", "alice:"] {
            assert_eq!(named(wrong), None, "{wrong:?}");
        }
        assert!(read("alice:secret").is_none() && read("").is_none());
    }
}
