//! Passphrases from environment variables.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use countersign_tuf::RoleName;

use super::source_file;
use super::{Origin, Passphrase, PassphraseRequest, PassphraseSource, Purpose, Reply};

/// The variables of one kind of key: the passphrase itself, a file with it, a descriptor that it can be read from.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    value: &'static str,
    file: &'static str,
    descriptor: &'static str,
}

macro_rules! names {
    ($value:literal) => {
        Names { value: $value, file: concat!($value, "_FILE"), descriptor: concat!($value, "_FD") }
    };
}

static DOCKER_ROOT: Names = names!("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE");
static DOCKER_REPOSITORY: Names = names!("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE");
static NOTARY_ROOT: Names = names!("NOTARY_ROOT_PASSPHRASE");
static NOTARY_TARGETS: Names = names!("NOTARY_TARGETS_PASSPHRASE");
static NOTARY_SNAPSHOT: Names = names!("NOTARY_SNAPSHOT_PASSPHRASE");
static NOTARY_DELEGATION: Names = names!("NOTARY_DELEGATION_PASSPHRASE");
static BACKUP: Names = names!("COUNTERSIGN_BACKUP_PASSPHRASE");

/// Passphrases from the variables that docker or notary read; one role's passphrase is never tried on another's key.
///
/// Beside each variable there are two more, which the reference does not know: with `_FILE` the path of a file and with
/// `_FD` the number of a descriptor, whose first line is the passphrase. The plain variable counts before the file, the file
/// before the descriptor; the latter two are read when the first key needs them, once.
///
/// A variable that is empty counts as unset. A wrong passphrase for an existing key is offered once and not again, so that
/// the next source can be asked; the reference tries it twice and then gives up.
pub struct EnvironmentPassphrases {
    flavour: Flavour,
    given: Vec<Given>,
    remark: Box<dyn Fn(&PassphraseRemark) + Send + Sync>,
}

/// What there is to say about a file or descriptor that a variable names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PassphraseRemark {
    /// There is no passphrase in it; the next source is asked.
    Unusable {
        /// The variable.
        variable: &'static str,
        /// What it names.
        named: String,
        /// Why.
        reason: String,
    },
    /// Others can read it.
    ReadableByOthers {
        /// The variable.
        variable: &'static str,
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
}

/// What one set of variables gives.
struct Given {
    names: &'static Names,
    place: Place,
    found: OnceLock<Option<Passphrase>>,
}

enum Place {
    Value,
    File(PathBuf),
    Descriptor(OsString),
}

impl Given {
    fn read(names: &'static Names, lookup: &impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let found = OnceLock::new();
        let place = if let Some(value) = set(names.value) {
            let _ = found.set(Passphrase::new(value.into_encoded_bytes()).ok());
            Place::Value
        } else if let Some(path) = set(names.file) {
            Place::File(path.into())
        } else {
            Place::Descriptor(set(names.descriptor)?)
        };
        Some(Self { names, place, found })
    }

    fn variable(&self) -> &'static str {
        match self.place {
            Place::Value => self.names.value,
            Place::File(_) => self.names.file,
            Place::Descriptor(_) => self.names.descriptor,
        }
    }

    /// Reads what a variable names, once.
    fn passphrase(&self, remark: &dyn Fn(&PassphraseRemark)) -> Option<&Passphrase> {
        let read = |path: &Path, named: String| match source_file::read(path) {
            Ok(found) => {
                if found.readable_by_others {
                    remark(&PassphraseRemark::ReadableByOthers { variable: self.variable(), path: path.to_owned() });
                }
                Some(found.passphrase)
            }
            Err(reason) => {
                remark(&PassphraseRemark::Unusable { variable: self.variable(), named, reason });
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
                remark(&PassphraseRemark::Unusable { variable: self.variable(), named, reason });
                None
            }
        });
        found.as_ref()
    }
}

impl EnvironmentPassphrases {
    /// Reads docker's variables: one for root keys, one for all others (docker trust, environment variables).
    pub fn docker(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::read(Flavour::Docker, &[&DOCKER_ROOT, &DOCKER_REPOSITORY], lookup)
    }

    /// Reads notary's variables: root, targets, snapshot, and one for whatever is no base role (Notary protocol,
    /// passphrases).
    pub fn notary(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::read(Flavour::Notary, &[&NOTARY_ROOT, &NOTARY_TARGETS, &NOTARY_SNAPSHOT, &NOTARY_DELEGATION], lookup)
    }

    /// Reads the variable for archives of keys, which is for nothing else: any alias gets it.
    pub fn backup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        Self::read(Flavour::Backup, &[&BACKUP], lookup)
    }

    /// Has somebody hear what there is to say about files and descriptors; otherwise nobody does.
    #[must_use]
    pub fn remarking(mut self, remark: impl Fn(&PassphraseRemark) + Send + Sync + 'static) -> Self {
        self.remark = Box::new(remark);
        self
    }

    fn read(flavour: Flavour, names: &[&'static Names], lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let given = names.iter().filter_map(|names| Given::read(names, &lookup)).collect();
        Self { flavour, given, remark: Box::new(|_| {}) }
    }

    fn names(&self, alias: &str) -> Option<&'static Names> {
        match (self.flavour, RoleName::parse(alias)) {
            (Flavour::Backup, _) => Some(&BACKUP),
            (Flavour::Docker, Ok(RoleName::Root)) => Some(&DOCKER_ROOT),
            (Flavour::Docker, _) => Some(&DOCKER_REPOSITORY),
            (Flavour::Notary, Ok(RoleName::Root)) => Some(&NOTARY_ROOT),
            (Flavour::Notary, Ok(RoleName::Targets)) => Some(&NOTARY_TARGETS),
            (Flavour::Notary, Ok(RoleName::Snapshot)) => Some(&NOTARY_SNAPSHOT),
            (Flavour::Notary, Ok(RoleName::Timestamp)) => None,
            (Flavour::Notary, Ok(RoleName::Delegation(_)) | Err(_)) => Some(&NOTARY_DELEGATION),
        }
    }
}

impl PassphraseSource for EnvironmentPassphrases {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        let offered = request.purpose == Purpose::Existing && request.attempt > 1;
        let Some(names) = self.names(request.alias).filter(|_| !offered) else { return Reply::Unavailable };
        let Some(given) = self.given.iter().find(|given| given.names == names) else { return Reply::Unavailable };
        match given.passphrase(&self.remark) {
            Some(passphrase) => Reply::Passphrase(passphrase.clone(), Origin::Environment(given.variable())),
            None => Reply::Unavailable,
        }
    }
}

impl fmt::Debug for EnvironmentPassphrases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.given.iter().map(Given::variable).collect();
        f.debug_struct("EnvironmentPassphrases")
            .field("flavour", &self.flavour)
            .field("set", &names)
            .finish_non_exhaustive()
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
        assert_eq!(ask(&source, "root", 1).unwrap(), DOCKER_ROOT.value);
        for alias in ["targets", "snapshot", "timestamp", "targets/releases", "alice", ""] {
            assert_eq!(ask(&source, alias, 1).unwrap(), DOCKER_REPOSITORY.value, "{alias}");
        }
    }

    #[test]
    fn notary_has_one_per_role_and_one_for_delegations() {
        let source = EnvironmentPassphrases::notary(environment);
        assert_eq!(ask(&source, "root", 1).unwrap(), NOTARY_ROOT.value);
        assert_eq!(ask(&source, "targets", 1).unwrap(), NOTARY_TARGETS.value);
        for alias in ["delegation", "targets/releases", "alice", ""] {
            assert_eq!(ask(&source, alias, 1).unwrap(), NOTARY_DELEGATION.value, "{alias}");
        }
    }

    #[test]
    fn an_empty_variable_is_unset_and_no_other_stands_in() {
        let source = EnvironmentPassphrases::notary(environment);
        assert_eq!(ask(&source, "snapshot", 1), None);
        assert_eq!(ask(&source, "timestamp", 1), None);
        let source = EnvironmentPassphrases::docker(|name| (name == DOCKER_REPOSITORY.value).then(|| "x".into()));
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
        let request = PassphraseRequest { alias: "x", key_id: None, purpose: Purpose::New, attempt: 1, refused: None };
        let Reply::Passphrase(passphrase, origin) = source.passphrase(&request) else { panic!("no passphrase") };
        assert_eq!(passphrase.bytes(), [0xff, 0xfe]);
        assert_eq!(origin, Origin::Environment(DOCKER_REPOSITORY.value));
        assert!(!format!("{source:?}").contains("255"));
    }

    #[test]
    fn a_file_or_descriptor_is_read_when_it_is_wanted_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let named = path.clone();
        let remarks = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = std::sync::Arc::clone(&remarks);
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
}
