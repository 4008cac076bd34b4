//! The distribution project's registry, run for real.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::port::{Answer, accepts};
use crate::{Port, Process, TestCa, TokenService, Tool};

const START_LIMIT: Duration = Duration::from_secs(20);
const GRACE: Duration = Duration::from_secs(3);

/// A person the registries and token services of tests know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user name.
    pub name: &'static str,
    /// The password.
    pub password: &'static str,
    bcrypt: &'static str,
}

impl Account {
    /// Alice, who may do everything.
    pub const ALICE: Self = Self {
        name: "alice",
        password: "wonderland",
        bcrypt: "$2b$05$abcdefghijklmnopqrstuuA0vov2GDneHB3.8.cv9UF9g.RdvScIW",
    };
    /// Bob, who may only pull where a token service decides.
    pub const BOB: Self = Self {
        name: "bob",
        password: "builder-pass",
        bcrypt: "$2b$05$bbcdefghijklmnopqrstuuuRojfbqvUfQynK6yxqc2voP2H0/6rFe",
    };

    /// The account with this name and password.
    #[must_use]
    pub fn authenticated(name: &str, password: &str) -> Option<Self> {
        [Self::ALICE, Self::BOB].into_iter().find(|account| account.name == name && account.password == password)
    }

    /// The account's line in a file of `htpasswd -B`.
    #[must_use]
    pub fn htpasswd(&self) -> String {
        format!("{}:{}\n", self.name, self.bcrypt)
    }

    /// The account with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::ALICE, Self::BOB].into_iter().find(|account| account.name == name)
    }
}

/// A running `docker-registry` with an empty store in a temporary folder; it ends when dropped.
#[derive(Debug)]
pub struct DockerRegistry {
    process: Process,
    port: Port,
    scheme: &'static str,
    folder: TempDir,
}

/// What a registry is started with.
#[derive(Clone, Debug, Default)]
pub struct DockerRegistryBuilder {
    access: Access,
    tls: Option<crate::TestCertificate>,
}

#[derive(Clone, Debug, Default)]
enum Access {
    #[default]
    Everybody,
    Passwords,
    Tokens {
        realm: String,
        certificate_pem: String,
    },
}

impl DockerRegistry {
    /// Starts a registry that lets everybody in, on plain HTTP.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Says how the registry differs from a plain one.
    #[must_use]
    pub fn builder() -> DockerRegistryBuilder {
        DockerRegistryBuilder::default()
    }

    /// Host and port, as the first part of an image name: `127.0.0.1:PORT`.
    #[must_use]
    pub fn host(&self) -> String {
        self.port.address().to_string()
    }

    /// The base URL without a slash at its end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.host())
    }

    /// The folder in which the registry keeps repositories and blobs
    /// (`docker/registry/v2/blobs/sha256/ab/abcd…/data`), for tests that damage them.
    #[must_use]
    pub fn store(&self) -> std::path::PathBuf {
        self.folder.path().join("store")
    }

    /// What the registry printed so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl DockerRegistryBuilder {
    /// Asks for the name and password of an [`Account`], with a Basic challenge.
    #[must_use]
    pub fn passwords(mut self) -> Self {
        self.access = Access::Passwords;
        self
    }

    /// Sends clients to this token service, which has to outlive the registry's use.
    #[must_use]
    pub fn tokens(mut self, service: &TokenService) -> Self {
        self.access = Access::Tokens { realm: service.realm(), certificate_pem: service.certificate_pem().to_owned() };
        self
    }

    /// Speaks HTTPS with a certificate of this authority.
    #[must_use]
    pub fn tls(mut self, ca: &TestCa) -> Self {
        self.tls = Some(ca.loopback_server());
        self
    }

    /// Starts the registry and waits until it answers.
    #[must_use]
    pub fn start(self) -> DockerRegistry {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = Port::take();
        let configuration = folder.path().join("config.yml");
        write(&configuration, &self.configuration(folder.path(), &port));
        let mut command = Command::new(Tool::DOCKER_REGISTRY.path());
        command.arg("serve").arg(&configuration);
        let mut process = Process::start(&command, &folder.path().join("log"), GRACE);
        let address = port.address();
        process.wait_until(START_LIMIT, || (accepts(address) == Answer::Yes).into());
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        DockerRegistry { process, port, scheme, folder }
    }

    fn configuration(&self, folder: &Path, port: &Port) -> String {
        let place = folder.display();
        let mut text = format!(
            "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {place}/store\n  \
             delete:\n    enabled: true\nhttp:\n  addr: {}\n  secret: test\n",
            port.address()
        );
        if let Some(tls) = &self.tls {
            write(&folder.join("tls.crt"), &tls.certificate_pem);
            write(&folder.join("tls.key"), &tls.key_pem);
            let _ = write!(text, "  tls:\n    certificate: {place}/tls.crt\n    key: {place}/tls.key\n");
        }
        match &self.access {
            Access::Everybody => (),
            Access::Passwords => {
                write(&folder.join("htpasswd"), &(Account::ALICE.htpasswd() + &Account::BOB.htpasswd()));
                let _ = write!(text, "auth:\n  htpasswd:\n    realm: test\n    path: {place}/htpasswd\n");
            }
            Access::Tokens { realm, certificate_pem } => {
                write(&folder.join("tokens.pem"), certificate_pem);
                let _ = write!(
                    text,
                    "auth:\n  token:\n    realm: {realm}\n    service: {}\n    issuer: {}\n    \
                     rootcertbundle: {place}/tokens.pem\n",
                    TokenService::SERVICE,
                    TokenService::ISSUER
                );
            }
        }
        text
    }
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}
