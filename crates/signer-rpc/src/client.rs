//! The client's side: asks a signing service, ours or the reference's, and believes nothing it cannot check.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::{KeyId, KeyType, Message, Method, PublicKey};
use countersign_tuf::Gun;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Response, Status};

use crate::limits::{CONNECT, MAX_HEADERS, MAX_MESSAGE, PING};
use crate::server::{CHECKED_HEADER, GUN_HEADER, HEALTH_NAMES, REQUEST_ID, TRACEPARENT};
use crate::tls::{self, Fresh, Identity, TlsError};
use crate::wire::health::health_check_response::ServingStatus;
use crate::wire::health::{HealthCheckRequest, health_client::HealthClient};
use crate::wire::signer as wire;
use crate::wire::signer::key_management_client::KeyManagementClient;
use crate::wire::signer::signer_client::SignerClient as WireSignerClient;

/// How often a call is made: once more when the connection turns out to be lost, as after a restart of the other side.
const ATTEMPTS: u32 = 2;

/// Which signing service is asked, and how.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The service's name or address, which its certificate must be for.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The file with the certificates of the authorities that the service's certificate must come from.
    pub authority: PathBuf,
    /// The certificate that is shown to the service.
    pub identity: Identity,
    /// Time for one call with everything it takes, also connecting.
    pub timeout: Duration,
}

/// Says why a call was not answered as wished.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The service cannot be reached, does not answer in time, or cannot work (environment): later, it may.
    #[error("the signing service at {service} is away")]
    Away {
        /// Its name and port.
        service: Arc<str>,
        /// What was seen.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service does not have the key, or cannot open it (the signing service).
    #[error("the signing service has no such key: {0}")]
    NoKey(String),
    /// The service refuses (caller).
    #[error("the signing service refuses: {message} ({code:?})")]
    Refused {
        /// The code.
        code: Code,
        /// Its message.
        message: String,
    },
    /// The answer is not what the contract says, or does not hold (the signing service).
    #[error("the signing service gave a wrong answer: {0}")]
    Wrong(String),
}

/// Whether a service has compared the collection that a key is for with the one that it is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ownership {
    /// It has, and they are the same.
    Checked,
    /// It does not say: the reference.
    Unknown,
}

impl CallError {
    /// Tells whether the same may succeed later without anybody doing anything.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// Tells whether the service was not reached, or did not answer: then nobody needs to ask it for anything else now. One
    /// that says itself that it cannot do this may do other things, with keys that it keeps elsewhere.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        let Self::Away { source, .. } = self else { return false };
        source.downcast_ref::<Status>().is_none_or(is_lost)
    }
}

/// A client of a signing service; copies share one connection, which is made when it is needed and made again when lost.
#[derive(Clone)]
pub struct SignerClient {
    management: KeyManagementClient<Channel>,
    signer: WireSignerClient<Channel>,
    health: HealthClient<Channel>,
    service: Arc<str>,
    timeout: Duration,
    tls: Arc<Fresh<rustls::ClientConfig>>,
}

impl SignerClient {
    /// Reads the certificates, and again before a connection when their files have changed; nothing is connected yet.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: &ClientConfig) -> Result<Self, TlsError> {
        let tls = Arc::new(tls::client(config.identity.clone(), config.authority.clone())?);
        let name = ServerName::try_from(config.host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|error| rustls::Error::General(format!("{:?}: {error}", config.host)))?;
        let service: Arc<str> = format!("{}:{}", config.host, config.port).into();
        let uri = format!("https://{service}").parse::<Uri>();
        let uri = uri.map_err(|error| rustls::Error::General(format!("{service:?}: {error}")))?;
        let (address, certificates) = (Arc::clone(&service), Arc::clone(&tls));
        let connector = tower::service_fn(move |_: Uri| {
            let (tls, name, address) = (TlsConnector::from(certificates.get()), name.clone(), Arc::clone(&address));
            async move {
                let stream = TcpStream::connect(&*address).await?;
                stream.set_nodelay(true)?;
                Ok::<_, std::io::Error>(TokioIo::new(tls.connect(name, stream).await?))
            }
        });
        let channel = Endpoint::from(uri)
            .connect_timeout(CONNECT.min(config.timeout))
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .http2_max_header_list_size(MAX_HEADERS)
            .connect_with_connector_lazy(connector);
        Ok(Self {
            management: KeyManagementClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            signer: WireSignerClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            health: HealthClient::new(channel).max_decoding_message_size(MAX_MESSAGE),
            service,
            timeout: config.timeout,
            tls,
        })
    }

    /// Returns the service's name and port.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Returns when the certificate ends that is shown to the service.
    #[must_use]
    pub fn certificate_until(&self) -> Timestamp {
        self.tls.until()
    }

    /// Returns a key of a collection and role that has never signed; its id is that of the bytes returned.
    ///
    /// # Errors
    /// The service is away, refuses, or gives a wrong answer.
    pub async fn create_key(&self, algorithm: &KeyType, gun: &Gun, role: &str) -> Result<PublicKey, CallError> {
        let wish = wire::CreateKeyRequest {
            algorithm: algorithm.as_str().to_owned(),
            gun: gun.as_str().to_owned(),
            role: role.to_owned(),
        };
        let answer = self.call(|| {
            let (mut client, wish) = (self.management.clone(), wish.clone());
            async move { client.create_key(on_behalf(wish)).await }
        });
        let answer = answer.await?;
        let info = answer.key_info.unwrap_or_default();
        let key =
            PublicKey::new(KeyType::from(info.algorithm.unwrap_or_default().algorithm.as_str()), answer.public_key);
        if key.key_type() != algorithm {
            return Err(CallError::Wrong(format!("a key of another algorithm than {} was made", algorithm.as_str())));
        }
        if info.key_id.unwrap_or_default().id != key.canonical_id().to_string() {
            return Err(CallError::Wrong("the id of the new key is not its own".to_owned()));
        }
        key.verifying_key().map_err(|error| CallError::Wrong(format!("the new key is unusable: {error}")))?;
        Ok(key)
    }

    /// Returns the public part and role of a key.
    ///
    /// # Errors
    /// As [`SignerClient::create_key`].
    pub async fn key_info(&self, id: &KeyId) -> Result<(PublicKey, String), CallError> {
        let name = wire::KeyId { id: id.to_string() };
        let answer = self.call(|| {
            let (mut client, name) = (self.management.clone(), name.clone());
            async move { client.get_key_info(name).await }
        });
        described(id, answer.await?)
    }

    /// Returns the public part and role of a key for use by a collection, and whether the service has held that against the
    /// key's own collection: the reference does not say which collection a key is for.
    ///
    /// # Errors
    /// As [`SignerClient::create_key`]; for a service that checks, the key of another collection is no key.
    pub async fn key_of(&self, id: &KeyId, gun: &Gun) -> Result<(PublicKey, String, Ownership), CallError> {
        let name = wire::KeyId { id: id.to_string() };
        let answer = self.call_whole(|| {
            let mut client = self.management.clone();
            let mut request = Request::new(name.clone());
            request.metadata_mut().insert_bin(GUN_HEADER, MetadataValue::from_bytes(gun.as_str().as_bytes()));
            async move { client.get_key_info(request).await }
        });
        let answer = answer.await?;
        let checked = answer.metadata().contains_key(CHECKED_HEADER);
        let ownership = if checked { Ownership::Checked } else { Ownership::Unknown };
        let (key, role) = described(id, answer.into_inner())?;
        Ok((key, role, ownership))
    }

    /// Deletes a key; an unknown one is no error.
    ///
    /// # Errors
    /// As [`SignerClient::create_key`].
    pub async fn delete_key(&self, id: &KeyId) -> Result<(), CallError> {
        let name = wire::KeyId { id: id.to_string() };
        let answer = self.call(|| {
            let (mut client, name) = (self.management.clone(), name.clone());
            async move { client.delete_key(name).await }
        });
        answer.await.map(drop)
    }

    /// Signs a message for a collection; the signature is verified before it is returned.
    ///
    /// # Errors
    /// As [`SignerClient::create_key`].
    pub async fn sign(&self, key: &PublicKey, gun: &Gun, message: &[u8]) -> Result<(Method, Vec<u8>), CallError> {
        let wish = wire::SignatureRequest {
            key_id: Some(wire::KeyId { id: key.canonical_id().to_string() }),
            content: message.to_vec(),
        };
        let answer = self.call(|| {
            let mut client = self.signer.clone();
            let mut request = on_behalf(wish.clone());
            request.metadata_mut().insert_bin(GUN_HEADER, MetadataValue::from_bytes(gun.as_str().as_bytes()));
            async move { client.sign(request).await }
        });
        let answer = answer.await?;
        let method = Method::parse(&answer.algorithm.unwrap_or_default().algorithm);
        let verifying = key.verifying_key().map_err(|error| CallError::Wrong(error.to_string()))?;
        match verifying.verify(&method, &Message::new(message), &answer.content) {
            Ok(()) => Ok((method, answer.content)),
            Err(error) => Err(CallError::Wrong(format!("the signature is not the key's: {error}"))),
        }
    }

    /// Asks whether the service can make keys and sign.
    ///
    /// # Errors
    /// It cannot, or is away.
    pub async fn health(&self) -> Result<(), CallError> {
        for name in HEALTH_NAMES {
            let answer = self.call(|| {
                let mut client = self.health.clone();
                async move { client.check(HealthCheckRequest { service: name.to_owned() }).await }
            });
            if answer.await?.status() != ServingStatus::Serving {
                return Err(self.away(format!("{name} is not serving")));
            }
        }
        Ok(())
    }

    async fn call<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<T, CallError> {
        self.call_whole(attempt).await.map(Response::into_inner)
    }

    /// Makes a call, and makes it again when the connection was lost; all calls may be made twice.
    async fn call_whole<T, F: Future<Output = Result<Response<T>, Status>>>(
        &self,
        attempt: impl Fn() -> F,
    ) -> Result<Response<T>, CallError> {
        let attempts = async {
            let mut made = 0;
            loop {
                made += 1;
                match attempt().await {
                    Ok(answer) => return Ok(answer),
                    Err(status) if made < ATTEMPTS && is_lost(&status) => {}
                    Err(status) => return Err(self.failed(status)),
                }
            }
        };
        match tokio::time::timeout(self.timeout, attempts).await {
            Ok(result) => result,
            Err(_) => Err(self.away(format!("there was no answer within {} s", self.timeout.as_secs_f32()))),
        }
    }

    fn failed(&self, status: Status) -> CallError {
        if is_lost(&status) {
            return self.away(status);
        }
        let message = || status.message().chars().take(200).flat_map(char::escape_debug).collect();
        match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled | Code::Aborted => {
                self.away(status)
            }
            Code::NotFound => CallError::NoKey(message()),
            code => CallError::Refused { code, message: message() },
        }
    }

    fn away(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> CallError {
        CallError::Away { service: Arc::clone(&self.service), source: source.into() }
    }
}

/// Reads a description, which must be of the key asked for.
fn described(id: &KeyId, answer: wire::GetKeyInfoResponse) -> Result<(PublicKey, String), CallError> {
    let algorithm = answer.key_info.unwrap_or_default().algorithm.unwrap_or_default().algorithm;
    let key = PublicKey::new(KeyType::from(algorithm.as_str()), answer.public_key);
    if key.canonical_id() != *id {
        return Err(CallError::Wrong("the key is not the one asked for".to_owned()));
    }
    Ok((key, answer.role))
}

/// Makes a call's request, which says on whose behalf it is made.
fn on_behalf<T>(wish: T) -> Request<T> {
    let mut call = Request::new(wish);
    let Some(request) = countersign_telemetry::current() else { return call };
    let mut put = |name, value: &str| {
        if let Ok(value) = MetadataValue::try_from(value) {
            call.metadata_mut().insert(name, value);
        }
    };
    put(REQUEST_ID, request.id());
    if let Some(trace) = request.traceparent() {
        put(TRACEPARENT, &trace);
    }
    call
}

/// Tells whether the call failed on this side: what the service itself says has no source.
fn is_lost(status: &Status) -> bool {
    std::error::Error::source(status).is_some()
}

impl std::fmt::Debug for SignerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignerClient").field("service", &self.service).finish_non_exhaustive()
    }
}
