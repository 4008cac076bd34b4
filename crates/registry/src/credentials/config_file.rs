//! Docker's `config.json`, as far as registries are concerned.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_image::RegistryHost;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::Credential;
use crate::foreign_text;

/// Largest `config.json` in bytes.
pub const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;
/// Hosts that mean Docker Hub in old entries.
const DOCKER_HUB_HOSTS: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What `config.json` says about registries.
#[derive(Debug, Default, Clone)]
pub struct DockerConfig {
    auths: BTreeMap<String, AuthEntry>,
    creds_store: Option<String>,
    cred_helpers: BTreeMap<String, String>,
}

/// Says why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// The file is not a regular file of reasonable size.
    #[error("{} is not a file of at most {MAX_CONFIG_BYTES} bytes", .0.display())]
    NotAFile(PathBuf),
    /// The text is not JSON of the right shape. The text is not repeated, for it holds secrets.
    #[error("malformed {origin}: line {line}, column {column}")]
    Json {
        /// The file or variable.
        origin: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// An entry's `auth` is not base64 of `user:password`.
    #[error("malformed credentials for {0:?} in the docker configuration: log in again")]
    Entry(String),
}

#[derive(Debug, Default, Clone, Deserialize)]
struct AuthEntry {
    auth: Option<SecretString>,
    username: Option<String>,
    password: Option<SecretString>,
    identitytoken: Option<SecretString>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawConfig {
    #[serde(default)]
    auths: Option<BTreeMap<String, AuthEntry>>,
    creds_store: Option<String>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
}

/// `DOCKER_AUTH_CONFIG`: only `auths` with `auth`, anything else is a mistake (docker 28.3 and later).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InlineConfig {
    auths: BTreeMap<String, InlineEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InlineEntry {
    auth: SecretString,
}

impl DockerConfig {
    /// Reads `config.json` in docker's configuration directory; a missing file says nothing.
    ///
    /// # Errors
    /// Fails if the file is there and cannot be read or understood.
    pub fn load(directory: &Path) -> Result<Self, ConfigError> {
        let path = directory.join("config.json");
        let failed = |source| ConfigError::Read { path: path.clone(), source };
        let metadata = match fs_err::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(failed(error)),
        };
        if !metadata.is_file() || metadata.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::NotAFile(path));
        }
        let text = SecretString::from(fs_err::read_to_string(&path).map_err(failed)?);
        Self::parse(text.expose_secret(), &path.display().to_string())
    }

    /// Reads the text of a `config.json`; `origin` names it in errors.
    ///
    /// # Errors
    /// Fails if the text is not JSON of the right shape.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ConfigError> {
        let raw: RawConfig = serde_json::from_str(text).map_err(|error| json(&error, origin))?;
        Ok(Self {
            auths: raw.auths.unwrap_or_default(),
            creds_store: raw.creds_store.filter(|name| !name.is_empty()),
            cred_helpers: raw.cred_helpers.unwrap_or_default(),
        })
    }

    /// Reads the text of the variable `DOCKER_AUTH_CONFIG`.
    ///
    /// # Errors
    /// Fails if the text is not JSON, has fields that do not belong there, or lacks an `auth`.
    pub fn parse_inline(text: &str) -> Result<Self, ConfigError> {
        let raw: InlineConfig = serde_json::from_str(text).map_err(|error| json(&error, "DOCKER_AUTH_CONFIG"))?;
        let entry =
            |(key, entry): (String, InlineEntry)| (key, AuthEntry { auth: Some(entry.auth), ..AuthEntry::default() });
        Ok(Self { auths: raw.auths.into_iter().map(entry).collect(), ..Self::default() })
    }

    /// Returns the name of the helper that keeps a registry's credentials, if one is configured.
    pub(crate) fn helper(&self, registry: &RegistryHost) -> Option<&str> {
        let own = self.cred_helpers.get(registry.credential_key()).filter(|name| !name.is_empty());
        own.or(self.creds_store.as_ref()).map(String::as_str)
    }

    /// Tells whether nothing at all is configured, so that docker would look for the platform's helper.
    pub(crate) fn is_silent(&self) -> bool {
        self.auths.is_empty() && self.creds_store.is_none() && self.cred_helpers.is_empty()
    }

    /// Returns the credentials that the file itself holds for a registry.
    ///
    /// # Errors
    /// Fails if the entry is malformed.
    pub fn stored(&self, registry: &RegistryHost) -> Result<Option<Credential>, ConfigError> {
        let key = registry.credential_key();
        let exact = self.auths.get_key_value(key);
        // An entry that holds nothing marks that a helper has the secret.
        let filled = |entry: &(&String, &AuthEntry)| !entry.1.is_empty();
        let found =
            exact.filter(filled).or_else(|| self.auths.iter().filter(filled).find(|(key, _)| means(key, registry)));
        found
            .map(|(key, entry)| entry.credential().ok_or_else(|| ConfigError::Entry(foreign_text(key.as_bytes(), 100))))
            .transpose()
    }
}

/// Tells whether the key of an old entry means a registry once scheme and path are taken off.
fn means(key: &str, registry: &RegistryHost) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let host = bare.split('/').next().unwrap_or_default();
    host == registry.as_str() || (registry.is_docker_hub() && DOCKER_HUB_HOSTS.contains(&host))
}

impl AuthEntry {
    fn is_empty(&self) -> bool {
        let blank =
            |secret: &Option<SecretString>| secret.as_ref().is_none_or(|secret| secret.expose_secret().is_empty());
        blank(&self.auth) && blank(&self.password) && blank(&self.identitytoken)
    }

    fn credential(&self) -> Option<Credential> {
        if let Some(token) = self.identitytoken.as_ref().filter(|token| !token.expose_secret().is_empty()) {
            return Some(Credential::IdentityToken(token.clone()));
        }
        match self.auth.as_ref().filter(|auth| !auth.expose_secret().is_empty()) {
            Some(auth) => decode(auth),
            None => Some(Credential::password(self.username.as_deref()?, self.password.clone()?)),
        }
    }
}

/// Decodes base64 of `user:password`; old clients padded the password with zero bytes.
fn decode(auth: &SecretString) -> Option<Credential> {
    let bytes = STANDARD.decode(auth.expose_secret()).ok()?;
    let text = SecretString::from(String::from_utf8(bytes).ok()?);
    let (username, password) = text.expose_secret().split_once(':')?;
    Some(Credential::password(username, SecretString::from(password.trim_matches('\0'))))
}

fn json(error: &serde_json::Error, origin: &str) -> ConfigError {
    ConfigError::Json { origin: origin.to_owned(), line: error.line(), column: error.column() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> RegistryHost {
        RegistryHost::parse(text).unwrap()
    }

    fn stored(config: &str, registry: &str) -> Option<(String, String)> {
        match DockerConfig::parse(config, "test").unwrap().stored(&host(registry)).unwrap()? {
            Credential::Password { username, password } => Some((username, password.expose_secret().to_owned())),
            Credential::IdentityToken(token) => Some(("<token>".into(), token.expose_secret().to_owned())),
            Credential::Anonymous => None,
        }
    }

    fn pair(user: &str, password: &str) -> (String, String) {
        (user.into(), password.into())
    }

    #[test]
    fn entries_are_found_by_key_and_by_the_host_of_old_keys() {
        let alice = STANDARD.encode("alice:wonder:land");
        for key in ["reg.test:5000", "http://reg.test:5000/v1/", "https://reg.test:5000", "reg.test:5000/some/path"] {
            let config = format!(r#"{{"auths":{{"{key}":{{"auth":"{alice}"}}}}}}"#);
            assert_eq!(stored(&config, "reg.test:5000"), Some(pair("alice", "wonder:land")), "{key}");
            assert_eq!(stored(&config, "reg.test"), None);
            assert_eq!(stored(&config, "evil.reg.test:5000"), None);
        }
        let config = format!(r#"{{"auths":{{"https://index.docker.io/v1/":{{"auth":"{alice}"}}}}}}"#);
        assert_eq!(stored(&config, "docker.io"), Some(pair("alice", "wonder:land")));
        assert_eq!(stored(&config, "index.docker.io.evil.test"), None);
    }

    #[test]
    fn the_exact_key_wins() {
        let (a, b) = (STANDARD.encode("a:a"), STANDARD.encode("b:b"));
        let config = format!(r#"{{"auths":{{"http://r.test/":{{"auth":"{a}"}},"r.test":{{"auth":"{b}"}}}}}}"#);
        assert_eq!(stored(&config, "r.test"), Some(pair("b", "b")));
    }

    #[test]
    fn identity_tokens_and_plain_fields_are_understood() {
        assert_eq!(
            stored(r#"{"auths":{"r.test":{"auth":"","identitytoken":"t"}}}"#, "r.test"),
            Some(pair("<token>", "t"))
        );
        assert_eq!(stored(r#"{"auths":{"r.test":{"username":"u","password":"p"}}}"#, "r.test"), Some(pair("u", "p")));
        assert_eq!(stored(r#"{"auths":{"r.test":{}}}"#, "r.test"), None);
        assert_eq!(
            stored(&format!(r#"{{"auths":{{"r.test":{{"auth":"{}"}}}}}}"#, STANDARD.encode("u:p\0\0")), "r.test"),
            Some(pair("u", "p"))
        );
    }

    #[test]
    fn malformed_configurations_are_refused_without_showing_secrets() {
        let error = DockerConfig::parse(r#"{"auths":{"r.test":{"auth":"c2VjcmV0"x"#, "config.json").unwrap_err();
        assert!(!error.to_string().contains("c2VjcmV0"), "{error}");
        for auth in ["!", "YWxpY2U=", "/w=="] {
            let config =
                DockerConfig::parse(&format!(r#"{{"auths":{{"r.test":{{"auth":"{auth}"}}}}}}"#), "test").unwrap();
            assert!(matches!(config.stored(&host("r.test")), Err(ConfigError::Entry(_))), "{auth}");
            assert!(!format!("{config:?}").contains(auth));
        }
    }

    #[test]
    fn the_inline_variable_is_strict() {
        let good = format!(r#"{{"auths":{{"r.test":{{"auth":"{}"}}}}}}"#, STANDARD.encode("u:p"));
        assert!(DockerConfig::parse_inline(&good).unwrap().stored(&host("r.test")).unwrap().is_some());
        for text in [
            "",
            "{}",
            r#"{"auths":{"r":{}}}"#,
            r#"{"auths":{},"credsStore":"x"}"#,
            &format!("{good}{good}"),
            r#"{"auths":{"r":{"auth":"","email":"x"}}}"#,
        ] {
            assert!(DockerConfig::parse_inline(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_helper_of_the_registry_wins_over_the_general_one() {
        let config = DockerConfig::parse(
            r#"{"credsStore":"general","credHelpers":{"r.test":"own","https://index.docker.io/v1/":"hub"}}"#,
            "test",
        )
        .unwrap();
        assert_eq!(config.helper(&host("r.test")), Some("own"));
        assert_eq!(config.helper(&host("docker.io")), Some("hub"));
        assert_eq!(config.helper(&host("other.test")), Some("general"));
    }
}
