//! A certificate authority for tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const LOOPBACK: [&str; 3] = ["127.0.0.1", "::1", "localhost"];

/// A certificate authority that signs certificates for loopback servers and for clients.
pub struct TestCa {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl TestCa {
    /// Makes an authority with a fresh P-256 key.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "Countersign test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key for the test authority");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("the test authority's certificate") }
    }

    /// The authority's own certificate as PEM text.
    #[must_use]
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Signs a server certificate for 127.0.0.1, `::1` and localhost.
    #[must_use]
    pub fn loopback_server(&self) -> TestCertificate {
        self.server(&LOOPBACK)
    }

    /// Signs a server certificate for these host names and addresses.
    #[must_use]
    pub fn server(&self, names: &[&str]) -> TestCertificate {
        self.sign(&params(names, ExtendedKeyUsagePurpose::ServerAuth, names.first().copied().unwrap_or_default()))
    }

    /// Signs a server certificate for 127.0.0.1 that ended years ago.
    #[must_use]
    pub fn expired_server(&self) -> TestCertificate {
        let mut params = params(&["127.0.0.1"], ExtendedKeyUsagePurpose::ServerAuth, "expired");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    /// Signs a server certificate for loopback that ends so much later.
    #[must_use]
    pub fn loopback_server_for(&self, time: Duration) -> TestCertificate {
        let mut params = params(&LOOPBACK, ExtendedKeyUsagePurpose::ServerAuth, "short-lived");
        params.not_after = (SystemTime::now() + time).into();
        self.sign(&params)
    }

    /// Signs a client certificate with this common name.
    #[must_use]
    pub fn client(&self, common_name: &str) -> TestCertificate {
        self.sign(&params(&[], ExtendedKeyUsagePurpose::ClientAuth, common_name))
    }

    /// Signs a client certificate with this common name that ended years ago.
    #[must_use]
    pub fn expired_client(&self, common_name: &str) -> TestCertificate {
        let mut params = params(&[], ExtendedKeyUsagePurpose::ClientAuth, common_name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        self.sign(&params)
    }

    /// Signs a list that revokes these certificates, as PEM text.
    #[must_use]
    pub fn revoking(&self, certificates: &[&TestCertificate]) -> String {
        let now = SystemTime::now();
        let revoked = |certificate: &&TestCertificate| RevokedCertParams {
            serial_number: certificate.serial.into(),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + Duration::from_hours(24)).into(),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: certificates.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let signed = list.signed_by(&self.issuer).expect("a list signed by the test authority");
        signed.pem().expect("a list as PEM")
    }

    fn sign(&self, params: &CertificateParams) -> TestCertificate {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let mut params = params.clone();
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate().expect("a key for a certificate");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate signed by the test authority");
        TestCertificate { certificate_pem: certificate.pem(), key_pem: key.serialize_pem(), serial }
    }
}

fn params(names: &[&str], usage: ExtendedKeyUsagePurpose, common_name: &str) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).expect("host names fit for a certificate");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.extended_key_usages = vec![usage];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

impl Default for TestCa {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for TestCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestCa").finish_non_exhaustive()
    }
}

/// A certificate and its private key.
#[derive(Clone, Debug)]
pub struct TestCertificate {
    /// The certificate as PEM text.
    pub certificate_pem: String,
    /// The private key as PEM text (PKCS#8).
    pub key_pem: String,
    serial: u64,
}

impl TestCertificate {
    /// The settings of a TLS server with this certificate, which asks no client for one.
    #[must_use]
    pub fn server_config(&self) -> Arc<rustls::ServerConfig> {
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_no_client_auth()
            .with_single_cert(self.chain(), self.key())
            .expect("a certificate that fits its key");
        Arc::new(config)
    }

    /// The settings of a TLS server that insists on client certificates signed by `clients`.
    #[must_use]
    pub fn mutual_server_config(&self, clients: &TestCa) -> Arc<rustls::ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate(&clients.pem())).expect("the test authority as a root");
        let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier of client certificates"))
            .with_single_cert(self.chain(), self.key())
            .expect("a certificate that fits its key");
        Arc::new(config)
    }

    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![certificate(&self.certificate_pem)]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("a private key in PEM")
    }
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate in PEM")
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
