//! Countersign's own trust service, run from the program under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::port::{Answer, accepts};
use crate::{Keyserver, Port, Process};

const START_LIMIT: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(10);

/// `countersign serve` with a data folder and a port of its own; it ends when dropped.
#[derive(Debug)]
pub struct TrustService {
    process: Option<Process>,
    port: Port,
    settings: TrustServiceBuilder,
    keyserver: Option<Keyserver>,
    folder: TempDir,
}

/// What a trust service is started with.
#[derive(Clone, Debug)]
pub struct TrustServiceBuilder {
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    authority: PathBuf,
    keys: Keys,
    files: Vec<(String, Vec<u8>)>,
}

/// Who holds the service's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Here,
    Apart,
}

/// With this variable, every trust service has its keys at a keyserver of its own.
const APART: &str = "COUNTERSIGN_TEST_KEYSERVER";

impl TrustService {
    /// Where the service writes the certificate of its own authority, below its data folder.
    pub const AUTHORITY: &str = "ca.pem";

    /// Starts a service with nothing configured; `program` is `env!("CARGO_BIN_EXE_countersign")`.
    #[must_use]
    pub fn start(program: &str) -> Self {
        Self::builder(program).start()
    }

    /// Says how the service differs from one with nothing configured.
    #[must_use]
    pub fn builder(program: &str) -> TrustServiceBuilder {
        TrustServiceBuilder {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            authority: Self::AUTHORITY.into(),
            keys: if std::env::var_os(APART).is_some() { Keys::Apart } else { Keys::Here },
            files: Vec::new(),
        }
    }

    /// The base URL without a slash at its end: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.port.address())
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        data_dir(&self.folder)
    }

    /// The certificate of the service's own authority as PEM text.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        let path = self.data_dir().join(&self.settings.authority);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("no authority at {}: {error}", path.display()))
    }

    /// Asks the service to read its files again (SIGHUP).
    pub fn hang_up(&self) {
        if let Some(process) = &self.process {
            process.hang_up();
        }
    }

    /// What the service printed since it was last started.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::log).unwrap_or_default()
    }

    /// The keyserver of a service whose keys are apart.
    ///
    /// # Panics
    /// The keys are not apart.
    #[must_use]
    pub fn keyserver(&mut self) -> &mut Keyserver {
        self.keyserver.as_mut().expect("keys that are apart")
    }

    /// Takes the service down like a power cut; [`TrustService::restart`] brings it back with what is on its disk.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Stops the service, if it runs, and starts it with the same data folder, port and settings.
    pub fn restart(&mut self) {
        drop(self.process.take());
        self.process = Some(self.settings.spawn(&self.folder, &self.port));
    }

    /// A notary client for this service.
    #[must_use]
    pub fn notary_client(&self) -> crate::NotaryClient {
        crate::NotaryClient::new(&self.url(), &self.authority_pem())
    }

    /// A docker client with content trust on, for this service.
    #[must_use]
    pub fn trusting(&self, client: crate::DockerClient) -> crate::DockerClient {
        client.with_content_trust(&self.url(), &self.authority_pem())
    }
}

impl TrustServiceBuilder {
    /// Adds an argument after the data folder and the address.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts a keyserver too, and has it hold the keys of timestamps and snapshots.
    #[must_use]
    pub fn apart(self) -> Self {
        Self { keys: Keys::Apart, ..self }
    }

    /// Says where below the data folder the service's authority is.
    #[must_use]
    pub fn authority(mut self, path: impl AsRef<Path>) -> Self {
        path.as_ref().clone_into(&mut self.authority);
        self
    }

    /// Puts a file, which only its owner may read, into the data folder before the service starts.
    #[must_use]
    pub fn file(mut self, name: &str, content: &[u8]) -> Self {
        self.files.push((name.to_owned(), content.to_owned()));
        self
    }

    /// Starts the service and waits until it takes connections.
    #[must_use]
    pub fn start(mut self) -> TrustService {
        let keyserver = (self.keys == Keys::Apart).then(|| Keyserver::start(&self.program.to_string_lossy()));
        self.arguments.extend(keyserver.iter().flat_map(Keyserver::arguments));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = Port::take();
        for (name, content) in &self.files {
            let path = data_dir(&folder);
            fs::create_dir_all(&path).expect("a data folder");
            let path = path.join(name);
            fs::write(&path, content).expect("a file in the data folder");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a file of its owner");
        }
        let process = self.spawn(&folder, &port);
        TrustService { process: Some(process), port, settings: self, keyserver, folder }
    }

    fn spawn(&self, folder: &TempDir, port: &Port) -> Process {
        let mut command = Command::new(&self.program);
        command.arg("serve").arg("--data-dir").arg(data_dir(folder)).arg("--listen").arg(port.address().to_string());
        command.args(&self.arguments).env("HOME", folder.path());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start(&command, &folder.path().join("log"), GRACE);
        process.wait_until(START_LIMIT, || (accepts(port.address()) == Answer::Yes).into());
        process
    }
}

fn data_dir(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}
