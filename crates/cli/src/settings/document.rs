//! The settings file's keys, read strictly: what is not understood is an error that names file, line and key.

use super::error::SettingsError;
use super::key_care::{KeyCare, KeysTable, TokenTable};
use super::place::read_trusted;
use super::{PinRule, Rule, Sourced};
use crate::context::FirstUsePolicy;
use crate::period::Period;
use countersign_crypto::KeyId;
use countersign_crypto::certificate::Certificate;
use countersign_image::{RegistryHost, Repository};
use countersign_notary::ServiceAddress;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use toml::Spanned;

/// Most rules of one file.
const MAX_RULES: usize = 10_000;
/// Most root keys of one pin.
const MAX_ROOT_KEYS: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Document {
    service: Option<Spanned<String>>,
    service_ca: Option<Spanned<String>>,
    root_ca: Option<Spanned<String>>,
    first_use: Option<Spanned<FirstUsePolicy>>,
    audit_log: Option<Spanned<String>>,
    keys: Option<Spanned<KeysTable>>,
    doctor: Option<Doctor>,
    #[serde(default)]
    tokens: BTreeMap<Spanned<String>, TokenTable>,
    #[serde(default)]
    images: BTreeMap<Spanned<String>, ImageRule>,
}

/// What is said about `countersign doctor`.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Doctor {
    warn_before: Option<Spanned<Period>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ImageRule {
    service: Option<Spanned<String>>,
    service_ca: Option<Spanned<String>>,
    root_keys: Option<Spanned<Vec<String>>>,
    root_ca: Option<Spanned<String>>,
    root_ca_pem: Option<Spanned<String>>,
    first_use: Option<Spanned<FirstUsePolicy>>,
}

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) rules: Vec<Rule>,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) keys: KeyCare,
    pub(super) warn_before: Option<Sourced<Period>>,
}

/// What may be in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// All keys.
    Settings,
    /// Pins of single collections or prefixes, and nothing else: the file may come from somebody else.
    Pins,
}

/// Reads a file's text; files that it names are looked for beside it.
pub(super) fn read(file: &Path, text: &str, scope: Scope) -> Result<Said, SettingsError> {
    let reader = Reader { file: Arc::from(file), text, scope };
    reader.said(reader.parse()?)
}

/// A settings file's text, and how to blame a place in it.
pub(crate) struct Reader<'a> {
    file: Arc<Path>,
    text: &'a str,
    scope: Scope,
}

impl<'a> Reader<'a> {
    /// Takes a file that is not read by the rules of [`Scope::Pins`].
    pub(crate) fn of(file: &Path, text: &'a str) -> Self {
        Self { file: Arc::from(file), text, scope: Scope::Settings }
    }

    /// Reads the text; an error names the line and key.
    pub(crate) fn parse<T: serde::de::DeserializeOwned>(&self) -> Result<T, SettingsError> {
        toml::from_str(self.text).map_err(|error| {
            let (line, key) = error.span().map_or((0, None), |span| (self.line(&span), self.key(&span)));
            SettingsError { file: self.file.to_path_buf(), line, key, reason: error.message().to_owned() }
        })
    }

    pub(crate) fn line(&self, span: &Range<usize>) -> usize {
        self.text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
    }

    /// Finds the key of the line that a place is in.
    fn key(&self, span: &Range<usize>) -> Option<String> {
        let line = self.text.lines().nth(self.line(span).checked_sub(1)?)?;
        let (key, _) = line.split_once('=')?;
        Some(key.trim().chars().take(80).collect())
    }

    pub(crate) fn refuse<T>(&self, value: &Spanned<T>, key: &str, reason: impl std::fmt::Display) -> SettingsError {
        let (line, key) = (self.line(&value.span()), Some(key.to_owned()));
        SettingsError { file: self.file.to_path_buf(), line, key, reason: reason.to_string() }
    }

    fn sourced<T, V>(&self, value: &Spanned<V>, parsed: T) -> Sourced<T> {
        Sourced { value: parsed, file: Arc::clone(&self.file), line: self.line(&value.span()) }
    }

    fn said(&self, document: Document) -> Result<Said, SettingsError> {
        let Document { service, service_ca, root_ca, first_use, audit_log, keys, doctor, tokens, images } = document;
        let audit_log = audit_log.map(|value| self.path(&value, "audit-log")).transpose()?;
        let everything = ImageRule { service, service_ca, root_ca, first_use, ..ImageRule::default() };
        let about_all = audit_log.is_some() || keys.is_some() || doctor.is_some() || !tokens.is_empty();
        if self.scope == Scope::Pins && (everything.root_ca.is_some() || about_all) {
            let reason = "a file of pins has only [images.\"…\"] with root-keys or root-ca-pem";
            return Err(SettingsError::of_file(&self.file, reason));
        }
        if images.len() > MAX_RULES {
            return Err(SettingsError::of_file(&self.file, format!("more than {MAX_RULES} rules")));
        }
        let mut rules = vec![self.rule(String::new(), &everything)?];
        for (prefix, rule) in images {
            let name =
                check_prefix(prefix.get_ref()).map_err(|reason| self.refuse(&prefix, prefix.get_ref(), reason))?;
            rules.push(self.rule(name, &rule)?);
        }
        let keys = KeyCare::of(keys.map(Spanned::into_inner).unwrap_or_default(), tokens, self)?;
        let warn_before = doctor.unwrap_or_default().warn_before.map(|value| self.sourced(&value, *value.get_ref()));
        Ok(Said { rules, audit_log: audit_log.map(|path| path.value), keys, warn_before })
    }

    fn rule(&self, prefix: String, rule: &ImageRule) -> Result<Rule, SettingsError> {
        if self.scope == Scope::Pins {
            self.check_pin_only(rule)?;
        }
        let service = match &rule.service {
            None => None,
            Some(text) => {
                let address = ServiceAddress::parse(text.get_ref());
                Some(self.sourced(text, address.map_err(|error| self.refuse(text, "service", error))?))
            }
        };
        Ok(Rule {
            prefix,
            service,
            authorities: rule.service_ca.as_ref().map(|value| self.path(value, "service-ca")).transpose()?,
            pin: self.pin(rule)?,
            first_use: rule.first_use.as_ref().map(|value| self.sourced(value, *value.get_ref())),
        })
    }

    fn check_pin_only(&self, rule: &ImageRule) -> Result<(), SettingsError> {
        let reason = "a file of pins has only root-keys and root-ca-pem";
        let texts = [("service", &rule.service), ("service-ca", &rule.service_ca), ("root-ca", &rule.root_ca)];
        for (key, value) in texts {
            if let Some(value) = value {
                return Err(self.refuse(value, key, reason));
            }
        }
        match &rule.first_use {
            Some(value) => Err(self.refuse(value, "first-use", reason)),
            None => Ok(()),
        }
    }

    fn pin(&self, rule: &ImageRule) -> Result<Option<Sourced<PinRule>>, SettingsError> {
        match (&rule.root_keys, &rule.root_ca, &rule.root_ca_pem) {
            (None, None, None) => Ok(None),
            (Some(ids), None, None) => Ok(Some(self.sourced(ids, PinRule::Keys(self.root_keys(ids)?)))),
            (None, Some(file), None) => {
                let path = self.path(file, "root-ca")?.value;
                let refuse = |reason: &dyn std::fmt::Display| self.refuse(file, "root-ca", reason);
                // A pin is no safer than the file that it is in.
                let pem = read_trusted(&path).map_err(|error| refuse(&error))?;
                let pem = pem.ok_or_else(|| refuse(&format!("{} is not there", path.display())))?;
                let authorities = Certificate::list_from_pem(pem.as_bytes())
                    .map_err(|error| refuse(&format!("{}: {error}", path.display())))?;
                Ok(Some(self.sourced(file, PinRule::Authorities(authorities))))
            }
            (None, None, Some(pem)) => {
                let authorities = Certificate::list_from_pem(pem.get_ref().as_bytes());
                let authorities = authorities.map_err(|error| self.refuse(pem, "root-ca-pem", error))?;
                Ok(Some(self.sourced(pem, PinRule::Authorities(authorities))))
            }
            (Some(value), ..) => Err(self.refuse(value, "root-keys", TWO_PINS)),
            (_, Some(value), _) => Err(self.refuse(value, "root-ca", TWO_PINS)),
        }
    }

    fn root_keys(&self, ids: &Spanned<Vec<String>>) -> Result<BTreeSet<KeyId>, SettingsError> {
        let refuse = |reason: &dyn std::fmt::Display| self.refuse(ids, "root-keys", reason);
        if ids.get_ref().is_empty() {
            return Err(refuse(&"no root key is named: nothing could be trusted"));
        }
        if ids.get_ref().len() > MAX_ROOT_KEYS {
            return Err(refuse(&format!("more than {MAX_ROOT_KEYS} root keys")));
        }
        let parse = |text: &String| {
            text.parse().map_err(|_| refuse(&format!("{text:?} is no key id of 64 lower-case hexadecimal digits")))
        };
        ids.get_ref().iter().map(parse).collect()
    }

    /// Resolves a path: `~/` is the home directory, a relative one begins at the settings file's folder.
    pub(crate) fn path(&self, value: &Spanned<String>, key: &str) -> Result<Sourced<PathBuf>, SettingsError> {
        let text = value.get_ref();
        if text.is_empty() {
            return Err(self.refuse(value, key, "the path is empty"));
        }
        let path = match text.strip_prefix("~/") {
            Some(rest) => {
                let home = etcetera::home_dir().map_err(|_| self.refuse(value, key, "there is no home directory"))?;
                home.join(rest)
            }
            None => self.file.parent().unwrap_or(Path::new("")).join(text),
        };
        Ok(self.sourced(value, path))
    }
}

const TWO_PINS: &str = "root-keys, root-ca and root-ca-pem exclude each other: one rule is one pin";

/// Checks that a prefix is a registry, or the canonical name of a repository or of a path above repositories.
fn check_prefix(text: &str) -> Result<String, String> {
    let (registry, path) = match text.split_once('/') {
        Some((registry, path)) => (registry, Some(path)),
        None => (text, None),
    };
    // docker's rule for what is a registry; "acme" would be taken for docker.io/acme elsewhere.
    let named =
        registry.contains(['.', ':']) || registry == "localhost" || registry.chars().any(|c| c.is_ascii_uppercase());
    let Some(host) = RegistryHost::parse(registry).filter(|_| named) else {
        return Err(format!("begin with the registry: \"docker.io/{text}\" for images of Docker Hub"));
    };
    let Some(path) = path else { return Ok(host.as_str().to_owned()) };
    // A segment in front keeps docker's rules for short names out of it.
    if Repository::parse(&format!("{host}/x/{path}")).is_err() {
        return Err(
            "this is no beginning of a repository's name: REGISTRY[/PATH], without tag or digest, no slash at the end"
                .to_owned(),
        );
    }
    Ok(format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Said, SettingsError> {
        read(Path::new("/s/config.toml"), text, Scope::Settings)
    }

    fn refused(text: &str) -> (usize, String, String) {
        let error = said(text).unwrap_err();
        (error.line, error.key.unwrap_or_default(), error.reason)
    }

    #[test]
    fn every_key_is_read_with_its_line() {
        let id = "ab".repeat(32);
        let text = format!(
            "service = \"https://a.test\"\nfirst-use = \"ask\"\naudit-log = \"log\"\n\n[images.\"docker.io/acme\"]\nservice = \"https://b.test:1/x\"\nservice-ca = \"ca.pem\"\nroot-keys = [\"{id}\"]\nfirst-use = \"deny\"\n"
        );
        let said = said(&text).unwrap();
        assert_eq!(said.audit_log.unwrap(), Path::new("/s/log"));
        let [everything, acme] = said.rules.as_slice() else { panic!("two rules") };
        assert_eq!((everything.prefix.as_str(), acme.prefix.as_str()), ("", "docker.io/acme"));
        assert_eq!(everything.first_use.as_ref().unwrap().line, 2);
        let service = acme.service.as_ref().unwrap();
        assert_eq!((service.value.to_string().as_str(), service.line), ("https://b.test:1/x", 6));
        assert_eq!(acme.authorities.as_ref().unwrap().value, Path::new("/s/ca.pem"));
        assert!(matches!(&acme.pin.as_ref().unwrap().value, PinRule::Keys(ids) if ids.len() == 1));
        assert_eq!(acme.first_use.as_ref().unwrap().value, FirstUsePolicy::Deny);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_line_and_key() {
        let (line, key, reason) = refused("service = \"https://a.test\"\nfrist-use = \"deny\"\n");
        assert_eq!((line, key.as_str()), (2, "frist-use"));
        assert!(reason.contains("unknown field"), "{reason}");
        let (line, key, reason) = refused("\n[images.\"a.test\"]\nfirst-use = \"no\"\n");
        assert_eq!((line, key.as_str()), (3, "first-use"));
        assert!(reason.contains("unknown variant"), "{reason}");
        for (text, line, key, part) in [
            ("service = \"http://a.test\"", 1, "service", "valid https URL"),
            ("first-use = 3", 1, "first-use", "wanted string"),
            ("audit-log = \"\"", 1, "audit-log", "empty"),
            ("[images.\"a.test\"]\nroot-keys = []", 2, "root-keys", "no root key"),
            ("[images.\"a.test\"]\nroot-keys = [\"AB\"]", 2, "root-keys", "no key id"),
            ("[images.\"a.test\"]\nroot-ca = \"missing.pem\"", 2, "root-ca", "missing.pem"),
            ("[images.\"a.test\"]\nroot-ca-pem = \"junk\"", 2, "root-ca-pem", ""),
            ("[images.\"a.test\"]\nroot-ca = \"x\"\nroot-ca-pem = \"y\"", 2, "root-ca", "exclude each other"),
            ("[images.\"a.test\"]\npin = 1", 2, "pin", "unknown field"),
            ("root-keys = [\"x\"]", 1, "root-keys", "unknown field"),
            ("[images.\"a.test\"]\n[images.\"a.test\"]", 2, "", "duplicate"),
            ("service = \"https://a\"\nservice = \"https://b\"", 2, "service", "duplicate"),
            ("x = [[[[", 1, "x", ""),
        ] {
            let (found, name, reason) = refused(text);
            assert_eq!((found, name.as_str()), (line, key), "{text}: {reason}");
            assert!(reason.contains(part), "{text}: {reason}");
        }
    }

    #[test]
    fn prefixes_are_registries_or_canonical_names() {
        for good in
            ["docker.io", "docker.io/acme", "docker.io/library/alpine", "a.test:5000/x/y", "localhost/x", "REG/x"]
        {
            assert_eq!(check_prefix(good).as_deref(), Ok(good));
        }
        assert_eq!(check_prefix("index.docker.io/acme").unwrap(), "docker.io/acme");
        for bad in [
            "",
            "acme",
            "acme/app",
            "a.test/",
            "a.test//x",
            "a.test/x:1",
            "a.test/*",
            "a.test/X",
            "/x",
            "https://a.test",
            "a.test/x@sha256:1",
        ] {
            assert!(check_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_of_pins_cannot_name_services_or_rules() {
        let pins = |text: &str| read(Path::new("p.toml"), text, Scope::Pins);
        let id = "ab".repeat(32);
        assert!(pins(&format!("[images.\"a.test/x\"]\nroot-keys = [\"{id}\"]")).is_ok());
        for text in [
            "service = \"https://a.test\"",
            "first-use = \"allow\"",
            "root-ca = \"x\"",
            "audit-log = \"/etc/passwd\"",
            "[keys]\nrotate-every = \"90d\"",
            "[doctor]\nwarn-before = \"30d\"",
            "[images.\"a.test\"]\nservice = \"https://evil.test\"",
            "[images.\"a.test\"]\nservice-ca = \"x\"",
            "[images.\"a.test\"]\nroot-ca = \"/etc/passwd\"",
            "[images.\"a.test\"]\nfirst-use = \"allow\"",
        ] {
            assert!(pins(text).unwrap_err().reason.contains("a file of pins has only"), "{text}");
        }
    }

    #[test]
    fn an_authority_that_others_can_change_is_no_pin() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let pem = folder.path().join("ca.pem");
        std::fs::write(&pem, countersign_testkit::TestCa::new().pem()).unwrap();
        let read = |mode: u32| {
            std::fs::set_permissions(&pem, std::fs::Permissions::from_mode(mode)).unwrap();
            let text = "[images.\"a.test\"]\nroot-ca = \"ca.pem\"";
            read(&folder.path().join("config.toml"), text, Scope::Settings)
        };
        assert!(read(0o644).is_ok());
        let refused = read(0o666).unwrap_err();
        assert!(refused.line == 2 && refused.reason.contains("chmod go-w"), "{refused}");
    }

    #[test]
    fn no_depth_brings_the_reader_down() {
        for text in
            ["[".repeat(100_000), format!("x = {}", "[".repeat(100_000)), format!("x = {}", "{a=".repeat(50_000))]
        {
            assert!(said(&text).is_err());
        }
    }
}
