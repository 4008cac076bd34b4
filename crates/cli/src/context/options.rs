//! What a personality found in its own options and variables.

use crate::error::{CliError, Kind};
use crate::prompt::Voice;
use clap::{ArgAction, Args};
use countersign_crypto::KeyId;
use countersign_crypto::certificate::Certificate;
use countersign_notary::ServiceAddress;
use countersign_registry::credentials::{CredentialSource, CredentialStore};
use countersign_trust::TlsFiles;
use countersign_tuf::Pinning;
use countersign_tuf::update::LostRoot;
use std::fmt;
use std::path::{Path, PathBuf};

/// Options of every command of the native personality.
#[derive(Debug, Args)]
pub(crate) struct GlobalOptions {
    /// Docker's configuration folder [variable: `DOCKER_CONFIG`] [default: ~/.docker]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// The trust directory [default: trust in docker's configuration folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) trust_dir: Option<PathBuf>,
    /// The trust service of all registries [variable: `DOCKER_CONTENT_TRUST_SERVER`] [default: the settings file, else https on the registry's own host]
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub(crate) server: Option<String>,
    /// Accept only roots with this root key id (repeatable)
    #[arg(long, global = true, value_name = "ID", help_heading = "Global options")]
    pub(crate) pin: Vec<KeyId>,
    /// Accept only roots whose certificate chains to an authority in this PEM file
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "pin", help_heading = "Global options")]
    pub(crate) pin_ca: Option<PathBuf>,
    /// Refuse collections that were never seen before and are not pinned
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) no_first_use: bool,
    /// Accept a new root where the cached one was lost; with --pin ID also where the cached one is not the pinned one
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) re_establish_trust: bool,
    /// Append one line of JSON for every signing and verification to this file [variable: `COUNTERSIGN_AUDIT_LOG`]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Say more; repeat for still more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
}

/// Everything that differs between the names the program is called by; what is not given comes from the settings file, then
/// from defaults.
pub(crate) struct ContextOptions {
    /// How people are asked, and which variables hold passphrases.
    pub(crate) voice: Voice,
    /// Docker's configuration folder.
    pub(crate) docker_config: PathBuf,
    /// The trust directory.
    pub(crate) trust_dir: PathBuf,
    /// The trust service of all collections, named by a flag, a variable or the personality's own configuration.
    pub(crate) server: Option<NamedService>,
    /// The trust service where nothing else names one; none means https on the registry's own host.
    pub(crate) default_server: Option<ServiceAddress>,
    /// Where certificates are.
    pub(crate) tls: TlsFiles,
    /// The caller's credentials; none means what docker keeps for the registry.
    pub(crate) credentials: Option<CredentialSource>,
    /// Pins of flags or of the personality's own configuration; they win over those of the settings.
    pub(crate) pins: Pinning,
    /// What names these pins.
    pub(crate) pins_named_by: NamedBy,
    /// What happens with collections that nothing is known about; none leaves it to the settings.
    pub(crate) first_use: Option<FirstUsePolicy>,
    /// What says so.
    pub(crate) first_use_named_by: NamedBy,
    /// What happens where the cached root is gone.
    pub(crate) lost_root: LostRoot,
    /// The audit log's file.
    pub(crate) audit_log: Option<PathBuf>,
}

/// A trust service and what named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedService {
    pub(crate) address: ServiceAddress,
    pub(crate) named_by: NamedBy,
}

/// What says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NamedBy {
    /// An option of the command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// A line of a file, counted from 1; 0 is the file as a whole.
    File(PathBuf, usize),
    /// Nothing: the rule is this one.
    Default(&'static str),
}

impl fmt::Display for NamedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "option {name}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{} line {line}", path.display()),
            Self::Default(rule) => write!(f, "default: {rule}"),
        }
    }
}

/// What happens with a collection that nothing is known about and no pin speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FirstUsePolicy {
    /// The first root is taken, as docker does.
    Allow,
    /// A person at the terminal decides; without one it is refused.
    Ask,
    /// It is refused.
    Deny,
}

impl FirstUsePolicy {
    /// Returns the word that the settings file has for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

/// The variable that names the trust service of everything.
pub(crate) const SERVER: &str = "DOCKER_CONTENT_TRUST_SERVER";
const AUDIT_LOG: &str = "COUNTERSIGN_AUDIT_LOG";

impl ContextOptions {
    /// Starts with what docker's variables say; `config` is the folder that a flag names.
    ///
    /// # Errors
    /// There is no home directory, or `DOCKER_CONTENT_TRUST_SERVER` is no address.
    pub(crate) fn docker(voice: Voice, config: Option<&Path>) -> Result<Self, CliError> {
        let docker_config = docker_config(config)?;
        let server = match variable(SERVER) {
            Some(text) => {
                let address = ServiceAddress::parse(&text.to_string_lossy())
                    .map_err(|error| CliError::user(error).hint(format!("the variable is {SERVER}")))?;
                Some(NamedService { address, named_by: NamedBy::Variable(SERVER) })
            }
            None => None,
        };
        Ok(Self { server, ..Self::bare(voice, docker_config.join("trust"), docker_config) })
    }

    /// Starts with what the notary client has: its own trust directory and certificates, and none of docker's variables.
    pub(crate) fn notary(trust_dir: PathBuf, tls: TlsFiles) -> Self {
        let docker_config = docker_config(None).unwrap_or_default();
        Self { tls, ..Self::bare(Voice::Notary, trust_dir, docker_config) }
    }

    fn bare(voice: Voice, trust_dir: PathBuf, docker_config: PathBuf) -> Self {
        Self {
            voice,
            trust_dir,
            server: None,
            default_server: None,
            tls: TlsFiles::Docker(docker_config.clone()),
            docker_config,
            credentials: None,
            pins: Pinning::default(),
            pins_named_by: NamedBy::Flag("--pin"),
            first_use: None,
            first_use_named_by: NamedBy::Flag("--no-first-use"),
            lost_root: LostRoot::Refuse,
            audit_log: variable(AUDIT_LOG).map(PathBuf::from),
        }
    }

    /// Reads the native personality's options where a broken variable is to be told rather than to end everything: it is left
    /// out then.
    ///
    /// # Errors
    /// An option's value cannot be used, or there is no home directory.
    pub(crate) fn despite_variables(options: &GlobalOptions) -> Result<(Self, Option<CliError>), CliError> {
        match Self::native(options) {
            Ok(read) => Ok((read, None)),
            Err(error) => {
                let docker_config = docker_config(options.config.as_deref())?;
                let bare = Self::bare(Voice::Native, docker_config.join("trust"), docker_config);
                Ok((Self::with_options(bare, options)?, Some(error)))
            }
        }
    }

    /// Reads the native personality's options.
    ///
    /// # Errors
    /// As [`Self::docker`], or an option's value cannot be used.
    pub(crate) fn native(options: &GlobalOptions) -> Result<Self, CliError> {
        // The flag wins, so that a broken variable does not matter beside it.
        let read = match options.server.as_deref().filter(|text| !text.is_empty()) {
            None => Self::docker(Voice::Native, options.config.as_deref())?,
            Some(text) => {
                let address = ServiceAddress::parse(text)
                    .map_err(|error| CliError::user(error).hint("the option is --server"))?;
                let docker_config = docker_config(options.config.as_deref())?;
                let server = Some(NamedService { address, named_by: NamedBy::Flag("--server") });
                Self { server, ..Self::bare(Voice::Native, docker_config.join("trust"), docker_config) }
            }
        };
        Self::with_options(read, options)
    }

    fn with_options(mut read: Self, options: &GlobalOptions) -> Result<Self, CliError> {
        if let Some(trust_dir) = &options.trust_dir {
            read.trust_dir.clone_from(trust_dir);
        }
        if let Some(audit_log) = &options.audit_log {
            read.audit_log = Some(audit_log.clone());
        }
        if let Some(file) = &options.pin_ca {
            read.pins.pin_authorities("", authorities(file)?);
            read.pins_named_by = NamedBy::Flag("--pin-ca");
        } else if !options.pin.is_empty() {
            read.pins.pin_certificates("*", options.pin.iter().copied());
        }
        if options.no_first_use {
            read.first_use = Some(FirstUsePolicy::Deny);
        }
        if options.re_establish_trust {
            read.lost_root = LostRoot::Reestablish;
        }
        Ok(read)
    }
}

/// Returns a variable's value; like docker, an empty one counts as unset.
pub(crate) fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Finds docker's configuration folder.
pub(crate) fn docker_config(flag: Option<&Path>) -> Result<PathBuf, CliError> {
    CredentialStore::directory(flag).ok_or_else(|| {
        CliError::new(Kind::Local, "there is no home directory: name docker's configuration folder with --config")
    })
}

/// Reads the authorities that pins rest on.
pub(crate) fn authorities(file: &Path) -> Result<Vec<Certificate>, CliError> {
    let local = |error: &dyn fmt::Display| {
        CliError::new(Kind::Local, format!("could not load root cert from CA path: {error}"))
    };
    let text = fs_err::read(file).map_err(|error| local(&error))?;
    Certificate::list_from_pem(&text).map_err(|error| local(&error))
}
