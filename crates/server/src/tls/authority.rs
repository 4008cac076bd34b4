//! The service's own certificate authority: a key and a certificate in the data folder, made at the first start.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use countersign_crypto::digest::sha256;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::CertifiedKey;
use zeroize::Zeroizing;

use super::TlsError;
use crate::data_dir::{DataDir, read_secret, write_public, write_secret};

/// How long the authority is valid.
const AUTHORITY_DAYS: i64 = 3650;
/// How long a certificate is valid; the next one is made long before.
const CERTIFICATE_DAYS: i64 = 397;

/// An authority that signs this service's certificate only.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the authority, or makes it.
    pub(crate) fn open(data: &DataDir) -> Result<Self, TlsError> {
        let (key_path, certificate) = (data.file("ca.key"), data.file("ca.pem"));
        let key = match read_secret(&key_path) {
            Ok(pem) => KeyPair::from_pem(&pem)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = KeyPair::generate()?;
                // The certificate first: a key without certificate would be taken for a whole authority.
                write_certificate(&certificate, &key)?;
                write_secret(&key_path, Zeroizing::new(key.serialize_pem()).as_bytes()).map_err(TlsError::Authority)?;
                key
            }
            Err(error) => return Err(TlsError::Authority(error)),
        };
        if !certificate.exists() {
            return Err(TlsError::Authority(io::Error::new(
                ErrorKind::NotFound,
                "ca.key is there, but ca.pem is missing",
            )));
        }
        let parameters = parameters(&key)?;
        Ok(Self { issuer: Issuer::new(parameters, key), certificate })
    }

    /// Returns the file with the authority's certificate, for clients to trust.
    pub(crate) fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Makes a new key and a certificate for these names and addresses.
    pub(crate) fn issue(
        &self,
        names: &[String],
        addresses: &[IpAddr],
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, TlsError> {
        let key = KeyPair::generate()?;
        let mut parameters = CertificateParams::new(names.to_vec())?;
        parameters.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        parameters.distinguished_name.push(DnType::CommonName, "Countersign trust service");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        set_validity(&mut parameters, CERTIFICATE_DAYS)?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(CertifiedKey::from_der(vec![certificate.der().clone()], private, provider)?)
    }
}

fn write_certificate(path: &Path, key: &KeyPair) -> Result<(), TlsError> {
    let mut parameters = parameters(key)?;
    set_validity(&mut parameters, AUTHORITY_DAYS)?;
    write_public(path, parameters.self_signed(key)?.pem().as_bytes()).map_err(TlsError::Authority)
}

/// The authority's name follows from its key: made again from the key alone, it is the name in the certificate.
fn parameters(key: &KeyPair) -> Result<CertificateParams, TlsError> {
    let mut parameters = CertificateParams::new(Vec::new())?;
    let id = sha256(key.public_key_raw()).hex();
    let name = format!("Countersign authority {}", id.get(..16).unwrap_or_default());
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

/// From yesterday, because clocks differ.
fn set_validity(parameters: &mut CertificateParams, days: i64) -> Result<(), TlsError> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let day = |date: Date| -> Option<_> {
        Some(date_time_ymd(i32::from(date.year()), u8::try_from(date.month()).ok()?, u8::try_from(date.day()).ok()?))
    };
    let (from, until) = (today.saturating_sub(1.day()), today.saturating_add(days.days()));
    let (Some(from), Some(until)) = (day(from), day(until)) else { return Err(rcgen::Error::Time.into()) };
    parameters.not_before = from;
    parameters.not_after = until;
    Ok(())
}
