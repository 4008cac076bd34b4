//! Connections: accepted within a limit, given a time for everything, drained at the end.

pub(crate) mod clients;
mod first;
mod supervision;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::Peer;
use crate::app::App;
use crate::metrics::Gauge;
use crate::{dispatch, files, tls};

use self::clients::{Clients, Seat};
use self::supervision::{Progress, Times, supervise};

/// Pause after the system refused a connection, for instance because too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pings on a silent HTTP/2 connection.
const PING_INTERVAL: Duration = Duration::from_secs(20);
/// Streams that a client may reset before they are served, until the connection is ended (rapid reset).
const PENDING_RESETS: usize = 32;

/// Header lines that hyper takes unless it is told how many; being told, it fills lists of that length for each request.
const HYPERS_HEADER_LINES: usize = 100;

/// Time for the TLS handshake while others wait for a place: whoever says nothing makes room.
const CROWDED_HANDSHAKE: Duration = Duration::from_secs(1);

/// Tells connections when to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Finish the current request, take no more.
    pub(crate) soon: CancellationToken,
    /// Stop at once.
    pub(crate) now: CancellationToken,
}

/// Accepts connections until told to end.
pub(crate) async fn listen(
    app: Arc<App>,
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    ending: Ending,
    open: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(files::connections(app.limits.connections)));
    let clients = Clients::new(app.limits.client_connections);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((place, listener.accept().await))
        };
        let accepted = tokio::select! {
            () = ending.soon.cancelled() => return,
            accepted = next => accepted,
        };
        match accepted {
            Some((place, Ok((stream, peer)))) => {
                let Some(seat) = clients.enter(peer.ip()) else {
                    app.metrics.turned_away.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                let places = Arc::clone(&places);
                let connection = Connection { app: Arc::clone(&app), peer, ending: ending.clone(), places };
                open.spawn(connection.serve(stream, tls.clone(), (place, seat)));
            }
            Some((_, Err(error))) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            None => return,
        }
    }
}

/// Waits so long for a handshake, and less while no place is free.
async fn in_time<F: Future>(handshake: F, limit: Duration, places: &Semaphore) -> Option<F::Output> {
    let mut handshake = std::pin::pin!(handshake);
    let until = tokio::time::Instant::now() + limit;
    loop {
        let look = until.min(tokio::time::Instant::now() + CROWDED_HANDSHAKE);
        match tokio::time::timeout_at(look, handshake.as_mut()).await {
            Ok(done) => return Some(done),
            Err(_) if look == until || places.available_permits() == 0 => return None,
            Err(_) => {}
        }
    }
}

/// Which protocol a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

struct Connection {
    app: Arc<App>,
    peer: SocketAddr,
    ending: Ending,
    /// The places of all connections: none is free while others wait.
    places: Arc<Semaphore>,
}

impl Connection {
    async fn serve(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>, _held: (OwnedSemaphorePermit, Seat)) {
        let app = Arc::clone(&self.app);
        let _open = Gauge::raise(&app.metrics.connections);
        self.protect(stream, tls).await;
    }

    async fn protect(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        // Answers are written in one piece; waiting for more would only delay them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no delay cannot be set");
        }
        let Some(tls) = tls else { return self.speak(stream, Protocol::Http1, None).await };
        let handshake = TlsAcceptor::from(tls).accept(stream);
        let stream = tokio::select! {
            () = self.ending.soon.cancelled() => return,
            result = in_time(handshake, self.app.limits.handshake, &self.places) => match result {
                Some(Ok(stream)) => stream,
                Some(Err(error)) => return tracing::debug!(peer = %self.peer, %error, "the TLS handshake failed"),
                None => return tracing::debug!(peer = %self.peer, "the TLS handshake took too long"),
            },
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let certificate = leaf.and_then(tls::owner);
        self.speak(stream, if http2 { Protocol::Http2 } else { Protocol::Http1 }, certificate).await;
    }

    async fn speak(
        self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        protocol: Protocol,
        certificate: Option<Arc<str>>,
    ) {
        let Self { app, peer, ending, places } = self;
        let limits = app.limits.clone();
        let progress = Arc::new(Progress::default());
        let service = {
            let (app, progress) = (Arc::clone(&app), Arc::clone(&progress));
            let peer = Peer { address: peer, certificate };
            service_fn(move |request: Request<Incoming>| {
                let (app, running, peer) = (Arc::clone(&app), progress.begin(), peer.clone());
                async move {
                    let answer = dispatch::answer(app, peer, request).await;
                    Ok::<_, Infallible>(answer.map(|bytes| running.write(bytes)))
                }
            })
        };
        let io = TokioIo::new(stream);
        let times = Times { idle: limits.header, life: limits.connection, drain: limits.drain };
        let result = match protocol {
            Protocol::Http1 => {
                let mut builder = http1::Builder::new();
                // No timer for each header: a connection on which no request has come for so long is ended below.
                builder.header_read_timeout(None).max_buf_size(limits.header_bytes);
                if limits.header_lines != HYPERS_HEADER_LINES {
                    builder.max_headers(limits.header_lines);
                }
                supervise(builder.serve_connection(io, service), &progress, &ending, times, &places).await
            }
            Protocol::Http2 => {
                let mut builder = http2::Builder::new(TokioExecutor::new());
                builder
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(limits.streams)
                    .max_pending_accept_reset_streams(PENDING_RESETS)
                    .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
                    .keep_alive_interval(PING_INTERVAL)
                    .keep_alive_timeout(limits.header);
                supervise(builder.serve_connection(io, service), &progress, &ending, times, &places).await
            }
        };
        if let Err(error) = result {
            tracing::debug!(%peer, %error, "a connection ended badly");
        }
    }
}
