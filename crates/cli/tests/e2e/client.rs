//! Our own program, run for real.

use countersign_testkit::{Dockerd, FakeServer, Finished, TestCa, TrustService, fixtures};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// Exit code 2: the command cannot be done as asked.
pub(crate) const USER: i32 = 2;
/// Exit code 3: refused because it is not trusted.
pub(crate) const TRUST: i32 = 3;
/// Exit code 4: somebody does not answer or refuses access.
pub(crate) const NETWORK: i32 = 4;
/// Exit code 5: something on this machine is in the way.
pub(crate) const LOCAL: i32 = 5;
/// An audit log is not as it was written.
pub(crate) const TAMPERED: i32 = 7;

/// A person with `countersign`, a configuration folder and a home of their own.
pub(crate) struct Client {
    folder: TempDir,
    /// Somebody else's home, where it is not the folder.
    home: Option<PathBuf>,
    config: PathBuf,
    environment: Vec<(String, String)>,
}

impl Client {
    /// Somebody with an empty trust directory, the golden passphrases, and no trust service.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config");
        std::fs::create_dir(&config).unwrap();
        Self { folder, home: None, config, environment: Vec::new() }
            .env("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", fixtures::ROOT_PASSPHRASE)
            .env("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", fixtures::REPOSITORY_PASSPHRASE)
    }

    /// The same for a trust service whose certificate the authority in `ca_pem` has signed.
    pub(crate) fn at(self, url: &str, ca_pem: &str) -> Self {
        let folder = self.config.join("tls").join(url.trim_start_matches("https://"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("ca.crt"), ca_pem).unwrap();
        self.env("DOCKER_CONTENT_TRUST_SERVER", url)
    }

    /// The same for this trust service.
    pub(crate) fn of(self, service: &TrustService) -> Self {
        self.at(&service.url(), &service.authority_pem())
    }

    /// The same for a fake trust service with a certificate of this authority.
    pub(crate) fn of_fake(self, server: &FakeServer, ca: &TestCa) -> Self {
        self.at(&server.url(), &ca.pem())
    }

    /// The same with somebody else's configuration folder: both take turns on one trust directory.
    pub(crate) fn sharing(mut self, config: &Path) -> Self {
        config.clone_into(&mut self.config);
        self
    }

    /// The same person, home and all, whose variables may be changed; the first one has to stay.
    pub(crate) fn again(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (config, home) = (self.config.clone(), Some(self.folder().to_owned()));
        Self { folder, config, home, environment: self.environment.clone() }
    }

    /// The same with this engine.
    pub(crate) fn with_engine(self, engine: &Dockerd) -> Self {
        self.env("DOCKER_HOST", &engine.host())
    }

    /// The same with an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same without an environment variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// The same with the contents of a golden trust directory, such as `docker28/owner/trust`.
    pub(crate) fn with_golden_trust(self, name: &str) -> Self {
        fixtures::copy_to(name, &self.trust_dir());
        self
    }

    /// Home and working directory.
    pub(crate) fn folder(&self) -> &Path {
        self.home.as_deref().unwrap_or(self.folder.path())
    }

    /// Docker's configuration folder.
    pub(crate) fn config_dir(&self) -> &Path {
        &self.config
    }

    /// The trust directory.
    pub(crate) fn trust_dir(&self) -> PathBuf {
        self.config.join("trust")
    }

    /// The cached metadata of a collection.
    pub(crate) fn metadata(&self, gun: &str) -> PathBuf {
        self.trust_dir().join("tuf").join(gun).join("metadata")
    }

    /// The command with these arguments, not run yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(arguments);
        self.set(&mut command);
        command
    }

    /// Our program under another name, with these arguments, not run yet.
    pub(crate) fn command_as(&self, name: &str, arguments: &[&str]) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = self.command(arguments);
        command.arg0(name);
        command
    }

    /// Runs our program as docker runs the plugin, with an empty standard input.
    pub(crate) fn plugin(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command_as("docker-trust", arguments), b"")
    }

    /// Gives another program this person's surroundings.
    pub(crate) fn set(&self, command: &mut Command) {
        command.env_clear().current_dir(self.folder()).env("HOME", self.folder()).env("PATH", "/usr/bin:/bin");
        command.env("DOCKER_CONFIG", &self.config);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
    }

    /// Runs the command with an empty standard input, which is no terminal.
    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        Finished::of(&mut self.command(arguments), b"")
    }

    /// Runs the command as root of a mount namespace of its own, after this preparation by the shell.
    pub(crate) fn run_after(&self, preparation: &str, arguments: &[&str]) -> Finished {
        let mut command = Command::new("unshare");
        let script = format!("set -e; {preparation}; exec \"$0\" \"$@\"");
        command.args(["--mount", "sh", "-c", &script, env!("CARGO_BIN_EXE_countersign")]).args(arguments);
        self.set(&mut command);
        Finished::of(&mut command, b"")
    }
}

/// What a test expects of a command that ended.
pub(crate) trait Ending: Sized {
    /// Panics with everything the command printed, unless it ended with this code and said this on stderr.
    fn refused(self, code: i32, message: &str) -> Self;
}

impl Ending for Finished {
    #[track_caller]
    fn refused(self, code: i32, message: &str) -> Self {
        assert_eq!(self.code, code, "the command should have ended with {code}:\n{self}");
        assert!(self.stderr.contains(message), "{message:?} is not in\n{self}");
        assert!(!self.stdout.to_lowercase().contains("signed"), "it claims a signature:\n{self}");
        self
    }
}
