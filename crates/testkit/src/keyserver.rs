//! Countersign's own signing service, run from the program under test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::port::{Answer, accepts};
use crate::tls::TestCertificate;
use crate::{Port, Process, SoftHsm, TestCa};

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
    token: Option<SoftHsm>,
}

/// Where a signing service makes its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlace {
    /// In its database, under a passphrase.
    Database,
    /// On a token.
    Token,
}

impl Keyserver {
    /// The alias of keys on the token of a signing service that has one.
    pub const ON_TOKEN: &str = "pkcs11:hsm";

    /// Starts a signing service under the alias `first`; `program` is `env!("CARGO_BIN_EXE_countersign")`.
    #[must_use]
    pub fn start(program: &str) -> Self {
        Self::start_with(program, KeyPlace::Database)
    }

    /// Starts one that makes its keys there.
    #[must_use]
    pub fn start_with(program: &str, place: KeyPlace) -> Self {
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
        let mut started =
            Self { process: None, program: program.into(), port: Port::take(), folder, authority, token: None };
        if place == KeyPlace::Token {
            started.give_token();
        }
        started.restart(if place == KeyPlace::Token { Self::ON_TOKEN } else { "first" });
        started
    }

    /// Gives it a token, from its next start on.
    pub fn give_token(&mut self) {
        let (token, settings, pin) = (SoftHsm::new(), self.file("keyserver.toml"), self.file("pin"));
        token.set_up("Signing keys", "the-pin-of-it");
        fs::write(&pin, "the-pin-of-it\n").expect("a PIN");
        fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).expect("a file of its owner");
        let said = fs::read_to_string(&settings).expect("settings");
        let uri = format!(
            "pkcs11:token=Signing%20keys?module-path={}&pin-source=file:{}",
            SoftHsm::module().display(),
            pin.display()
        );
        fs::write(&settings, format!("{said}[tokens]\nhsm = \"{uri}\"\n")).expect("settings");
        self.token = Some(token);
    }

    /// The token of a signing service that has one.
    ///
    /// # Panics
    /// It has none.
    #[must_use]
    pub fn token(&self) -> &SoftHsm {
        self.token.as_ref().expect("a token")
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
        if let Some(token) = &self.token {
            command.env("SOFTHSM2_CONF", token.configuration());
        }
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

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
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
