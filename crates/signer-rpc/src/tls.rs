//! Mutual TLS: both ends show a certificate, and each is checked against an authority of the operator's choice alone.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::service::Caller;

/// What HTTP/2 is called in the handshake; gRPC speaks nothing else.
const HTTP2: &[u8] = b"h2";
/// Names of one certificate that are looked at.
const MAX_NAMES: usize = 100;

/// Says why connections cannot be protected (caller).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or is not what it should be.
    #[error("{path} cannot be used as {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What it should be.
        what: &'static str,
        /// Why not.
        #[source]
        source: pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{path} has no certificate in it")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The certificate and the key do not belong together, or one of them is unusable.
    #[error("the certificate {certificate} and the key {key} cannot be used together")]
    Pair {
        /// The certificate chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why not.
        #[source]
        source: rustls::Error,
    },
    /// An authority's certificate cannot be used.
    #[error("{path} cannot be used as an authority")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The cryptography does not work.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// A certificate chain, leaf first, and its unencrypted key, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The file with the chain.
    pub certificate: PathBuf,
    /// The file with the key.
    pub key: PathBuf,
}

/// Which clients a signing service answers.
#[derive(Debug, Clone)]
pub struct Clients {
    /// The file with the certificates of the authorities that clients' certificates must come from.
    pub authority: PathBuf,
    /// The clients' names (common name or DNS name); when empty, whoever has a certificate of the authority.
    pub names: Vec<String>,
}

impl Clients {
    /// Tells whether a client with this certificate may call.
    pub(crate) fn admit(&self, names: &[String]) -> bool {
        self.names.is_empty() || names.iter().any(|name| self.names.contains(name))
    }
}

/// Returns the settings of a server that answers only clients of an authority.
pub(crate) fn server(identity: Identity, clients: Clients) -> Result<Fresh<ServerConfig>, TlsError> {
    let files = vec![identity.certificate.clone(), identity.key.clone(), clients.authority.clone()];
    Fresh::new(files, move || server_config(&identity, &clients))
}

/// Returns the settings of a client that talks only to servers of an authority.
pub(crate) fn client(identity: Identity, authority: PathBuf) -> Result<Fresh<ClientConfig>, TlsError> {
    let files = vec![identity.certificate.clone(), identity.key.clone(), authority.clone()];
    Fresh::new(files, move || client_config(&identity, &authority))
}

fn server_config(identity: &Identity, clients: &Clients) -> Result<Made<ServerConfig>, TlsError> {
    let roots = Arc::new(authorities(&clients.authority)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let verifier = verifier
        .build()
        .map_err(|source| TlsError::Authority { path: clients.authority.clone(), source: source.into() })?;
    let chain = chain(&identity.certificate)?;
    let until = end_of(&chain);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key(&identity.key)?)
        .map_err(|source| pair(identity, source))?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Made { config: Arc::new(config), until })
}

fn client_config(identity: &Identity, authority: &Path) -> Result<Made<ClientConfig>, TlsError> {
    let roots = Arc::new(authorities(authority)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider());
    let verifier =
        verifier.build().map_err(|source| TlsError::Authority { path: authority.to_owned(), source: source.into() })?;
    let chain = chain(&identity.certificate)?;
    let until = end_of(&chain);
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key(&identity.key)?)
        .map_err(|source| pair(identity, source))?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Made { config: Arc::new(config), until })
}

/// Settings made from files, and made again when these change; the old ones stay in use when that fails.
pub(crate) struct Fresh<T> {
    files: Vec<PathBuf>,
    make: Box<Make<T>>,
    current: Mutex<(Changed, Made<T>)>,
}

/// Settings, and when the certificate in them ends.
pub(crate) struct Made<T> {
    config: Arc<T>,
    until: Timestamp,
}

type Make<T> = dyn Fn() -> Result<Made<T>, TlsError> + Send + Sync;
/// When each file was last changed, and its length.
type Changed = Vec<Option<(SystemTime, u64)>>;

impl<T> Fresh<T> {
    /// Makes the settings.
    pub(crate) fn new(
        files: Vec<PathBuf>,
        make: impl Fn() -> Result<Made<T>, TlsError> + Send + Sync + 'static,
    ) -> Result<Self, TlsError> {
        let changed = changed(&files);
        let current = Mutex::new((changed, make()?));
        Ok(Self { files, make: Box::new(make), current })
    }

    /// Returns the settings for one connection.
    pub(crate) fn get(&self) -> Arc<T> {
        let changed = changed(&self.files);
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != changed {
            // What fails is tried anew for the next connection: it may be the machine that fails, or the time.
            match (self.make)() {
                Ok(made) => *current = (changed, made),
                Err(error) => {
                    tracing::error!(%error, source = ?std::error::Error::source(&error), "changed certificates cannot be used");
                }
            }
        }
        Arc::clone(&current.1.config)
    }

    /// Returns when the certificate ends that was last read.
    pub(crate) fn until(&self) -> Timestamp {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).1.until
    }
}

fn changed(files: &[PathBuf]) -> Changed {
    let look = |file: &PathBuf| {
        let found = fs_err::metadata(file).ok()?;
        Some((found.modified().ok()?, found.len()))
    };
    files.iter().map(look).collect()
}

/// Returns when the first certificate of a chain ends; what cannot be read as one is never accepted, and ends at once.
fn end_of(chain: &[CertificateDer<'_>]) -> Timestamp {
    let leaf = chain.first().and_then(|leaf| Certificate::from_der(leaf).ok());
    let seconds = leaf.map(|leaf| leaf.tbs_certificate().validity().not_after.to_unix_duration().as_secs());
    seconds.and_then(|end| Timestamp::from_second(end.try_into().ok()?).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Reads whom a verified certificate is for: its common name and DNS names.
pub(crate) fn names(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok(certificate) = Certificate::from_der(leaf) else { return Vec::new() };
    let common = countersign_crypto::certificate::Certificate::from_der(leaf).ok();
    let common = common.and_then(|certificate| certificate.common_name().map(str::to_owned));
    let others = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok().flatten();
    let others = others.into_iter().flat_map(|(_, others)| others.0).filter_map(|name| match name {
        GeneralName::DnsName(name) => Some(name.to_string()),
        _ => None,
    });
    common.into_iter().chain(others).take(MAX_NAMES).collect()
}

/// Returns who has shown this certificate.
pub(crate) fn caller(names: &[String], address: std::net::SocketAddr) -> Caller {
    Caller { name: names.first().map(String::as_str).unwrap_or_default().into(), address }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(path)? {
        roots
            .add(certificate)
            .map_err(|source| TlsError::Authority { path: path.to_owned(), source: source.into() })?;
    }
    Ok(roots)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |source| TlsError::File { path: path.to_owned(), what: "a certificate chain in PEM", source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(unusable)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(unusable)?;
    if certificates.is_empty() { Err(TlsError::Empty { path: path.to_owned() }) } else { Ok(certificates) }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let unusable = |source| TlsError::File { path: path.to_owned(), what: "an unencrypted private key in PEM", source };
    PrivateKeyDer::from_pem_file(path).map_err(unusable)
}

fn pair(identity: &Identity, source: rustls::Error) -> TlsError {
    TlsError::Pair { certificate: identity.certificate.clone(), key: identity.key.clone(), source }
}
