//! Whom to believe and how to introduce oneself: system roots, extra authorities, client certificates.

mod anchors;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::error::HttpError;

/// Largest certificate or key file in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// Most files looked at in one directory.
const MAX_FILES: usize = 256;

/// Whether the other side has to prove who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verification {
    /// It has to.
    #[default]
    Enforced,
    /// It need not; only for places configured as insecure.
    Skipped,
}

/// Whom a client believes and how it introduces itself.
#[derive(Clone, Default)]
pub struct TlsOptions {
    anchors: Anchors,
    extra: Vec<CertificateDer<'static>>,
    identities: Vec<Arc<CertifiedKey>>,
    verification: Verification,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Anchors {
    #[default]
    SystemAndExtra,
    OnlyExtra,
}

/// Says which file on this machine cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFileError {
    /// A client certificate has no key. The text is docker's.
    #[error("missing key {key} for client certificate {certificate}. CA certificates must use the extension .crt")]
    MissingKey {
        /// The name of the key file that is missing.
        key: String,
        /// The name of the certificate file.
        certificate: String,
    },
    /// A key has no client certificate. The text is docker's.
    #[error("missing client certificate {certificate} for key {key}")]
    MissingCertificate {
        /// The name of the certificate file that is missing.
        certificate: String,
        /// The name of the key file.
        key: String,
    },
    /// A file cannot be read.
    #[error("{}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why it cannot be read.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {reason}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl TlsOptions {
    /// Believes the system's certificate authorities.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Believes only the authorities in a PEM file, as the `notary` client does when one is configured.
    ///
    /// # Errors
    /// Fails if the file cannot be read or holds no certificate.
    pub fn only_authorities_in(path: &Path) -> Result<Self, TlsFileError> {
        Ok(Self { anchors: Anchors::OnlyExtra, extra: certificates(path)?, ..Self::default() })
    }

    /// Believes the system's authorities and reads one of docker's directories: `*.crt` are more authorities, `X.cert`
    /// and `X.key` are client pairs. A missing directory is no fault.
    ///
    /// # Errors
    /// Fails if a pair is incomplete or a file cannot be used.
    pub fn from_directory(directory: &Path) -> Result<Self, TlsFileError> {
        Self::default().and_directory(directory)
    }

    /// Adds what one of docker's directories holds.
    ///
    /// # Errors
    /// Fails if a pair is incomplete or a file cannot be used.
    pub fn and_directory(mut self, directory: &Path) -> Result<Self, TlsFileError> {
        let names = names_in(directory)?;
        for name in &names {
            let path = directory.join(name);
            if Path::new(name).extension().is_some_and(|extension| extension == "crt") {
                self.extra.extend(certificates(&path)?);
            } else if let Some(stem) = name.strip_suffix(".cert") {
                let key = format!("{stem}.key");
                if !names.contains(&key) {
                    return Err(TlsFileError::MissingKey { key, certificate: name.clone() });
                }
                self = self.and_identity(&path, &directory.join(key))?;
            } else if let Some(stem) = name.strip_suffix(".key") {
                let certificate = format!("{stem}.cert");
                if !names.contains(&certificate) {
                    return Err(TlsFileError::MissingCertificate { certificate, key: name.clone() });
                }
            }
        }
        Ok(self)
    }

    /// Adds the authorities in a PEM file.
    ///
    /// # Errors
    /// Fails if the file cannot be read or holds no certificate.
    pub fn and_authorities_in(mut self, path: &Path) -> Result<Self, TlsFileError> {
        self.extra.extend(certificates(path)?);
        Ok(self)
    }

    /// Adds a client certificate with its key, both PEM.
    ///
    /// # Errors
    /// Fails if a file cannot be read or the two do not belong together.
    pub fn and_identity(mut self, certificate: &Path, key: &Path) -> Result<Self, TlsFileError> {
        let chain = certificates(certificate)?;
        let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| TlsFileError::Content {
            path: key.to_owned(),
            reason: format!("no usable private key in PEM form ({error}); encrypted keys are not supported here"),
        })?;
        let identity = CertifiedKey::from_der(chain, secret, &aws_lc_rs::default_provider()).map_err(|error| {
            TlsFileError::Content {
                path: key.to_owned(),
                reason: format!("does not fit {}: {error}", certificate.display()),
            }
        })?;
        self.identities.push(Arc::new(identity));
        Ok(self)
    }

    /// Says whether the other side has to prove who it is.
    #[must_use]
    pub fn verification(mut self, verification: Verification) -> Self {
        self.verification = verification;
        self
    }

    /// Builds the TLS library's configuration: TLS 1.2 or later, HTTP/2 or 1.1.
    pub(crate) fn client_config(&self, identity: IdentityUse) -> Result<ClientConfig, HttpError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let setup = |error: rustls::Error| HttpError::Setup(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(setup)?
            .dangerous()
            .with_custom_certificate_verifier(self.verifier(provider)?);
        let mut config = match identity {
            IdentityUse::Offered if !self.identities.is_empty() => {
                builder.with_client_cert_resolver(Arc::new(Identities(self.identities.clone())))
            }
            _ => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    /// Returns the same options without client certificates and with verification, for hosts that servers name.
    pub(crate) fn for_strangers(&self) -> Self {
        Self { identities: Vec::new(), verification: Verification::Enforced, ..self.clone() }
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, HttpError> {
        if self.verification == Verification::Skipped {
            return Ok(Arc::new(NoVerification(provider)));
        }
        let mut configured = RootCertStore::empty();
        configured.add_parsable_certificates(self.extra.iter().cloned());
        match self.anchors {
            Anchors::SystemAndExtra if !configured.is_empty() => {
                Ok(Arc::new(anchors::ConfiguredFirst::new(configured, provider)?))
            }
            Anchors::SystemAndExtra if !system_roots().is_empty() => {
                Ok(anchors::only(system_roots().clone(), provider)?)
            }
            Anchors::OnlyExtra if !configured.is_empty() => Ok(anchors::only(configured, provider)?),
            _ => Err(HttpError::Setup(
                "there are no certificate authorities on this machine: install ca-certificates".to_owned(),
            )),
        }
    }
}

impl std::fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsOptions")
            .field("anchors", &self.anchors)
            .field("extra", &self.extra.len())
            .field("identities", &self.identities.len())
            .field("verification", &self.verification)
            .finish()
    }
}

/// Whether client certificates are shown to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdentityUse {
    /// They are, if the server asks.
    Offered,
    /// They are not.
    Withheld,
}

/// Reads the system's authorities when first needed.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store
    })
}

fn names_in(directory: &Path) -> Result<BTreeSet<String>, TlsFileError> {
    let failed = |source| TlsFileError::Read { path: directory.to_owned(), source };
    let entries = match fs_err::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = BTreeSet::new();
    for entry in entries.take(MAX_FILES) {
        if let Ok(name) = entry.map_err(failed)?.file_name().into_string() {
            names.insert(name);
        }
    }
    Ok(names)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let content = |reason: String| TlsFileError::Content { path: path.to_owned(), reason };
    let bytes = read(path)?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| content(error.to_string()))?;
    if found.is_empty() { Err(content("holds no certificate in PEM form".to_owned())) } else { Ok(found) }
}

/// Reads a regular file of bounded size; anything else could block or never end.
fn read(path: &Path) -> Result<Vec<u8>, TlsFileError> {
    let failed = |source| TlsFileError::Read { path: path.to_owned(), source };
    let metadata = fs_err::metadata(path).map_err(failed)?;
    if !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(TlsFileError::Content {
            path: path.to_owned(),
            reason: "is not a file of reasonable size".to_owned(),
        });
    }
    fs_err::read(path).map_err(failed)
}

/// Shows the first client certificate whose key speaks an algorithm that the server accepts.
#[derive(Debug)]
struct Identities(Vec<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identities {
    fn resolve(&self, _issuers: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.iter().find(|identity| identity.key.choose_scheme(schemes).is_some()).cloned()
    }

    fn has_certs(&self) -> bool {
        !self.0.is_empty()
    }
}

/// Takes any certificate, for places configured as insecure; the handshake's signatures are still checked.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs_err::write(directory.path().join(name), content).unwrap();
        }
        directory
    }

    #[test]
    fn incomplete_pairs_are_refused_in_dockers_words() {
        let text = |files| TlsOptions::from_directory(directory(files).path()).unwrap_err().to_string();
        assert_eq!(
            text(&[("a.cert", "")]),
            "missing key a.key for client certificate a.cert. CA certificates must use the extension .crt"
        );
        assert_eq!(text(&[("a.key", "")]), "missing client certificate a.cert for key a.key");
    }

    #[test]
    fn a_missing_directory_is_no_fault_and_junk_is() {
        assert!(TlsOptions::from_directory(Path::new("/nonexistent/tls")).is_ok());
        assert!(matches!(
            TlsOptions::from_directory(directory(&[("ca.crt", "junk")]).path()),
            Err(TlsFileError::Content { .. })
        ));
        assert!(TlsOptions::from_directory(directory(&[("README", "junk")]).path()).is_ok());
    }

    #[test]
    fn a_directory_in_place_of_a_file_is_refused() {
        let directory = directory(&[]);
        fs_err::create_dir(directory.path().join("ca.crt")).unwrap();
        assert!(matches!(TlsOptions::from_directory(directory.path()), Err(TlsFileError::Content { .. })));
    }
}
