//! What every command needs, read once from options, environment and settings.

mod options;

pub(crate) use options::{ContextOptions, FirstUsePolicy, GlobalOptions, NamedBy, NamedService, docker_config};

use crate::audit::AuditLog;
use crate::error::{CliError, Kind};
use crate::prompt::{PersonPassphrases, Voice};
use countersign_image::Reference;
use countersign_notary::Access;
use countersign_registry::credentials::CredentialStore;
use countersign_registry::http::ProxyRules;
use countersign_trust::{CollectionClient, Connection, Credentials, Destination};
use countersign_tuf::update::LostRoot;
use countersign_tuf::{FirstUse, Gun, Pin, Pinning};
use countersign_vault::{EnvironmentPassphrases, PassphraseSource, Remembered, Sequence, TrustDirectory};
use std::path::PathBuf;
use std::sync::Arc;

/// What every personality shares: trust directory, services, pins, passphrases, audit log and the time.
pub(crate) struct Context {
    pub(crate) docker_config: PathBuf,
    pub(crate) directory: TrustDirectory,
    pub(crate) connection: Connection,
    /// What docker keeps for registries.
    pub(crate) credentials: Arc<CredentialStore>,
    pub(crate) passphrases: Box<dyn PassphraseSource>,
    pub(crate) audit: AuditLog,
    pub(crate) now: jiff::Timestamp,
    server: Option<NamedService>,
    default_server: Option<NamedService>,
    pins: Pinning,
    first_use: Option<FirstUsePolicy>,
    lost_root: LostRoot,
}

impl Context {
    /// Reads the native personality's options and the environment; nothing is created and nothing is sent.
    pub(crate) fn new(options: &GlobalOptions) -> Result<Self, CliError> {
        Self::open(ContextOptions::native(options)?)
    }

    /// Reads what a personality's options leave open; nothing is created and nothing is sent.
    pub(crate) fn open(options: ContextOptions) -> Result<Self, CliError> {
        let proxies = ProxyRules::from_environment().map_err(|error| CliError::new(Kind::Local, error))?;
        let credentials = Arc::new(CredentialStore::from_environment(&options.docker_config));
        for remark in credentials.remarks() {
            warn(remark);
        }
        let connection = Connection {
            tls: options.tls,
            proxies,
            credentials: match options.credentials {
                Some(source) => Credentials::Given(source),
                None => Credentials::OfRegistry(Arc::clone(&credentials)),
            },
        };
        let audit = AuditLog::open(options.audit_log.as_deref())?;
        let directory = TrustDirectory::at(&options.trust_dir)?;
        warn_about(&directory);
        let default_server = options
            .default_server
            .map(|address| NamedService { address, named_by: NamedBy::Default("the client's own trust service") });
        Ok(Self {
            directory,
            docker_config: options.docker_config,
            connection,
            credentials,
            passphrases: passphrases(options.voice),
            audit,
            now: jiff::Timestamp::now(),
            server: options.server,
            default_server,
            pins: options.pins,
            first_use: options.first_use,
            lost_root: options.lost_root,
        })
    }

    /// Returns the pins as they apply to an image's collection.
    pub(crate) fn pinning(&self, reference: &Reference) -> Pinning {
        self.pinning_of(reference.gun())
    }

    /// Returns the pins as they apply to one collection.
    pub(crate) fn pinning_of(&self, gun: &Gun) -> Pinning {
        let first_use = match self.first_use.unwrap_or(FirstUsePolicy::Allow) {
            FirstUsePolicy::Allow => FirstUse::Allow,
            FirstUsePolicy::Ask | FirstUsePolicy::Deny => FirstUse::Deny,
        };
        let mut pinning = Pinning::new(first_use);
        match self.pins.pin(gun) {
            Pin::Certificates(ids) => pinning.pin_certificates(gun.as_str(), ids.iter().copied()),
            Pin::Authorities(authorities) => pinning.pin_authorities(gun.as_str(), authorities.to_vec()),
            Pin::FirstUse | Pin::Denied => {}
        }
        pinning
    }

    /// Returns the trust service of a collection, and what named it.
    pub(crate) fn destination(&self, gun: &Gun) -> Result<(Destination, NamedBy), CliError> {
        match self.server.as_ref().or(self.default_server.as_ref()) {
            Some(named) => Ok((named.address.clone().into(), named.named_by.clone())),
            None => Ok((Destination::of_registry(gun)?, NamedBy::Default("the registry's own host"))),
        }
    }

    /// Opens the collection of an image.
    pub(crate) fn client<'a>(
        &'a self,
        reference: &Reference,
        pinning: &'a Pinning,
        access: Access,
    ) -> Result<CollectionClient<'a>, CliError> {
        self.collection(reference.gun(), pinning, access)
    }

    /// Opens a collection.
    pub(crate) fn collection<'a>(
        &'a self,
        gun: &Gun,
        pinning: &'a Pinning,
        access: Access,
    ) -> Result<CollectionClient<'a>, CliError> {
        let (destination, _) = self.destination(gun)?;
        let service = self.connection.open(&destination, gun, access)?;
        let client = CollectionClient::new(&self.directory, service, pinning, &self.passphrases, self.now)?;
        Ok(client.lost_root(self.lost_root))
    }
}

fn passphrases(voice: Voice) -> Box<dyn PassphraseSource> {
    let lookup = |name: &str| std::env::var_os(name);
    let environment = match voice {
        Voice::Native | Voice::Docker => EnvironmentPassphrases::docker(lookup),
        Voice::Notary => EnvironmentPassphrases::notary(lookup),
    };
    Box::new(Remembered::new(Sequence(environment, PersonPassphrases { voice })))
}

/// Points out what others could read or change in the trust directory; keeping it is the owner's business.
fn warn_about(directory: &TrustDirectory) {
    match directory.warnings() {
        Ok(warnings) => warnings.iter().for_each(|warning| warn(warning)),
        Err(error) => warn(&error),
    }
}

fn warn(text: &dyn std::fmt::Display) {
    crate::output::message(format_args!("WARNING: {}", crate::output::harmless(&text.to_string())));
}
