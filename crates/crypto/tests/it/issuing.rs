//! A small certificate authority for tests.

use countersign_crypto::certificate::Certificate;
use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// A certificate with its key, able to issue others.
pub(crate) struct Issued {
    pub(crate) certificate: Certificate,
    pub(crate) params: CertificateParams,
    pub(crate) key: KeyPair,
}

/// Parameters of a certificate that is valid in the time of the golden data.
pub(crate) fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = rcgen::date_time_ymd(2026, 1, 1);
    params.not_after = rcgen::date_time_ymd(2036, 1, 1);
    params
}

pub(crate) fn authority(common_name: &str, constraints: BasicConstraints) -> CertificateParams {
    let mut params = params(common_name);
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

pub(crate) fn self_signed(params: CertificateParams) -> Issued {
    let key = KeyPair::generate().unwrap();
    let certificate = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
    Issued { certificate, params, key }
}

impl Issued {
    pub(crate) fn issue(&self, params: CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = Certificate::from_der(params.signed_by(&key, &issuer).unwrap().der()).unwrap();
        Issued { certificate, params, key }
    }
}

/// The PEM text of several certificates.
pub(crate) fn pem(certificates: &[&Issued]) -> Vec<u8> {
    certificates.iter().map(|issued| issued.certificate.to_pem()).collect::<String>().into_bytes()
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
