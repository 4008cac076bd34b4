//! The server's side: the contract's calls, put into the words of a [`SigningService`] and back.

use std::sync::Arc;
use std::time::Duration;

use countersign_crypto::{KeyId, KeyType};
use countersign_tuf::{Gun, RoleName};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::metadata::{AsciiMetadataValue, MetadataMap, MetadataValue};
use tonic::transport::Server;
use tonic::{Code, Request, Response, Status};

use crate::limits::{CALL, CALLS, MAX_CONTENT, MAX_GUN, MAX_HEADERS, MAX_MESSAGE, PENDING_RESETS, PING};
use crate::listener;
use crate::service::{Caller, KeyRequest, Refusal, SignRequest, SigningService};
use crate::tls::{self, Clients, Fresh, Identity, TlsError};
use crate::wire::health::health_check_response::ServingStatus;
use crate::wire::health::health_server::{Health, HealthServer};
use crate::wire::health::{HealthCheckRequest, HealthCheckResponse};
use crate::wire::signer as wire;
use crate::wire::signer::key_management_server::{KeyManagement, KeyManagementServer};
use crate::wire::signer::signer_server::{Signer, SignerServer as WireSignerServer};

/// Under these names the reference registers its health; the empty one stands for all.
pub(crate) const HEALTH_NAMES: [&str; 2] = ["grpc.health.v1.Health.KeyManagement", "grpc.health.v1.Health.Signer"];
/// The header in which a caller of our own names the collection it signs for, so that a key is never used for another's.
pub(crate) const GUN_HEADER: &str = "countersign-gun-bin";

/// The header of an answer that says that the collection in the question was held against the key's own.
pub(crate) const CHECKED_HEADER: &str = "countersign-gun-checked";
/// The headers with the id of the request on whose behalf a call is made, and with its trace (W3C Trace Context).
pub(crate) const REQUEST_ID: &str = "x-request-id";
pub(crate) const TRACEPARENT: &str = "traceparent";

/// What a server needs: there is none without certificates on both sides.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// The server's certificate.
    pub identity: Identity,
    /// Who may call.
    pub clients: Clients,
    /// Time for calls to be answered when the server is told to end.
    pub drain: Duration,
}

/// A server that answers nobody yet.
pub struct SignerServer {
    tls: Arc<Fresh<rustls::ServerConfig>>,
    clients: Arc<Clients>,
    drain: Duration,
}

impl SignerServer {
    /// Reads the certificates; when their files change, new connections are protected by what is in them then.
    ///
    /// # Errors
    /// One of them cannot be used.
    pub fn new(config: ServerConfig) -> Result<Self, TlsError> {
        let tls = tls::server(config.identity, config.clients.clone())?;
        Ok(Self { tls: Arc::new(tls), clients: Arc::new(config.clients), drain: config.drain })
    }

    /// Returns what tells when the certificate ends that is shown to clients.
    pub fn certificate_until(&self) -> impl Fn() -> Timestamp + Send + Sync + use<> {
        let tls = Arc::clone(&self.tls);
        move || tls.until()
    }

    /// Answers calls until told to end; then takes no more, and answers those that have begun within the drain time.
    ///
    /// # Errors
    /// The calls that had begun were not answered in time, or the transport failed.
    pub async fn serve(
        self,
        listener: TcpListener,
        service: Arc<dyn SigningService>,
        ending: CancellationToken,
    ) -> Result<(), std::io::Error> {
        let (sender, mut receiver) = mpsc::channel(1);
        let accepting = listener::accept(listener, self.tls, self.clients, sender, ending.clone());
        let accepting = tokio::spawn(accepting);
        let connections = futures_util::stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let calls = Calls(service);
        let management = KeyManagementServer::new(calls.clone()).max_decoding_message_size(MAX_MESSAGE);
        let signer = WireSignerServer::new(calls.clone()).max_decoding_message_size(MAX_MESSAGE);
        let serving = Server::builder()
            .timeout(CALL)
            .max_concurrent_streams(CALLS)
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PING))
            .http2_max_pending_accept_reset_streams(Some(PENDING_RESETS))
            .http2_max_header_list_size(MAX_HEADERS)
            .add_service(management)
            .add_service(signer)
            .add_service(HealthServer::new(calls).max_decoding_message_size(MAX_MESSAGE))
            .serve_with_incoming_shutdown(connections, ending.clone().cancelled_owned());
        let limit = async {
            ending.cancelled().await;
            tokio::time::sleep(self.drain).await;
        };
        let result = tokio::select! {
            served = serving => served.map_err(std::io::Error::other),
            () = limit => Err(std::io::Error::new(std::io::ErrorKind::TimedOut, "some calls were not answered in time")),
        };
        accepting.abort();
        result
    }
}

/// The calls of the contract.
#[derive(Clone)]
struct Calls(Arc<dyn SigningService>);

#[tonic::async_trait]
impl KeyManagement for Calls {
    async fn create_key(&self, request: Request<wire::CreateKeyRequest>) -> Result<Response<wire::PublicKey>, Status> {
        let caller = caller(&request)?;
        let (headers, _, wish) = request.into_parts();
        let algorithm = algorithm(&wish.algorithm)?;
        let request = KeyRequest { gun: gun(&wish.gun)?, role: role(&wish.role)?, algorithm };
        let made = on_behalf("CreateKey", &headers, self.0.create(&caller, request)).await?;
        let key_info = Some(key_info(&made.id, made.public.key_type()));
        Ok(Response::new(wire::PublicKey { key_info, public_key: made.public.bytes().to_vec() }))
    }

    async fn delete_key(&self, request: Request<wire::KeyId>) -> Result<Response<wire::Void>, Status> {
        let caller = caller(&request)?;
        let (headers, _, wish) = request.into_parts();
        // What is no id is no key, and to delete no key is no error.
        if let Ok(id) = wish.id.parse() {
            on_behalf("DeleteKey", &headers, self.0.delete(&caller, &id)).await?;
        }
        Ok(Response::new(wire::Void {}))
    }

    async fn get_key_info(&self, request: Request<wire::KeyId>) -> Result<Response<wire::GetKeyInfoResponse>, Status> {
        let caller = caller(&request)?;
        let named = named_gun(&request)?;
        let (headers, _, wire::KeyId { id: name }) = request.into_parts();
        let id: KeyId = name.parse().map_err(|_| Status::from(Refusal::NoKey(shortened(&name))))?;
        let found = on_behalf("GetKeyInfo", &headers, self.0.describe(&caller, &id, named.as_ref())).await?;
        let mut answer = Response::new(wire::GetKeyInfoResponse {
            key_info: Some(key_info(&id, found.public.key_type())),
            public_key: found.public.bytes().to_vec(),
            role: found.role.as_str().to_owned(),
        });
        if named.is_some() {
            answer.metadata_mut().insert(CHECKED_HEADER, MetadataValue::from_static("1"));
        }
        Ok(answer)
    }
}

#[tonic::async_trait]
impl Signer for Calls {
    async fn sign(&self, request: Request<wire::SignatureRequest>) -> Result<Response<wire::Signature>, Status> {
        let caller = caller(&request)?;
        let gun = named_gun(&request)?;
        let (headers, _, wish) = request.into_parts();
        let name = wish.key_id.unwrap_or_default().id;
        let key: KeyId = name.parse().map_err(|_| Status::from(Refusal::NoSigningKey(shortened(&name))))?;
        if wish.content.len() > MAX_CONTENT {
            return Err(malformed("the message is too long to be signed"));
        }
        let request = SignRequest { key, gun, content: wish.content };
        let signed = on_behalf("Sign", &headers, self.0.sign(&caller, request)).await?;
        Ok(Response::new(wire::Signature {
            key_info: Some(key_info(&key, &signed.algorithm)),
            algorithm: Some(wire::Algorithm { algorithm: signed.method.as_str().to_owned() }),
            content: signed.signature,
        }))
    }
}

#[tonic::async_trait]
impl Health for Calls {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        if !service.is_empty() && !HEALTH_NAMES.contains(&service.as_str()) {
            return Err(Status::not_found("unknown service"));
        }
        let status = if self.0.is_healthy().await { ServingStatus::Serving } else { ServingStatus::NotServing };
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }
}

/// Does what a call wants, on behalf of the request that its headers name.
async fn on_behalf<T>(
    name: &'static str,
    headers: &MetadataMap,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Status> {
    let header = |name| headers.get(name).map(AsciiMetadataValue::as_encoded_bytes);
    let request = countersign_telemetry::Request::begin(name, header(REQUEST_ID), header(TRACEPARENT));
    let result = countersign_telemetry::within(Some(request.clone()), work).await;
    if let Some(span) = request.span() {
        span.set("rpc.system", "grpc");
        if let Err(refusal) = &result {
            span.fail(refusal.to_string());
        }
        span.end();
    }
    result.map_err(Status::from)
}

/// Returns who calls; a connection without one is never made.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    request.extensions().get().cloned().ok_or_else(|| Status::unauthenticated("who is calling is not known"))
}

/// Reads which collection a caller of our own asks for.
fn named_gun<T>(request: &Request<T>) -> Result<Option<Gun>, Status> {
    let named = request.metadata().get_bin(GUN_HEADER).map(|value| {
        let bytes = value.to_bytes().map_err(|_| malformed("the collection's name is not readable"))?;
        gun(std::str::from_utf8(&bytes).map_err(|_| malformed("the collection's name is not text"))?)
    });
    named.transpose()
}

fn key_info(id: &KeyId, algorithm: &KeyType) -> wire::KeyInfo {
    wire::KeyInfo {
        key_id: Some(wire::KeyId { id: id.to_string() }),
        algorithm: Some(wire::Algorithm { algorithm: algorithm.as_str().to_owned() }),
    }
}

fn algorithm(name: &str) -> Result<KeyType, Status> {
    match KeyType::from(name) {
        KeyType::Other(_) => Err(Status::from(Refusal::Algorithm(shortened(name)))),
        known => Ok(known),
    }
}

fn gun(name: &str) -> Result<Gun, Status> {
    if name.len() > MAX_GUN {
        return Err(malformed("the collection's name is too long"));
    }
    Gun::parse(name).map_err(|error| malformed(error.to_string()))
}

fn role(name: &str) -> Result<RoleName, Status> {
    RoleName::parse(name).map_err(|_| Status::from(Refusal::Role(shortened(name))))
}

fn malformed(what: impl Into<String>) -> Status {
    Status::from(Refusal::Malformed(what.into()))
}

/// What came from outside is not sent back, or logged, at full length or with control characters.
fn shortened(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

impl From<Refusal> for Status {
    /// Puts a refusal into the reference's codes, and into gRPC's own where the reference has none.
    fn from(refusal: Refusal) -> Self {
        let code = match refusal {
            Refusal::Algorithm(_) => Code::Unknown,
            Refusal::Role(_) | Refusal::Malformed(_) => Code::InvalidArgument,
            Refusal::NoKey(_) | Refusal::NoSigningKey(_) => Code::NotFound,
            Refusal::NotForThis(_) => Code::PermissionDenied,
            Refusal::Exhausted(_) => Code::ResourceExhausted,
            Refusal::Away => Code::Unavailable,
            Refusal::NotMade | Refusal::NotSigned => Code::Internal,
        };
        Self::new(code, refusal.to_string())
    }
}

impl std::fmt::Debug for SignerServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignerServer").field("clients", &self.clients).finish_non_exhaustive()
    }
}
