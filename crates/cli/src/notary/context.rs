//! What a command of the client needs: flags over configuration over defaults, and a collection's client.

use super::config::{self, Config, Pins};
use super::failure::{Failure, explain, of_connection};
use super::input;
use super::invocation::Invocation;
use super::login;
use crate::context::{Context, ContextOptions, FirstUsePolicy, NamedBy, NamedService};
use countersign_crypto::certificate::Certificate;
use countersign_notary::{Access, ServiceAddress};
use countersign_registry::credentials::Credential;
use countersign_registry::http::Verification;
use countersign_trust::{CollectionClient, Credentials, Holder, TlsFiles, TrustError};
use countersign_tuf::{Gun, Pinning};
use countersign_vault::{KeyStore, PassphraseSource};
use std::path::{Component, Path, PathBuf};

/// The trust service of those who name none.
const DEFAULT_SERVER: &str = "https://notary-server:4443";

/// What names the pins.
const PINS: &str = "trust_pinning of the configuration file";

/// Whether a command talks to the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It works on this machine alone: what is wrong about server and certificates does not matter.
    Local,
    /// It may talk to the service.
    Service,
}

/// The private keys of the trust directory.
pub(super) struct Keys {
    shared: Context,
    trust_dir: PathBuf,
}

/// One collection, and how its service is reached.
pub(super) struct Session {
    shared: Context,
    pinning: Pinning,
    gun: Gun,
}

impl Keys {
    /// Reads flags and configuration.
    pub(super) fn open(invocation: &Invocation) -> Result<Self, Failure> {
        let config = Config::read(invocation.value("configFile"))?;
        let trust_dir = trust_dir(invocation, &config)?;
        let shared = Context::open(ContextOptions::notary(trust_dir.clone(), no_tls()))?;
        Ok(Self { shared, trust_dir })
    }

    /// Returns the key store.
    pub(super) fn store(&self) -> KeyStore {
        self.shared.directory.keys()
    }

    /// Returns where passphrases come from.
    pub(super) fn passphrases(&self) -> &dyn PassphraseSource {
        &self.shared.passphrases
    }

    /// Returns where new passphrases of keys that have one come from.
    pub(super) fn new_passphrases(&self) -> Box<dyn PassphraseSource> {
        self.shared.new_passphrases()
    }

    /// Returns where the keys are, as the client shows it.
    pub(super) fn location(&self) -> String {
        cleaned(&self.trust_dir.join("private")).display().to_string()
    }
}

impl Session {
    /// Reads flags and configuration for a collection.
    pub(super) fn open(invocation: &Invocation, gun: Gun, reach: Reach) -> Result<Self, Failure> {
        let config = Config::read(invocation.value("configFile"))?;
        let trust_dir = trust_dir(invocation, &config)?;
        let mut options = match reach {
            Reach::Local => ContextOptions::notary(trust_dir, no_tls()),
            Reach::Service => ContextOptions::notary(trust_dir, tls_files(invocation, &config)?),
        };
        if let (Reach::Service, Some((address, named_by))) = (reach, named_server(invocation, &config)?) {
            options.server = Some(NamedService { address, named_by });
        }
        options.default_server = Some(server(DEFAULT_SERVER)?);
        options.credentials = Some(login::from_environment().unwrap_or_default().into());
        let pinned = config.pins()?;
        options.pins = pins(&pinned, &gun)?;
        options.pins_named_by = NamedBy::Default(PINS);
        if pinned.no_first_use {
            options.first_use = Some(FirstUsePolicy::Deny);
            options.first_use_named_by = NamedBy::Default(PINS);
        }
        let shared = Context::open(options)?;
        let pinning = shared.pinning_of(&gun);
        Ok(Self { shared, pinning, gun })
    }

    /// Returns the collection.
    pub(super) fn gun(&self) -> &Gun {
        &self.gun
    }

    /// Returns the settings that all names of the program share.
    pub(super) fn shared(&self) -> &Context {
        &self.shared
    }

    /// Opens the collection for what needs no service.
    pub(super) fn here(&self) -> Result<CollectionClient<'_>, Failure> {
        Ok(self.shared.collection(&self.gun, &self.pinning, Access::Read)?)
    }

    /// Does something at the service; who is refused and has said nothing of themselves is asked who they are, once.
    pub(super) async fn at_service<T>(
        &self,
        access: Access,
        action: impl AsyncFn(&CollectionClient<'_>) -> Result<T, TrustError>,
    ) -> Result<T, Failure> {
        let client = self.shared.collection(&self.gun, &self.pinning, access).map_err(of_connection)?;
        let client = client.new_snapshot_key(Holder::Client);
        let failure = match action(&client).await {
            Ok(value) => return Ok(value),
            Err(error) => explain(error, &client),
        };
        if !failure.is_unauthorised() || login::from_environment().is_some() {
            return Err(failure);
        }
        let Some(credential) = login::ask() else { return Err(failure) };
        let client = self.client_as(credential, access)?;
        action(&client).await.map_err(|error| explain(error, &client))
    }

    fn client_as(&self, credential: Credential, access: Access) -> Result<CollectionClient<'_>, Failure> {
        let mut connection = self.shared.connection.clone();
        connection.credentials = Credentials::Given(credential.into());
        let client = self.shared.collection_through(&connection, &self.gun, &self.pinning, access)?;
        Ok(client.new_snapshot_key(Holder::Client))
    }
}

/// Returns the service that a flag or the configuration names, and which of them.
fn named_server(invocation: &Invocation, config: &Config) -> Result<Option<(ServiceAddress, NamedBy)>, Failure> {
    let (url, named_by) = match (invocation.value("server"), &config.url) {
        (Some(url), _) => (url, NamedBy::Flag("--server")),
        (None, Some(url)) => (url.as_str(), NamedBy::Default("remote_server.url of the configuration file")),
        (None, None) => return Ok(None),
    };
    Ok(Some((server(url)?, named_by)))
}

fn server(url: &str) -> Result<ServiceAddress, Failure> {
    ServiceAddress::parse(url).map_err(|_| refused_server(url))
}

fn refused_server(url: &str) -> Failure {
    let failure = Failure::user(format!("Trust server url has to be in the form of http(s)://URL:PORT. Got: {url}"));
    if url.starts_with("http://") {
        return failure.hint("without TLS anybody on the way could keep new signatures from you: use https");
    }
    failure
}

fn trust_dir(invocation: &Invocation, config: &Config) -> Result<PathBuf, Failure> {
    match (invocation.value("trustDir"), &config.trust_dir) {
        (Some(flag), _) => Ok(from_here(config::expanded(flag)?)),
        (None, Some(configured)) => Ok(configured.clone()),
        (None, None) => config::default_trust_dir(),
    }
}

/// Makes a path whole that is relative to the working directory.
fn from_here(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

fn no_tls() -> TlsFiles {
    TlsFiles::Named { authorities: None, identity: None, verification: Verification::Enforced }
}

/// Flags are relative to the working directory, the configuration to its own folder.
fn tls_files(invocation: &Invocation, config: &Config) -> Result<TlsFiles, Failure> {
    let named = |flag: &str, configured: &Option<PathBuf>| {
        invocation.value(flag).map(|name| from_here(name.into())).or_else(|| configured.clone())
    };
    let authorities = named("tlscacert", &config.root_ca);
    if let Some(file) = &authorities
        && let Err(error) = std::fs::File::open(file)
    {
        let (shown, why) = (file.display(), input::reason(&error));
        let text = format!("unable to configure TLS: could not read CA certificate {shown:?}: open {shown}: {why}");
        return Err(Failure::local(text));
    }
    let identity = match (named("tlscert", &config.client_certificate), named("tlskey", &config.client_key)) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(Failure::user("either pass both client key and cert, or neither")),
    };
    let verification = if config.skip_tls_verify {
        crate::output::message("WARNING: skipTLSVerify is set: whoever answers is taken for the trust service");
        Verification::Skipped
    } else {
        Verification::Enforced
    };
    Ok(TlsFiles::Named { authorities, identity, verification })
}

/// Makes the pins that may speak of a collection. Ids that are none match nothing, and pin all the same.
fn pins(configured: &Pins, gun: &Gun) -> Result<Pinning, Failure> {
    let mut pinning = Pinning::default();
    for (pattern, ids) in &configured.certificates {
        pinning.pin_certificates(pattern.clone(), ids.iter().filter_map(|id| id.parse().ok()));
    }
    for (prefix, file) in &configured.authorities {
        if gun.as_str().starts_with(prefix.as_str()) {
            pinning.pin_authorities(prefix.clone(), authorities(file)?);
        }
    }
    Ok(pinning)
}

fn authorities(file: &Path) -> Result<Vec<Certificate>, Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        Failure::local("could not validate the path to a trusted root: could not load root cert from CA path")
            .hint(format!("{}: {error}", file.display()))
    };
    let text = std::fs::read(file).map_err(|error| failed(&error))?;
    Certificate::list_from_pem(&text).map_err(|error| failed(&error))
}

/// Takes `.` and `..` out of a path by its text alone, as Go does for show.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                clean.pop();
            }
            other => clean.push(other),
        }
    }
    clean
}
