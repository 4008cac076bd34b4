//! The folder of pins: one file for each collection, made by `countersign pin` or handed over by somebody.

use super::document::{self, Scope};
use super::error::SettingsError;
use super::place::{own_pins, read_trusted};
use super::{PinRule, Rule, Sourced};
use crate::context::NamedBy;
use crate::error::{CliError, Kind};
use countersign_crypto::certificate::Certificate;
use countersign_crypto::digest::sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Most files of a folder of pins.
const MAX_FILES: usize = 10_000;
/// Most characters of a collection's name that its file's name repeats.
const SHOWN_NAME: usize = 100;

/// A pin that is kept.
#[derive(Debug)]
pub(crate) struct KeptPin {
    /// The collection, or the beginning of several names.
    pub(crate) prefix: String,
    pub(crate) rule: PinRule,
    /// Where it is written.
    pub(crate) named_by: NamedBy,
    file: PathBuf,
}

/// What became of a pin that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It is new.
    New,
    /// The same pin was there.
    Known,
    /// It has replaced another.
    Replaced,
}

/// Whether a pin may take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replacing {
    /// It is what was asked for.
    Allowed,
    /// Another pin stays.
    Refused,
}

/// This person's folder of pins.
#[derive(Debug)]
pub(crate) struct PinFolder(PathBuf);

impl PinFolder {
    /// Finds this person's folder; it need not be there yet.
    pub(crate) fn own() -> Result<Self, CliError> {
        Ok(Self(own_pins()?))
    }

    /// Returns the pins by collection.
    pub(crate) fn list(&self) -> Result<Vec<KeptPin>, CliError> {
        Ok(list(&self.0)?)
    }

    /// Tells whether a pin is written here.
    pub(crate) fn holds(&self, pin: &Sourced<PinRule>) -> bool {
        pin.file.parent() == Some(&self.0)
    }

    /// Says what would become of a pin that is to be kept.
    pub(crate) fn check(&self, prefix: &str, rule: &PinRule, replacing: Replacing) -> Result<Keeping, CliError> {
        match self.list()?.into_iter().find(|kept| kept.prefix == prefix) {
            None => Ok(Keeping::New),
            Some(kept) if kept.rule == *rule => Ok(Keeping::Known),
            Some(kept) if replacing == Replacing::Refused => {
                let message = format!("another pin of {prefix} is kept already: {}", kept.named_by);
                Err(CliError::user(message).hint(format!(
                    "if the owner confirms the new one: --replace, or first countersign pin remove {prefix}"
                )))
            }
            Some(kept) if kept.file != self.0.join(file_name(prefix)) => {
                let message = format!("the pin of {prefix} was not made by countersign pin: change {}", kept.named_by);
                Err(CliError::user(message))
            }
            Some(_) => Ok(Keeping::Replaced),
        }
    }

    /// Keeps a pin, whole or not at all.
    pub(crate) fn keep(&self, prefix: &str, rule: &PinRule, replacing: Replacing) -> Result<Keeping, CliError> {
        let name = self.0.join(file_name(prefix));
        let keeping = self.check(prefix, rule, replacing)?;
        if keeping == Keeping::Known {
            return Ok(keeping);
        }
        let local = |error: &dyn std::fmt::Display| {
            CliError::new(Kind::Local, format!("the pin of {prefix} cannot be kept in {}: {error}", self.0.display()))
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(|error| local(&error))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.0).map_err(|error| local(&error))?;
        file.write_all(text(prefix, rule).as_bytes())
            .and_then(|()| file.as_file().sync_all())
            .map_err(|error| local(&error))?;
        let placed = match keeping {
            Keeping::Replaced => file.persist(&name),
            // Somebody may have written one meanwhile.
            Keeping::New | Keeping::Known => file.persist_noclobber(&name),
        };
        placed.map_err(|error| local(&error.error))?;
        fs_err::File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(|error| local(&error))?;
        Ok(keeping)
    }

    /// Removes the pin of a collection.
    pub(crate) fn remove(&self, prefix: &str) -> Result<(), CliError> {
        let kept = self.list()?;
        let Some(pin) = kept.iter().find(|pin| pin.prefix == prefix) else {
            return Err(CliError::user(format!("no pin of {prefix} is kept in {}", self.0.display()))
                .hint("countersign pin list shows all pins"));
        };
        if kept.iter().any(|other| other.file == pin.file && other.prefix != pin.prefix) {
            return Err(CliError::user(format!("{} holds other pins too: change it by hand", pin.file.display())));
        }
        fs_err::remove_file(&pin.file).map_err(|error| CliError::new(Kind::Local, error))
    }
}

impl PartialEq for PinRule {
    fn eq(&self, other: &Self) -> bool {
        fn ders(authorities: &[Certificate]) -> BTreeSet<&[u8]> {
            authorities.iter().map(Certificate::der).collect()
        }
        match (self, other) {
            (Self::Keys(a), Self::Keys(b)) => a == b,
            (Self::Authorities(a), Self::Authorities(b)) => ders(a) == ders(b),
            (Self::Keys(_), Self::Authorities(_)) | (Self::Authorities(_), Self::Keys(_)) => false,
        }
    }
}

/// Reads a file of pins that somebody has handed over.
pub(crate) fn read(file: &Path, text: &str) -> Result<Vec<(String, PinRule)>, SettingsError> {
    let said = document::read(file, text, Scope::Pins)?;
    let pins: Vec<_> = said.rules.into_iter().filter_map(|rule| Some((rule.prefix, rule.pin?.value))).collect();
    if pins.is_empty() { Err(SettingsError::of_file(file, "there is no pin in it")) } else { Ok(pins) }
}

/// Returns the rules of a folder's files.
pub(super) fn rules(folder: &Path) -> Result<Vec<Rule>, SettingsError> {
    let names = match fs_err::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(SettingsError::of_file(folder, error)),
    };
    let mut files = Vec::new();
    for entry in names.take(MAX_FILES + 1) {
        let path = entry.map_err(|error| SettingsError::of_file(folder, error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    if files.len() > MAX_FILES {
        return Err(SettingsError::of_file(folder, format!("more than {MAX_FILES} files")));
    }
    files.sort();
    let mut rules: Vec<Rule> = Vec::new();
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        // Removed by another process since the folder was read.
        let Some(text) = read_trusted(&file)? else { continue };
        for rule in document::read(&file, &text, Scope::Pins)?.rules {
            let Some(pin) = &rule.pin else { continue };
            let before = known.get(&rule.prefix).and_then(|index| rules.get(*index)?.pin.as_ref());
            match before {
                Some(before) if before.value != pin.value => {
                    let reason = format!("{} has another pin of {}", before.named_by(), rule.prefix);
                    return Err(SettingsError { line: pin.line, ..SettingsError::of_file(&file, reason) });
                }
                Some(_) => {}
                None => {
                    known.insert(rule.prefix.clone(), rules.len());
                    rules.push(rule);
                }
            }
        }
    }
    Ok(rules)
}

fn list(folder: &Path) -> Result<Vec<KeptPin>, SettingsError> {
    let kept = rules(folder)?.into_iter().filter_map(|rule| {
        let pin = rule.pin?;
        let (named_by, file) = (pin.named_by(), pin.file.to_path_buf());
        Some(KeptPin { prefix: rule.prefix, rule: pin.value, named_by, file })
    });
    let mut kept: Vec<KeptPin> = kept.collect();
    kept.sort_by(|a, b| a.prefix.cmp(&b.prefix));
    Ok(kept)
}

/// Returns the name of a collection's file: the collection's, made fit for every file system, and what tells it from others.
fn file_name(prefix: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    let shown: String = prefix.chars().map(fit).take(SHOWN_NAME).collect();
    let hash: String = sha256(prefix.as_bytes()).hex().chars().take(12).collect();
    format!("{shown}-{hash}.toml")
}

/// Writes a pin as a file that can be kept or handed over.
pub(crate) fn text(prefix: &str, rule: &PinRule) -> String {
    let head = format!(
        "# What the root of {prefix} has to be. Compare it with what its owner says, then: countersign pin import FILE\n[images.\"{prefix}\"]\n"
    );
    match rule {
        PinRule::Keys(ids) => {
            let ids: Vec<String> = ids.iter().map(|id| format!("  \"{id}\",")).collect();
            format!("{head}root-keys = [\n{}\n]\n", ids.join("\n"))
        }
        PinRule::Authorities(authorities) => {
            let pem: String = authorities.iter().map(Certificate::to_pem).collect();
            format!("{head}root-ca-pem = '''\n{}\n'''\n", pem.trim_end())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_crypto::KeyId;

    fn keys(byte: u8) -> PinRule {
        PinRule::Keys(BTreeSet::from([KeyId::from_bytes([byte; 32])]))
    }

    fn folder() -> (tempfile::TempDir, PinFolder) {
        let folder = tempfile::tempdir().unwrap();
        let pins = PinFolder(folder.path().join("countersign/pins.d"));
        (folder, pins)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let name = "docker.io/acme/app";
        let read = |text: &str| read(Path::new("pin.toml"), text).unwrap();
        assert_eq!(read(&text(name, &keys(7))), [(name.to_owned(), keys(7))]);
        let pem = countersign_testkit::TestCa::new().pem();
        let authorities = PinRule::Authorities(Certificate::list_from_pem(pem.as_bytes()).unwrap());
        assert_eq!(read(&text(name, &authorities)), [(name.to_owned(), authorities.clone())]);
        assert_ne!(authorities, keys(7));
    }

    #[test]
    fn a_pin_is_never_replaced_in_silence() {
        let (_guard, pins) = folder();
        let keep = |byte, replacing| pins.keep("a.test/x", &keys(byte), replacing);
        assert_eq!(keep(1, Replacing::Refused).unwrap(), Keeping::New);
        assert_eq!(keep(1, Replacing::Refused).unwrap(), Keeping::Known);
        let refused = keep(2, Replacing::Refused).unwrap_err();
        assert!(refused.message.contains("another pin of a.test/x"), "{refused:?}");
        assert_eq!(pins.list().unwrap()[0].rule, keys(1));
        assert_eq!(keep(2, Replacing::Allowed).unwrap(), Keeping::Replaced);
        assert_eq!(pins.list().unwrap()[0].rule, keys(2));
        assert_eq!(std::fs::read_dir(&pins.0).unwrap().count(), 1, "no temporary file stays");
        pins.remove("a.test/x").unwrap();
        assert!(pins.list().unwrap().is_empty());
        assert!(pins.remove("a.test/x").is_err());
    }

    #[test]
    fn two_pins_of_one_collection_are_refused_by_name() {
        let (_guard, pins) = folder();
        pins.keep("a.test/x", &keys(1), Replacing::Refused).unwrap();
        let other = pins.0.join("by-hand.toml");
        std::fs::write(&other, text("a.test/x", &keys(2))).unwrap();
        let error = pins.list().unwrap_err().message;
        assert!(error.contains("by-hand.toml") && error.contains("a.test_x-"), "{error}");
        std::fs::write(&other, text("a.test/x", &keys(1))).unwrap();
        assert_eq!(pins.list().unwrap().len(), 1, "twice the same is no contradiction");
    }

    #[test]
    fn names_that_look_alike_have_files_of_their_own() {
        let long = format!("a.test/{}", "x/".repeat(120));
        let names: BTreeSet<String> = ["a.test/x_y", "a.test/x/y", "a.test_x/y", &long].map(file_name).into();
        assert_eq!(names.len(), 4);
        assert!(names.iter().all(|name| name.len() < 130 && !name.contains('/')));
    }
}
