//! Countersign's own signing service, run from the program under test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::port::{Answer, accepts};
use crate::tls::TestCertificate;
use crate::{Port, Process, TestCa};

const START_LIMIT: Duration = Duration::from_mins(1);
const GRACE: Duration = Duration::from_secs(10);

/// `countersign keyserver` with certificates, settings, a data folder and a port of its own; it ends when dropped.
#[derive(Debug)]
pub struct Keyserver {
    process: Option<Process>,
    program: PathBuf,
    port: Port,
    folder: TempDir,
    authority: TestCa,
}

impl Keyserver {
    /// Starts a signing service under the alias `first`; `program` is `env!("CARGO_BIN_EXE_countersign")`.
    #[must_use]
    pub fn start(program: &str) -> Self {
        let (folder, authority) = (tempfile::tempdir().expect("a temporary folder"), TestCa::new());
        let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a file");
        let put_pair = |name: &str, pair: &TestCertificate| {
            put(&format!("{name}.crt"), &pair.certificate_pem);
            put(&format!("{name}.key"), &pair.key_pem);
        };
        put("ca.pem", &authority.pem());
        put_pair("keyserver", &authority.loopback_server());
        put_pair("service", &authority.client("trust-service"));
        put(
            "keyserver.toml",
            "data-dir = \"keys\"\ntls-cert = \"keyserver.crt\"\ntls-key = \"keyserver.key\"\n\
             client-ca = \"ca.pem\"\nclients = [\"trust-service\"]\n",
        );
        let mut started = Self { process: None, program: program.into(), port: Port::take(), folder, authority };
        started.restart("first");
        started
    }

    /// Puts a certificate that ends so much later in the place of the one that it shows.
    pub fn certify_for(&self, time: Duration) {
        let pair = self.authority.loopback_server_for(time);
        fs::write(self.file("keyserver.key"), pair.key_pem).expect("a key");
        fs::write(self.file("keyserver.crt"), pair.certificate_pem).expect("a certificate");
    }

    /// A file of its folder; below `keys` is what it keeps, beside it `ca.pem`, `service.crt` and `service.key`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A command line of `countersign keyserver` with its settings.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("keyserver").args(arguments).arg("--settings").arg(self.file("keyserver.toml"));
        command.env("HOME", self.folder.path());
        command
    }

    /// The running program.
    #[must_use]
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a running keyserver")
    }

    /// Ends the service, if it runs, and starts it again under an alias.
    pub fn restart(&mut self, alias: &str) {
        drop(self.process.take());
        let mut command = self.command(&["--alias", alias]);
        command.arg("--listen").arg(self.port.address().to_string());
        let mut process = Process::start(&command, &self.file("log"), GRACE);
        process.wait_until(START_LIMIT, || (accepts(self.port.address()) == Answer::Yes).into());
        self.process = Some(process);
    }

    /// What `countersign serve` is told to use it.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let file = |name: &str| Path::display(&self.file(name)).to_string();
        let pairs = [
            ("--keyserver", self.port.address().to_string()),
            ("--keyserver-ca", file("ca.pem")),
            ("--keyserver-cert", file("service.crt")),
            ("--keyserver-key", file("service.key")),
        ];
        pairs.into_iter().flat_map(|(option, value)| [option.to_owned(), value]).collect()
    }
}
