//! Passphrases from environment variables.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use countersign_tuf::{Gun, RoleName};

use super::source_file;
use super::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};

const DOCKER_ROOT: &str = "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE";
const DOCKER_REPOSITORY: &str = "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE";
const NOTARY_ROOT: &str = "NOTARY_ROOT_PASSPHRASE";
const NOTARY_TARGETS: &str = "NOTARY_TARGETS_PASSPHRASE";
const NOTARY_SNAPSHOT: &str = "NOTARY_SNAPSHOT_PASSPHRASE";
const NOTARY_DELEGATION: &str = "NOTARY_DELEGATION_PASSPHRASE";
const BACKUP: &str = "COUNTERSIGN_BACKUP_PASSPHRASE";
const NEW: &str = "COUNTERSIGN_NEW_PASSPHRASE";
/// The variable with the PIN of a token.
pub(super) const PIN: &str = "COUNTERSIGN_TOKEN_PIN";
/// The beginning of the variables for one collection's keys.
pub(super) const FOR_GUN: &str = "COUNTERSIGN_PASSPHRASE_FOR_";

/// Returns the variable with the passphrase of one collection's keys: its name in capitals, `__` for a slash and `_` for every
/// other character that a variable's name cannot have. Collections whose names differ in such characters alone share it.
#[must_use]
pub fn gun_variable(gun: &Gun) -> String {
    let mut name = FOR_GUN.to_owned();
    for character in gun.as_str().chars() {
        match character {
            '/' => name.push_str("__"),
            c if c.is_ascii_alphanumeric() => name.push(c.to_ascii_uppercase()),
            _ => name.push('_'),
        }
    }
    name
}

/// Looks up environment variables.
type Lookup = Box<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

/// Passphrases from the variables that docker or notary read; one role's passphrase is never tried on another's key.
///
/// For keys that belong to one collection there is a variable of its own ([`gun_variable`]), which then takes the place of the
/// role's; for tokens there is `COUNTERSIGN_TOKEN_PIN`.
///
/// Beside each variable there are two more, which the reference does not know: with `_FILE` the path of a file and with
/// `_FD` the number of a descriptor, whose first line is the passphrase. The plain variable counts before the file, the file
/// before the descriptor; the latter two are read when the first key needs them, once.
///
/// A variable that is empty counts as unset. A wrong passphrase for an existing key is offered once and not again, so that
/// the next source can be asked; the reference tries it twice and then gives up.
pub struct EnvironmentPassphrases {
    flavour: Flavour,
    lookup: Lookup,
    given: Mutex<BTreeMap<String, Option<Arc<Given>>>>,
    remark: Box<dyn Fn(&PassphraseRemark) + Send + Sync>,
}

/// What there is to say about a file or descriptor that a variable names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassphraseRemark {
    /// There is no passphrase in it; the next source is asked.
    Unusable {
        /// The variable.
        variable: String,
        /// What it names.
        named: String,
        /// Why.
        reason: String,
    },
    /// Others can read it.
    ReadableByOthers {
        /// The variable.
        variable: String,
        /// The file.
        path: PathBuf,
    },
}

impl fmt::Display for PassphraseRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { variable, named, reason } => {
                write!(f, "no passphrase from {variable} ({named}): {reason}")
            }
            Self::ReadableByOthers { variable, path } => {
                write!(f, "others can read the passphrase in {0} ({variable}): chmod 600 {0}", path.display())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flavour {
    Docker,
    Notary,
    Backup,
    New,
}

/// What one set of variables gives.
struct Given {
    /// The variable that counts.
    variable: String,
    place: Place,
    found: OnceLock<Option<Passphrase>>,
}

enum Place {
    Value,
    File(PathBuf),
    Descriptor(OsString),
}

impl Given {
    fn read(name: &str, lookup: &Lookup) -> Option<Self> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let found = OnceLock::new();
        let (file, descriptor) = (format!("{name}_FILE"), format!("{name}_FD"));
        // They can be the passphrases of other collections, `…-file` and `…-fd`: what is no place is not taken for one, and
        // never printed.
        let of_gun = name.starts_with(FOR_GUN);
        let is_number = |number: &OsString| number.to_str().is_some_and(|text| text.parse::<u16>().is_ok());
        let (variable, place) = if let Some(value) = set(name) {
            let _ = found.set(Passphrase::new(value.into_encoded_bytes()).ok());
            (name.to_owned(), Place::Value)
        } else if let Some(path) = set(&file).filter(|path| !of_gun || Path::new(path).is_absolute()) {
            (file, Place::File(path.into()))
        } else {
            let number = set(&descriptor).filter(|number| !of_gun || is_number(number))?;
            (descriptor, Place::Descriptor(number))
        };
        Some(Self { variable, place, found })
    }

    /// Reads what a variable names, once.
    fn passphrase(&self, remark: &dyn Fn(&PassphraseRemark)) -> Option<&Passphrase> {
        let variable = || self.variable.clone();
        let read = |path: &Path, named: String| match source_file::read(path) {
            Ok(found) => {
                if found.readable_by_others {
                    remark(&PassphraseRemark::ReadableByOthers { variable: variable(), path: path.to_owned() });
                }
                Some(found.passphrase)
            }
            Err(reason) => {
                remark(&PassphraseRemark::Unusable { variable: variable(), named, reason });
                None
            }
        };
        let found = self.found.get_or_init(|| match &self.place {
            Place::Value => None,
            Place::File(path) => read(path, path.display().to_string()),
            Place::Descriptor(number) => {
                if let Some(number) = number.to_str().and_then(|text| text.parse::<u16>().ok()) {
                    return read(Path::new(&format!("/dev/fd/{number}")), format!("descriptor {number}"));
                }
                let (named, reason) = (number.to_string_lossy().into_owned(), "it is no number".to_owned());
                remark(&PassphraseRemark::Unusable { variable: variable(), named, reason });
                None
            }
        });
        found.as_ref()
    }
}

impl EnvironmentPassphrases {
    /// Reads docker's variables: one for root keys, one for all others (docker trust, environment variables).
    pub fn docker(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self::new(Flavour::Docker, lookup)
    }

    /// Reads notary's variables: root, targets, snapshot, and one for whatever is no base role (Notary protocol,
    /// passphrases).
    pub fn notary(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self::new(Flavour::Notary, lookup)
    }

    /// Reads the variable for archives of keys, which is for nothing else: any alias gets it.
    pub fn backup(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self::new(Flavour::Backup, lookup)
    }

    /// Reads the variable for the new passphrase of a key that has one.
    pub fn new_ones(lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self::new(Flavour::New, lookup)
    }

    /// Has somebody hear what there is to say about files and descriptors; otherwise nobody does.
    #[must_use]
    pub fn remarking(mut self, remark: impl Fn(&PassphraseRemark) + Send + Sync + 'static) -> Self {
        self.remark = Box::new(remark);
        self
    }

    fn new(flavour: Flavour, lookup: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self { flavour, lookup: Box::new(lookup), given: Mutex::default(), remark: Box::new(|_| {}) }
    }

    /// Returns what a variable or its companions give.
    fn given(&self, name: &str) -> Option<Arc<Given>> {
        // The map is whole after every operation, also one that panicked.
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || Given::read(name, &self.lookup).map(Arc::new);
        given.entry(name.to_owned()).or_insert_with(read).clone()
    }

    fn of_request(&self, request: &PassphraseRequest<'_>) -> Option<Arc<Given>> {
        match self.flavour {
            Flavour::Backup => return self.given(BACKUP),
            Flavour::New => return self.given(NEW),
            Flavour::Docker | Flavour::Notary => {}
        }
        if request.purpose == Purpose::Pin {
            return self.given(PIN);
        }
        if let Some(given) = request.gun.and_then(|gun| self.given(&gun_variable(gun))) {
            return Some(given);
        }
        self.given(match (self.flavour, RoleName::parse(request.alias)) {
            (Flavour::Backup, _) => BACKUP,
            (Flavour::New, _) => NEW,
            (Flavour::Docker, Ok(RoleName::Root)) => DOCKER_ROOT,
            (Flavour::Docker, _) => DOCKER_REPOSITORY,
            (Flavour::Notary, Ok(RoleName::Root)) => NOTARY_ROOT,
            (Flavour::Notary, Ok(RoleName::Targets)) => NOTARY_TARGETS,
            (Flavour::Notary, Ok(RoleName::Snapshot)) => NOTARY_SNAPSHOT,
            (Flavour::Notary, Ok(RoleName::Timestamp)) => return None,
            (Flavour::Notary, Ok(RoleName::Delegation(_)) | Err(_)) => NOTARY_DELEGATION,
        })
    }
}

impl PassphraseSource for EnvironmentPassphrases {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        let Some(given) = self.of_request(request) else { return Reply::Unavailable };
        let origin = Origin::Environment(Cow::Owned(given.variable.clone()));
        if request.tried.contains(&origin) {
            return Reply::Unavailable;
        }
        match given.passphrase(&self.remark) {
            Some(passphrase) => Reply::Passphrase(passphrase.clone(), origin),
            None => Reply::Unavailable,
        }
    }
}

impl fmt::Debug for EnvironmentPassphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvironmentPassphrases").field("flavour", &self.flavour).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_for(source: &impl PassphraseSource, request: &PassphraseRequest<'_>) -> Option<String> {
        match source.passphrase(request) {
            Reply::Passphrase(passphrase, _) => Some(String::from_utf8(passphrase.bytes().to_vec()).unwrap()),
            _ => None,
        }
    }

    /// Asks for the first or, after what the source gave was wrong, for the second time.
    fn ask(source: &impl PassphraseSource, alias: &str, attempt: u32) -> Option<String> {
        let mut request = PassphraseRequest::new(alias, Purpose::Existing);
        if attempt > 1
            && let Reply::Passphrase(_, origin) = source.passphrase(&request)
        {
            request.tried.push(origin);
        }
        ask_for(source, &request)
    }

    fn environment(name: &str) -> Option<OsString> {
        match name {
            "NOTARY_SNAPSHOT_PASSPHRASE" => Some(OsString::new()),
            "HOME" => None,
            name if name.starts_with(FOR_GUN) => None,
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
    fn archives_have_one_of_their_own() {
        let source = EnvironmentPassphrases::backup(environment);
        assert_eq!(ask(&source, "backup archive", 1).unwrap(), "COUNTERSIGN_BACKUP_PASSPHRASE");
        let source = EnvironmentPassphrases::backup(|name| name.starts_with("DOCKER").then(|| "x".into()));
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
        let request = PassphraseRequest::new("x", Purpose::New);
        let Reply::Passphrase(passphrase, origin) = source.passphrase(&request) else { panic!("no passphrase") };
        assert_eq!(passphrase.bytes(), [0xff, 0xfe]);
        assert_eq!(origin, Origin::Environment(DOCKER_REPOSITORY.into()));
        assert!(!format!("{source:?}").contains("255"));
    }

    #[test]
    fn a_file_or_descriptor_is_read_when_it_is_wanted_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let named = path.clone();
        let remarks = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&remarks);
        let source = EnvironmentPassphrases::docker(move |name| match name {
            "DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE_FILE" => Some(named.clone().into()),
            "DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE_FD" => Some("three".into()),
            _ => None,
        })
        .remarking(move |remark| heard.lock().unwrap().push(remark.to_string()));
        std::fs::write(&path, "from file\nmore\n").unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(ask(&source, "root", 1).unwrap(), "from file");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ask(&source, "root", 1).unwrap(), "from file");
        assert_eq!(ask(&source, "root", 2), None);
        assert_eq!(ask(&source, "targets", 1), None);
        assert_eq!(ask(&source, "targets", 1), None);
        let remarks = remarks.lock().unwrap();
        assert_eq!(remarks.len(), 2, "{remarks:?}");
        assert!(remarks[0].contains("others can read") && remarks[1].contains("three"), "{remarks:?}");
    }

    #[test]
    fn the_plain_variable_counts_before_file_and_descriptor() {
        let source = EnvironmentPassphrases::notary(|name| match name {
            "NOTARY_ROOT_PASSPHRASE" => Some("plain".into()),
            "NOTARY_SNAPSHOT_PASSPHRASE" => None,
            _ => Some("/nowhere".into()),
        });
        assert_eq!(ask(&source, "root", 1).unwrap(), "plain");
        assert_eq!(ask(&source, "snapshot", 1), None, "no other source stands in for a file that is not there");
    }

    #[test]
    fn a_collections_own_variable_takes_the_place_of_the_roles() {
        let acme = Gun::parse("reg.example:5000/acme/app-x").unwrap();
        let other = Gun::parse("reg.example:5000/acme/other").unwrap();
        assert_eq!(gun_variable(&acme), "COUNTERSIGN_PASSPHRASE_FOR_REG_EXAMPLE_5000__ACME__APP_X");
        let source = EnvironmentPassphrases::notary(|name| match name {
            "COUNTERSIGN_PASSPHRASE_FOR_REG_EXAMPLE_5000__ACME__APP_X" => Some("acme's".into()),
            name if name.starts_with("COUNTERSIGN") => None,
            _ => Some("the role's".into()),
        });
        let of = |gun: Option<&Gun>, tried: Vec<Origin>| {
            ask_for(&source, &PassphraseRequest { gun, tried, ..PassphraseRequest::new("targets", Purpose::Existing) })
        };
        assert_eq!(of(Some(&acme), vec![]).unwrap(), "acme's");
        assert_eq!(of(Some(&other), vec![]).unwrap(), "the role's");
        assert_eq!(of(None, vec![]).unwrap(), "the role's");
        // One that is wrong is not followed by the role's, which is for other keys.
        assert_eq!(of(Some(&acme), vec![Origin::Environment(gun_variable(&acme).into())]), None);
    }

    #[test]
    fn a_pin_has_a_variable_of_its_own_and_passphrases_are_no_pins() {
        let source = EnvironmentPassphrases::docker(|name| (name != PIN).then(|| "a passphrase".into()));
        assert_eq!(ask_for(&source, &PassphraseRequest::new("release", Purpose::Pin)), None);
        let source = EnvironmentPassphrases::notary(|name| (name == PIN).then(|| "1234".into()));
        assert_eq!(ask_for(&source, &PassphraseRequest::new("release", Purpose::Pin)).unwrap(), "1234");
        assert_eq!(ask(&source, "root", 1), None);
    }
}
