//! Finds the credentials for a registry in docker's order.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use countersign_image::RegistryHost;
use secrecy::{ExposeSecret, SecretString};

use super::Credential;
use super::config_file::{ConfigError, DockerConfig};
use super::helper::{HELPER_PATIENCE, Helper, HelperError, find};

/// Says why the credentials for a registry are not known. Docker's trust path goes on without any.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The configuration is malformed.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The helper gave no answer.
    #[error(transparent)]
    Helper(#[from] HelperError),
}

/// Knows where credentials are kept and asks there.
#[derive(Debug)]
pub struct CredentialStore {
    inline: Option<DockerConfig>,
    config: DockerConfig,
    search: OsString,
    patience: Duration,
    withheld: fn(&OsStr) -> bool,
    remarks: Vec<CredentialError>,
}

impl CredentialStore {
    /// Reads docker's configuration directory and the variable `DOCKER_AUTH_CONFIG`.
    ///
    /// What cannot be read or understood is left out, as docker does; [`Self::remarks`] says what it was.
    #[must_use]
    pub fn from_environment(directory: &Path) -> Self {
        let inline = std::env::var("DOCKER_AUTH_CONFIG").ok().filter(|text| !text.is_empty()).map(SecretString::from);
        Self::new(directory, inline.as_ref(), std::env::var_os("PATH").unwrap_or_default())
    }

    /// Reads a configuration directory and the text of `DOCKER_AUTH_CONFIG`; helpers are looked for in `search`, which
    /// has the form of `PATH`.
    #[must_use]
    pub fn new(directory: &Path, inline: Option<&SecretString>, search: OsString) -> Self {
        let mut remarks = Vec::new();
        let mut keep =
            |result: Result<DockerConfig, ConfigError>| result.map_err(|error| remarks.push(error.into())).ok();
        let inline = inline.and_then(|text| keep(DockerConfig::parse_inline(text.expose_secret())));
        let config = keep(DockerConfig::load(directory)).unwrap_or_default();
        Self { inline, config, search, patience: HELPER_PATIENCE, withheld: |_| false, remarks }
    }

    /// Sets how long a helper may take.
    #[must_use]
    pub fn helper_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Does not hand on to helpers the environment variables for which this says yes: secrets that are not theirs.
    #[must_use]
    pub fn withholding(mut self, withheld: fn(&OsStr) -> bool) -> Self {
        self.withheld = withheld;
        self
    }

    /// Returns what could not be read, for a warning.
    #[must_use]
    pub fn remarks(&self) -> &[CredentialError] {
        &self.remarks
    }

    /// Returns docker's configuration directory: the given one, else `DOCKER_CONFIG`, else `.docker` in the home directory.
    #[must_use]
    pub fn directory(given: Option<&Path>) -> Option<PathBuf> {
        let from_variable = || std::env::var_os("DOCKER_CONFIG").filter(|value| !value.is_empty()).map(PathBuf::from);
        let from_home = || etcetera::home_dir().ok().map(|home| home.join(".docker"));
        given.map(Path::to_owned).or_else(from_variable).or_else(from_home)
    }

    /// Finds the credentials for a registry: the variable first, then a helper, then the file.
    ///
    /// Only the exact registry is ever looked up; nothing else is offered to it.
    ///
    /// # Errors
    /// Fails if an entry is malformed or a helper does not answer.
    pub async fn find(&self, registry: &RegistryHost) -> Result<Credential, CredentialError> {
        if let Some(inline) = &self.inline
            && let Some(credential) = inline.stored(registry)?
        {
            return Ok(credential);
        }
        if let Some(name) = self.config.helper(registry) {
            let helper = Helper::new(name)?.search(&self.search).patience(self.patience).withholding(self.withheld);
            let found = helper.get(registry.credential_key()).await?;
            return Ok(found);
        }
        if let Some(credential) = self.config.stored(registry)? {
            return Ok(credential);
        }
        if !self.config.is_silent() {
            return Ok(Credential::Anonymous);
        }
        match self.platform_helper() {
            Some(helper) => Ok(helper.get(registry.credential_key()).await?),
            None => Ok(Credential::Anonymous),
        }
    }

    /// Returns the helper that docker would choose if nothing is configured and it is installed.
    fn platform_helper(&self) -> Option<Helper> {
        let name = if cfg!(target_os = "macos") {
            "osxkeychain"
        } else if cfg!(windows) {
            "wincred"
        } else if find(&self.search, "pass").is_some() {
            "pass"
        } else {
            "secretservice"
        };
        let helper = Helper::new(name).ok()?.search(&self.search).patience(self.patience).withholding(self.withheld);
        helper.locate().is_some().then_some(helper)
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Home(tempfile::TempDir);

    impl Home {
        fn new(config: &str) -> Self {
            let home = tempfile::tempdir().unwrap();
            fs_err::write(home.path().join("config.json"), config).unwrap();
            Self(home)
        }

        fn helper(self, name: &str, script: &str) -> Self {
            let path = self.0.path().join(format!("docker-credential-{name}"));
            fs_err::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            self
        }

        async fn find(&self, inline: Option<&str>, registry: &str) -> Result<String, CredentialError> {
            let inline = inline.map(SecretString::from);
            let store = CredentialStore::new(self.0.path(), inline.as_ref(), self.0.path().into());
            let found = store.find(&RegistryHost::parse(registry).unwrap()).await?;
            Ok(match found {
                Credential::Anonymous => "-".to_owned(),
                Credential::Password { username, password } => format!("{username}:{}", password.expose_secret()),
                Credential::IdentityToken(token) => format!("token {}", token.expose_secret()),
            })
        }
    }

    /// base64 of `file:f`.
    const FILE: &str = r#""auths":{"r.test":{"auth":"ZmlsZTpm"}}"#;
    const ANSWER: &str = r#"read key; echo "{\"Username\":\"helper\",\"Secret\":\"$key\"}""#;

    #[tokio::test]
    async fn the_variable_comes_first_then_the_helper_then_the_file() {
        let inline = r#"{"auths":{"r.test":{"auth":"aW5saW5lOmk="}}}"#;
        let file = Home::new(&format!("{{{FILE}}}"));
        assert_eq!(file.find(Some(inline), "r.test").await.unwrap(), "inline:i");
        assert_eq!(file.find(Some(inline), "other.test").await.unwrap(), "-");
        assert_eq!(file.find(None, "r.test").await.unwrap(), "file:f");
        let helper = Home::new(&format!(r#"{{{FILE},"credsStore":"x"}}"#)).helper("x", ANSWER);
        assert_eq!(helper.find(None, "r.test").await.unwrap(), "helper:r.test");
        assert_eq!(helper.find(None, "docker.io").await.unwrap(), "helper:https://index.docker.io/v1/");
    }

    #[tokio::test]
    async fn a_broken_helper_does_not_fall_back_to_other_secrets() {
        let home = Home::new(&format!(r#"{{{FILE},"credHelpers":{{"r.test":"missing"}}}}"#));
        assert!(matches!(home.find(None, "r.test").await, Err(CredentialError::Helper(_))));
    }

    #[tokio::test]
    async fn the_platforms_helper_is_asked_only_if_nothing_is_configured() {
        let silent = Home::new("{}").helper("secretservice", ANSWER);
        assert_eq!(silent.find(None, "r.test").await.unwrap(), "helper:r.test");
        let spoken = Home::new(&format!("{{{FILE}}}")).helper("secretservice", ANSWER);
        assert_eq!(spoken.find(None, "other.test").await.unwrap(), "-");
        assert_eq!(Home::new("{}").find(None, "r.test").await.unwrap(), "-");
    }

    #[tokio::test]
    async fn what_does_not_parse_is_left_out_with_a_remark() {
        let home = Home::new("{bad");
        let store = CredentialStore::new(home.0.path(), Some(&SecretString::from("junk")), OsString::new());
        assert_eq!(store.remarks().len(), 2);
        assert!(store.find(&RegistryHost::docker_hub()).await.unwrap().is_anonymous());
    }

    #[test]
    fn the_given_directory_wins() {
        assert_eq!(CredentialStore::directory(Some(Path::new("/x"))), Some(PathBuf::from("/x")));
    }
}
