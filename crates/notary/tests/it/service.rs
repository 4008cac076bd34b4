//! A scripted service and a client for it.

use countersign_notary::{Access, ServiceAddress, TrustService};
use countersign_registry::auth::Session;
use countersign_registry::credentials::Credential;
use countersign_registry::http::{HttpClient, HttpOptions, Origin, Patience, TlsOptions};
use countersign_testkit::{FakeServer, TestCa};
use countersign_tuf::Gun;
use std::time::Duration;

pub(crate) const GUN: &str = "reg.test:5000/acme/app";
pub(crate) const BASE: &str = "/v2/reg.test:5000/acme/app/_trust/tuf/";

const QUICK: Patience = Patience {
    answer: Duration::from_millis(500),
    idle: Duration::from_millis(500),
    total: Duration::from_secs(2),
    trickle: Duration::from_secs(2),
};

pub(crate) struct Scripted {
    pub(crate) server: FakeServer,
    ca: TestCa,
}

impl Scripted {
    pub(crate) fn new() -> Self {
        let ca = TestCa::new();
        Self { server: FakeServer::tls(ca.loopback_server().server_config()), ca }
    }

    pub(crate) fn client(&self, access: Access, credential: Credential) -> TrustService {
        let folder = tempfile::tempdir().unwrap();
        let authority = folder.path().join("ca.pem");
        std::fs::write(&authority, self.ca.pem()).unwrap();
        let address = ServiceAddress::parse(&self.server.url()).unwrap();
        let mut options = HttpOptions::new(Origin::of(address.url()).unwrap());
        options.tls = TlsOptions::only_authorities_in(&authority).unwrap();
        let session = Session::new(HttpClient::new(options), credential);
        TrustService::new(address, Gun::parse(GUN).unwrap(), session, access).with_patience(QUICK)
    }

    pub(crate) fn reader(&self) -> TrustService {
        self.client(Access::Read, Credential::Anonymous)
    }

    pub(crate) fn writer(&self) -> TrustService {
        self.client(Access::Write, Credential::Anonymous)
    }
}
