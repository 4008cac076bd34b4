//! What every command needs, read once from options and environment.

use crate::audit::AuditLog;
use crate::error::{CliError, Kind};
use crate::prompt::TerminalPassphrases;
use clap::{ArgAction, Args};
use countersign_crypto::KeyId;
use countersign_crypto::certificate::Certificate;
use countersign_image::Reference;
use countersign_notary::{Access, ServiceAddress};
use countersign_registry::credentials::CredentialStore;
use countersign_registry::http::ProxyRules;
use countersign_trust::{CollectionClient, Connection};
use countersign_tuf::update::LostRoot;
use countersign_tuf::{FirstUse, Pinning};
use countersign_vault::{EnvironmentPassphrases, PassphraseSource, Remembered, Sequence, TrustDirectory};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct GlobalOptions {
    /// Docker's configuration folder [variable: `DOCKER_CONFIG`] [default: ~/.docker]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,
    /// The trust directory [default: trust in docker's configuration folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) trust_dir: Option<PathBuf>,
    /// The trust service of all registries [default: https on the registry's own host]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "DOCKER_CONTENT_TRUST_SERVER",
        help_heading = "Global options"
    )]
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

impl GlobalOptions {
    /// Returns the audit log's file; like docker's variables, an empty one counts as unset.
    fn audit_log(&self) -> Option<PathBuf> {
        let variable =
            || std::env::var_os("COUNTERSIGN_AUDIT_LOG").filter(|value| !value.is_empty()).map(PathBuf::from);
        self.audit_log.clone().or_else(variable)
    }
}

/// Settings for commands about collections.
pub(crate) struct Context {
    pub(crate) docker_config: PathBuf,
    pub(crate) directory: TrustDirectory,
    pub(crate) connection: Connection,
    pub(crate) passphrases: Box<dyn PassphraseSource>,
    pub(crate) audit: AuditLog,
    pub(crate) now: jiff::Timestamp,
    first_use: FirstUse,
    pins: Pins,
    lost_root: LostRoot,
}

enum Pins {
    None,
    Ids(Vec<KeyId>),
    Authorities(Vec<Certificate>),
}

impl Context {
    /// Reads options and environment; nothing is created and nothing is sent.
    pub(crate) fn new(options: &GlobalOptions) -> Result<Self, CliError> {
        let docker_config = docker_config(options)?;
        let trust_dir = options.trust_dir.clone().unwrap_or_else(|| docker_config.join("trust"));
        let server = options.server.as_deref().filter(|text| !text.is_empty()).map(ServiceAddress::parse);
        let server = server
            .transpose()
            .map_err(|error| CliError::user(error).hint("the variable is DOCKER_CONTENT_TRUST_SERVER"))?;
        let proxies = ProxyRules::from_environment().map_err(|error| CliError::new(Kind::Local, error))?;
        let credentials = CredentialStore::from_environment(&docker_config);
        for remark in credentials.remarks() {
            crate::output::message(format_args!("WARNING: {}", crate::output::harmless(&remark.to_string())));
        }
        let connection =
            Connection { docker_config: docker_config.clone(), server, proxies, credentials: Arc::new(credentials) };
        let environment = EnvironmentPassphrases::docker(|name| std::env::var_os(name));
        let pins = match &options.pin_ca {
            Some(file) => Pins::Authorities(authorities(file)?),
            None if options.pin.is_empty() => Pins::None,
            None => Pins::Ids(options.pin.clone()),
        };
        let audit = AuditLog::open(options.audit_log().as_deref())?;
        let directory = TrustDirectory::at(&trust_dir)?;
        warn_about(&directory);
        Ok(Self {
            directory,
            docker_config,
            connection,
            passphrases: Box::new(Remembered::new(Sequence(environment, TerminalPassphrases))),
            audit,
            now: jiff::Timestamp::now(),
            first_use: if options.no_first_use { FirstUse::Deny } else { FirstUse::Allow },
            pins,
            lost_root: if options.re_establish_trust { LostRoot::Reestablish } else { LostRoot::Refuse },
        })
    }

    /// Returns the pins as they apply to one collection.
    pub(crate) fn pinning(&self, reference: &Reference) -> Pinning {
        let mut pinning = Pinning::new(self.first_use);
        match &self.pins {
            Pins::None => {}
            Pins::Ids(ids) => pinning.pin_certificates(reference.gun().as_str(), ids.iter().copied()),
            Pins::Authorities(authorities) => pinning.pin_authorities(reference.gun().as_str(), authorities.clone()),
        }
        pinning
    }

    /// Opens the collection of an image.
    pub(crate) fn client<'a>(
        &'a self,
        reference: &Reference,
        pinning: &'a Pinning,
        access: Access,
    ) -> Result<CollectionClient<'a>, CliError> {
        let service = self.connection.open(reference.registry(), reference.gun(), access)?;
        let client = CollectionClient::new(&self.directory, service, pinning, &self.passphrases, self.now)?;
        Ok(client.lost_root(self.lost_root))
    }
}

/// Points out what others could read or change in the trust directory; keeping it is the owner's business.
fn warn_about(directory: &TrustDirectory) {
    let warn = |text: &dyn std::fmt::Display| {
        crate::output::message(format_args!("WARNING: {}", crate::output::harmless(&text.to_string())));
    };
    match directory.warnings() {
        Ok(warnings) => warnings.iter().for_each(|warning| warn(warning)),
        Err(error) => warn(&error),
    }
}

/// Finds docker's configuration folder.
pub(crate) fn docker_config(options: &GlobalOptions) -> Result<PathBuf, CliError> {
    CredentialStore::directory(options.config.as_deref()).ok_or_else(|| {
        CliError::new(Kind::Local, "there is no home directory: name docker's configuration folder with --config")
    })
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, CliError> {
    let local = |error: &dyn std::fmt::Display| {
        CliError::new(Kind::Local, format!("could not load root cert from CA path: {error}"))
    };
    let text = fs_err::read(file).map_err(|error| local(&error))?;
    Certificate::list_from_pem(&text).map_err(|error| local(&error))
}
