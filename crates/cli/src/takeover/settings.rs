//! The reference's configuration file, and the variables that win over it.
//!
//! As there: letter case does not matter in names, a variable that is set and not empty wins over the file, a list in a
//! variable is separated by white space, and paths start from the file's folder.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use countersign_server::{Backend, DatabaseUrl};
use serde_json::Value;

use super::{Program, wrong};
use crate::context::variable;
use crate::error::CliError;

/// Largest configuration file in bytes.
const MAX_FILE: u64 = 1 << 20;
/// What both programs know.
const COMMON: [&str; 15] = [
    "server.tls_cert_file",
    "server.tls_key_file",
    "server.client_ca_file",
    "storage.backend",
    "storage.db_url",
    "storage.tls_ca_file",
    "storage.client_cert_file",
    "storage.client_key_file",
    "storage.database",
    "storage.username",
    "storage.password",
    "logging.level",
    "reporting.bugsnag.api_key",
    "reporting.bugsnag.release_stage",
    "reporting.bugsnag.endpoint",
];
const SERVER: [&str; 17] = [
    "server.http_addr",
    "trust_service.type",
    "trust_service.hostname",
    "trust_service.port",
    "trust_service.key_algorithm",
    "trust_service.tls_ca_file",
    "trust_service.tls_client_cert",
    "trust_service.tls_client_key",
    "auth.type",
    "auth.options.realm",
    "auth.options.issuer",
    "auth.options.service",
    "auth.options.rootcertbundle",
    "auth.options.autoredirect",
    "caching.max_age.current_metadata",
    "caching.max_age.consistent_metadata",
    "repositories.gun_prefixes",
];
const SIGNER: [&str; 4] = ["server.grpc_addr", SIGNER_HTTP, "storage.default_alias", "default_alias"];
/// An address for HTTP, which stands in the sample of the signer's file: its last releases do not read it any more.
pub(super) const SIGNER_HTTP: &str = "server.http_addr";

type Variables = dyn Fn(&str) -> Option<String>;

/// What the file and the variables say.
pub(super) struct Settings {
    said: BTreeMap<String, Value>,
    folder: PathBuf,
    prefix: &'static str,
    variables: Box<Variables>,
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is of a kind that is not supported, or has a name that is not known.
    pub(super) fn read(path: Option<&Path>, program: Program) -> Result<Self, CliError> {
        let Some(path) = path else { return Err(wrong("no configuration file is named: -config is missing")) };
        let unread = |error: String| wrong(format!("could not read config at :{}: {error}", path.display()));
        let mut text = String::new();
        let file = fs_err::File::open(path).map_err(|error| unread(error.to_string()))?;
        file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(|error| unread(error.to_string()))?;
        if text.len() as u64 > MAX_FILE {
            return Err(unread("the file is too large".to_owned()));
        }
        let document: Value = match path.extension().and_then(|kind| kind.to_str()) {
            Some("json") => serde_json::from_str(&text).map_err(|error| unread(error.to_string()))?,
            Some("toml") => toml::from_str(&text).map_err(|error| unread(error.to_string()))?,
            kind => {
                let kind = kind.unwrap_or("no extension");
                return Err(unread(format!("configuration files are .json or .toml here, not {kind}")));
            }
        };
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let variables = Box::new(|name: &str| variable(name)?.into_string().ok());
        Self::of(&document, folder, program, variables).map_err(|error| unread(error.message))
    }

    fn of(document: &Value, folder: PathBuf, program: Program, variables: Box<Variables>) -> Result<Self, CliError> {
        let mut said = BTreeMap::new();
        if !document.is_object() {
            return Err(wrong("the file is no object"));
        }
        flatten(document, "", &mut said);
        let own: &[&str] = match program {
            Program::Server => &SERVER,
            Program::Signer => &SIGNER,
        };
        let known = |key: &str| COMMON.contains(&key) || own.contains(&key);
        match said.keys().find(|key| !known(key)) {
            Some(unknown) => Err(wrong(format!("{unknown} is not known"))),
            None => Ok(Self { said, folder, prefix: program.prefix(), variables }),
        }
    }

    /// Returns a value; one that is empty is none.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        let name = format!("{}_{}", self.prefix, key.to_ascii_uppercase().replace('.', "_"));
        let set = (self.variables)(&name).filter(|value| !value.is_empty());
        set.or_else(|| self.in_file(key))
    }

    /// Returns a value of the file, which no variable wins over.
    pub(super) fn in_file(&self, key: &str) -> Option<String> {
        let text = match self.said.get(key)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(switch) => switch.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// Returns a list.
    pub(super) fn list(&self, key: &str) -> Result<Vec<String>, CliError> {
        match (self.get(key), self.said.get(key)) {
            (Some(words), _) => Ok(words.split_whitespace().map(str::to_owned).collect()),
            (None, Some(Value::Array(items))) => {
                let item = |item: &Value| {
                    item.as_str().map(str::to_owned).ok_or_else(|| wrong(format!("{key} is no list of strings")))
                };
                items.iter().map(item).collect()
            }
            (None, _) => Ok(Vec::new()),
        }
    }

    /// Returns a path, from the file's folder.
    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.get(key).map(|path| self.folder.join(path))
    }

    /// Returns the two halves of a pair, both or neither.
    pub(super) fn pair(&self, one: &str, other: &str, half: &str) -> Result<Option<(PathBuf, PathBuf)>, CliError> {
        match (self.path(one), self.path(other)) {
            (Some(one), Some(other)) => Ok(Some((one, other))),
            (None, None) => Ok(None),
            _ => Err(wrong(half)),
        }
    }

    /// Returns where the database is; none when everything is in memory.
    pub(super) fn database(&self) -> Result<Option<DatabaseUrl>, CliError> {
        let backend = self.get("storage.backend").unwrap_or_default();
        let kind = match backend.as_str() {
            "memory" => return Ok(None),
            "mysql" => Backend::MySql,
            "postgres" => Backend::Postgres,
            other => {
                return Err(wrong(format!(
                    "{other} is not a supported storage backend: mysql, postgres and memory are"
                )));
            }
        };
        let empty = || wrong(format!("must provide a non-empty database source for {backend}"));
        let text = self.get("storage.db_url").ok_or_else(empty)?;
        let url = DatabaseUrl::of_reference(kind, &text);
        url.map(Some).map_err(|error| wrong(format!("failed to parse the database source for {backend}: {error}")))
    }

    /// Refuses to start where crashes were to be reported to a service that is not here.
    pub(super) fn refuse_reporting(&self) -> Result<(), CliError> {
        for key in ["reporting.bugsnag.api_key", "reporting.bugsnag.release_stage", "reporting.bugsnag.endpoint"] {
            if self.get(key).is_some() {
                return Err(wrong(format!("{key} is not supported: nothing is reported to bugsnag")));
            }
        }
        Ok(())
    }
}

/// Writes every value under the names that lead to it, in lower case.
fn flatten(value: &Value, before: &str, into: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.to_ascii_lowercase();
                let path = if before.is_empty() { name } else { format!("{before}.{name}") };
                flatten(member, &path, into);
            }
        }
        Value::Null => {}
        other => drop(into.insert(before.to_owned(), other.clone())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings(document: &Value, variables: &[(&str, &str)]) -> Result<Settings, CliError> {
        let variables: BTreeMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let read = Box::new(move |name: &str| variables.get(name).cloned());
        Settings::of(document, "/etc/notary".into(), Program::Server, read)
    }

    #[test]
    fn variables_win_over_the_file_unless_they_are_empty() {
        let document = json!({
            "Server": {"HTTP_addr": ":4443", "tls_cert_file": "./a.crt"},
            "trust_service": {"port": 7899},
            "repositories": {"gun_prefixes": ["a/", "b/"]},
        });
        let read = settings(
            &document,
            &[
                ("NOTARY_SERVER_STORAGE_DB_URL", "u@tcp(h)/x"),
                ("NOTARY_SERVER_STORAGE_BACKEND", "mysql"),
                ("NOTARY_SERVER_SERVER_HTTP_ADDR", ""),
                ("NOTARY_SERVER_TRUST_SERVICE_PORT", "1"),
            ],
        )
        .unwrap();
        assert_eq!(read.get("server.http_addr").unwrap(), ":4443");
        assert_eq!(read.get("trust_service.port").unwrap(), "1");
        assert_eq!(read.in_file("trust_service.port").unwrap(), "7899");
        assert_eq!(read.path("server.tls_cert_file").unwrap(), Path::new("/etc/notary/./a.crt"));
        assert_eq!(read.list("repositories.gun_prefixes").unwrap(), ["a/", "b/"]);
        assert!(read.database().unwrap().unwrap().to_string().ends_with("/x"));
        let read = settings(&document, &[("NOTARY_SERVER_REPOSITORIES_GUN_PREFIXES", " c/  d/ ")]).unwrap();
        assert_eq!(read.list("repositories.gun_prefixes").unwrap(), ["c/", "d/"]);
    }

    #[test]
    fn what_is_not_known_or_supported_is_refused_by_name() {
        for (document, named) in [
            (json!({"server": {"http_address": ":1"}}), "server.http_address"),
            (json!({"auth": {"options": {"jwks": "x"}}}), "auth.options.jwks"),
            (json!([]), "object"),
        ] {
            let refused = settings(&document, &[]).err().unwrap();
            assert!(refused.message.contains(named), "{}", refused.message);
        }
        for backend in ["rethinkdb", "sqlite3", ""] {
            let read = settings(&json!({"storage": {"backend": backend}}), &[]).unwrap();
            assert!(read.database().err().unwrap().message.contains("not a supported"), "{backend}");
        }
        let read = settings(&json!({"reporting": {"bugsnag": {"api_key": "k"}}}), &[]).unwrap();
        assert!(read.refuse_reporting().err().unwrap().message.contains("reporting.bugsnag.api_key"));
        let read = settings(&json!({"storage": {"backend": "postgres"}}), &[]).unwrap();
        assert!(read.database().err().unwrap().message.contains("non-empty"));
    }
}
