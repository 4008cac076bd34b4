//! A signing service with certificates and a folder of its own, and clients for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_crypto::{KeyType, PublicKey};
use countersign_keyservice::{
    Clock, Config, KeyService, KeyStorage, KeyTokens, Limits, Passphrases, Running, StartError, Variables,
};
use countersign_signer_rpc::{ClientConfig, Clients, Identity, SignerClient};
use countersign_storage::Alias;
use countersign_testkit::{TestCa, TestCertificate};
use countersign_tuf::Gun;
use jiff::Timestamp;

/// What lives as long as the test: folder, certificates, variables.
pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) authority: TestCa,
    pub(crate) server: Identity,
    pub(crate) variables: Arc<Mutex<BTreeMap<String, String>>>,
    pub(crate) names: Vec<String>,
    pub(crate) pending_keys: u64,
    pub(crate) tokens: KeyTokens,
}

impl House {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = TestCa::new();
        fs_err::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let server = write(folder.path(), "server", &authority.loopback_server());
        let variables = Arc::new(Mutex::new(BTreeMap::new()));
        Self {
            folder,
            authority,
            server,
            variables,
            names: Vec::new(),
            pending_keys: 100,
            tokens: KeyTokens::default(),
        }
    }

    pub(crate) fn set(&self, variable: &str, value: &str) {
        self.variables.lock().unwrap().insert(variable.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&self, variable: &str) {
        self.variables.lock().unwrap().remove(variable);
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn passphrases(&self) -> Passphrases {
        let variables = Arc::clone(&self.variables);
        let variables = Variables::new(move |name| variables.lock().unwrap().get(name).cloned());
        Passphrases::new(BTreeMap::new(), variables, &self.data_dir())
    }

    pub(crate) fn config(&self, alias: &str) -> Config {
        Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            data_dir: self.data_dir(),
            storage: KeyStorage::Folder,
            identity: self.server.clone(),
            clients: Clients { authority: self.folder.path().join("ca.pem"), names: self.names.clone() },
            alias: Alias::parse(alias).unwrap(),
            passphrases: self.passphrases(),
            metrics: None,
            tokens: self.tokens.clone(),
            clock: Clock::new(|| Timestamp::from_second(1_795_300_000).unwrap()),
            limits: Limits { pending_keys: self.pending_keys, drain: Duration::from_secs(5), ..Limits::default() },
        }
    }

    pub(crate) async fn try_start(&self, alias: &str) -> Result<Running, StartError> {
        KeyService::start(self.config(alias)).await
    }

    pub(crate) async fn start(&self, alias: &str) -> Running {
        self.try_start(alias).await.unwrap()
    }

    /// A client whose certificate the house's authority has signed.
    pub(crate) fn client(&self, service: &Running, name: &str) -> SignerClient {
        self.client_with(service, &self.authority.client(name))
    }

    pub(crate) fn client_with(&self, service: &Running, certificate: &TestCertificate) -> SignerClient {
        let config = ClientConfig {
            host: "127.0.0.1".to_owned(),
            port: service.address().port(),
            authority: self.folder.path().join("ca.pem"),
            identity: write(self.folder.path(), "client", certificate),
            timeout: Duration::from_secs(20),
        };
        SignerClient::new(&config).unwrap()
    }

    pub(crate) fn audit(&self) -> String {
        fs_err::read_to_string(self.data_dir().join("audit.log")).unwrap()
    }
}

pub(crate) fn write(folder: &Path, name: &str, pair: &TestCertificate) -> Identity {
    let identity =
        Identity { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
    fs_err::write(&identity.certificate, &pair.certificate_pem).unwrap();
    fs_err::write(&identity.key, &pair.key_pem).unwrap();
    identity
}

pub(crate) fn gun(name: &str) -> Gun {
    Gun::parse(name).unwrap()
}

pub(crate) async fn key(client: &SignerClient, name: &str, role: &str) -> PublicKey {
    client.create_key(&KeyType::Ecdsa, &gun(name), role).await.unwrap()
}

/// The signed part of a timestamp that is only told apart by its version.
pub(crate) fn timestamp(version: u32) -> Vec<u8> {
    format!(r#"{{"_type":"Timestamp","expires":"2026-12-06T12:00:00Z","meta":{{}},"version":{version}}}"#).into_bytes()
}

pub(crate) const SNAPSHOT: &[u8] = br#"{"_type":"Snapshot","expires":"2029-11-22T12:00:00Z","meta":{},"version":1}"#;
