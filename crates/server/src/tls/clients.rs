//! Certificates that clients show: who signed them, and whose they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_crypto::certificate::Certificate;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::{TlsError, provider};
use crate::access::is_name;
use crate::watched::{Watched, When};

/// Who has to have signed the certificates of clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificates {
    /// PEM certificates of authorities.
    pub authority: PathBuf,
    /// A PEM list of certificates that do not count any more.
    pub revoked: Option<PathBuf>,
    /// Whether clients have to show one.
    pub demand: Demand,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Without one there is no connection.
    Required,
    /// They may.
    Optional,
}

/// Looks at the certificates of clients.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    demand: Demand,
    current: Watched<Arc<dyn ClientCertVerifier>, TlsError>,
}

impl ClientVerifier {
    /// Reads the authorities.
    pub(crate) fn load(settings: &ClientCertificates) -> Result<Arc<Self>, TlsError> {
        let files = std::iter::once(&settings.authority).chain(&settings.revoked).cloned().collect();
        let said = settings.clone();
        let read = Box::new(move || read(&said.authority, said.revoked.as_deref()));
        Ok(Arc::new(Self { demand: settings.demand, current: Watched::new(files, read)? }))
    }

    /// Reads changed files again; what cannot be used leaves the old ones in use.
    pub(crate) fn refresh(&self, when: When) -> Result<bool, TlsError> {
        self.current.refresh(when)
    }
}

fn read(authority: &Path, revoked: Option<&Path>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unusable = |path: &Path, what| {
        let path = path.to_owned();
        move |source| TlsError::File { path, what, source }
    };
    let what = "certificates of authorities of clients";
    let all: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(authority).and_then(Iterator::collect).map_err(unusable(authority, what))?;
    if all.is_empty() {
        return Err(unusable(authority, what)(pem::Error::NoItemsFound));
    }
    let mut roots = RootCertStore::empty();
    for certificate in all {
        roots.add(certificate)?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(path) = revoked {
        let what = "a list of revoked certificates";
        let lists: Vec<CertificateRevocationListDer<'static>> = CertificateRevocationListDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(unusable(path, what))?;
        if lists.is_empty() {
            return Err(unusable(path, what)(pem::Error::NoItemsFound));
        }
        // Authorities without a list here have revoked nothing.
        builder = builder.with_crls(lists).only_check_end_entity_revocation().allow_unknown_revocation_status();
    }
    let path = authority.to_owned();
    builder.build().map_err(|source| TlsError::ClientAuthority { path, source })
}

/// Returns whose certificate it is: its subject's only common name, if it can be a name here. Whoever shows another one has
/// proved no name.
pub(crate) fn owner(leaf: &CertificateDer<'_>) -> Option<Arc<str>> {
    let leaf = Certificate::from_der(leaf).ok()?;
    leaf.common_name().filter(|name| is_name(name)).map(Arc::from)
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Required
    }

    /// None: the authorities may change, and clients have one certificate for this service.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.current.get().verify_client_cert(leaf, others, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.get().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current.get().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.get().supported_verify_schemes()
    }
}
