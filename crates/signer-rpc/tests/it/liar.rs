//! A signing service that does as it is told.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use countersign_crypto::{Algorithm, KeyId, Method, PrivateKey, PublicKey, Signer};
use countersign_signer_rpc::{
    Caller, ClientConfig, Clients, Identity, KeyDescription, KeyRequest, Made, Refusal, ServerConfig, SignRequest,
    Signed, SignerClient, SignerServer, SigningService,
};
use countersign_testkit::{TestCa, TestCertificate};
use countersign_tuf::{Gun, RoleName};
use tokio_util::sync::CancellationToken;

/// What it does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    Nothing,
    AnotherKeysId,
    AnotherAlgorithm,
    NoPointOnTheCurve,
    AnotherKeysDescription,
    SignatureOfAnotherKey,
    SignatureOfAnotherMessage,
    AnotherMethod,
    EmptySignature,
    Silence,
    Refuses(Code),
}

/// How it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Away,
    Exhausted,
    NoKey,
    NotForThis,
    NotSigned,
}

pub(crate) struct Liar {
    pub(crate) key: PrivateKey,
    other: PrivateKey,
    lie: Lie,
}

impl Liar {
    fn refusal(&self) -> Result<(), Refusal> {
        match self.lie {
            Lie::Refuses(Code::Away) => Err(Refusal::Away),
            Lie::Refuses(Code::Exhausted) => Err(Refusal::Exhausted("enough")),
            Lie::Refuses(Code::NoKey) => Err(Refusal::NoSigningKey("x".to_owned())),
            Lie::Refuses(Code::NotForThis) => Err(Refusal::NotForThis("no")),
            Lie::Refuses(Code::NotSigned) => Err(Refusal::NotSigned),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl SigningService for Liar {
    async fn create(&self, _: &Caller, _: KeyRequest) -> Result<Made, Refusal> {
        self.refusal()?;
        let (key, other) = (self.key.public_key().clone(), self.other.public_key());
        let id = key.canonical_id();
        Ok(match self.lie {
            Lie::AnotherKeysId => Made { id: other.canonical_id(), public: key },
            Lie::AnotherAlgorithm => {
                let edwards = PrivateKey::generate(Algorithm::Ed25519).unwrap().public_key().clone();
                Made { id: edwards.canonical_id(), public: edwards }
            }
            Lie::NoPointOnTheCurve => {
                let mut bytes = key.bytes().to_vec();
                *bytes.last_mut().unwrap() ^= 1;
                let public = PublicKey::new(key.key_type().clone(), bytes);
                Made { id: public.canonical_id(), public }
            }
            _ => Made { id, public: key },
        })
    }

    async fn describe(&self, _: &Caller, _: &KeyId, _: Option<&Gun>) -> Result<KeyDescription, Refusal> {
        self.refusal()?;
        let holder = if self.lie == Lie::AnotherKeysDescription { &self.other } else { &self.key };
        Ok(KeyDescription {
            public: holder.public_key().clone(),
            role: RoleName::Timestamp,
            gun: Gun::parse("a").unwrap(),
        })
    }

    async fn delete(&self, _: &Caller, _: &KeyId) -> Result<(), Refusal> {
        self.refusal()
    }

    async fn sign(&self, _: &Caller, request: SignRequest) -> Result<Signed, Refusal> {
        self.refusal()?;
        let holder = if self.lie == Lie::SignatureOfAnotherKey { &self.other } else { &self.key };
        let signature = match self.lie {
            Lie::Silence => std::future::pending().await,
            Lie::EmptySignature => Vec::new(),
            Lie::SignatureOfAnotherMessage => holder.sign(b"another").unwrap(),
            _ => holder.sign(&request.content).unwrap(),
        };
        let method = if self.lie == Lie::AnotherMethod { Method::parse("eddsa") } else { holder.method() };
        Ok(Signed { algorithm: holder.public_key().key_type().clone(), method, signature })
    }

    async fn is_healthy(&self) -> bool {
        self.lie == Lie::Nothing
    }
}

/// A running liar and a client for it.
pub(crate) struct Scene {
    pub(crate) client: SignerClient,
    pub(crate) liar: Arc<Liar>,
    _ending: tokio_util::sync::DropGuard,
    _folder: tempfile::TempDir,
}

pub(crate) async fn scene(lie: Lie) -> Scene {
    let (folder, authority) = (tempfile::tempdir().unwrap(), TestCa::new());
    fs_err::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let server = SignerServer::new(ServerConfig {
        identity: write(folder.path(), "server", &authority.loopback_server()),
        clients: Clients { authority: folder.path().join("ca.pem"), names: Vec::new() },
        drain: Duration::from_secs(1),
    });
    let key = || PrivateKey::generate(Algorithm::EcdsaP256).unwrap();
    let liar = Arc::new(Liar { key: key(), other: key(), lie });
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let ending = CancellationToken::new();
    tokio::spawn(server.unwrap().serve(listener, liar.clone(), ending.clone()));
    let client = SignerClient::new(&ClientConfig {
        host: "127.0.0.1".to_owned(),
        port,
        authority: folder.path().join("ca.pem"),
        identity: write(folder.path(), "client", &authority.client("client")),
        timeout: if lie == Lie::Silence { Duration::from_millis(500) } else { Duration::from_secs(20) },
    });
    Scene { client: client.unwrap(), liar, _ending: ending.drop_guard(), _folder: folder }
}

fn write(folder: &Path, name: &str, pair: &TestCertificate) -> Identity {
    let identity =
        Identity { certificate: folder.join(format!("{name}.crt")), key: folder.join(format!("{name}.key")) };
    fs_err::write(&identity.certificate, &pair.certificate_pem).unwrap();
    fs_err::write(&identity.key, &pair.key_pem).unwrap();
    identity
}
