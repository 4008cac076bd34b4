//! One request on one connection: to a socket, a port, or through `ssh`.

use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use crate::{Address, Endpoint, EngineError, Limits};
use activity::Activity;

mod activity;
mod ssh;
mod tls;

/// The largest head of an answer, in bytes; also the size of the buffer for reading.
const HEAD_LIMIT: usize = 64 << 10;

/// The body of a request.
pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A body of no bytes.
pub(crate) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is sent as it comes.
pub(crate) fn streamed(bytes: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(bytes.map(|piece| piece.map(Frame::data))).boxed_unsync()
}

/// A way of bytes to and from an engine.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Opens connections to one engine.
#[derive(Debug)]
pub(crate) struct Transport {
    endpoint: Endpoint,
    tls: Option<tls::Connector>,
    limits: Limits,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: AnswerBody,
}

/// The body of an answer; dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    incoming: Incoming,
    idle: Duration,
    _connection: Connection,
}

/// The task that moves the bytes of one connection.
#[derive(Debug)]
struct Connection(tokio::task::JoinHandle<()>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Transport {
    pub(crate) fn new(endpoint: Endpoint, limits: Limits) -> Result<Self, EngineError> {
        let tls = match (&endpoint.tls, &endpoint.address) {
            (Some(settings), Address::Tcp { host, .. }) => Some(
                tls::Connector::new(settings, host)
                    .map_err(|reason| EngineError::Tls { endpoint: endpoint.to_string(), reason })?,
            ),
            _ => None,
        };
        Ok(Self { endpoint, tls, limits })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The value of the `Host` header.
    pub(crate) fn host(&self) -> String {
        match &self.endpoint.address {
            Address::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Address::Tcp { host, port } => format!("{host}:{port}"),
            Address::Unix(_) | Address::Ssh { .. } | Address::Through(_) => "api.moby.localhost".to_owned(),
        }
    }

    /// Sends a request and waits for the head of the answer; the wait starts anew with each piece of the body sent.
    pub(crate) async fn send(&self, request: Request<Body>, first_byte: Duration) -> Result<Answer, EngineError> {
        let connecting = timeout(self.limits.connect, self.connect());
        let silent = |limit| EngineError::Silent { waiting_for: "connecting", limit };
        let wire = connecting.await.map_err(|_| silent(self.limits.connect))??;
        let shaken = http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(TokioIo::new(wire)).await;
        let (mut sender, connection) = shaken.map_err(|error| self.broken(&error))?;
        let connection = Connection(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to the engine ended");
            }
        }));
        let activity = Arc::new(Activity::default());
        let request = request.map(|body| activity.watch(body));
        let answer = tokio::select! {
            answer = sender.send_request(request) => answer.map_err(|error| self.broken(&error))?,
            () = activity.silence(first_byte) => {
                return Err(EngineError::Silent { waiting_for: "waiting for its answer", limit: first_byte });
            }
        };
        let (parts, incoming) = answer.into_parts();
        let body = AnswerBody { incoming, idle: self.limits.idle, _connection: connection };
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    async fn connect(&self) -> Result<Box<dyn Wire>, EngineError> {
        let unreachable = |error: io::Error| self.unreachable(error.to_string());
        match &self.endpoint.address {
            Address::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(unreachable)?;
                Ok(Box::new(stream))
            }
            Address::Tcp { host, port } => {
                let stream = tokio::net::TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
                let Some(tls) = &self.tls else { return Ok(Box::new(stream)) };
                let secured = tls.connect(stream).await;
                let endpoint = self.endpoint.to_string();
                Ok(Box::new(secured.map_err(|reason| EngineError::Tls { endpoint, reason })?))
            }
            Address::Ssh { .. } => {
                let program_path = self.endpoint.program_path.as_deref();
                Ok(Box::new(ssh::dial(&self.endpoint.address, program_path).map_err(unreachable)?))
            }
            Address::Through(helper) => Ok(Box::new(ssh::through(helper).map_err(unreachable)?)),
        }
    }

    fn unreachable(&self, reason: String) -> EngineError {
        EngineError::Unreachable { endpoint: self.endpoint.to_string(), reason }
    }

    fn broken(&self, error: &hyper::Error) -> EngineError {
        let reason = error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
        if error.is_user() {
            EngineError::Input(io::Error::other(reason))
        } else if error.is_parse() {
            EngineError::bad(reason)
        } else {
            self.unreachable(reason)
        }
    }
}

impl AnswerBody {
    /// Waits for the next piece; `None` at the end, which has to be where the answer's head said.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, EngineError> {
        loop {
            let silent = |_| EngineError::Silent { waiting_for: "going on with its answer", limit: self.idle };
            match timeout(self.idle, self.incoming.frame()).await.map_err(silent)? {
                None => return Ok(None),
                Some(Err(error)) => return Err(EngineError::bad(format!("it broke off: {error}"))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// Reads the body to its end, within one span of silence altogether.
    pub(crate) async fn all(self, limit: usize) -> Result<Vec<u8>, EngineError> {
        let idle = self.idle;
        let silent = |_| EngineError::Silent { waiting_for: "sending its whole answer", limit: idle };
        timeout(idle, self.read_all(limit)).await.map_err(silent)?
    }

    async fn read_all(mut self, limit: usize) -> Result<Vec<u8>, EngineError> {
        let mut whole = Vec::new();
        while let Some(bytes) = self.next().await? {
            if whole.len().saturating_add(bytes.len()) > limit {
                return Err(EngineError::bad(format!("it is larger than {limit} bytes")));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole)
    }

    /// Reads the beginning of the body, as much as comes in so much time; what cannot be read is left out.
    pub(crate) async fn beginning(mut self, limit: usize, time: Duration) -> Vec<u8> {
        let mut start = Vec::new();
        let reading = async {
            while start.len() < limit
                && let Ok(Some(bytes)) = self.next().await
            {
                start.extend_from_slice(&bytes);
            }
        };
        let _ = timeout(time, reading).await;
        start.truncate(limit);
        start
    }
}
