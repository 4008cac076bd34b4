//! Passphrases from environment variables.

use std::ffi::OsString;
use std::fmt;

use countersign_tuf::RoleName;

use super::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};

const DOCKER_ROOT: &str = "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE";
const DOCKER_REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
const NOTARY_ROOT: &str = "NOTARY_ROOT_PASSPHRASE";
const NOTARY_TARGETS: &str = "NOTARY_TARGETS_PASSPHRASE";
const NOTARY_SNAPSHOT: &str = "NOTARY_SNAPSHOT_PASSPHRASE";
const NOTARY_DELEGATION: &str = "NOTARY_DELEGATION_PASSPHRASE";

/// Passphrases from the variables that docker or notary read; one role's passphrase is never tried on another's key.
///
/// A variable that is empty counts as unset. A wrong passphrase for an existing key is offered once and not again, so that
/// the next source can be asked; the reference tries it twice and then gives up.
pub struct EnvironmentPassphrases {
    flavour: Flavour,
    values: Vec<(&'static str, Passphrase)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Docker,
    Notary,
}

impl EnvironmentPassphrases {
    /// Reads docker's variables: one for root keys, one for all others (docker trust, environment variables).
    pub fn docker(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::read(Flavour::Docker, &[DOCKER_ROOT, DOCKER_REPOSITORY], lookup)
    }

    /// Reads notary's variables: root, targets, snapshot, and one for whatever is no base role (Notary protocol,
    /// passphrases).
    pub fn notary(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::read(Flavour::Notary, &[NOTARY_ROOT, NOTARY_TARGETS, NOTARY_SNAPSHOT, NOTARY_DELEGATION], lookup)
    }

    fn read(flavour: Flavour, names: &[&'static str], lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &&'static str| {
            let bytes = lookup(name)?.into_encoded_bytes();
            Some((*name, Passphrase::new(bytes).ok()?))
        };
        Self { flavour, values: names.iter().filter_map(value).collect() }
    }

    fn variable(&self, alias: &str) -> Option<&'static str> {
        match (self.flavour, RoleName::parse(alias)) {
            (Flavour::Docker, Ok(RoleName::Root)) => Some(DOCKER_ROOT),
            (Flavour::Docker, _) => Some(DOCKER_REPOSITORY),
            (Flavour::Notary, Ok(RoleName::Root)) => Some(NOTARY_ROOT),
            (Flavour::Notary, Ok(RoleName::Targets)) => Some(NOTARY_TARGETS),
            (Flavour::Notary, Ok(RoleName::Snapshot)) => Some(NOTARY_SNAPSHOT),
            (Flavour::Notary, Ok(RoleName::Timestamp)) => None,
            (Flavour::Notary, Ok(RoleName::Delegation(_)) | Err(_)) => Some(NOTARY_DELEGATION),
        }
    }
}

impl PassphraseSource for EnvironmentPassphrases {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        let Some(variable) = self.variable(request.alias) else { return Reply::Unavailable };
        let origin = Origin::Environment(variable);
        let offered = request.purpose == Purpose::Existing && request.attempt > 1;
        match self.values.iter().find(|(name, _)| *name == variable) {
            Some((_, passphrase)) if !offered => Reply::Passphrase(passphrase.clone(), origin),
            _ => Reply::Unavailable,
        }
    }
}

impl fmt::Debug for EnvironmentPassphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.values.iter().map(|(name, _)| name).collect();
        f.debug_struct("EnvironmentPassphrases").field("flavour", &self.flavour).field("set", &names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(source: &impl PassphraseSource, alias: &str, attempt: u32) -> Option<String> {
        let purpose = Purpose::Existing;
        let request = PassphraseRequest { alias, key_id: None, purpose, attempt, refused: None };
        match source.passphrase(&request) {
            Reply::Passphrase(passphrase, _) => Some(String::from_utf8(passphrase.bytes().to_vec()).unwrap()),
            _ => None,
        }
    }

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "NOTARY_SNAPSHOT_PASSPHRASE" => Some(OsString::new()),
            "HOME" => None,
            _ => Some(name.into()),
        }
    }

    #[test]
    fn docker_has_one_for_root_and_one_for_the_rest() {
        let source = EnvironmentPassphrases::docker(environment);
        assert_eq!(ask(&source, "root", 1).unwrap(), DOCKER_ROOT);
        for alias in ["targets", "snapshot", "timestamp", "targets/releases", "alice", ""] {
            assert_eq!(ask(&source, alias, 1).unwrap(), DOCKER_REPOSITORY, "{alias}");
        }
    }

    #[test]
    fn notary_has_one_per_role_and_one_for_delegations() {
        let source = EnvironmentPassphrases::notary(environment);
        assert_eq!(ask(&source, "root", 1).unwrap(), NOTARY_ROOT);
        assert_eq!(ask(&source, "targets", 1).unwrap(), NOTARY_TARGETS);
        for alias in ["delegation", "targets/releases", "alice", ""] {
            assert_eq!(ask(&source, alias, 1).unwrap(), NOTARY_DELEGATION, "{alias}");
        }
    }

    #[test]
    fn an_empty_variable_is_unset_and_no_other_stands_in() {
        let source = EnvironmentPassphrases::notary(environment);
        assert_eq!(ask(&source, "snapshot", 1), None);
        assert_eq!(ask(&source, "timestamp", 1), None);
        let source = EnvironmentPassphrases::docker(|name| (name == DOCKER_REPOSITORY).then(|| "x".into()));
        assert_eq!(ask(&source, "root", 1), None);
    }

    #[test]
    fn a_wrong_passphrase_is_not_offered_again() {
        let source = EnvironmentPassphrases::docker(environment);
        assert_eq!(ask(&source, "root", 2), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        use std::os::unix::ffi::OsStringExt;
        let source = EnvironmentPassphrases::docker(|_| Some(OsString::from_vec(vec![0xff, 0xfe])));
        let request = PassphraseRequest { alias: "x", key_id: None, purpose: Purpose::New, attempt: 1, refused: None };
        let Reply::Passphrase(passphrase, origin) = source.passphrase(&request) else { panic!("no passphrase") };
        assert_eq!(passphrase.bytes(), [0xff, 0xfe]);
        assert_eq!(origin, Origin::Environment(DOCKER_REPOSITORY));
        assert!(!format!("{source:?}").contains("255"));
    }
}
