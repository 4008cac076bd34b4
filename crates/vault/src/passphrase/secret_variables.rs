//! Which environment variables hold secrets of ours.

use std::ffi::OsStr;

/// Beginnings of the variables that hold passphrases and PINs, or name where they are.
const BEGINNINGS: [&str; 4] = ["DOCKER_CONTENT_TRUST_", "NOTARY_", "COUNTERSIGN_BACKUP_", "COUNTERSIGN_NEW_"];

/// Tells whether a variable holds a passphrase or PIN, or credentials for a trust service: programs that are started here, other
/// than docker itself, have no business with it and do not get it.
#[must_use]
pub fn is_secret_variable(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_passphrase = name.ends_with("_PASSPHRASE") && BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
    is_passphrase
        || name == "NOTARY_AUTH"
        || name == super::environment::PIN
        // Whether `…_FILE` is a place or the passphrase of a collection `…-file` cannot be told by the name.
        || name.starts_with(super::environment::FOR_GUN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_places() {
        for secret in [
            "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE",
            "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE",
            "NOTARY_TARGETS_PASSPHRASE",
            "NOTARY_AUTH",
            "COUNTERSIGN_BACKUP_PASSPHRASE",
            "COUNTERSIGN_NEW_PASSPHRASE",
            "COUNTERSIGN_PASSPHRASE_FOR_DOCKER_IO__ACME__APP",
            "COUNTERSIGN_PASSPHRASE_FOR_DOCKER_IO__ACME__APP_FILE",
            "COUNTERSIGN_TOKEN_PIN",
        ] {
            assert!(is_secret_variable(OsStr::new(secret)), "{secret}");
        }
        for other in [
            "DOCKER_CONTENT_TRUST",
            "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE_FILE",
            "COUNTERSIGN_TOKEN_PIN_FD",
            "COUNTERSIGN_PASSPHRASE_COMMAND",
            "GPG_PASSPHRASE",
            "PATH",
        ] {
            assert!(!is_secret_variable(OsStr::new(other)), "{other}");
        }
    }
}
