//! From a collection's name to its trust service, with this machine's certificates and credentials.

use countersign_image::RegistryHost;
use countersign_notary::{Access, ServiceAddress, ServiceAddressError, TrustService};
use countersign_registry::auth::Session;
use countersign_registry::credentials::{Credential, CredentialSource, CredentialStore};
use countersign_registry::http::{
    HttpClient, HttpError, HttpOptions, Origin, Patience, ProxyError, ProxyRules, Request, TlsFileError, TlsOptions,
    Verification,
};
use countersign_tuf::Gun;
use http::header::DATE;
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use std::path::PathBuf;
use std::sync::Arc;

/// How this machine introduces itself at trust services, and how they have to.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Where certificates are.
    pub tls: TlsFiles,
    /// The proxies to use.
    pub proxies: ProxyRules,
    /// The caller's credentials.
    pub credentials: Credentials,
}

/// The trust service of one collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Where it is.
    pub address: ServiceAddress,
    /// A PEM file of authorities for this service alone, besides those of [`Connection::tls`].
    pub authorities: Option<PathBuf>,
}

/// Where the certificates for trust services are.
#[derive(Debug, Clone)]
pub enum TlsFiles {
    /// In docker's configuration directory, whose `tls/<host:port>/` holds authorities and client certificates.
    Docker(PathBuf),
    /// In files named one by one, as for the notary client (Notary protocol, client configuration).
    Named {
        /// The only authorities that count; without it those of the system.
        authorities: Option<PathBuf>,
        /// A client certificate and its key.
        identity: Option<(PathBuf, PathBuf)>,
        /// Whether the service has to prove who it is.
        verification: Verification,
    },
}

/// Who the caller is at a trust service.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// What docker keeps for the registry in the collection's name.
    OfRegistry(Arc<CredentialStore>),
    /// These, wherever the collection is.
    Given(CredentialSource),
}

/// Says why a trust service cannot be reached as configured.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The address is no address.
    #[error(transparent)]
    Address(#[from] ServiceAddressError),
    /// A certificate or key file cannot be used.
    #[error("error establishing connection to trust repository: {0}")]
    Tls(#[from] TlsFileError),
    /// The proxy settings cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    /// The address cannot be used.
    #[error(transparent)]
    Http(#[from] HttpError),
}

/// How a service answers whoever has no credentials and asks for nothing in particular.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The HTTP status.
    pub status: u16,
    /// What the service's clock says, where it says so.
    pub date: Option<Timestamp>,
    /// Whether the answer is a JSON object, as every answer of a trust service is.
    pub speaks_json: bool,
}

/// Most bytes of the answer to a greeting.
const MAX_GREETING: u64 = 64 << 10;

impl Destination {
    /// Returns the service that a collection has when none is named: https on its registry's own host and port.
    ///
    /// # Errors
    /// The registry's name makes no address.
    pub fn of_registry(gun: &Gun) -> Result<Self, ConnectionError> {
        Ok(ServiceAddress::of_registry(first_segment(gun))?.into())
    }
}

impl From<ServiceAddress> for Destination {
    fn from(address: ServiceAddress) -> Self {
        Self { address, authorities: None }
    }
}

impl Connection {
    /// Opens a collection at its service; nothing is sent yet.
    ///
    /// Credentials are looked up when the service asks for some. The service's certificate is always verified, also where
    /// docker does not: for registries on loopback addresses.
    ///
    /// # Errors
    /// The address, certificates or proxies cannot be used.
    pub fn open(&self, to: &Destination, gun: &Gun, access: Access) -> Result<TrustService, ConnectionError> {
        let session = Session::new(self.client(to)?, self.credentials.source(gun));
        Ok(TrustService::new(to.address.clone(), gun.clone(), session, access))
    }

    /// Reads the certificates for a service; nothing is sent.
    ///
    /// # Errors
    /// The address, certificates or proxies cannot be used.
    pub fn prepare(&self, to: &Destination) -> Result<(), ConnectionError> {
        self.client(to).map(drop)
    }

    /// Asks a service whether it is there, without a collection and without credentials.
    ///
    /// # Errors
    /// The address, certificates or proxies cannot be used, or there is no answer in time that can be trusted.
    pub async fn greet(&self, to: &Destination, patience: Patience) -> Result<Greeting, ConnectionError> {
        let response = self.client(to)?.send(Request::get(to.address.entrance()).patience(patience)).await?;
        let status = response.status().as_u16();
        let date = response.header(&DATE).and_then(|text| DateTimeParser::new().parse_timestamp(text).ok());
        let speaks_json = match response.bytes(MAX_GREETING).await {
            Ok(body) => serde_json::from_slice::<serde_json::Value>(&body).is_ok_and(|value| value.is_object()),
            Err(error @ (HttpError::Timeout { .. } | HttpError::Unreachable { .. })) => return Err(error.into()),
            Err(_) => false,
        };
        Ok(Greeting { status, date, speaks_json })
    }

    fn client(&self, to: &Destination) -> Result<HttpClient, ConnectionError> {
        let mut options = HttpOptions::new(Origin::of(to.address.url())?);
        options.tls = self.tls.options(to)?;
        options.proxies = self.proxies.clone();
        Ok(HttpClient::new(options))
    }
}

impl TlsFiles {
    /// Returns the file into which the authority of an unknown service belongs.
    #[must_use]
    pub fn authority_file(&self, to: &Destination) -> PathBuf {
        match self {
            Self::Docker(directory) => directory.join("tls").join(to.address.authority()).join("ca.crt"),
            Self::Named { authorities: Some(file), .. } => file.clone(),
            Self::Named { authorities: None, .. } => to.authorities.clone().unwrap_or_default(),
        }
    }

    fn options(&self, to: &Destination) -> Result<TlsOptions, TlsFileError> {
        let options = match self {
            Self::Docker(directory) => TlsOptions::from_directory(&directory.join("tls").join(to.address.authority()))?,
            Self::Named { authorities, identity, verification } => {
                let options = match authorities {
                    Some(file) => TlsOptions::only_authorities_in(file)?,
                    None => TlsOptions::system(),
                };
                let options = match identity {
                    Some((certificate, key)) => options.and_identity(certificate, key)?,
                    None => options,
                };
                options.verification(*verification)
            }
        };
        match &to.authorities {
            Some(file) => options.and_authorities_in(file),
            None => Ok(options),
        }
    }
}

impl Credentials {
    fn source(&self, gun: &Gun) -> CredentialSource {
        match self {
            Self::Given(source) => source.clone(),
            Self::OfRegistry(store) => match RegistryHost::parse(first_segment(gun)) {
                Some(registry) => CredentialSource::of_registry(Arc::clone(store), registry),
                None => Credential::Anonymous.into(),
            },
        }
    }
}

/// Returns what names the registry in a collection's name.
fn first_segment(gun: &Gun) -> &str {
    gun.segments().next().unwrap_or_default()
}
