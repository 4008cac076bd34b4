//! Somebody with a trust directory.

use crate::house::{GUN, House, NOW};
use countersign_crypto::digest::{Sha256Digest, sha256};
use countersign_crypto::{Algorithm, PrivateKey, PublicKey};
use countersign_notary::{Access, ServiceAddress, TrustService};
use countersign_registry::auth::Session;
use countersign_registry::credentials::Credential;
use countersign_registry::http::{HttpClient, HttpOptions, Origin, Patience, TlsOptions};
use countersign_trust::{CollectionClient, ReleasedTag, SignRequest, Signed, TrustError};
use countersign_tuf::{Gun, Pinning};
use countersign_vault::{
    KeyLabel, Origin as From, Passphrase, PassphraseRequest, PassphraseSource, Reply, TrustDirectory,
};
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// Patience for services that never answer.
const QUICK: Patience = Patience {
    answer: Duration::from_millis(600),
    idle: Duration::from_millis(600),
    total: Duration::from_secs(2),
    trickle: Duration::from_secs(2),
};

pub(crate) struct OnePassphrase;

impl PassphraseSource for OnePassphrase {
    fn passphrase(&self, request: &PassphraseRequest<'_>) -> Reply {
        match request.attempt {
            0 | 1 => Reply::Passphrase(Passphrase::new(b"a passphrase".to_vec()).unwrap(), From::Person),
            _ => Reply::Unavailable,
        }
    }
}

pub(crate) struct Person {
    folder: TempDir,
    pub(crate) pinning: Pinning,
    credential: Option<(&'static str, &'static str)>,
    now: Timestamp,
    shared: Option<PathBuf>,
}

impl Person {
    pub(crate) fn new() -> Self {
        let (folder, now) = (tempfile::tempdir().unwrap(), NOW.parse().unwrap());
        Self { folder, pinning: Pinning::default(), credential: None, now, shared: None }
    }

    /// Somebody in the real present.
    pub(crate) fn today() -> Self {
        Self { now: Timestamp::now(), ..Self::new() }
    }

    /// The same with the trust directory of another program.
    pub(crate) fn sharing(self, trust_dir: PathBuf) -> Self {
        Self { shared: Some(trust_dir), ..self }
    }

    pub(crate) fn logged_in(mut self, name: &'static str, password: &'static str) -> Self {
        self.credential = Some((name, password));
        self
    }

    pub(crate) fn at(mut self, now: &'static str) -> Self {
        self.now = now.parse().unwrap();
        self
    }

    pub(crate) fn trust_dir(&self) -> PathBuf {
        self.shared.clone().unwrap_or_else(|| self.folder.path().join("trust"))
    }

    /// The collection at a service, opened anew as every command does.
    pub(crate) fn collection(&self, url: &str, ca_pem: &str, gun: &str) -> CollectionClient<'_> {
        let service = self.service(url, ca_pem, gun);
        let directory = TrustDirectory::create(self.trust_dir()).unwrap();
        CollectionClient::new(&directory, service, &self.pinning, &OnePassphrase, self.now).unwrap()
    }

    /// The service alone.
    pub(crate) fn service(&self, url: &str, ca_pem: &str, gun: &str) -> TrustService {
        let address = ServiceAddress::parse(url).unwrap();
        let authority = self.folder.path().join("ca.pem");
        std::fs::write(&authority, ca_pem).unwrap();
        let mut options = HttpOptions::new(Origin::of(address.url()).unwrap());
        options.tls = TlsOptions::only_authorities_in(&authority).unwrap();
        let credential = self.credential.map(|(name, password)| Credential::password(name, password.into()));
        let session = Session::new(HttpClient::new(options), credential.unwrap_or_default());
        TrustService::new(address, Gun::parse(gun).unwrap(), session, Access::Write).with_patience(QUICK)
    }

    pub(crate) fn client(&self, house: &House) -> CollectionClient<'_> {
        self.collection(&house.server.url(), &house.ca.pem(), GUN)
    }

    /// Makes a private key of this person and returns its public half.
    pub(crate) fn make_key(&self, role: &str) -> PublicKey {
        let key = PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
        let directory = TrustDirectory::create(self.trust_dir()).unwrap();
        directory.keys().add(&key, &KeyLabel::new(role, None).unwrap(), &OnePassphrase).unwrap();
        key.public_key().clone()
    }

    pub(crate) async fn sign(&self, house: &House, tag: &str) -> Result<Signed, TrustError> {
        self.client(house).sign(&[request(tag)]).await
    }

    pub(crate) async fn find(&self, house: &House, tag: &str) -> Result<ReleasedTag, TrustError> {
        Ok(self.client(house).find(tag).await?.0)
    }

    /// All files of the cache with their bytes.
    pub(crate) fn cache(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        collect(&self.trust_dir().join("tuf"), &mut found);
        found.sort();
        found
    }

    /// How many private keys there are.
    pub(crate) fn keys(&self) -> usize {
        std::fs::read_dir(self.trust_dir().join("private")).map_or(0, Iterator::count)
    }
}

fn collect(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else {
            found.push((path.clone(), std::fs::read(&path).unwrap()));
        }
    }
}

/// What is signed under a tag in these tests.
pub(crate) fn content(tag: &str) -> Sha256Digest {
    sha256(tag.as_bytes())
}

pub(crate) fn request(tag: &str) -> SignRequest {
    SignRequest { name: tag.to_owned(), sha256: content(tag), length: 524 }
}
