//! The docker command line client, run for real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{Account, Dockerd, Finished, Tool, fixtures};

/// `docker` with a configuration folder and a home of its own.
#[derive(Debug)]
pub struct DockerClient {
    tool: Tool,
    folder: TempDir,
    environment: Vec<(String, String)>,
}

impl DockerClient {
    /// The last client with content trust built in, 28.2.2.
    #[must_use]
    pub fn v28() -> Self {
        Self::with_tool(Tool::DOCKER_28)
    }

    /// The client of Debian 12, 20.10.
    #[must_use]
    pub fn v20() -> Self {
        Self::with_tool(Tool::DOCKER_20)
    }

    /// The client 28.2.2 where the machine has it, otherwise the one of Debian 12: for journeys that any client makes.
    ///
    /// A test that is about the newer one uses [`DockerClient::v28`] and has `docker_28` in its path, so that a test run
    /// without that client can leave it out by name.
    #[must_use]
    pub fn newest() -> Self {
        Self::with_tool(if Tool::DOCKER_28.is_installed() { Tool::DOCKER_28 } else { Tool::DOCKER_20 })
    }

    fn with_tool(tool: Tool) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("config")).expect("a configuration folder");
        let client = Self { tool, folder, environment: Vec::new() };
        client.write_configuration(&json!({"auths": {}}));
        client
    }

    /// The same for this engine.
    #[must_use]
    pub fn with_engine(self, engine: &Dockerd) -> Self {
        self.with_env("DOCKER_HOST", &engine.host())
    }

    /// The same with one more environment variable.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with the password of an account for a registry (`127.0.0.1:PORT`), as `docker login` leaves it.
    #[must_use]
    pub fn with_login(self, registry: &str, account: Account) -> Self {
        let pair = format!("{}:{}", account.name, account.password);
        let auth = base64::engine::general_purpose::STANDARD.encode(pair);
        self.write_configuration(&json!({"auths": {registry: {"auth": auth}}}));
        self
    }

    /// The same with content trust on, for the trust server at this URL whose certificate the authority in `ca_pem`
    /// has signed, and with the passphrases of the golden data.
    #[must_use]
    pub fn with_content_trust(self, server: &str, ca_pem: &str) -> Self {
        let host = server.trim_start_matches("https://").trim_end_matches('/');
        let certificates = self.config_dir().join("tls").join(host);
        fs::create_dir_all(&certificates).expect("a folder for the trust server's authority");
        fs::write(certificates.join("ca.crt"), ca_pem).expect("the trust server's authority");
        self.with_env("DOCKER_CONTENT_TRUST", "1")
            .with_env("DOCKER_CONTENT_TRUST_SERVER", server)
            .with_env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", fixtures::ROOT_PASSPHRASE)
            .with_env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", fixtures::REPOSITORY_PASSPHRASE)
    }

    /// The same with the contents of a golden trust directory, such as `docker28/owner/trust`.
    #[must_use]
    pub fn with_golden_trust(self, name: &str) -> Self {
        fixtures::copy_to(name, &self.config_dir().join("trust"));
        self
    }

    /// Writes `config.json`.
    pub fn write_configuration(&self, configuration: &Value) {
        fs::write(self.config_dir().join("config.json"), configuration.to_string()).expect("docker's configuration");
    }

    /// The configuration folder (`DOCKER_CONFIG`); keys and metadata are in its folder `trust`.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// The folder that is home, working directory and place for files of the test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `docker` with these arguments and an empty standard input.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, "")
    }

    /// Runs `docker` with these arguments and this text on its standard input.
    #[must_use]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        let folder = self.folder.path();
        let mut command = Command::new(self.tool.path());
        command.env_clear().current_dir(folder).env("HOME", folder).env("PATH", "/usr/bin:/bin");
        command.env("DOCKER_CONFIG", self.config_dir());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Finished::of(command.args(arguments), input.as_bytes())
    }
}
