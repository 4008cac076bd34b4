//! The service's certificate: from its own authority, or from files; refreshed while the service runs.

mod authority;
mod clients;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use countersign_crypto::certificate::{Certificate, CertificateError};
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, VerifierBuilderError};
use rustls::sign::CertifiedKey;

use crate::watched::When;

pub(crate) use authority::Authority;
pub use clients::{ClientCertificates, Demand};
pub(crate) use clients::{ClientVerifier, owner};

/// How long a certificate of the own authority is used before the next one is made.
const REISSUE: Duration = Duration::from_hours(30 * 24);

/// Says why connections cannot be protected; the service does not start then (caller).
#[derive(Debug, thiserror::Error)]
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
    /// The certificate is malformed.
    #[error("the certificate {path} is malformed")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: CertificateError,
    },
    /// The certificate is not valid at this time.
    #[error("the certificate {path} is valid from {from} to {until}, not now")]
    NotValidNow {
        /// The file.
        path: PathBuf,
        /// The beginning.
        from: Timestamp,
        /// The end.
        until: Timestamp,
    },
    /// A name that the certificate should be for is none.
    #[error(
        "{0:?} is no name for a certificate: a DNS name or an IP address is wanted, such as trust.example.com or 192.0.2.7"
    )]
    Name(String),
    /// The authorities of clients cannot be used.
    #[error("{path} cannot be used as certificates of authorities of clients")]
    ClientAuthority {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: VerifierBuilderError,
    },
    /// Certificates of clients are asked for where connections are not protected.
    #[error("without TLS clients cannot show certificates")]
    ClientsWithoutTls,
    /// The own authority cannot be read or written.
    #[error("the certificate authority in the data folder cannot be used")]
    Authority(#[source] std::io::Error),
    /// The own authority cannot make a certificate.
    #[error("the certificate authority in the data folder cannot make a certificate")]
    Issue(#[from] rcgen::Error),
    /// The cryptography does not work.
    #[error("TLS cannot be set up")]
    Setup(#[from] rustls::Error),
}

/// Where the certificate comes from.
#[derive(Debug)]
pub(crate) enum Source {
    Authority { authority: Box<Authority>, names: Vec<String>, addresses: Vec<IpAddr> },
    Files { certificate: PathBuf, key: PathBuf },
}

/// The certificate in use.
#[derive(Debug)]
pub(crate) struct Certificates {
    source: Source,
    current: ArcSwap<Loaded>,
    /// What the files looked like when they were last read, usable or not.
    seen: Mutex<Looks>,
}

#[derive(Debug)]
struct Loaded {
    key: Arc<CertifiedKey>,
    at: Instant,
    until: Timestamp,
}

type Looks = [Option<SystemTime>; 2];

impl Certificates {
    /// Loads or makes the certificate.
    pub(crate) fn load(source: Source) -> Result<Arc<Self>, TlsError> {
        let seen = Mutex::new(looks(&source));
        let loaded = load(&source)?;
        Ok(Arc::new(Self { source, current: ArcSwap::from_pointee(loaded), seen }))
    }

    /// Takes up changed files, or makes a new certificate when it is time; tells whether there is a new one. The old one stays
    /// in use when that fails, and the new one is tried anew the next time: it may be valid then.
    pub(crate) fn refresh(&self, when: When) -> Result<bool, TlsError> {
        let looks = looks(&self.source);
        let due = match &self.source {
            Source::Authority { .. } => self.current.load().at.elapsed() >= REISSUE,
            Source::Files { .. } => when == When::Always || *self.seen() != looks,
        };
        if due {
            self.current.store(Arc::new(load(&self.source)?));
            *self.seen() = looks;
        }
        Ok(due)
    }

    fn seen(&self) -> MutexGuard<'_, Looks> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the certificate in use ends.
    pub(crate) fn until(&self) -> Timestamp {
        self.current.load().until
    }

    /// Returns the settings of the TLS server: TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1.
    pub(crate) fn server_config(
        self: &Arc<Self>,
        clients: Option<&Arc<ClientVerifier>>,
    ) -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = match clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients) as Arc<dyn ClientCertVerifier>),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        if clients.is_some() {
            // A resumed session has the certificate of the first one, which nobody would look at again.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.load().key))
    }
}

/// Checks what is said about certificates without making any.
pub(crate) fn check(tls: &crate::Tls, clients: Option<&ClientCertificates>, listen: IpAddr) -> Result<(), TlsError> {
    client_verifier(tls, clients)?;
    match tls {
        crate::Tls::Files { certificate, key } => from_files(certificate, key).map(drop),
        crate::Tls::OwnAuthority { names } => subjects(names, listen).map(drop),
        crate::Tls::None => Ok(()),
    }
}

/// Reads who has to have signed the certificates of clients, if they are asked for any.
pub(crate) fn client_verifier(
    tls: &crate::Tls,
    clients: Option<&ClientCertificates>,
) -> Result<Option<Arc<ClientVerifier>>, TlsError> {
    match (tls, clients) {
        (_, None) => Ok(None),
        (crate::Tls::None, Some(_)) => Err(TlsError::ClientsWithoutTls),
        (_, Some(clients)) => ClientVerifier::load(clients).map(Some),
    }
}

/// Names and addresses of the own certificate: loopback, what is listened on, and what was configured.
pub(crate) fn subjects(configured: &[String], listen: IpAddr) -> Result<(Vec<String>, Vec<IpAddr>), TlsError> {
    let mut names = vec!["localhost".to_owned()];
    let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let mut add = |address: IpAddr| {
        if !addresses.contains(&address) && !address.is_unspecified() {
            addresses.push(address);
        }
    };
    add(listen);
    for name in configured {
        match name.parse() {
            Ok(address) => add(address),
            Err(_) if !is_dns_name(name) => return Err(TlsError::Name(name.clone())),
            Err(_) if !names.contains(name) => names.push(name.clone()),
            Err(_) => {}
        }
    }
    Ok((names, addresses))
}

/// A DNS name, with or without `*` as its first label.
fn is_dns_name(name: &str) -> bool {
    DnsName::try_from(name.strip_prefix("*.").unwrap_or(name)).is_ok()
}

/// The one provider of cryptography; named here, so that none has to be the process's default.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn load(source: &Source) -> Result<Loaded, TlsError> {
    let key = match source {
        Source::Authority { authority, names, addresses } => authority.issue(names, addresses, &provider())?,
        Source::Files { certificate, key } => from_files(certificate, key)?,
    };
    let until = key.end_entity_cert().ok().and_then(|leaf| Certificate::from_der(leaf).ok());
    let until = until.map_or(Timestamp::UNIX_EPOCH, |leaf| leaf.not_after());
    Ok(Loaded { key: Arc::new(key), at: Instant::now(), until })
}

fn looks(source: &Source) -> Looks {
    match source {
        Source::Authority { .. } => [None; 2],
        Source::Files { certificate, key } => {
            [certificate, key].map(|path| fs_err::metadata(path).and_then(|metadata| metadata.modified()).ok())
        }
    }
}

fn from_files(certificate: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let unreadable = |path: &Path, what| {
        let path = path.to_owned();
        move |source| TlsError::File { path, what, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(unreadable(certificate, "a certificate chain"))?;
    let Some(leaf) = chain.first() else {
        return Err(unreadable(certificate, "a certificate chain")(pem::Error::NoItemsFound));
    };
    check_time(certificate, leaf)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key, "an unencrypted private key"))?;
    CertifiedKey::from_der(chain, private, &provider()).map_err(|source| TlsError::Pair {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// Clients look at the real time, whatever clock the service's metadata follows.
fn check_time(path: &Path, leaf: &CertificateDer<'_>) -> Result<(), TlsError> {
    let malformed = |source| TlsError::Malformed { path: path.to_owned(), source };
    let leaf = Certificate::from_der(leaf).map_err(malformed)?;
    let (from, until, now) = (leaf.not_before(), leaf.not_after(), Timestamp::now());
    if (from..=until).contains(&now) {
        Ok(())
    } else {
        Err(TlsError::NotValidNow { path: path.to_owned(), from, until })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::FileTimes;

    use super::*;

    #[test]
    fn certificates_name_loopback_the_listen_address_and_what_was_configured() {
        let configured =
            ["trust.example", "192.0.2.7", "localhost", "::1", "*.trust.example", "a_b"].map(str::to_owned);
        let (names, addresses) = subjects(&configured, "198.51.100.1".parse().unwrap()).unwrap();
        assert_eq!(names, ["localhost", "trust.example", "*.trust.example", "a_b"]);
        let expected = ["127.0.0.1", "::1", "198.51.100.1", "192.0.2.7"].map(|text| text.parse::<IpAddr>().unwrap());
        assert_eq!(addresses, expected);
        assert_eq!(subjects(&[], "0.0.0.0".parse().unwrap()).unwrap().1.len(), 2);
    }

    #[test]
    fn what_is_no_name_is_refused_by_name() {
        for wrong in
            ["foo bar$(x)", "", "https://trust.example", "trust.example:443", "a..b", "-", "*", "b\u{fc}cher.example"]
        {
            let refused = subjects(&[wrong.to_owned()], IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap_err();
            assert!(matches!(&refused, TlsError::Name(name) if name == wrong), "{refused}");
        }
    }

    /// Writes a new pair of files, whose time is so many seconds after the last one's.
    fn write_pair(folder: &Path, seconds: u64) {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        for (name, text) in [("c.pem", certificate.pem()), ("k.pem", key.serialize_pem())] {
            fs_err::write(folder.join(name), text).unwrap();
            let time = SystemTime::now() + Duration::from_secs(seconds);
            let file = fs_err::OpenOptions::new().append(true).open(folder.join(name)).unwrap();
            file.file().set_times(FileTimes::new().set_modified(time)).unwrap();
        }
    }

    fn leaf(certificates: &Certificates) -> Vec<u8> {
        certificates.current.load().key.end_entity_cert().unwrap().to_vec()
    }

    #[test]
    fn changed_files_are_taken_up_and_broken_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        write_pair(folder.path(), 0);
        let path = |name: &str| folder.path().join(name);
        let source = Source::Files { certificate: path("c.pem"), key: path("k.pem") };
        let certificates = Certificates::load(source).unwrap();
        let first = leaf(&certificates);
        certificates.refresh(When::Changed).unwrap();
        assert_eq!(leaf(&certificates), first);
        write_pair(folder.path(), 10);
        certificates.refresh(When::Changed).unwrap();
        let second = leaf(&certificates);
        assert_ne!(second, first);
        fs_err::write(path("c.pem"), "broken").unwrap();
        assert!(certificates.refresh(When::Changed).is_err());
        assert_eq!(leaf(&certificates), second, "the old one stays in use");
        assert!(certificates.refresh(When::Changed).is_err(), "it is tried anew");
    }
}
