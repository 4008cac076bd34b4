//! Which engine is meant: flags, variables, contexts and the platform's default.
//!
//! Source: docker's command line client, "Engine endpoint": `--context`, else `--host`, else `DOCKER_HOST`, else
//! `DOCKER_CONTEXT`, else `currentContext` in `config.json`, else the platform's socket.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

pub use error::EndpointError;
pub(crate) use file::read as read_file;

mod context;
mod error;
mod file;
mod host;

/// The name of the context that stands for flags and variables.
const DEFAULT_CONTEXT: &str = "default";
/// Where an engine listens on this machine.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Where an engine listens when nothing but TLS is asked for.
const DEFAULT_TLS_HOST: &str = "tcp://localhost:2376";

/// Everything that says which engine is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineSelection {
    /// `--host`.
    pub host_flag: Option<String>,
    /// `--context`.
    pub context_flag: Option<String>,
    /// `--tls` and its relatives.
    pub tls: TlsFlags,
    /// The variables that matter.
    pub env: Environment,
    /// Docker's configuration folder: `--config`, else `DOCKER_CONFIG`, else `~/.docker`.
    pub config_dir: PathBuf,
}

/// The flags about TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFlags {
    /// `--tls`: use TLS.
    pub tls: Option<bool>,
    /// `--tlsverify`: use TLS and verify the engine.
    pub verify: Option<bool>,
    /// `--tlscacert`: the authority to trust.
    pub ca: Option<PathBuf>,
    /// `--tlscert`: the client's certificate.
    pub certificate: Option<PathBuf>,
    /// `--tlskey`: the client's key.
    pub key: Option<PathBuf>,
}

/// The environment variables that say which engine is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_TLS`: use TLS, unless empty.
    pub docker_tls: Option<String>,
    /// `DOCKER_TLS_VERIFY`: use TLS and verify the engine, unless empty.
    pub docker_tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`: the folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub docker_cert_path: Option<PathBuf>,
    /// `PATH`, in which `ssh` is looked for.
    pub path: Option<OsString>,
}

impl Environment {
    /// Reads the variables of this process; variables that are not text count as unset.
    #[must_use]
    pub fn of_this_process() -> Self {
        let text = |name: &str| std::env::var(name).ok();
        Self {
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_tls: text("DOCKER_TLS"),
            docker_tls_verify: text("DOCKER_TLS_VERIFY"),
            docker_cert_path: std::env::var_os("DOCKER_CERT_PATH").map(PathBuf::from),
            path: std::env::var_os("PATH"),
        }
    }
}

/// An engine's address and how to secure the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where the engine is.
    pub address: Address,
    /// TLS, for engines reached over TCP.
    pub tls: Option<TlsSettings>,
    /// `PATH`, in which `ssh` is looked for.
    pub program_path: Option<OsString>,
}

/// Where an engine is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket on this machine.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// The host's name or address, an IPv6 address without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A machine on which `ssh` runs `docker system dial-stdio`.
    Ssh {
        /// The user, if not ssh's default.
        user: Option<String>,
        /// The host, as ssh knows it.
        host: String,
        /// The port, if not ssh's default.
        port: Option<u16>,
        /// The engine's socket there, if not the default.
        socket: Option<String>,
    },
    /// Wherever a program leads that passes bytes on between its standard input and output and an engine.
    Through(Helper),
}

/// A program that leads to an engine: docker's client with `system dial-stdio`, for what only it can reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    program: OsString,
    arguments: Vec<OsString>,
}

impl Helper {
    /// Names docker's client and the global flags that say which engine is meant.
    #[must_use]
    pub fn dial_stdio(docker: OsString, mut global_flags: Vec<OsString>) -> Self {
        global_flags.extend(["system".into(), "dial-stdio".into()]);
        Self { program: docker, arguments: global_flags }
    }

    /// Returns the program.
    #[must_use]
    pub fn program(&self) -> &OsStr {
        &self.program
    }

    /// Returns its arguments.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }
}

/// How to use TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whether the engine's certificate counts.
    pub verification: Verification,
    /// The only authority to trust, in PEM; without it the system's authorities are trusted.
    pub ca: Option<PathBuf>,
    /// The client's certificate and key, in PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Whether an engine's certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verification {
    /// It has to be valid for the host.
    Required,
    /// Any will do, because the user or the context said so; whoever is in between can read and change everything.
    Skipped,
}

impl EngineSelection {
    /// Finds the engine.
    ///
    /// # Errors
    ///
    /// When the settings contradict each other, name an endpoint that cannot be, or cannot be read.
    pub fn resolve(&self) -> Result<Endpoint, EndpointError> {
        if self.host_flag.is_some() && self.context_flag.is_some() {
            return Err(EndpointError::HostAndContext);
        }
        let name = self.context()?;
        if name == DEFAULT_CONTEXT {
            return self.default_context();
        }
        let context = context::read(&self.config_dir, &context::ContextName::parse(&name)?)?;
        self.endpoint(&context.host, context.tls)
    }

    fn context(&self) -> Result<String, EndpointError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(name) = given(&self.context_flag) {
            return Ok(name);
        }
        if self.host_flag.is_some() || given(&self.env.docker_host).is_some() {
            return Ok(DEFAULT_CONTEXT.to_owned());
        }
        if let Some(name) = given(&self.env.docker_context) {
            return Ok(name);
        }
        let configured = context::current(&self.config_dir)?;
        Ok(configured.unwrap_or_else(|| DEFAULT_CONTEXT.to_owned()))
    }

    fn default_context(&self) -> Result<Endpoint, EndpointError> {
        let tls = self.default_tls()?;
        let host = self.host_flag.as_ref().or(self.env.docker_host.as_ref());
        match host.map(|host| host.trim()).filter(|host| !host.is_empty()) {
            Some(host) => self.endpoint(host, tls),
            None if tls.is_some() => self.endpoint(DEFAULT_TLS_HOST, tls),
            None => self.endpoint(&format!("unix://{DEFAULT_SOCKET}"), None),
        }
    }

    fn default_tls(&self) -> Result<Option<TlsSettings>, EndpointError> {
        let set = |variable: &Option<String>| variable.as_ref().is_some_and(|value| !value.is_empty());
        let verify = self.tls.verify.unwrap_or_else(|| set(&self.env.docker_tls_verify));
        // Naming --tlsverify at all, even as false, turns TLS on.
        let on = verify || self.tls.verify.is_some() || self.tls.tls.unwrap_or_else(|| set(&self.env.docker_tls));
        if !on {
            return Ok(None);
        }
        let verification = if verify { Verification::Required } else { Verification::Skipped };
        let folder = self.env.docker_cert_path.as_ref().filter(|path| !path.as_os_str().is_empty());
        let folder = folder.unwrap_or(&self.config_dir);
        let existing = |flag: &Option<PathBuf>, name: &str| match flag {
            Some(path) => Some(path.clone()),
            None => Some(folder.join(name)).filter(|path| path.exists()),
        };
        let ca = existing(&self.tls.ca, "ca.pem");
        if ca.is_none() && verify {
            // The system's authorities are not what DOCKER_TLS_VERIFY promises.
            return Err(EndpointError::NoAuthority(folder.join("ca.pem")));
        }
        let client = pair(existing(&self.tls.certificate, "cert.pem"), existing(&self.tls.key, "key.pem"))?;
        Ok(Some(TlsSettings { verification, ca, client }))
    }

    fn endpoint(&self, host: &str, tls: Option<TlsSettings>) -> Result<Endpoint, EndpointError> {
        let address = Address::parse(host)?;
        let tls = tls.filter(|_| matches!(address, Address::Tcp { .. }));
        Ok(Endpoint { address, tls, program_path: self.env.path.clone() })
    }
}

/// A certificate and its key: both or none.
fn pair(certificate: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<(PathBuf, PathBuf)>, EndpointError> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(certificate), None) => Err(EndpointError::LoneCertificate(certificate)),
        (None, Some(key)) => Err(EndpointError::LoneKey(key)),
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
