//! From a repository's name to its trust service, with docker's certificates and credentials.

use countersign_image::RegistryHost;
use countersign_notary::{Access, ServiceAddress, ServiceAddressError, TrustService};
use countersign_registry::auth::Session;
use countersign_registry::credentials::{CredentialSource, CredentialStore};
use countersign_registry::http::{
    HttpClient, HttpError, HttpOptions, Origin, ProxyError, ProxyRules, TlsFileError, TlsOptions,
};
use countersign_tuf::Gun;
use std::path::PathBuf;
use std::sync::Arc;

/// Where trust services are and how this machine introduces itself there.
#[derive(Debug)]
pub struct Connection {
    /// Docker's configuration directory, whose `tls/<host:port>/` holds authorities and client certificates.
    pub docker_config: PathBuf,
    /// One service for every registry (`DOCKER_CONTENT_TRUST_SERVER`); none means the registry's own host.
    pub server: Option<ServiceAddress>,
    /// The proxies to use.
    pub proxies: ProxyRules,
    /// Where the registries' credentials are kept.
    pub credentials: Arc<CredentialStore>,
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

impl Connection {
    /// Returns the service's address for a registry.
    ///
    /// # Errors
    /// No service is named, and the registry's name makes no address.
    pub fn address(&self, registry: &RegistryHost) -> Result<ServiceAddress, ConnectionError> {
        match &self.server {
            Some(server) => Ok(server.clone()),
            None => Ok(ServiceAddress::of_registry(registry.as_str())?),
        }
    }

    /// Opens a collection at its service; nothing is sent yet.
    ///
    /// The credentials are those of the registry, looked up when the service asks for some. The service's certificate is always verified, also where docker does
    /// not: for registries on loopback addresses.
    ///
    /// # Errors
    /// The address, certificates or proxies cannot be used.
    pub fn open(&self, registry: &RegistryHost, gun: &Gun, access: Access) -> Result<TrustService, ConnectionError> {
        let address = self.address(registry)?;
        let mut options = HttpOptions::new(Origin::of(address.url())?);
        options.tls = TlsOptions::from_directory(&self.docker_config.join("tls").join(address.authority()))?;
        options.proxies = self.proxies.clone();
        let credential = CredentialSource::of_registry(Arc::clone(&self.credentials), registry.clone());
        let session = Session::new(HttpClient::new(options), credential);
        Ok(TrustService::new(address, gun.clone(), session, access))
    }
}
