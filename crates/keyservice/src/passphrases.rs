//! Where the passphrases are that keys are encrypted under: files, variables, or files made here.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_crypto::{Random, SystemRandom};
use countersign_storage::Alias;
use zeroize::Zeroizing;

use crate::data_dir::{give, make_folder, write_new};

/// Beginnings of the variables: our own name first, then the reference's.
const VARIABLES: [&str; 2] = ["COUNTERSIGN_KEYSERVER_PASSPHRASE_", "NOTARY_SIGNER_"];
/// Bytes of a passphrase file that are read.
const MAX_FILE: u64 = 64 * 1024;
/// Random bytes of a passphrase that is made here; written as hexadecimal digits.
const MADE_BYTES: usize = 32;
/// Characters below which a passphrase is easily guessed by whoever has the database.
const SHORT: usize = 16;

/// A passphrase, wiped when dropped.
pub(crate) type Secret = Zeroizing<String>;

/// Says why a passphrase is not at hand (environment).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// There is none.
    #[error(
        "there is no passphrase for the alias {alias}: set {variable}, or name a file with --passphrase-file {alias}=FILE"
    )]
    Missing {
        /// The alias.
        alias: Alias,
        /// The variable it could be in.
        variable: String,
    },
    /// The passphrase is empty.
    #[error("the passphrase for the alias {0} is empty")]
    Empty(Alias),
    /// A file cannot be read or written; the source names it.
    #[error("the passphrase for the alias {alias} cannot be read")]
    File {
        /// The alias.
        alias: Alias,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No random numbers are to be had.
    #[error(transparent)]
    Random(#[from] countersign_crypto::RandomError),
}

type ReadVariable = dyn Fn(&str) -> Option<String> + Send + Sync;

/// Reads variables of the environment.
#[derive(Clone)]
pub struct Variables(Arc<ReadVariable>);

impl Variables {
    /// Variables as this function tells them.
    pub fn new(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(crate) fn read(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Variables")
    }
}

/// Where passphrases are: first in the named files, then in variables, then in a folder with a file for each alias.
#[derive(Debug, Clone)]
pub struct Passphrases {
    files: BTreeMap<Alias, PathBuf>,
    variables: Variables,
    folder: PathBuf,
}

impl Passphrases {
    /// Looks in these files, these variables, and the data folder.
    #[must_use]
    pub fn new(files: BTreeMap<Alias, PathBuf>, variables: Variables, data_dir: &Path) -> Self {
        Self { files, variables, folder: data_dir.join("passphrases") }
    }

    /// Returns the passphrase of an alias; looks for it each time, so that one that is added is found at once.
    pub(crate) fn get(&self, alias: &Alias) -> Result<Secret, PassphraseError> {
        self.find(alias)?.ok_or_else(|| PassphraseError::Missing {
            alias: alias.clone(),
            variable: variable(VARIABLES.first().copied().unwrap_or_default(), alias),
        })
    }

    /// Returns the passphrase of an alias, and makes one in the data folder when there is none anywhere; for aliases that no
    /// key is encrypted under.
    pub(crate) fn get_or_make(&self, alias: &Alias) -> Result<Secret, PassphraseError> {
        if let Some(found) = self.find(alias)? {
            return Ok(found);
        }
        let unwritable = |source| PassphraseError::File { alias: alias.clone(), source };
        let mut bytes = Zeroizing::new([0; MADE_BYTES]);
        SystemRandom.fill(bytes.as_mut())?;
        let text = Zeroizing::new(hex::encode(bytes.as_slice()));
        make_folder(&self.folder).map_err(unwritable)?;
        let path = self.folder.join(alias.as_str());
        write_new(&path, format!("{}\n", *text).as_bytes()).map_err(unwritable)?;
        if let Some(data_dir) = self.folder.parent() {
            give(data_dir, &[&self.folder, &path]).map_err(unwritable)?;
        }
        tracing::warn!(path = %path.display(), "a passphrase was made: without this file, no key can be opened");
        Ok(text)
    }

    fn find(&self, alias: &Alias) -> Result<Option<Secret>, PassphraseError> {
        let found = if let Some(path) = self.files.get(alias) {
            Some(read(path).map_err(|source| PassphraseError::File { alias: alias.clone(), source })?)
        } else if let Some(found) = self.in_variables(alias) {
            Some(found)
        } else {
            match read(&self.folder.join(alias.as_str())) {
                Ok(found) => Some(found),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(source) => return Err(PassphraseError::File { alias: alias.clone(), source }),
            }
        };
        match found {
            Some(secret) if secret.is_empty() => Err(PassphraseError::Empty(alias.clone())),
            found => Ok(found),
        }
    }

    fn in_variables(&self, alias: &Alias) -> Option<Secret> {
        // An empty variable counts as not set, as with the reference.
        let [_, reference] = VARIABLES;
        // The reference leaves a hyphen in the name, which a container's settings can give, though no shell.
        let as_it_is = format!("{reference}{}", alias.as_str().to_ascii_uppercase().replace('.', "_"));
        let names = VARIABLES.iter().map(|prefix| variable(prefix, alias)).chain([as_it_is]);
        let values = names.filter_map(|name| self.variables.read(&name));
        values.filter(|value| !value.is_empty()).map(Zeroizing::new).next()
    }
}

/// Tells whether a passphrase is easily guessed by whoever has the database.
pub(crate) fn is_short(secret: &Secret) -> bool {
    secret.chars().count() < SHORT
}

/// Returns the variable for an alias: its letters upper-case, what variables cannot have in their names as underscores.
fn variable(prefix: &str, alias: &Alias) -> String {
    format!("{prefix}{}", alias.as_str().to_ascii_uppercase().replace(['.', '-'], "_"))
}

/// Reads a file's text without the end of its last line.
fn read(path: &Path) -> io::Result<Secret> {
    let file = fs_err::File::open(path)?;
    if file.metadata()?.permissions().mode() & 0o007 != 0 {
        tracing::warn!(path = %path.display(), "everybody on this machine may read a passphrase");
    }
    let mut text = Zeroizing::new(String::with_capacity(4096));
    file.take(MAX_FILE).read_to_string(&mut text)?;
    let length = text.trim_end_matches(['\n', '\r']).len();
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alias(name: &str) -> Alias {
        Alias::parse(name).unwrap()
    }

    fn passphrases(folder: &Path, file: Option<(&str, PathBuf)>) -> Passphrases {
        let files = file.into_iter().map(|(name, path)| (alias(name), path)).collect();
        let variables = Variables::new(|name| match name {
            "COUNTERSIGN_KEYSERVER_PASSPHRASE_NOV_2026" => Some("ours".to_owned()),
            "NOTARY_SIGNER_NOV_2026" | "NOTARY_SIGNER_OLD" => Some("the reference's".to_owned()),
            "NOTARY_SIGNER_EMPTY" => Some(String::new()),
            _ => None,
        });
        Passphrases::new(files, variables, folder)
    }

    #[test]
    fn files_come_before_variables_and_our_variables_before_the_references() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        fs_err::write(&file, "from a file\r\n").unwrap();
        let all = passphrases(folder.path(), Some(("old", file)));
        assert_eq!(*all.get(&alias("nov-2026")).unwrap(), "ours");
        assert_eq!(*all.get(&alias("old")).unwrap(), "from a file");
        let without = passphrases(folder.path(), None);
        assert_eq!(*without.get(&alias("old")).unwrap(), "the reference's");
    }

    #[test]
    fn what_root_makes_is_its_owners_to_whom_the_folder_belongs() {
        use std::os::unix::fs::{MetadataExt, chown};
        let folder = tempfile::tempdir().unwrap();
        // Without root there is nobody else to give it to.
        let service = if rustix::process::geteuid().is_root() { 65534 } else { rustix::process::geteuid().as_raw() };
        chown(folder.path(), Some(service), None).unwrap();
        passphrases(folder.path(), None).get_or_make(&alias("new")).unwrap();
        for made in ["passphrases", "passphrases/new"] {
            assert_eq!(folder.path().join(made).metadata().unwrap().uid(), service, "{made}");
        }
    }

    #[test]
    fn a_missing_passphrase_says_where_it_could_be_and_an_empty_one_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let all = passphrases(folder.path(), None);
        for name in ["a.b", "empty"] {
            let missing = all.get(&alias(name)).unwrap_err();
            assert!(matches!(missing, PassphraseError::Missing { .. }), "{missing}");
        }
        let text = all.get(&alias("a.b")).unwrap_err().to_string();
        assert!(text.contains("COUNTERSIGN_KEYSERVER_PASSPHRASE_A_B") && text.contains("--passphrase-file a.b="));
        let file = folder.path().join("nothing");
        fs_err::write(&file, "\n").unwrap();
        let empty = passphrases(folder.path(), Some(("x", file.clone()))).get(&alias("x"));
        assert!(matches!(empty, Err(PassphraseError::Empty(_))));
        fs_err::remove_file(&file).unwrap();
        let gone = passphrases(folder.path(), Some(("x", file))).get_or_make(&alias("x"));
        assert!(matches!(gone, Err(PassphraseError::File { .. })), "a named file is never replaced by another secret");
    }

    #[test]
    fn a_passphrase_is_made_once_and_for_the_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let all = passphrases(folder.path(), None);
        let made = all.get_or_make(&alias("new")).unwrap();
        assert_eq!(made.len(), 2 * MADE_BYTES);
        assert_eq!(all.get_or_make(&alias("new")).unwrap(), made);
        assert_eq!(all.get(&alias("new")).unwrap(), made);
        let permissions = fs_err::metadata(folder.path().join("passphrases/new")).unwrap().permissions().mode();
        assert_eq!(permissions & 0o777, 0o600);
        assert!(is_short(&Zeroizing::new("x".repeat(15))) && !is_short(&made));
    }
}
