//! The reference command line client, run for real.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{Finished, Tool, fixtures};

/// The passphrases that `notary` reads from its environment.
#[derive(Clone, Debug)]
pub struct Passphrases {
    /// For root keys.
    pub root: String,
    /// For targets keys.
    pub targets: String,
    /// For snapshot keys.
    pub snapshot: String,
    /// For delegation keys.
    pub delegation: String,
}

impl Passphrases {
    /// Those of the golden data.
    #[must_use]
    pub fn golden() -> Self {
        Self {
            root: fixtures::ROOT_PASSPHRASE.to_owned(),
            targets: fixtures::REPOSITORY_PASSPHRASE.to_owned(),
            snapshot: fixtures::REPOSITORY_PASSPHRASE.to_owned(),
            delegation: fixtures::USER_PASSPHRASE.to_owned(),
        }
    }
}

/// `notary` with a trust directory and a home of its own.
#[derive(Debug)]
pub struct NotaryClient {
    folder: TempDir,
    server: String,
    passphrases: Passphrases,
    auth: Option<String>,
    program: Vec<String>,
    environment: Vec<(String, Option<String>)>,
}

impl NotaryClient {
    /// A client with an empty trust directory for the server at this URL, whose certificate the authority in
    /// `ca_pem` has signed; the passphrases are those of the golden data.
    #[must_use]
    pub fn new(server: &str, ca_pem: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::write(folder.path().join("ca.pem"), ca_pem).expect("a file for the authority's certificate");
        fs::create_dir(folder.path().join("trust")).expect("a trust directory");
        fs::write(folder.path().join("config.json"), "{}").expect("a configuration file");
        let program = vec![Tool::NOTARY.path().display().to_string()];
        let (server, passphrases) = (server.to_owned(), Passphrases::golden());
        Self { folder, server, passphrases, auth: None, program, environment: Vec::new() }
    }

    /// The same command lines for another program that speaks them, and its first arguments.
    #[must_use]
    pub fn spoken_by(mut self, program: &str, first: &[&str]) -> Self {
        self.program = [program].iter().chain(first).map(ToString::to_string).collect();
        self
    }

    /// The same with a variable of the environment, or without it.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: Option<&str>) -> Self {
        self.environment.push((name.to_owned(), value.map(str::to_owned)));
        self
    }

    /// The same with the contents of a golden trust directory, such as `docker28/owner/trust`.
    #[must_use]
    pub fn with_golden_trust(self, name: &str) -> Self {
        fixtures::copy_to(name, &self.trust_dir());
        self
    }

    /// The same with other passphrases.
    #[must_use]
    pub fn with_passphrases(mut self, passphrases: Passphrases) -> Self {
        self.passphrases = passphrases;
        self
    }

    /// The same with a name and password for the server (`NOTARY_AUTH`).
    #[must_use]
    pub fn with_account(mut self, account: crate::Account) -> Self {
        use base64::Engine;
        let pair = format!("{}:{}", account.name, account.password);
        self.auth = Some(base64::engine::general_purpose::STANDARD.encode(pair));
        self
    }

    /// The same with another server.
    #[must_use]
    pub fn with_server(mut self, url: &str) -> Self {
        url.clone_into(&mut self.server);
        self
    }

    /// The same with a configuration file of this text (trust pinning, for instance); server, authority and trust
    /// directory are still given as flags.
    #[must_use]
    pub fn with_configuration(self, json: &str) -> Self {
        fs::write(self.folder.path().join("config.json"), json).expect("a configuration file");
        self
    }

    /// The trust directory.
    #[must_use]
    pub fn trust_dir(&self) -> PathBuf {
        self.folder.path().join("trust")
    }

    /// The folder that is home, working directory and place for files of the test.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs `notary` with these arguments and an empty standard input.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, "")
    }

    /// Runs `notary` with these arguments and this text on its standard input.
    #[must_use]
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        let folder = self.folder.path();
        let mut command = self.bare_command();
        command.arg("--configFile").arg(folder.join("config.json")).arg("--trustDir").arg(self.trust_dir());
        command.args(["--server", &self.server]).arg("--tlscacert").arg(folder.join("ca.pem"));
        Finished::of(command.args(arguments), input.as_bytes())
    }

    /// The program in this person's surroundings, without any argument: also the configuration, the server and the trust
    /// directory are the defaults.
    #[must_use]
    pub fn bare_command(&self) -> Command {
        let folder = self.folder.path();
        let mut words = self.program.iter();
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words).env_clear().current_dir(folder).env("HOME", folder).env("PATH", "/usr/bin:/bin");
        command.env("NOTARY_ROOT_PASSPHRASE", &self.passphrases.root);
        command.env("NOTARY_TARGETS_PASSPHRASE", &self.passphrases.targets);
        command.env("NOTARY_SNAPSHOT_PASSPHRASE", &self.passphrases.snapshot);
        command.env("NOTARY_DELEGATION_PASSPHRASE", &self.passphrases.delegation);
        command.envs(self.auth.as_ref().map(|auth| ("NOTARY_AUTH", auth)));
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }
}
