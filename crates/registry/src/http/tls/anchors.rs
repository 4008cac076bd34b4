//! Which authorities a server's certificate may come from, the configured ones first.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{HttpError, system_roots};

/// Verifies with the configured authorities, and with the system's where those do not know the certificate.
///
/// The system's authorities, some hundred files, are read only when they are needed.
#[derive(Debug)]
pub(super) struct ConfiguredFirst {
    configured: Arc<WebPkiServerVerifier>,
    system: OnceLock<Option<Arc<WebPkiServerVerifier>>>,
    provider: Arc<CryptoProvider>,
}

/// Makes a verifier for the given authorities alone.
pub(super) fn only(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, HttpError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error| HttpError::Setup(error.to_string()))
}

impl ConfiguredFirst {
    pub(super) fn new(configured: RootCertStore, provider: Arc<CryptoProvider>) -> Result<Self, HttpError> {
        let configured = only(configured, Arc::clone(&provider))?;
        Ok(Self { configured, system: OnceLock::new(), provider })
    }

    fn system(&self) -> Option<&WebPkiServerVerifier> {
        let build = || only(system_roots().clone(), Arc::clone(&self.provider)).ok();
        self.system.get_or_init(build).as_deref()
    }
}

impl ServerCertVerifier for ConfiguredFirst {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: &WebPkiServerVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        let refused = match verify(&self.configured) {
            Ok(verdict) => return Ok(verdict),
            Err(refused) => refused,
        };
        match self.system().map(verify) {
            Some(Ok(verdict)) => Ok(verdict),
            Some(Err(unknown)) if refused == Error::InvalidCertificate(CertificateError::UnknownIssuer) => Err(unknown),
            _ => Err(refused),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
